//! What a change of status is worth telling: one report per node result, one when the upgrade itself turns, and one for an
//! edit that does not go through.

use api_types::conditions::{reasons, types};
use api_types::nodeop::{NodePhase, NodeStatus, NodeStep, RebootStatus};
use api_types::nodeopupgrade::{NodeOpUpgrade, NodeOpUpgradeStatus, UpgradePhase};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use operator_runtime::events::{Notice, NoticeKind};

use super::{condition, is_terminal};
use crate::metrics::{NodeReason, NodeResult};

/// Something that happened, to be published as an Event and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The node it is about, if it is about one.
    pub node: Option<String>,
    /// Tells apart Events of one reason that are about no node.
    pub key: String,
    /// Event reason.
    pub reason: &'static str,
    /// Whether a human should look.
    pub warning: bool,
    /// Event text.
    pub note: String,
    /// How a node ended and why, if this tells of one.
    pub result: Option<(NodeResult, NodeReason)>,
}

impl Report {
    /// The report as an Event about `upgrade`. Its key makes it one Event per node and result, however often a crash lets
    /// it be told.
    pub fn into_notice(self, upgrade: &NodeOpUpgrade) -> Notice {
        let related = self.node.as_ref().map(|node| ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.clone()),
            ..ObjectReference::default()
        });
        Notice {
            regarding: upgrade.object_ref(&()),
            related,
            kind: if self.warning {
                NoticeKind::Warning
            } else {
                NoticeKind::Normal
            },
            reason: self.reason,
            action: "Upgrade",
            note: self.note,
            key: self.node.unwrap_or(self.key),
        }
    }
}

/// What `after` says that `before` did not. `refused_edit`: what of the latest edit does not go through.
pub fn reports(
    before: &NodeOpUpgradeStatus,
    after: &NodeOpUpgradeStatus,
    refused_edit: Option<&str>,
) -> Vec<Report> {
    let mut reports = Vec::new();
    for (name, entry) in &after.node_statuses {
        let known = before.node_statuses.get(name);
        if known.is_some_and(|known| known.phase == entry.phase) {
            continue;
        }
        reports.extend(of_node(name, known, entry));
    }
    reports.extend(turn(before, after));
    let known = before.message.as_deref().unwrap_or_default();
    if let Some(words) = refused_edit.filter(|words| !known.contains(words)) {
        reports.push(Report {
            node: None,
            key: after.observed_generation.unwrap_or_default().to_string(),
            reason: "EditRefused",
            warning: true,
            note: words.to_owned(),
            result: None,
        });
    }
    reports
}

/// Whether a node is done because there was nothing to do.
pub fn is_skip(entry: &NodeStatus) -> bool {
    entry.phase == NodePhase::Completed && words(entry).starts_with("Skipped: ")
}

fn words(entry: &NodeStatus) -> &str {
    entry.message.as_deref().unwrap_or_default()
}

fn of_node(name: &str, known: Option<&NodeStatus>, entry: &NodeStatus) -> Option<Report> {
    let words = words(entry);
    let (reason, result, note) = match entry.phase {
        NodePhase::Completed if is_skip(entry) => (
            "NodeSkipped",
            (NodeResult::Skipped, skip_reason(words)),
            format!("{name}: {words}"),
        ),
        NodePhase::Completed => (
            "NodeUpgraded",
            (NodeResult::Upgraded, NodeReason::Done),
            format!("{name} upgraded"),
        ),
        NodePhase::Failed => (
            reasons::NODE_FAILED,
            (NodeResult::Failed, failure_reason(known, entry)),
            format!("{name} failed: {words}"),
        ),
        NodePhase::Pending | NodePhase::Preflight | NodePhase::Running => return None,
    };
    Some(Report {
        node: Some(name.to_owned()),
        key: String::new(),
        reason,
        warning: entry.phase == NodePhase::Failed,
        note,
        result: Some(result),
    })
}

/// The words are the script's own.
fn skip_reason(words: &str) -> NodeReason {
    if words.contains("already at ") {
        NodeReason::UpToDate
    } else if words.contains("not a Kairos node") {
        NodeReason::NotKairos
    } else {
        NodeReason::Other
    }
}

/// By the script's own words where it has some, else by how far the node had come.
fn failure_reason(known: Option<&NodeStatus>, entry: &NodeStatus) -> NodeReason {
    let words = words(entry);
    if words.contains("the upgrade fell back") {
        return NodeReason::FellBack;
    }
    if words.contains("still at ") {
        return NodeReason::WrongVersion;
    }
    let step = known.and_then(|known| known.step);
    match (entry.reboot_status, step) {
        (Some(RebootStatus::Completed), _) | (_, Some(NodeStep::Verifying)) => NodeReason::Verify,
        (_, Some(NodeStep::Draining)) => NodeReason::Drain,
        (_, Some(NodeStep::Preflight)) => NodeReason::Preflight,
        (_, Some(NodeStep::WaitingForReady)) => NodeReason::NotReady,
        (_, Some(NodeStep::AwaitingReboot | NodeStep::Rebooting)) => NodeReason::Reboot,
        (Some(RebootStatus::Cancelled), _) | (_, Some(NodeStep::Starting | NodeStep::Running)) => {
            NodeReason::Upgrade
        }
        _ => NodeReason::Other,
    }
}

/// The upgrade's own turn: another reason of its Progressing condition, except plain progress.
fn turn(before: &NodeOpUpgradeStatus, after: &NodeOpUpgradeStatus) -> Option<Report> {
    let now = condition(&after.conditions, types::PROGRESSING)?;
    let then = condition(&before.conditions, types::PROGRESSING);
    if then.is_some_and(|then| then.reason == now.reason) {
        return None;
    }
    let (reason, warning) = match (is_terminal(after), after.phase) {
        (true, Some(UpgradePhase::Failed)) => ("UpgradeFailed", true),
        (true, _) => ("UpgradeCompleted", false),
        (false, _) => match &*now.reason {
            reasons::RUNNING => ("UpgradeStarted", false),
            reasons::PAUSED => (reasons::PAUSED, false),
            reasons::ADOPTED => (reasons::ADOPTED, false),
            reasons::NODE_OP_CONTROLLER_MISSING => (reasons::NODE_OP_CONTROLLER_MISSING, true),
            reasons::NODE_OP_REFUSED => (reasons::NODE_OP_REFUSED, true),
            reasons::NO_MATCHING_NODES => (reasons::NO_MATCHING_NODES, true),
            reasons::POD_REFUSED => (reasons::POD_REFUSED, true),
            // What holds single nodes up comes and goes, and the NodeOp's Events tell of it.
            _ => return None,
        },
    };
    Some(Report {
        node: None,
        key: String::new(),
        reason,
        warning,
        note: now.message.clone(),
        result: None,
    })
}
