//! The state machine: from a snapshot of the cluster and `now` to the next status and what is to be done.
//!
//! Pure: no client, no clock, no randomness. One call is one pass over one NodeOp, in this order: [`advance`] moves the
//! nodes that have started, [`gate`](Gate) says whether more may start, [`reserve`] picks them, [`crate::status`] sums up.

mod advance;
mod deletion;
mod enter;
mod gone;
mod order;
mod outcome;
mod ready;
mod reboot;
mod reserve;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_types::conditions::reasons;
use api_types::names::FINALIZER_NODEOP;
use api_types::nodeop::{NodeOp, NodePhase, NodeStatus, NodeStep};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub(crate) use deletion::may_reboot;
pub use deletion::{Deletion, delete};
pub(crate) use reboot::told_boot;
pub(crate) use work::failure_message;

use crate::adopt;
use crate::build::check_pod::Check;
use crate::control_plane::Standing;
use crate::drain::{DrainState, Mode};
use crate::status::{self, Write};
use crate::validate::{Refusal, ValidSpec, validate};
use crate::watched::{WatchedJob, WatchedNode, WatchedPod};
pub(crate) use advance::{Advance, Uncordon, note};
use outcome::outcome;

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
    /// The NodeOp's Pods by name: those of its Jobs, its checks and its reboots.
    pub pods: &'a BTreeMap<String, Arc<WatchedPod>>,
    /// Jobs that were created and are gone for certain, though no status says that they ran: a Pod of theirs is left.
    pub vanished: &'a BTreeSet<String>,
    /// What the Pods of failed Jobs say about the cause, by Job name.
    pub causes: &'a BTreeMap<String, String>,
    /// Nodes that another living NodeOp has claimed or cordoned, with that NodeOp's namespace and name. A claim that is
    /// not here is dead.
    pub claims: &'a BTreeMap<String, String>,
    /// Nodes on which a Job of another NodeOp is active, with that Job's namespace and name.
    pub busy: &'a BTreeMap<String, String>,
    /// What the latest look at a draining node's Pods found, by node.
    pub drains: &'a BTreeMap<String, DrainView>,
    /// Boot IDs read live from Nodes, where the agent's own word is not known, by node.
    pub boots: &'a BTreeMap<String, String>,
    /// Who may disturb the control plane.
    pub control_plane: Standing,
    /// Nodes for which something cannot ever be created, and why: they have failed.
    pub problems: &'a BTreeMap<String, String>,
    /// Nodes that could not be given back just now, and why, where that is worth telling. Their results wait.
    pub unreleased: &'a BTreeMap<String, String>,
    /// Whether the controller knows the image of the agent that reboots nodes.
    pub can_reboot: bool,
    /// The node that this controller runs on, when it knows.
    pub own_node: Option<&'a str>,
}

impl Snapshot<'_> {
    /// Whether this operation may disturb only one control-plane node at a time.
    pub(crate) fn guards_control_plane(&self) -> bool {
        let spec = &self.node_op.spec;
        spec.disrupts() && !spec.allow_control_plane_parallel
    }

    /// A control-plane node other than `node` that is not Ready.
    pub(crate) fn control_plane_not_ready(&self, node: &str) -> Option<&str> {
        let other = self.nodes.values().find(|other| {
            other.is_control_plane() && other.name() != node && other.readiness().is_err()
        })?;
        Some(other.name())
    }
}

/// What the latest look at a node's Pods found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainView {
    /// What it was for.
    pub mode: Mode,
    /// When it ended.
    pub at: Timestamp,
    /// How far the node is.
    pub state: DrainState,
    /// The Pods that budgets hold back and their budgets, for one Event per blocker.
    pub blockers: Option<String>,
    /// When another look makes sense, counted from now.
    pub next_after: SignedDuration,
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

/// Something to be done once the status is acknowledged. Each may be done again without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The Job of this node must exist.
    CreateJob(String),
    /// The Pod of this check must exist on this node.
    CreateCheck(String, Check),
    /// The Pod that will reboot this node must exist.
    CreateRebootPod {
        /// The node.
        node: String,
        /// The boot that it may end from the start, where the permission was given before.
        authorized: Option<String>,
    },
    /// The reboot Pod must know that it may end this boot.
    Authorize {
        /// The reboot Pod.
        pod: String,
        /// Its node.
        node: String,
        /// The boot.
        boot: String,
    },
    /// A Pod of this operation is no longer needed.
    DeletePod(String),
    /// This control-plane node needs the control plane's one place.
    TakePlace(String),
    /// This node needs this operation's claim, and cordon where asked for.
    Claim(String),
    /// Somebody has to look at this node's Pods, and evict them in mode Drain.
    AskDrain(String, Mode),
}

impl Act {
    /// The node it is about, if it is about one.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::CreateJob(node)
            | Self::CreateCheck(node, _)
            | Self::CreateRebootPod { node, .. }
            | Self::Authorize { node, .. }
            | Self::TakePlace(node)
            | Self::Claim(node)
            | Self::AskDrain(node, _) => Some(node),
            Self::DeletePod(_) => None,
        }
    }
}

/// What a node that ends has to be freed of before its result is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// The node.
    pub node: String,
    /// The patch that takes claim and cordon off the Node, if there are any.
    pub patch: Option<Value>,
    /// Whether it holds the control plane's place.
    pub place: bool,
    /// Pods of this operation to be deleted, by name.
    pub pods: Vec<String>,
}

