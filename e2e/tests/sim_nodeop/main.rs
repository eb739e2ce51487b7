//! The NodeOp controller as a process, against a real API server and simulated nodes.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

mod edges;
mod left_behind;
mod order;
mod world;
