//! From a NodeOpUpgrade, its NodeOp and `now` to the one request to make and the next status.
//!
//! Pure: no client, no clock, no randomness.

mod edit;

use api_types::conditions::reasons;
use api_types::nodeop::{NodeOp, NodeOpStatus};
use api_types::nodeopupgrade::{NodeOpUpgrade, NodeOpUpgradeStatus};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Resource as _, ResourceExt as _};

use crate::build::BuildSettings;
use crate::build::node_op::node_op;
use crate::status::{self, Write};

pub use edit::Edit;

/// A NodeOp without any status for this long has no controller.
const TAKEN_UP_WITHIN: SignedDuration = SignedDuration::from_secs(60);
/// How often a NodeOp that is to go away is looked for.
const GONE_POLL: SignedDuration = SignedDuration::from_secs(5);

/// What one pass knows.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// The NodeOpUpgrade as the API server holds it.
    pub upgrade: &'a NodeOpUpgrade,
    /// The NodeOp of its name, read from the API server: its absence is certain.
    pub node_op: Option<&'a NodeOp>,
    /// Whether this process has seen this upgrade's NodeOp before. The status may not tell it yet: its write meets an edit of
    /// the upgrade, and is made anew.
    pub node_op_was_seen: bool,
    /// What the controller's flags say.
    pub settings: BuildSettings,
}

/// What the API server said to this pass's request, if one was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing was asked.
    NotAsked,
    /// It refused, with its words.
    Refused(String),
}

/// A request to the API server.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create this NodeOp.
    Create(Box<NodeOp>),
    /// Carry an edit of the upgrade over to its NodeOp.
    Edit(Edit),
}

/// What to do: make the request and decide again with what came of it, or else write the status.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The request. Nothing else of this plan is carried out then.
    pub action: Option<Action>,
    /// The status as it should be.
    pub status: NodeOpUpgradeStatus,
    /// Whether the write may wait.
    pub write: Write,
    /// The latest time to look again, when a deadline runs.
    pub wake_after: Option<SignedDuration>,
    /// What of the spec's latest edit does not go through, and why.
    pub refused_edit: Option<String>,
}

impl Plan {
    fn rest(before: NodeOpUpgradeStatus) -> Self {
        Self {
            action: None,
            status: before,
            write: Write::Nothing,
            wake_after: None,
            refused_edit: None,
        }
    }

    fn act(before: NodeOpUpgradeStatus, action: Action) -> Self {
        Self {
            action: Some(action),
            ..Self::rest(before)
        }
    }

    fn say(before: &NodeOpUpgradeStatus, status: NodeOpUpgradeStatus, now: Timestamp) -> Self {
        Self {
            write: status::write_decision(before, &status, now),
            ..Self::rest(status)
        }
    }

    fn waking_after(self, delay: SignedDuration) -> Self {
        Self {
            wake_after: Some(delay),
            ..self
        }
    }
}

/// Whose the NodeOp of an upgrade's name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// This upgrade's.
    Own,
    /// Nobody's for long: it is being deleted, or belonged to a former upgrade of this name and goes with it.
    Passing,
    /// Somebody else's.
    Foreign,
}

/// One pass.
pub fn decide(snapshot: &Snapshot<'_>, answer: &Answer, now: Timestamp) -> Plan {
    let upgrade = snapshot.upgrade;
    let before = upgrade.status.clone().unwrap_or_default();
    if upgrade.metadata.deletion_timestamp.is_some() || status::is_terminal(&before) {
        return Plan::rest(before);
    }
    // Once it had a NodeOp it gets no other: a second one would begin again on nodes that are done.
    let had_node_op = before.node_op_name.is_some() || snapshot.node_op_was_seen;
    let Some(node_op) = snapshot.node_op else {
        return if had_node_op {
            gone(upgrade, &before, now)
        } else {
            create(snapshot, &before, answer, now)
        };
    };
    match ownership(node_op, upgrade) {
        Ownership::Own => follow(snapshot, node_op, &before, answer, now),
        Ownership::Passing | Ownership::Foreign if had_node_op => gone(upgrade, &before, now),
        Ownership::Passing => {
            let message = format!(
                "waiting until the NodeOp {} of a former NodeOpUpgrade of this name is gone",
                upgrade.name_any()
            );
            let status = status::waiting(&before, upgrade, reasons::INITIALIZING, &message, now);
            Plan::say(&before, status, now).waking_after(GONE_POLL)
        }
        Ownership::Foreign => {
            let message = format!(
                "a NodeOp named {0} exists that is not this NodeOpUpgrade's, so no node was touched; delete nodeop/{0} or \
                 choose another name, and create the NodeOpUpgrade again",
                upgrade.name_any()
            );
            let status =
                status::failed(&before, upgrade, reasons::NODE_OP_NAME_TAKEN, &message, now);
            Plan::say(&before, status, now)
        }
    }
}

