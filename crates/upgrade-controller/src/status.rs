//! The status of a NodeOpUpgrade: its NodeOp's, or why there is none; and when it is written.

mod report;

use std::collections::BTreeMap;

use api_types::conditions::{reasons, types};
use api_types::nodeop::{NodeOpStatus, NodeStatus, NodeStep};
use api_types::nodeopupgrade::{NodeOpUpgrade, NodeOpUpgradeStatus, UpgradePhase};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use operator_runtime::merge_patch::difference;
use operator_runtime::names::cut_text;
use serde_json::{Map, Value, json};

pub use report::{Report, is_skip, reports};

/// The longest message of a condition, in bytes.
const CONDITION_MESSAGE_BYTES: usize = 1024;
/// Progress is written at most this often, and more rarely the larger the status is.
const PROGRESS_INTERVAL: SignedDuration = SignedDuration::from_secs(1);
/// Bytes of status per further second between two progress writes.
const PROGRESS_BYTES_PER_SECOND: usize = 100 * 1024;
/// How many current nodes are named before the rest is counted.
const CURRENT_SHOWN: usize = 3;

/// Whether and when a status has to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// It says nothing new.
    Nothing,
    /// At once: a beginning, an end, or another reason.
    Now,
    /// After this long; written earlier together with anything that cannot wait.
    After(SignedDuration),
}

/// Whether the upgrade has ended for good.
pub fn is_terminal(status: &NodeOpUpgradeStatus) -> bool {
    is_over(&status.conditions)
}

/// Whether a NodeOp has ended for good.
pub fn has_ended(status: &NodeOpStatus) -> bool {
    is_over(&status.conditions)
}

fn is_over(conditions: &[Condition]) -> bool {
    [types::COMPLETE, types::FAILED]
        .iter()
        .any(|name| condition(conditions, name).is_some_and(|condition| condition.status == "True"))
}

/// The condition of that type.
pub fn condition<'a>(conditions: &'a [Condition], name: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == name)
}

/// What the NodeOp reports, with `note` in front of its message. Each field is named, so that a new one cannot be forgotten.
pub fn mirror(
    before: &NodeOpUpgradeStatus,
    upgrade: &NodeOpUpgrade,
    reported: &NodeOpStatus,
    note: Option<&str>,
) -> NodeOpUpgradeStatus {
    let NodeOpStatus {
        phase,
        // Of the NodeOp's status; this one has its own.
        last_updated: _,
        start_time,
        completion_time,
        // Of the NodeOp's spec; this one speaks of the upgrade's.
        observed_generation: _,
        message,
        summary,
        conditions,
        node_statuses,
    } = reported.clone();
    let observed_generation = upgrade.metadata.generation;
    NodeOpUpgradeStatus {
        phase: Some(phase.map_or(UpgradePhase::Initializing, UpgradePhase::from)),
        node_op_name: upgrade.metadata.name.clone(),
        last_updated: before.last_updated.clone(),
        start_time,
        completion_time,
        observed_generation,
        message: match (note, message) {
            (Some(note), Some(message)) => Some(format!("{note}. {message}")),
            (Some(note), None) => Some(note.to_owned()),
            (None, message) => message,
        },
        summary,
        current: current(&node_statuses),
        conditions: conditions
            .into_iter()
            .map(|condition| Condition {
                observed_generation,
                ..condition
            })
            .collect(),
        node_statuses,
    }
}

