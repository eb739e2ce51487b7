//! What can go wrong in a step. The category is a metric label and never holds user data.

use operator_runtime::client::CallError;
use strum::{IntoStaticStr, VariantNames};

/// Result of a step.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A step failed; it is tried again after a growing delay.
#[derive(Debug, thiserror::Error, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Error {
    /// A request got no answer, or one that does not help.
    #[error(transparent)]
    Request(#[from] CallError),
    /// The API server does not take the Pod.
    #[error("failed to create pod {name}: refused: {message}")]
    Refused {
        /// Namespace and name.
        name: String,
        /// The API server's words.
        message: String,
    },
    /// The name of a node's Pod is taken.
    #[error(
        "failed to create pod {name}: a pod of that name exists; it is looked at when the watch shows it, and if it is not the labeller's, delete it"
    )]
    Taken {
        /// Namespace and name.
        name: String,
    },
    /// An object cannot be turned into JSON.
    #[error("failed to serialise the labels of node {name}: {source}")]
    Serialise {
        /// The node's name.
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
