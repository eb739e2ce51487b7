//! Drains by the NodeOp controller as a process, against a real API server, budgets computed by the controller manager,
//! and simulated nodes.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

mod budgets;
mod rules;
mod stuck;
mod world;
