//! The state machine: from a snapshot of the cluster and `now` to the next status and the Jobs to start.
//!
//! Pure: no client, no clock, no randomness. One call is one pass over one NodeOp, in this order: [`follow`] moves the
//! nodes that have started, [`gate`](Gate) says whether more may start, [`reserve`] picks them, [`crate::status`] sums up.

mod follow;
mod order;
mod reserve;

use std::collections::BTreeMap;
use std::sync::Arc;

use api_types::conditions::reasons;
use api_types::nodeop::{NodeOp, NodePhase, NodeStatus, NodeStep};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

pub(crate) use follow::follow_job;

use crate::adopt;
use crate::status::{self, Outcome, Write};
use crate::validate::{Refusal, ValidSpec, validate};
use crate::watched::{WatchedJob, WatchedNode};

/// What one pass knows about the cluster.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    /// The NodeOp as the API server holds it.
    pub node_op: &'a NodeOp,
    /// Every Node of the cluster, by name.
    pub nodes: &'a BTreeMap<String, Arc<WatchedNode>>,
    /// The NodeOp's Jobs by name. A Job that is absent here and that the status calls running is gone for certain:
    /// the observer has asked the API server, not a cache.
    pub jobs: &'a BTreeMap<String, Arc<WatchedJob>>,
    /// What the Pods of failed Jobs say about the cause, by Job name.
    pub causes: &'a BTreeMap<String, String>,
    /// The node that this controller runs on, when it knows.
    pub own_node: Option<&'a str>,
}

/// How the dry run of the Job's Pod went. It precedes the first reservation of a NodeOp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rehearsal {
    /// Not tried in this pass.
    NotYet,
    /// The API server would accept the Pod.
    Passed,
    /// The API server refuses the Pod, with its words.
    Refused(String),
}

/// What to do, in this order: rehearse (and decide again), write the status, start the Jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The node whose Job's Pod is to be created as a dry run first. Nothing else of this plan may happen then.
    pub rehearse: Option<String>,
    /// The status as it should be, and when it has to be written.
    pub status: api_types::nodeop::NodeOpStatus,
    /// Whether the write may wait.
    pub write: Write,
    /// Nodes whose Job must exist. Each is reserved in `status`; a Job is created only once that is acknowledged.
    pub start: Vec<String>,
    /// The latest time to look again, when a deadline runs.
    pub wake_after: Option<SignedDuration>,
}

/// Whether more nodes may start in this pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// They may.
    Open,
    /// Nothing starts until something changes; what runs goes on.
    Held {
        /// Condition reason.
        reason: &'static str,
        /// What the user should know and do.
        message: String,
    },
    /// Nothing starts any more: a node failed and stopOnFailure is set.
    Stopped,
}

/// One pass.
pub fn decide(snapshot: &Snapshot<'_>, rehearsal: &Rehearsal, now: Timestamp) -> Plan {
    let before = snapshot.node_op.status.clone().unwrap_or_default();
    // A deletion that a finalizer of others holds up may be seen here before its own watch event comes.
    let deleted = snapshot.node_op.metadata.deletion_timestamp.is_some();
    if deleted || status::is_terminal(&before) {
        return Plan::rest(before);
    }
    if adopt::is_foreign(&before) {
        return adopt::decide(snapshot, before, now);
    }
    let valid = validate(&snapshot.node_op.spec);
    let matching = valid
        .as_ref()
        .map(|valid| order::matching(valid, snapshot))
        .unwrap_or_default();
    let mut entries = before.node_statuses.clone();
    let mut start = follow::follow(&mut entries, snapshot, &matching, now);
    let mut gate = gate(snapshot.node_op, valid.as_ref(), &entries, rehearsal);
    if gate == Gate::Stopped {
        entries.retain(|_, entry| entry.step != Some(NodeStep::WaitingForReady));
    }

    let mut too_many = false;
    if let (Gate::Open, Ok(valid)) = (&gate, &valid) {
        let picked = reserve::pick(valid, snapshot, &matching, &entries, now);
        if before.start_time.is_none()
            && *rehearsal == Rehearsal::NotYet
            && !picked.reserve.is_empty()
        {
            let mut plan = Plan::rest(before);
            plan.rehearse = picked.reserve.into_iter().next().map(|(name, _)| name);
            return plan;
        }
        too_many = picked.too_many;
        entries.extend(picked.wait);
        for (name, entry) in picked.reserve {
            start.push(name.clone());
            entries.insert(name, entry);
        }
    }
    if too_many && !entries.values().any(holds_slot) {
        gate = Gate::Held {
            reason: reasons::TOO_MANY_NODES,
            message: "the status of one NodeOp cannot hold more nodes; split the operation by nodeSelector".to_owned(),
        };
    }

    let outcome = outcome(&gate, &valid, &matching, &entries, snapshot);
    let wake_after = follow::next_deadline(&entries, &snapshot.node_op.spec, now);
    let status = status::next(
        &before,
        entries,
        &outcome,
        matching.len(),
        snapshot.node_op.metadata.generation,
        now,
    );
    let write = status::write_decision(&before, &status, now);
    Plan {
        rehearse: None,
        status,
        write,
        start,
        wake_after,
    }
}

