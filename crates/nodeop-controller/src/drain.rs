//! Empties one node of its Pods, with the meaning of `kubectl drain`, in bounded rounds.
//!
//! One round: list the node's Pods ([`page`]) → [`classify`] them → evict or delete ([`round`]) → tell what is left
//! ([`words`]). [`Rounds`] runs rounds in the background, so that no pass over a NodeOp waits for one. What it remembers
//! spares requests; losing it costs requests and never changes a decision.

pub mod answer;
pub mod classify;
pub mod metrics;
#[cfg(test)]
mod mock;
pub mod page;
pub mod pod;
mod round;
pub mod rounds;
mod signals;
pub mod words;
mod write;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use api_types::nodeop::DrainOptions;

pub use rounds::{Finished, Rounds};

/// Which node is drained for which NodeOp.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DrainKey {
    /// UID of the NodeOp.
    pub uid: String,
    /// Namespace of the NodeOp.
    pub namespace: String,
    /// Name of the NodeOp.
    pub name: String,
    /// Name of the node.
    pub node: String,
}

/// What a round may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Only look for Pods that the options forbid to evict. Asked before the node is cordoned.
    Check,
    /// Also evict and delete. Asked once the cordon is acknowledged, so that a list that is empty stays empty.
    Drain,
}

/// Jobs whose Pods are this controller's own and stay where they are. Pods that a NodeOp controls itself are known
/// without this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnObjects {
    /// UIDs of Jobs.
    pub jobs: HashSet<String>,
}

/// What a round is asked to do.
#[derive(Clone, Debug)]
pub struct Order {
    /// What may be evicted, and how.
    pub options: DrainOptions,
    /// Whose Pods are left alone.
    pub own: Arc<OwnObjects>,
    /// Whether it evicts.
    pub mode: Mode,
}

/// How far the node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DrainState {
    /// A consistent list showed nothing that has to go.
    Drained,
    /// The options forbid to evict Pods that are there. Names them and what to change, in at most
    /// [`words::LONGEST`] bytes. Nothing was evicted by this round.
    Forbidden(String),
    /// Pods are there that may go. After [`Mode::Check`] that is all it says; after [`Mode::Drain`] they are on their way,
    /// or something holds them back.
    Waiting {
        /// Names some of them and what each waits for, in at most [`words::LONGEST`] bytes.
        message: String,
        /// Pods that a PodDisruptionBudget holds back.
        blocked: usize,
        /// Pods that are still there, the blocked ones included.
        remaining: usize,
    },
    /// The round could not find out; it is tried again. Says nothing about the node.
    Unknown(String),
}

/// What a round found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// How far the node is.
    pub state: DrainState,
    /// The Pods that budgets hold back and their budgets, without anything that changes while they do: for one Event per
    /// blocker, after the words «waiting for». At most [`words::LONGEST`] bytes.
    pub blockers: Option<String>,
    /// When another round makes sense, counted from the end of this one. At most five seconds while budgets hold Pods
    /// back.
    pub next_after: Duration,
}
