//! The node labeller: every Kairos node knows what it is, by the labels and annotations of its Node.
//!
//! Watches: Nodes and its own Pods (trimmed, [`watched`]). Owns: one short Pod per node that is to be looked at. Writes:
//! labels and annotations of Nodes, its Pods, Events, its Lease.
//!
//! One pass: [`observe`] the snapshot → [`decide`] which Pods to start, to read and to remove → [`apply`] those steps side
//! by side → report ([`status`]). What was detected, and when, is kept on the Node ([`record`]), so that a restart detects
//! nothing again.
//!
//! On the node, in the Pod, another binary works: [`detect`] reads the host's files, [`release`] and [`boot_state`]
//! understand them, [`facts`] makes labels and annotations of them, [`outcome`] carries the result in the Pod's termination
//! message and checks it on the reading side.

pub mod apply;
pub mod args;
pub mod boot_state;
pub mod build;
pub mod controller;
pub mod decide;
pub mod detect;
pub mod error;
pub mod facts;
pub mod metrics;
pub mod observe;
pub mod outcome;
pub mod record;
pub mod release;
pub mod status;
pub mod watched;

#[cfg(test)]
mod testing;
