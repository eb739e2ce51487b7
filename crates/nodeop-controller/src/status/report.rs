//! What a change of status is worth telling: one report per node result, and one when the operation itself turns.

use api_types::conditions::{reasons, types};
use api_types::nodeop::{NodeOp, NodeOpStatus, NodePhase, NodeStatus, Phase};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use operator_runtime::events::{Notice, NoticeKind};

use crate::metrics::NodeResult;

use super::{STALLED, condition, is_skip, is_terminal};

/// Something that happened, to be published as an Event and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The node it is about, if it is about one.
    pub node: Option<String>,
    /// Event reason.
    pub reason: &'static str,
    /// Whether a human should look.
    pub warning: bool,
    /// Event text.
    pub note: String,
    /// How a node ended, if this tells of one.
    pub result: Option<NodeResult>,
}

impl Report {
    /// The report as an Event about `node_op`. Its key makes it one Event per node and result, however often a crash
    /// lets it be told.
    pub fn into_notice(self, node_op: &NodeOp) -> Notice {
        let related = self.node.as_ref().map(|node| ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.clone()),
            ..ObjectReference::default()
        });
        Notice {
            regarding: node_op.object_ref(&()),
            related,
            kind: if self.warning {
                NoticeKind::Warning
            } else {
                NoticeKind::Normal
            },
            reason: self.reason,
            action: "Operate",
            note: self.note,
            key: self.node.unwrap_or_default(),
        }
    }
}

/// Tells what holds the drain of a node up.
pub fn drain_blocked(node: &str, blockers: &str) -> Report {
    Report {
        node: Some(node.to_owned()),
        reason: reasons::DRAIN_BLOCKED,
        warning: true,
        note: format!("{node}: waiting for {blockers}"),
        result: None,
    }
}

/// What `after` says that `before` did not.
pub fn reports(before: &NodeOpStatus, after: &NodeOpStatus) -> Vec<Report> {
    let mut reports = Vec::new();
    for (name, entry) in &after.node_statuses {
        let known = before.node_statuses.get(name);
        if is_stalled(entry) && !known.is_some_and(is_stalled) {
            reports.push(Report {
                node: Some(name.clone()),
                reason: "PodStalled",
                warning: true,
                note: format!("{name}: {}", entry.message.as_deref().unwrap_or_default()),
                result: None,
            });
        }
        let known = known.map(|entry| entry.phase);
        if Some(entry.phase) == known {
            continue;
        }
        let message = entry.message.as_deref().unwrap_or_default();
        let (reason, result, note) = match entry.phase {
            NodePhase::Completed if is_skip(entry) => (
                "NodeSkipped",
                NodeResult::Skipped,
                format!("{name}: {message}"),
            ),
            NodePhase::Completed => (
                "NodeCompleted",
                NodeResult::Completed,
                format!("{name} completed"),
            ),
            NodePhase::Failed => (
                reasons::NODE_FAILED,
                NodeResult::Failed,
                format!("{name} failed: {message}"),
            ),
            NodePhase::Pending | NodePhase::Preflight | NodePhase::Running => continue,
        };
        let warning = result == NodeResult::Failed;
        reports.push(Report {
            node: Some(name.clone()),
            reason,
            warning,
            note,
            result: Some(result),
        });
    }
    reports.extend(turn(before, after));
    reports
}

fn is_stalled(entry: &NodeStatus) -> bool {
    let message = entry.message.as_deref();
    !entry.phase.is_terminal() && message.is_some_and(|message| message.starts_with(STALLED))
}

/// The operation's own turn: another reason of its Progressing condition, except plain progress.
fn turn(before: &NodeOpStatus, after: &NodeOpStatus) -> Option<Report> {
    let now = condition(after, types::PROGRESSING)?;
    let then = condition(before, types::PROGRESSING);
    if then.is_some_and(|then| then.reason == now.reason) {
        return None;
    }
    let known = [
        reasons::RUNNING,
        reasons::PAUSED,
        reasons::COMPLETED,
        reasons::NODE_FAILED,
        reasons::STOPPED,
        reasons::ADOPTED,
        reasons::INVALID_SPEC,
        reasons::UNSUPPORTED,
        reasons::NO_MATCHING_NODES,
        reasons::NODES_NOT_READY,
        reasons::NODES_CLAIMED,
        reasons::CONTROL_PLANE_BUSY,
        reasons::POD_REFUSED,
        reasons::TOO_MANY_NODES,
    ];
    let reason = known.into_iter().find(|known| *known == now.reason)?;
    let fine = [
        reasons::RUNNING,
        reasons::PAUSED,
        reasons::COMPLETED,
        reasons::ADOPTED,
    ]
    .contains(&reason);
    // The end has its own reason, so that a failed operation is told apart from a failed node.
    let reason = match (is_terminal(after), after.phase) {
        (true, Some(Phase::Failed)) => "OperationFailed",
        _ => reason,
    };
    Some(Report {
        node: None,
        reason,
        warning: !fine || reason == "OperationFailed",
        note: now.message.clone(),
        result: None,
    })
}
