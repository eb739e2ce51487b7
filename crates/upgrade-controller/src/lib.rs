//! The upgrade controller: makes of each NodeOpUpgrade one NodeOp of the same name, and shows its progress.
//!
//! Watches: NodeOpUpgrades and NodeOps (metadata only). Owns: NodeOps. Writes: the status of NodeOpUpgrades, the spec of
//! its own NodeOps, Events, its Lease. It never touches a node: what happens there is the nodeop-controller's work, by the
//! script in [`build`].
//!
//! One pass: [`observe`] → [`decide`] → [`apply`] → report ([`status`]). Everything is read from the API server in each
//! pass. What is remembered in between only spares requests, but for one thing: that the NodeOp was there, until the status
//! says so.

pub mod apply;
pub mod args;
pub mod build;
pub mod controller;
pub mod decide;
pub mod error;
pub mod metrics;
pub mod observe;
pub mod status;

#[cfg(test)]
mod testing;
