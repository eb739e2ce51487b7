//! The upgrade controller as a process, against a real API server. The NodeOps' side is played by the tests.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

mod edits;
mod mirror;
mod ownership;
mod rights;
mod world;
