//! The NodeOp controller as a process, against a real API server and simulated nodes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

mod edges;
mod left_behind;
mod order;
mod world;
