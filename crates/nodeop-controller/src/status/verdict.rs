//! What an outcome means for phase, conditions and message.

use std::collections::BTreeMap;

use api_types::conditions::reasons;
use api_types::nodeop::{NodeCounts, NodePhase, NodeStatus, Phase};

use super::{NAMES_SHOWN, Outcome, cut};

/// The operation as a whole, in the words of its status.
pub(super) struct Verdict {
    pub(super) phase: Phase,
    pub(super) progressing: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

pub(super) fn verdict(
    outcome: &Outcome,
    entries: &BTreeMap<String, NodeStatus>,
    counts: &NodeCounts,
) -> Verdict {
    let NodeCounts {
        total,
        running,
        completed,
        failed,
        skipped,
        ..
    } = counts;
    let skips = if *skipped > 0 {
        format!(" ({skipped} skipped)")
    } else {
        String::new()
    };
    match outcome {
        Outcome::Running => Verdict {
            phase: Phase::Running,
            progressing: true,
            reason: reasons::RUNNING,
            message: format!(
                "{completed} of {total} nodes completed{skips}, {running} running, {failed} failed"
            ),
        },
        Outcome::Waiting { reason, message } => Verdict {
            phase: Phase::Running,
            progressing: *running > 0,
            reason,
            message: message.clone(),
        },
        Outcome::Ended { not_started } | Outcome::AdoptedEnded { not_started } => {
            let adopted = matches!(outcome, Outcome::AdoptedEnded { .. });
            let left = match (*not_started, adopted) {
                (0, _) => String::new(),
                (left, false) => {
                    format!("; stopped (stopOnFailure), {left} nodes were not started")
                }
                (left, true) => format!(
                    "; {left} nodes were not started: begun by kairos-operator, create a new NodeOp for them"
                ),
            };
            if *failed == 0 && *not_started == 0 {
                return Verdict {
                    phase: Phase::Completed,
                    progressing: false,
                    reason: reasons::COMPLETED,
                    message: format!("all {total} nodes completed{skips}"),
                };
            }
            let failures = failures(entries);
            let separator = if failures.is_empty() { "" } else { ": " };
            Verdict {
                phase: Phase::Failed,
                progressing: false,
                reason: if *failed == 0 {
                    reasons::ADOPTED
                } else if *not_started > 0 && !adopted {
                    reasons::STOPPED
                } else {
                    reasons::NODE_FAILED
                },
                message: format!("{failed} of {total} nodes failed{separator}{failures}{left}"),
            }
        }
    }
}

/// The first failed nodes with their messages, bounded.
fn failures(entries: &BTreeMap<String, NodeStatus>) -> String {
    let failed: Vec<_> = entries
        .iter()
        .filter(|(_, entry)| entry.phase == NodePhase::Failed)
        .collect();
    let mut shown: Vec<String> = failed
        .iter()
        .take(NAMES_SHOWN)
        .map(|(name, entry)| match entry.message.as_deref() {
            Some(message) => format!("{name}: {}", cut(message, 200)),
            None => (*name).clone(),
        })
        .collect();
    if failed.len() > NAMES_SHOWN {
        shown.push(format!("and {} more", failed.len() - NAMES_SHOWN));
    }
    shown.join("; ")
}
