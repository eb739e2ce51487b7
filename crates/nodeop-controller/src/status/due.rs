//! Whether and when a status has to be written. Pure.

use api_types::conditions::types;
use api_types::nodeop::{NodeOpStatus, NodeStep};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{condition, is_terminal, size};
use crate::decide::holds_slot;

/// Progress is written at most this often, and more rarely the larger the status is.
const PROGRESS_INTERVAL: SignedDuration = SignedDuration::from_secs(1);
/// That the Jobs of reserved nodes run is noted after this long, unless there is more to write: short Jobs end before, so
/// that their nodes take one write each where they take their turns one by one.
const NOTE_INTERVAL: SignedDuration = SignedDuration::from_secs(3);
/// Bytes of status per further second between two progress writes.
pub(super) const PROGRESS_BYTES_PER_SECOND: usize = 100 * 1024;

/// Whether and when a status has to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// It says nothing new.
    Nothing,
    /// At once: a reservation, a result of the operation, or another reason.
    Now,
    /// After this long; written earlier together with anything that cannot wait.
    After(SignedDuration),
}

/// Whether `after` has to be written over `before`, and when.
pub fn write_decision(before: &NodeOpStatus, after: &NodeOpStatus, now: Timestamp) -> Write {
    if same_but_for_times(before, after) {
        return Write::Nothing;
    }
    let reason = |status: &NodeOpStatus| {
        condition(status, types::PROGRESSING).map(|found| found.reason.clone())
    };
    let cannot_wait = after.node_statuses.iter().any(|(name, entry)| {
        let known = before.node_statuses.get(name);
        // A reservation (also of a node that was only waited for, or was gone), or the boot that a reboot is to end: both
        // precede what they announce.
        (holds_slot(entry) && known.is_none_or(|known| !holds_slot(known)))
            || (entry.step == Some(NodeStep::Rebooting)
                && known.is_none_or(|known| known.step != entry.step))
    });
    if cannot_wait || is_terminal(after) || reason(before) != reason(after) {
        return Write::Now;
    }
    let Some(last) = before.last_updated.as_ref() else {
        return Write::Now;
    };
    let seconds = i64::try_from(size(after) / PROGRESS_BYTES_PER_SECOND).unwrap_or(i64::MAX);
    let shortest = if only_notes(before, after) {
        NOTE_INTERVAL
    } else {
        PROGRESS_INTERVAL
    };
    let interval = shortest.max(SignedDuration::from_secs(seconds));
    let passed = now.duration_since(last.0);
    // A clock that went back must not hold the write up.
    if passed.is_negative() || passed >= interval {
        Write::Now
    } else {
        Write::After(interval - passed)
    }
}

/// Whether all that is new is that the Jobs of reserved nodes run.
fn only_notes(before: &NodeOpStatus, after: &NodeOpStatus) -> bool {
    before.node_statuses.len() == after.node_statuses.len()
        && after.node_statuses.iter().all(|(name, entry)| {
            let known = before.node_statuses.get(name);
            known.is_some_and(|known| {
                let runs =
                    (known.step, entry.step) == (Some(NodeStep::Reserved), Some(NodeStep::Running));
                runs || known == entry
            })
        })
}

fn same_but_for_times(before: &NodeOpStatus, after: &NodeOpStatus) -> bool {
    let timeless = |status: &NodeOpStatus| {
        let mut status = status.clone();
        status.last_updated = None;
        status.completion_time = None;
        for entry in status.node_statuses.values_mut() {
            entry.last_updated = None;
        }
        status
    };
    timeless(before) == timeless(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    fn status(yaml: &str, updated: i64) -> NodeOpStatus {
        let updated = at(updated);
        serde_saphyr::from_str(&format!(
            "{{lastUpdated: '{updated}', nodeStatuses: {yaml}}}"
        ))
        .unwrap()
    }

    #[test]
    fn that_jobs_run_is_noted_after_three_seconds_and_together_with_anything_else_after_one() {
        let before = status(
            "{a: {phase: Pending, step: Reserved}, b: {phase: Running, step: Running}}",
            0,
        );
        let runs = status(
            "{a: {phase: Running, step: Running}, b: {phase: Running, step: Running}}",
            0,
        );
        let wait = Write::After(SignedDuration::from_secs(2));
        assert_eq!(write_decision(&before, &runs, at(1)), wait);
        assert_eq!(write_decision(&before, &runs, at(3)), Write::Now);
        let ends = status(
            "{a: {phase: Running, step: Running}, b: {phase: Completed}}",
            0,
        );
        assert_eq!(write_decision(&before, &ends, at(1)), Write::Now);
        let waits = status(
            "{a: {phase: Pending, step: Reserved, message: no}, b: {phase: Running, step: Running}}",
            0,
        );
        assert_eq!(write_decision(&before, &waits, at(1)), Write::Now);
    }
}