/// There is no report yet, for that reason.
pub fn waiting(
    before: &NodeOpUpgradeStatus,
    upgrade: &NodeOpUpgrade,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> NodeOpUpgradeStatus {
    let moves = reason == reasons::INITIALIZING;
    let status = NodeOpUpgradeStatus {
        phase: Some(UpgradePhase::Initializing),
        ..before.clone()
    };
    with_conditions(status, upgrade, (false, false, moves), reason, message, now)
}

/// The upgrade ends here, without a report. What was reported of nodes before stays.
pub fn failed(
    before: &NodeOpUpgradeStatus,
    upgrade: &NodeOpUpgrade,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> NodeOpUpgradeStatus {
    let status = NodeOpUpgradeStatus {
        phase: Some(UpgradePhase::Failed),
        completion_time: Some(Time(now)),
        current: None,
        ..before.clone()
    };
    with_conditions(status, upgrade, (false, true, false), reason, message, now)
}

/// The status of an upgrade that ended before it had conditions: its phase, said once more as conditions. Nothing when it had
/// not ended.
pub fn ended_without_conditions(
    before: &NodeOpUpgradeStatus,
    upgrade: &NodeOpUpgrade,
    now: Timestamp,
) -> Option<NodeOpUpgradeStatus> {
    let completed = match before.phase? {
        UpgradePhase::Completed => true,
        UpgradePhase::Failed => false,
        UpgradePhase::Initializing | UpgradePhase::Pending | UpgradePhase::Running => return None,
    };
    let message = "ended under kairos-operator";
    let values = (completed, !completed, false);
    Some(with_conditions(
        before.clone(),
        upgrade,
        values,
        reasons::ADOPTED,
        message,
        now,
    ))
}

/// `values`: Complete, Failed and Progressing.
fn with_conditions(
    mut status: NodeOpUpgradeStatus,
    upgrade: &NodeOpUpgrade,
    values: (bool, bool, bool),
    reason: &str,
    message: &str,
    now: Timestamp,
) -> NodeOpUpgradeStatus {
    let observed_generation = upgrade.metadata.generation;
    let known = std::mem::take(&mut status.conditions);
    for (name, holds) in [
        (types::COMPLETE, values.0),
        (types::FAILED, values.1),
        (types::PROGRESSING, values.2),
    ] {
        let value = if holds { "True" } else { "False" };
        let last_transition_time = match condition(&known, name) {
            Some(known) if known.status == value => known.last_transition_time.clone(),
            _ => Time(now),
        };
        status.conditions.push(Condition {
            type_: name.to_owned(),
            status: value.to_owned(),
            reason: reason.to_owned(),
            message: cut_text(message, CONDITION_MESSAGE_BYTES),
            observed_generation,
            last_transition_time,
        });
    }
    status.observed_generation = observed_generation;
    status.message = Some(message.to_owned());
    status
}

/// The nodes that are being worked on with what is being done, as one line.
fn current(entries: &BTreeMap<String, NodeStatus>) -> Option<String> {
    let at_work: Vec<(&String, NodeStep)> = entries
        .iter()
        .filter(|(_, entry)| !entry.phase.is_terminal())
        .filter_map(|(name, entry)| Some((name, entry.step?)))
        .filter(|(_, step)| !matches!(step, NodeStep::WaitingForReady | NodeStep::NodeGone))
        .collect();
    let mut shown: Vec<String> = at_work
        .iter()
        .take(CURRENT_SHOWN)
        .map(|(name, step)| format!("{name} ({step:?})"))
        .collect();
    if at_work.len() > CURRENT_SHOWN {
        shown.push(format!("and {} more", at_work.len() - CURRENT_SHOWN));
    }
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// Whether `after` has to be written over `before`, and when.
pub fn write_decision(
    before: &NodeOpUpgradeStatus,
    after: &NodeOpUpgradeStatus,
    now: Timestamp,
) -> Write {
    let same = NodeOpUpgradeStatus {
        last_updated: None,
        ..before.clone()
    } == NodeOpUpgradeStatus {
        last_updated: None,
        ..after.clone()
    };
    if same {
        return Write::Nothing;
    }
    let reason = |status: &NodeOpUpgradeStatus| {
        condition(&status.conditions, types::PROGRESSING).map(|found| found.reason.clone())
    };
    // From its start on, the API server refuses edits that come too late: the sooner it knows, the better.
    let starts = before.start_time.is_none() && after.start_time.is_some();
    let turns = before.phase != after.phase
        || before.observed_generation != after.observed_generation
        || reason(before) != reason(after);
    if starts || turns || is_terminal(after) {
        return Write::Now;
    }
    let Some(last) = before.last_updated.as_ref() else {
        return Write::Now;
    };
    let size = serde_json::to_vec(after).map_or(0, |json| json.len());
    let seconds = i64::try_from(size / PROGRESS_BYTES_PER_SECOND).unwrap_or(i64::MAX);
    let interval = PROGRESS_INTERVAL.max(SignedDuration::from_secs(seconds));
    let passed = now.duration_since(last.0);
    // A clock that went back must not hold the write up.
    if passed.is_negative() || passed >= interval {
        Write::Now
    } else {
        Write::After(interval - passed)
    }
}

/// The merge patch that turns one status into the next, and that the API server refuses with 409 unless the object still has
/// this uid and resourceVersion.
pub fn patch_body(
    upgrade: &NodeOpUpgrade,
    after: &NodeOpUpgradeStatus,
) -> Result<Value, serde_json::Error> {
    let before = upgrade.status.clone().unwrap_or_default();
    let change = difference(
        &serde_json::to_value(before)?,
        &serde_json::to_value(after)?,
    );
    Ok(json!({
        "metadata": {"uid": upgrade.metadata.uid, "resourceVersion": upgrade.metadata.resource_version},
        "status": change.unwrap_or_else(|| Value::Object(Map::new())),
    }))
}

#[cfg(test)]
mod tests;