impl Plan {
    /// A plan that changes nothing.
    pub(crate) fn rest(status: api_types::nodeop::NodeOpStatus) -> Self {
        Self {
            rehearse: None,
            status,
            write: Write::Nothing,
            start: Vec::new(),
            wake_after: None,
        }
    }
}

/// Whether a node has ended for good.
pub(crate) fn is_finished(entry: &NodeStatus) -> bool {
    entry.phase.is_terminal()
}

/// Whether a node counts against `concurrency`: started, not finished, not gone.
pub(crate) fn holds_slot(entry: &NodeStatus) -> bool {
    !is_finished(entry)
        && !matches!(
            entry.step,
            Some(NodeStep::WaitingForReady | NodeStep::NodeGone)
        )
}

fn gate(
    node_op: &NodeOp,
    valid: Result<&ValidSpec<'_>, &Refusal>,
    entries: &BTreeMap<String, NodeStatus>,
    rehearsal: &Rehearsal,
) -> Gate {
    let held = |reason, message: &str| Gate::Held {
        reason,
        message: message.to_owned(),
    };
    match valid {
        Err(Refusal::Invalid(message)) => return held(reasons::INVALID_SPEC, message),
        Err(Refusal::Unsupported(message)) => return held(reasons::UNSUPPORTED, message),
        Ok(_) => {}
    }
    let failed = entries
        .values()
        .any(|entry| entry.phase == NodePhase::Failed);
    if node_op.spec.stop_on_failure && failed {
        return Gate::Stopped;
    }
    if node_op.spec.paused {
        return held(
            reasons::PAUSED,
            "spec.paused is true: nothing new is started; set it to false to go on",
        );
    }
    if let Rehearsal::Refused(message) = rehearsal {
        return held(reasons::POD_REFUSED, message);
    }
    Gate::Open
}

/// What the operation as a whole has come to.
fn outcome(
    gate: &Gate,
    valid: &Result<ValidSpec<'_>, Refusal>,
    matching: &[&WatchedNode],
    entries: &BTreeMap<String, NodeStatus>,
    snapshot: &Snapshot<'_>,
) -> Outcome {
    let active = entries.values().any(holds_slot);
    let unstarted = matching
        .iter()
        .filter(|node| match entries.get(node.name()) {
            None => true,
            Some(entry) => entry.step == Some(NodeStep::WaitingForReady),
        });
    let not_started = unstarted.count();
    let began = entries.values().any(is_finished);
    if !active && began && (*gate == Gate::Stopped || (not_started == 0 && valid.is_ok())) {
        return Outcome::Ended { not_started };
    }
    if let Gate::Held { reason, message } = gate {
        return Outcome::Waiting {
            reason,
            message: message.clone(),
        };
    }
    if matching.is_empty() && !active {
        let (reason, message) = if snapshot.nodes.is_empty() {
            (reasons::NO_MATCHING_NODES, "the cluster has no nodes")
        } else {
            (
                reasons::NO_MATCHING_NODES,
                "no node matches spec.nodeSelector; label the nodes or correct the selector",
            )
        };
        return Outcome::Waiting {
            reason,
            message: message.to_owned(),
        };
    }
    if !active {
        let waiting: Vec<&str> = entries
            .iter()
            .filter(|(_, entry)| entry.step == Some(NodeStep::WaitingForReady))
            .map(|(name, _)| name.as_str())
            .collect();
        if !waiting.is_empty() {
            let message = format!(
                "waiting for {} to become Ready",
                status::name_some(&waiting, waiting.len())
            );
            return Outcome::Waiting {
                reason: reasons::NODES_NOT_READY,
                message,
            };
        }
    }
    Outcome::Running
}

#[cfg(test)]
mod tests;
