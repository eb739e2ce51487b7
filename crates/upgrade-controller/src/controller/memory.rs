//! What this process remembers: to spare requests, to measure, and which NodeOps there were that no status tells of yet.
//!
//! Losing it matters in one place: a NodeOp that is made, and deleted by hand before the status names it, is made again when
//! the process dies in between.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api_types::nodeop::NodeStatus;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use operator_runtime::backoff::Backoff;

/// Entries beyond twice the number of NodeOpUpgrades that may stay before those of deleted ones are dropped.
const SPARE: usize = 64;

/// Per NodeOpUpgrade, by UID.
#[derive(Default)]
pub(super) struct Memory(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    ended: HashSet<String>,
    seen: HashSet<String>,
    starts: HashMap<String, BTreeMap<String, Timestamp>>,
    backoff: Backoff<String>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change under the lock is a single insert or remove, so the content is whole even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An ended NodeOpUpgrade is never looked at again.
    pub(super) fn ended(&self, uid: &str) {
        let mut inner = self.lock();
        inner.starts.remove(uid);
        inner.seen.remove(uid);
        inner.ended.insert(uid.to_owned());
    }

    /// The NodeOp of this upgrade is there.
    pub(super) fn node_op_seen(&self, uid: &str) {
        self.lock().seen.insert(uid.to_owned());
    }

    pub(super) fn node_op_was_seen(&self, uid: &str) -> bool {
        self.lock().seen.contains(uid)
    }

    pub(super) fn has_ended(&self, uid: &str) -> bool {
        self.lock().ended.contains(uid)
    }

    pub(super) fn forget(&self, uid: &str) {
        let mut inner = self.lock();
        inner.ended.remove(uid);
        inner.seen.remove(uid);
        inner.starts.remove(uid);
        inner.backoff.reset(&uid.to_owned());
    }

    /// Forgets NodeOpUpgrades that are gone: their deletion brings no pass. `known` is how many there are.
    pub(super) fn prune(&self, known: usize, uids: impl FnOnce() -> HashSet<String>) {
        let mut inner = self.lock();
        let longest = inner.ended.len().max(inner.starts.len());
        if longest.max(inner.seen.len()) <= 2 * known + SPARE {
            return;
        }
        let uids = uids();
        inner.ended.retain(|uid| uids.contains(uid));
        inner.seen.retain(|uid| uids.contains(uid));
        inner.starts.retain(|uid, _| uids.contains(uid));
    }

    pub(super) fn succeeded(&self, uid: &str) {
        self.lock().backoff.reset(&uid.to_owned());
    }

    /// The delay after another failure.
    pub(super) fn failed(&self, uid: &str) -> Duration {
        self.lock().backoff.fail(&uid.to_owned(), Instant::now())
    }

    /// Notes when nodes were first seen at work. A node's own step says it better than the clock of this process.
    pub(super) fn note_starts(&self, uid: &str, entries: &BTreeMap<String, NodeStatus>) {
        let mut inner = self.lock();
        let known = inner.starts.entry(uid.to_owned()).or_default();
        for (name, entry) in entries {
            if let (false, Some(since)) = (entry.phase.is_terminal(), &entry.since) {
                known.entry(name.clone()).or_insert(since.0);
            }
        }
    }

    /// How long a node was at work that ended at `end`, when its start was seen.
    pub(super) fn duration(&self, uid: &str, node: &str, end: Timestamp) -> Option<SignedDuration> {
        let start = self.lock().starts.get_mut(uid)?.remove(node)?;
        Some(end.duration_since(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_forgotten_before_it_adds_up() {
        let memory = Memory::default();
        for index in 0..1000 {
            memory.node_op_seen(&format!("other-{index}"));
            memory.ended(&format!("uid-{index}"));
            memory.prune(1, || ["uid-0".to_owned()].into());
        }
        assert!(memory.lock().ended.len() <= 2 + SPARE);
        assert!(memory.lock().seen.len() <= 2 + SPARE);
        assert!(memory.has_ended("uid-0"), "what still exists is kept");
    }

    #[test]
    fn a_nodes_time_counts_from_its_first_step() {
        let memory = Memory::default();
        let entries =
            |yaml: &str| serde_saphyr::from_str::<BTreeMap<String, NodeStatus>>(yaml).unwrap();
        memory.note_starts(
            "uid",
            &entries("a: {phase: Running, step: Preflight, since: 2026-01-01T00:00:10Z}"),
        );
        memory.note_starts(
            "uid",
            &entries("a: {phase: Running, step: Draining, since: 2026-01-01T00:00:20Z}"),
        );
        let end: Timestamp = "2026-01-01T00:01:10Z".parse().unwrap();
        assert_eq!(
            memory.duration("uid", "a", end),
            Some(SignedDuration::from_mins(1))
        );
        assert_eq!(memory.duration("uid", "a", end), None, "it is told once");
        assert_eq!(memory.duration("other", "a", end), None);
    }
}
