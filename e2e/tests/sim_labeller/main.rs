//! The node labeller on simulated nodes: thousands that join at once, and every edge that a real kubelet shows too rarely.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

mod edges;
mod history;
mod storm;
mod world;
