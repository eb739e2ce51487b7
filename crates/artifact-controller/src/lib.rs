//! The OSArtifact controller: builds bootable images from container images, inside the cluster.
//!
//! Watches: OSArtifacts, and with their label Pods, Jobs and volume claims. Owns: per artifact a volume claim, a
//! `ConfigMap`, a builder Pod and exporter Jobs. Writes: those, the status of OSArtifacts, Events, its Lease. It reads no
//! Secret: the builder Pod mounts them, and [`worker`], the second binary of this crate, says there what is missing.
//!
//! One pass: read the artifact → [`plan`] → [`observe`] → [`decide`] → write the [`status`] → [`apply`] → report. Nothing
//! is remembered between passes that the cluster does not hold too.

pub mod apply;
pub mod args;
pub mod build;
pub mod controller;
pub mod decide;
pub mod error;
pub mod metrics;
pub mod observe;
pub mod paths;
pub mod plan;
pub mod recipe;
pub mod render;
pub mod status;
pub mod steps;
pub mod template;
pub mod texts;
pub mod tools;
pub mod worker;

#[cfg(test)]
mod testing;
