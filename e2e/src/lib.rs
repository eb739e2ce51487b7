//! The embedded cluster: a real Kubernetes control plane, simulated and real nodes, and what tests need around them.
//!
//! - [`assets`]: the programs a cluster is made of, built once by Go and cached.
//! - [`chart`]: what the Helm chart renders, and the kustomize components made of it.
//! - [`cluster`]: the control plane, simulated nodes, namespaces of tests, the audit log.
//! - [`guard`]: the supervisor process that ends everything a run started, also after a panic or a kill -9.
//! - [`images`]: container images made here, and the registry that serves them.
//! - [`nodes`]: real nodes with a real reboot, each in namespaces of its own.

pub mod assets;
pub mod chart;
pub mod cluster;
pub mod guard;
pub mod images;
pub mod nodes;
pub mod operator;
pub mod proxy;

/// Prints one progress line to standard error.
pub fn progress(line: impl AsRef<str>) {
    eprintln!("e2e: {}", line.as_ref());
}
