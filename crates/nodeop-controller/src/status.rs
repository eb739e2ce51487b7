//! The status of a NodeOp: phase, counts, conditions and message from its nodes' entries, and how it is written.
//!
//! One object holds all nodes, so its size is watched: past [`COMPACT_BYTES`] finished nodes keep phase and
//! rebootStatus only, at [`FULL_BYTES`] no more nodes are taken (etcd refuses objects of some 1.5 MiB).

mod due;
mod measure;
mod patch;
mod report;
mod verdict;

use std::collections::BTreeMap;

use api_types::conditions::{reasons, types};
use api_types::nodeop::{NodeCounts, NodeOpStatus, NodePhase, NodeStatus, NodeStep, Phase};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::decide::{holds_slot, is_finished};
use verdict::verdict;

pub use due::{Write, write_decision};
pub use measure::{Left, left_steps};
pub use patch::patch_body;
pub use report::{Report, drain_blocked, reports};

/// Above this many bytes, entries of finished nodes are cut to phase and rebootStatus.
pub const COMPACT_BYTES: usize = 512 * 1024;
/// Above this many bytes no more nodes are taken.
pub const FULL_BYTES: usize = 900 * 1024;
/// The longest message of one node, in bytes.
pub const NODE_MESSAGE_BYTES: usize = 512;
/// How the message of a node begins whose Pod does not start and nobody says why: a human has to look.
pub(crate) const STALLED: &str = "the Pod does not start: no container was started in Pod";
/// The longest message of a condition, in bytes.
const CONDITION_MESSAGE_BYTES: usize = 1024;
/// How many names a message lists before it counts the rest.
const NAMES_SHOWN: usize = 3;

/// What the operation as a whole has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nodes run, or will in the next pass.
    Running,
    /// Nothing can be started until something changes.
    Waiting {
        /// Condition reason.
        reason: &'static str,
        /// What the user should know and do.
        message: String,
    },
    /// Every started node has its result, and no other will be started.
    Ended {
        /// Matching nodes that were never started.
        not_started: usize,
    },
    /// As `Ended`, for an operation that kairos-operator began.
    AdoptedEnded {
        /// Nodes that kairos-operator had not started.
        not_started: usize,
    },
}

/// Why a reserved node's Job could not be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartProblem {
    /// It never will be: the node has failed.
    Final(String),
    /// It may be later, as when a quota frees: the node waits and says why.
    Passing(String),
}

/// Notes on nodes why something cannot be created for them yet.
pub fn note_passing(status: &mut NodeOpStatus, problems: Vec<(String, String)>) {
    for (name, message) in problems {
        if let Some(entry) = status.node_statuses.get_mut(&name) {
            entry.message = Some(cut(&message, NODE_MESSAGE_BYTES).to_owned());
        }
    }
}

/// Ends an entry as failed.
pub(crate) fn fail(entry: &mut NodeStatus, now: Timestamp, message: &str) {
    end(entry, NodePhase::Failed, now);
    entry.message = Some(cut(message, NODE_MESSAGE_BYTES).to_owned());
}

/// Ends an entry.
pub(crate) fn end(entry: &mut NodeStatus, phase: NodePhase, now: Timestamp) {
    entry.phase = phase;
    entry.step = None;
    entry.since = None;
    entry.last_updated = Some(Time(now));
}

/// Whether the operation has ended for good.
pub fn is_terminal(status: &NodeOpStatus) -> bool {
    [types::COMPLETE, types::FAILED]
        .iter()
        .any(|name| condition(status, name).is_some_and(|condition| condition.status == "True"))
}

/// The condition of that type.
pub fn condition<'a>(status: &'a NodeOpStatus, name: &str) -> Option<&'a Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == name)
}

/// The status that follows `before`.
pub fn next(
    before: &NodeOpStatus,
    mut entries: BTreeMap<String, NodeStatus>,
    outcome: &Outcome,
    matching: usize,
    generation: Option<i64>,
    now: Timestamp,
) -> NodeOpStatus {
    let ended = matches!(
        outcome,
        Outcome::Ended { .. } | Outcome::AdoptedEnded { .. }
    );
    if ended {
        // A node that is gone has left the plan: it has no result and will get none.
        entries.retain(|_, entry| entry.step != Some(NodeStep::NodeGone));
    }
    stamp(&before.node_statuses, &mut entries, now);
    let counts = count(&entries, matching, outcome);
    let verdict = verdict(outcome, &entries, &counts);
    let mut after = NodeOpStatus {
        phase: Some(verdict.phase),
        start_time: before
            .start_time
            .clone()
            .or_else(|| began(&entries).then_some(Time(now))),
        completion_time: ended.then_some(Time(now)),
        observed_generation: generation,
        message: Some(verdict.message.clone()),
        summary: Some(counts),
        node_statuses: entries,
        ..before.clone()
    };
    if verdict.phase == Phase::Running && after.start_time.is_none() {
        after.phase = Some(Phase::Pending);
    }
    let message = cut(&verdict.message, CONDITION_MESSAGE_BYTES);
    for (name, holds) in [
        (types::COMPLETE, verdict.phase == Phase::Completed),
        (types::FAILED, verdict.phase == Phase::Failed),
        (types::PROGRESSING, verdict.progressing),
    ] {
        set_condition(&mut after, name, holds, verdict.reason, message, now);
    }
    compact(&mut after);
    after
}

