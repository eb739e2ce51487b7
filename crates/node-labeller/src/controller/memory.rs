//! What this process remembers to spare requests. Losing it costs requests, never a decision.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use operator_runtime::backoff::Backoff;

use crate::decide::Busy;
use crate::record::Record;
use crate::watched::{WatchedNode, WatchedPod};

/// What a watch has not shown for this long is not waited for any more. On a control plane at its limits, watches lag by
/// half a minute.
const UNSHOWN: Duration = Duration::from_mins(2);
/// Delay after a node's first failure, and the longest one.
const FIRST_DELAY: Duration = Duration::from_secs(5);
const LONGEST_DELAY: Duration = Duration::from_mins(10);
/// Nodes whose failures are counted at most.
const FAILING_NODES: usize = 8192;

/// What is under way, what the caches do not show yet, and how often nodes failed.
#[derive(Debug)]
pub struct Memory {
    /// Steps under way by the Pod's name.
    busy: BTreeMap<String, Busy>,
    /// Created Pods that the cache does not show yet, by name.
    created: HashMap<String, (Instant, Arc<WatchedPod>)>,
    /// Removed Pods that the cache may still show, by uid.
    removed: HashMap<String, Instant>,
    /// Written records that the cache does not show yet, by the Node's uid.
    written: HashMap<String, WrittenRecord>,
    /// Until when nodes are left alone, by uid.
    held: HashMap<String, Timestamp>,
    backoff: Backoff<String>,
}

#[derive(Debug)]
struct WrittenRecord {
    at: Instant,
    record: Record,
    /// Of the Node with the record.
    version: Option<u64>,
}

impl WrittenRecord {
    /// Whether the cache holds a Node of before the write. Kubernetes promises that the versions of one kind are numbers
    /// that grow (KEP-5504), and all releases keep that.
    fn is_newer_than(&self, shown: &WatchedNode, now: Instant) -> bool {
        let shown_version = shown.metadata.resource_version.as_deref();
        match (self.version, shown_version.and_then(number)) {
            (Some(written), Some(shown)) => shown < written,
            _ => {
                now.duration_since(self.at) < UNSHOWN && shown.record.as_ref() != Some(&self.record)
            }
        }
    }
}

fn number(resource_version: &str) -> Option<u64> {
    resource_version.parse().ok()
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            busy: BTreeMap::new(),
            created: HashMap::new(),
            removed: HashMap::new(),
            written: HashMap::new(),
            held: HashMap::new(),
            backoff: Backoff::new(FIRST_DELAY, LONGEST_DELAY, FAILING_NODES),
        }
    }
}

impl Memory {
    /// Steps under way.
    pub fn busy(&self) -> &BTreeMap<String, Busy> {
        &self.busy
    }

    /// Nodes that are left alone.
    pub fn held(&self) -> &HashMap<String, Timestamp> {
        &self.held
    }

    pub(super) fn began(&mut self, pod: String, busy: Busy) {
        self.busy.insert(pod, busy);
    }

    pub(super) fn ended(&mut self, pod: &str) {
        self.busy.remove(pod);
    }

    pub(super) fn created(&mut self, pod: WatchedPod, now: Instant) {
        self.created
            .insert(pod.name().to_owned(), (now, Arc::new(pod)));
    }

    pub(super) fn removed(&mut self, pod: &WatchedPod, now: Instant) {
        self.removed.insert(pod.uid().to_owned(), now);
    }

    pub(super) fn wrote(
        &mut self,
        node_uid: &str,
        record: Record,
        resource_version: &str,
        now: Instant,
    ) {
        let written = WrittenRecord {
            at: now,
            record,
            version: number(resource_version),
        };
        self.written.insert(node_uid.to_owned(), written);
    }

    pub(super) fn succeeded(&mut self, node_uid: &str) {
        self.held.remove(node_uid);
        self.backoff.reset(&node_uid.to_owned());
    }

    /// Holds the node for longer with each failure in a row; returns for how long.
    pub(super) fn failed(&mut self, node_uid: &str, now: Instant, clock: Timestamp) -> Duration {
        let delay = self.backoff.fail(&node_uid.to_owned(), now);
        let until = SignedDuration::try_from(delay)
            .ok()
            .and_then(|delay| clock.saturating_add(delay).ok());
        self.held
            .insert(node_uid.to_owned(), until.unwrap_or(Timestamp::MAX));
        delay
    }