/// What to do, in this order: rehearse or hold the object (and decide again), release (and decide again where that fails),
/// write the status, act.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The node whose Job's Pod is to be created as a dry run first. Nothing else of this plan may happen then.
    pub rehearse: Option<String>,
    /// Whether the NodeOp needs our finalizer first. Nothing else of this plan may happen then.
    pub hold: bool,
    /// What has to be let go before the status may be written.
    pub releases: Vec<Release>,
    /// The status as it should be, and when it has to be written.
    pub status: api_types::nodeop::NodeOpStatus,
    /// Whether the write may wait.
    pub write: Write,
    /// What is to be done next. What starts a node is among it only once its reservation is in `status`.
    pub acts: Vec<Act>,
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
    let node_op = snapshot.node_op;
    let before = node_op.status.clone().unwrap_or_default();
    // A deletion that a finalizer of others holds up may be seen here before its own watch event comes.
    let deleted = node_op.metadata.deletion_timestamp.is_some();
    if deleted || status::is_terminal(&before) {
        return Plan::rest(before);
    }
    if adopt::is_foreign(&before) {
        return adopt::decide(snapshot, before, now);
    }
    let valid = validate(&node_op.spec);
    let matching = valid
        .as_ref()
        .map(|valid| order::matching(valid, snapshot))
        .unwrap_or_default();
    let mut entries = before.node_statuses.clone();
    let mut advance = Advance::new(snapshot, now);
    ready::wait_for_ready(&mut entries, &mut advance, &matching);
    advance.all(&mut entries);
    let mut gate = gate(
        node_op,
        valid.as_ref(),
        &entries,
        rehearsal,
        snapshot.can_reboot,
    );
    if gate == Gate::Stopped {
        advance.withdraw(&mut entries);
    }

    let mut picked = reserve::Picked::default();
    if let (Gate::Open, Ok(valid)) = (&gate, &valid) {
        picked = reserve::pick(valid, snapshot, &matching, &entries, now);
        let first = before.start_time.is_none() && *rehearsal == Rehearsal::NotYet;
        if first && let Some((name, _)) = picked.reserve.first() {
            return Plan {
                rehearse: Some(name.clone()),
                ..Plan::rest(before)
            };
        }
        if !picked.reserve.is_empty() && node_op.spec.disrupts() && !is_held(node_op) {
            return Plan {
                hold: true,
                ..Plan::rest(before)
            };
        }
        entries.extend(std::mem::take(&mut picked.wait));
        for (name, mut entry) in std::mem::take(&mut picked.reserve) {
            if let Some(node) = snapshot.nodes.get(&name) {
                // What comes first on this node is asked for now, and done once the reservation is acknowledged.
                advance.first(&name, &mut entry, node);
            }
            entries.insert(name, entry);
        }
    }
    if picked.too_many && !entries.values().any(holds_slot) {
        gate = Gate::Held {
            reason: reasons::TOO_MANY_NODES,
            message: "the status of one NodeOp cannot hold more nodes; split the operation by nodeSelector".to_owned(),
        };
    }

    let outcome = outcome(
        &gate,
        valid.is_ok(),
        &matching,
        &entries,
        picked.obstacle.as_ref(),
        snapshot,
    );
    if picked.obstacle.is_some() {
        advance.look_again(advance::LOOK_AGAIN);
    }
    let status = status::next(
        &before,
        entries,
        &outcome,
        matching.len(),
        node_op.metadata.generation,
        now,
    );
    let write = status::write_decision(&before, &status, now);
    Plan {
        rehearse: None,
        hold: false,
        releases: advance.releases,
        status,
        write,
        acts: advance.acts,
        wake_after: advance.wake,
    }
    .in_step_with_its_write()
}

/// Whether our finalizer is on the NodeOp.
pub fn is_held(node_op: &NodeOp) -> bool {
    let finalizers = node_op.metadata.finalizers.as_ref();
    finalizers.is_some_and(|names| names.iter().any(|name| name == FINALIZER_NODEOP))
}

impl Plan {
    /// A plan that changes nothing.
    pub(crate) fn rest(status: api_types::nodeop::NodeOpStatus) -> Self {
        Self {
            rehearse: None,
            hold: false,
            releases: Vec::new(),
            status,
            write: Write::Nothing,
            acts: Vec::new(),
            wake_after: None,
        }
    }

    /// The nodes whose Job is to be created.
    pub fn starts(&self) -> impl Iterator<Item = &str> {
        self.acts.iter().filter_map(|act| match act {
            Act::CreateJob(node) => Some(node.as_str()),
            _ => None,
        })
    }
}

/// Whether a node has ended for good.
pub(crate) fn is_finished(entry: &NodeStatus) -> bool {
    entry.phase.is_terminal()
}

/// Whether a node counts against `concurrency`: started, not finished, not gone.
pub(crate) fn holds_slot(entry: &NodeStatus) -> bool {
    if planted!(SlotFreedEarly) {
        return !is_finished(entry) && entry.boot_id.is_none();
    }
    let idle = [NodeStep::WaitingForReady, NodeStep::NodeGone].map(Some);
    !is_finished(entry) && !idle.contains(&entry.step)
}

fn gate(
    node_op: &NodeOp,
    valid: Result<&ValidSpec<'_>, &Refusal>,
    entries: &BTreeMap<String, NodeStatus>,
    rehearsal: &Rehearsal,
    can_reboot: bool,
) -> Gate {
    let held = |reason, message: &str| Gate::Held {
        reason,
        message: message.to_owned(),
    };
    match valid {
        Err(Refusal::Invalid(message)) => return held(reasons::INVALID_SPEC, message),
        // Never half an operation.
        Ok(_) if node_op.spec.reboot_on_success && !can_reboot => {
            return held(
                reasons::UNSUPPORTED,
                "this nodeop-controller was started without --agent-image, so it cannot carry out spec.rebootOnSuccess; \
                 no node was touched",
            );
        }
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

#[cfg(test)]
mod tests;
