//! NodeOps that disturb nodes (claim, cordon, reboot, checks), against a real API server and simulated nodes. The tests play
//! what a kubelet does: they change boot IDs and readiness.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

mod checks;
mod claims;
mod cordons;
mod deletion;
mod left_behind;
mod names;
mod reboots;
mod world;

/// What a NodeOp that ends or is deleted may take to leave no trace.
const TEN: std::time::Duration = std::time::Duration::from_secs(10);
