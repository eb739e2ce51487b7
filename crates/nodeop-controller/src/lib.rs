//! The NodeOp controller: runs a command on each selected node through a Job.
//!
//! Watches: NodeOps (metadata only), Nodes and its own Jobs (trimmed, [`watched`]). Owns: Jobs. Writes: the status of
//! NodeOps, Jobs, Events, its Lease.
//!
//! One pass: [`observe`] the snapshot → [`validate`] → [`decide`] → [`apply`] the plan → report ([`status`]). Nothing
//! is remembered between passes that the cluster does not hold too.

#[macro_use]
mod planted;

pub mod adopt;
pub mod agent;
pub mod apply;
pub mod args;
pub mod build;
pub mod claim;
pub mod clock;
pub mod control_plane;
pub mod controller;
pub mod decide;
pub mod drain;
pub mod error;
pub mod metrics;
pub mod observe;
pub mod status;
pub mod validate;
pub mod watched;

#[cfg(test)]
mod testing;
