//! What can go wrong in a pass. The category is a metric label and never holds user data.

use std::time::Duration;

use operator_runtime::client::CallError;
use strum::{IntoStaticStr, VariantNames};

/// Result of a pass's step.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A pass failed; it is tried again after a growing delay.
#[derive(Debug, thiserror::Error, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Error {
    /// A request got no answer, or one that does not help.
    #[error(transparent)]
    Request(#[from] CallError),
    /// The watches have not brought what is there yet.
    #[error("failed to fill the caches within {0:?}; the watches are being retried")]
    Caches(Duration),
    /// Another object of the same name came and went while ours was being created.
    #[error("failed to create {name}: another of that name was removed at the same moment")]
    Crossed {
        /// Kind, namespace and name.
        name: String,
    },
    /// An object cannot be turned into JSON.
    #[error("failed to serialise the status of osartifact {name}: {source}")]
    Serialise {
        /// Namespace and name.
        name: String,
        /// The serialiser's error.
        source: serde_json::Error,
    },
    /// This process no longer holds the lease.
    #[error("stopped before {action}: this replica is not the leader")]
    NotLeader {
        /// What was about to be done.
        action: String,
    },
}

impl Error {
    /// Bounded name of the kind of failure.
    pub fn category(&self) -> &'static str {
        self.into()
    }
}

/// Every category that an error can have.
pub const CATEGORIES: &[&str] = <Error as VariantNames>::VARIANTS;