/// Whose a NodeOp is that has the name of `upgrade`.
pub(crate) fn ownership(node_op: &NodeOp, upgrade: &NodeOpUpgrade) -> Ownership {
    let mut owners = node_op.owner_references().iter();
    let owner = owners.find(|owner| owner.controller == Some(true));
    if owner.is_some_and(|owner| Some(&owner.uid) == upgrade.metadata.uid.as_ref()) {
        return Ownership::Own;
    }
    let is_former = owner.is_some_and(|owner| {
        owner.kind == NodeOpUpgrade::kind(&()) && owner.name == upgrade.name_any()
    });
    if is_former || node_op.metadata.deletion_timestamp.is_some() {
        Ownership::Passing
    } else {
        Ownership::Foreign
    }
}

fn create(
    snapshot: &Snapshot<'_>,
    before: &NodeOpUpgradeStatus,
    answer: &Answer,
    now: Timestamp,
) -> Plan {
    match answer {
        Answer::NotAsked => {
            let made = node_op(snapshot.upgrade, snapshot.settings);
            Plan::act(before.clone(), Action::Create(Box::new(made)))
        }
        Answer::Refused(words) => {
            let message = format!("the API server refuses the NodeOp of this upgrade: {words}");
            let reason = reasons::NODE_OP_REFUSED;
            let status = status::waiting(before, snapshot.upgrade, reason, &message, now);
            Plan::say(before, status, now)
        }
    }
}

/// The NodeOp that there was is no more.
fn gone(upgrade: &NodeOpUpgrade, before: &NodeOpUpgradeStatus, now: Timestamp) -> Plan {
    // kairos-operator wrote no conditions: an upgrade that it ended stays as it was.
    let status = status::ended_without_conditions(before, upgrade, now).unwrap_or_else(|| {
        let message = format!(
            "the NodeOp {} of this upgrade was deleted before its end; nodes that were done stay upgraded, create a new \
             NodeOpUpgrade for the others",
            upgrade.name_any()
        );
        status::failed(before, upgrade, reasons::NODE_OP_DELETED, &message, now)
    });
    Plan::say(before, status, now)
}

/// The NodeOp is there: carry edits over, and show what it reports.
fn follow(
    snapshot: &Snapshot<'_>,
    node_op: &NodeOp,
    before: &NodeOpUpgradeStatus,
    answer: &Answer,
    now: Timestamp,
) -> Plan {
    let upgrade = snapshot.upgrade;
    let edit = edit::edit(snapshot, node_op);
    let mut refused = edit.refused;
    match (edit.edit, answer) {
        (Some(edit), Answer::NotAsked) => return Plan::act(before.clone(), Action::Edit(edit)),
        (Some(_), Answer::Refused(words)) => {
            refused = Some(format!("the latest edit of the spec was refused: {words}"));
        }
        (None, _) => {}
    }
    let empty = NodeOpStatus::default();
    let reported = node_op.status.as_ref().unwrap_or(&empty);
    let has_reported = reported.phase.is_some() || !reported.conditions.is_empty();
    let (status, wake_after) = if has_reported {
        (
            status::mirror(before, upgrade, reported, refused.as_deref()),
            None,
        )
    } else {
        not_taken_up(upgrade, node_op, before, now)
    };
    let plan = Plan::say(before, status, now);
    Plan {
        wake_after,
        refused_edit: refused,
        ..plan
    }
}

/// The NodeOp has no status: who should write one is late, or missing.
fn not_taken_up(
    upgrade: &NodeOpUpgrade,
    node_op: &NodeOp,
    before: &NodeOpUpgradeStatus,
    now: Timestamp,
) -> (NodeOpUpgradeStatus, Option<SignedDuration>) {
    let name = upgrade.name_any();
    let made = node_op.metadata.creation_timestamp.as_ref();
    let waited = made.map_or(SignedDuration::ZERO, |made| now.duration_since(made.0));
    let (reason, message, wake_after) = if waited < TAKEN_UP_WITHIN {
        (
            reasons::INITIALIZING,
            format!("the NodeOp {name} is made, and waits for the nodeop-controller"),
            Some(TAKEN_UP_WITHIN - waited),
        )
    } else {
        (
            reasons::NODE_OP_CONTROLLER_MISSING,
            format!(
                "no nodeop-controller has taken up the NodeOp {name} within {} s, so no node was touched; install it, or \
                 see why it does not run: kubectl -n kairos-operator get deployment nodeop-controller",
                TAKEN_UP_WITHIN.as_secs()
            ),
            None,
        )
    };
    let status = NodeOpUpgradeStatus {
        node_op_name: Some(name),
        ..status::waiting(before, upgrade, reason, &message, now)
    };
    (status, wake_after)
}

#[cfg(test)]
mod tests;
