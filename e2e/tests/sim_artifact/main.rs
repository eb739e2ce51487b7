//! The OSArtifact controller as a process, against a real API server, scheduler and controllers; the tests are the kubelet
//! of builder Pods.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

mod causes;
mod changes;
mod exporters;
mod kubelet;
mod ownership;
mod phases;
mod restarts;
mod world;