    /// Forgets what the caches show by now, and what has passed.
    pub fn prune(
        &mut self,
        nodes: &[Arc<WatchedNode>],
        pods: &[Arc<WatchedPod>],
        now: Instant,
        clock: Timestamp,
    ) {
        self.held.retain(|_, until| *until > clock);
        let is_young = |at: &Instant| now.duration_since(*at) < UNSHOWN;
        if !self.created.is_empty() || !self.removed.is_empty() {
            let shown: HashSet<&str> = pods.iter().map(|pod| pod.uid()).collect();
            self.created
                .retain(|_, (at, pod)| is_young(at) && !shown.contains(pod.uid()));
            self.removed
                .retain(|uid, at| is_young(at) || shown.contains(uid.as_str()));
        }
        if !self.written.is_empty() {
            let by_uid: HashMap<&str, &Arc<WatchedNode>> =
                nodes.iter().map(|node| (node.uid(), node)).collect();
            self.written.retain(|uid, written| {
                by_uid
                    .get(uid.as_str())
                    .is_some_and(|shown| written.is_newer_than(shown, now))
            });
        }
    }

    /// The Node with the record that was written last.
    pub fn with_written_record(&self, node: Arc<WatchedNode>) -> Arc<WatchedNode> {
        match self.written.get(node.uid()) {
            Some(written) => Arc::new(WatchedNode {
                record: Some(written.record.clone()),
                ..node.as_ref().clone()
            }),
            None => node,
        }
    }

    /// The Pods without those that were removed, and with those that the cache does not show yet.
    pub fn pods(&self, shown: Vec<Arc<WatchedPod>>) -> impl Iterator<Item = Arc<WatchedPod>> {
        let created = self.created.values().map(|(_, pod)| Arc::clone(pod));
        created.chain(
            shown
                .into_iter()
                .filter(|pod| !self.removed.contains_key(pod.uid())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Probe;
    use crate::testing::{at, node, pending, record};

    #[test]
    fn a_created_pod_counts_until_the_cache_shows_it_and_a_removed_one_no_more() {
        let mut memory = Memory::default();
        let now = Instant::now();
        let pod = pending(&node("a"), Probe::Files, at(0));
        memory.created(pod.clone(), now);
        memory.prune(&[], &[], now, at(0));
        assert_eq!(memory.pods(vec![]).count(), 1);
        let shown = vec![Arc::new(pod.clone())];
        memory.prune(&[], &shown, now, at(0));
        assert!(memory.created.is_empty());
        memory.removed(&pod, now);
        assert_eq!(memory.pods(shown.clone()).count(), 0);
        memory.prune(&[], &[], now + UNSHOWN, at(0));
        assert!(memory.removed.is_empty());
        memory.created(pod, now);
        memory.prune(&[], &[], now + UNSHOWN, at(0));
        assert_eq!(memory.pods(vec![]).count(), 0, "it was never shown");
    }

    fn of_version(version: &str) -> Arc<WatchedNode> {
        let mut node = node("a");
        node.metadata.resource_version = Some(version.to_owned());
        Arc::new(node)
    }

    #[test]
    fn a_written_record_counts_until_the_cache_is_as_new_however_long_that_takes() {
        let mut memory = Memory::default();
        let now = Instant::now();
        let bare = of_version("99");
        let record = record(&bare, at(0));
        memory.wrote(bare.uid(), record.clone(), "100", now);
        memory.prune(&[Arc::clone(&bare)], &[], now + 10 * UNSHOWN, at(0));
        let seen = memory.with_written_record(Arc::clone(&bare));
        assert_eq!(seen.record, Some(record));
        // Somebody has removed it since.
        memory.prune(&[of_version("101")], &[], now, at(0));
        assert!(memory.written.is_empty());
    }

    #[test]
    fn without_a_version_to_compare_a_written_record_counts_until_it_is_seen_or_for_a_while() {
        let now = Instant::now();
        let bare = of_version("opaque");
        let record = record(&bare, at(0));
        let counts = |shown: &Arc<WatchedNode>, now| {
            let mut memory = Memory::default();
            memory.wrote(bare.uid(), record.clone(), "100", Instant::now());
            memory.prune(&[Arc::clone(shown)], &[], now, at(0));
            !memory.written.is_empty()
        };
        assert!(counts(&bare, now));
        assert!(!counts(&bare, now + 2 * UNSHOWN));
        let mut with_it = bare.as_ref().clone();
        with_it.record = Some(record.clone());
        assert!(!counts(&Arc::new(with_it), now));
    }

    #[test]
    fn a_failing_node_is_held_for_longer_each_time_until_it_succeeds() {
        let mut memory = Memory::default();
        let now = Instant::now();
        let first = memory.failed("uid", now, at(0));
        assert!(first >= FIRST_DELAY * 4 / 5);
        assert!(memory.failed("uid", now, at(0)) > first);
        assert!(memory.held()["uid"] > at(0));
        memory.prune(&[], &[], now, at(100));
        assert!(memory.held().is_empty());
        memory.succeeded("uid");
        assert_eq!(memory.failed("uid", now, at(0)), first);
    }
}
