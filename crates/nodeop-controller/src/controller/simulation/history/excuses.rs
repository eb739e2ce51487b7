//! What no process can help: the moment between its last read and its write, in which somebody else acts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api_types::nodeop::{NodePhase, NodeStatus, NodeStep};
use serde_json::Value;
use tokio::time::Instant;

use super::{Work, is_finished, node_of, owner_of};

/// How long a pass may take from its first read to its last write, when answers are late.
const MOMENT: Duration = Duration::from_secs(90);

/// What has happened that excuses something.
#[derive(Debug, Default)]
pub(in crate::controller::simulation) struct Excuses {
    /// Jobs that somebody deleted.
    deleted_jobs: BTreeSet<Work>,
    /// When the status first told of a Job.
    noted: BTreeMap<Work, Instant>,
    /// Nodes that were deleted while the command may have run there.
    gone_nodes: BTreeSet<Work>,
    /// When NodeOps went, by UID.
    gone_ops: BTreeMap<String, Instant>,
}

impl Excuses {
    /// Somebody deletes a Job.
    pub(in crate::controller::simulation) fn job_deleted(&mut self, job: &Value) {
        let work = (owner_of(job).to_owned(), node_of(job).to_owned());
        self.deleted_jobs.insert(work);
    }

    /// A NodeOp is gone.
    pub(in crate::controller::simulation) fn node_op_gone(&mut self, uid: &str) {
        self.gone_ops.insert(uid.to_owned(), Instant::now());
    }

    /// The status says this of a node.
    pub(super) fn note(&mut self, work: Work, entry: &NodeStatus) {
        if entry.step == Some(NodeStep::NodeGone) && entry.phase == NodePhase::Running {
            self.gone_nodes.insert(work.clone());
        }
        if is_finished(entry) || entry.step == Some(NodeStep::Running) {
            self.noted.entry(work).or_insert_with(Instant::now);
        }
    }

    /// Whether the node may be worked on beside others: its command cannot be held up when it comes back, whoever has taken
    /// its slot.
    pub(super) fn excuse_slot(&self, work: &Work) -> bool {
        self.gone_nodes.contains(work)
    }

    /// Whether a second Job may be made for a moment: its NodeOp has just gone, with the first; or another leader has just
    /// noted the first, and somebody has deleted it.
    pub(super) fn excuse_job(&self, work: &Work, two_leaders: bool) -> bool {
        let recent = |at: &Instant| at.elapsed() < MOMENT;
        if let Some(gone) = self.gone_ops.get(&work.0) {
            return recent(gone);
        }
        two_leaders && self.deleted_jobs.contains(work) && self.noted.get(work).is_none_or(recent)
    }
}