/// The status of an operation that ended before it had conditions: its phase, said once more as conditions.
pub fn with_verdict_of_phase(
    before: &NodeOpStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> NodeOpStatus {
    let mut after = NodeOpStatus {
        observed_generation: generation,
        ..before.clone()
    };
    let message = "ended under kairos-operator";
    for (name, holds) in [
        (types::COMPLETE, before.phase == Some(Phase::Completed)),
        (types::FAILED, before.phase == Some(Phase::Failed)),
        (types::PROGRESSING, false),
    ] {
        set_condition(&mut after, name, holds, reasons::ADOPTED, message, now);
    }
    after
}

/// Bytes of status that new entries may still take.
pub fn room_left(entries: &BTreeMap<String, NodeStatus>) -> usize {
    FULL_BYTES.saturating_sub(
        entries
            .iter()
            .map(|(name, entry)| entry_size(name, entry))
            .sum(),
    )
}

/// Bytes that one entry takes in the status, as JSON.
pub fn entry_size(name: &str, entry: &NodeStatus) -> usize {
    // Quotes around the name, colon and comma.
    name.len() + 4 + serde_json::to_vec(entry).map_or(0, |json| json.len())
}

/// `text` cut to at most `bytes` bytes at a character boundary.
pub fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// The first few of `names` and how many more there are.
pub fn name_some(names: &[&str], total: usize) -> String {
    let shown = names
        .iter()
        .take(NAMES_SHOWN)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match total.saturating_sub(NAMES_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn size(status: &NodeOpStatus) -> usize {
    serde_json::to_vec(status).map_or(0, |json| json.len())
}

fn began(entries: &BTreeMap<String, NodeStatus>) -> bool {
    entries.values().any(holds_slot)
}

/// Notes the time on each entry that says something new.
fn stamp(
    before: &BTreeMap<String, NodeStatus>,
    entries: &mut BTreeMap<String, NodeStatus>,
    now: Timestamp,
) {
    for (name, entry) in entries {
        let known = before.get(name);
        let same = known.is_some_and(|known| {
            NodeStatus {
                last_updated: None,
                ..known.clone()
            } == NodeStatus {
                last_updated: None,
                ..entry.clone()
            }
        });
        entry.last_updated = if same {
            known.and_then(|known| known.last_updated.clone())
        } else {
            Some(Time(now))
        };
    }
}

fn is_skip(entry: &NodeStatus) -> bool {
    entry.phase == NodePhase::Completed
        && entry
            .message
            .as_deref()
            .is_some_and(|message| message.starts_with("Skipped: "))
}

fn count(entries: &BTreeMap<String, NodeStatus>, matching: usize, outcome: &Outcome) -> NodeCounts {
    let number = |predicate: &dyn Fn(&NodeStatus) -> bool| {
        i64::try_from(entries.values().filter(|entry| predicate(entry)).count()).unwrap_or(i64::MAX)
    };
    let running = number(&holds_slot);
    let failed = number(&|entry| entry.phase == NodePhase::Failed);
    let completed = number(&|entry| entry.phase == NodePhase::Completed);
    let skipped = number(&is_skip);
    let ended = completed + failed;
    let total = match outcome {
        Outcome::Ended { not_started } | Outcome::AdoptedEnded { not_started } => {
            ended + i64::try_from(*not_started).unwrap_or(i64::MAX)
        }
        // Nodes that ended and no longer match still count: they were part of the operation.
        Outcome::Running | Outcome::Waiting { .. } => i64::try_from(matching)
            .unwrap_or(i64::MAX)
            .max(ended + running),
    };
    NodeCounts {
        total,
        pending: (total - ended - running).max(0),
        running,
        completed,
        failed,
        skipped,
        done: format!("{completed}/{total}"),
    }
}

fn set_condition(
    status: &mut NodeOpStatus,
    name: &str,
    holds: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let value = if holds { "True" } else { "False" };
    let last_transition_time = match condition(status, name) {
        Some(known) if known.status == value => known.last_transition_time.clone(),
        _ => Time(now),
    };
    status
        .conditions
        .retain(|condition| condition.type_ != name);
    status.conditions.push(Condition {
        type_: name.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: status.observed_generation,
        last_transition_time,
    });
}

fn compact(status: &mut NodeOpStatus) {
    if size(status) <= COMPACT_BYTES {
        return;
    }
    for entry in status
        .node_statuses
        .values_mut()
        .filter(|entry| is_finished(entry))
    {
        *entry = NodeStatus {
            phase: entry.phase,
            reboot_status: entry.reboot_status,
            ..NodeStatus::default()
        };
    }
}

#[cfg(test)]
mod tests;
