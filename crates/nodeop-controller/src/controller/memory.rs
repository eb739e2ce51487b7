//! What this process remembers to spare requests. Losing it costs requests, never a decision.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use api_types::nodeop::NodeOp;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt as _};
use operator_runtime::backoff::Backoff;

use crate::watched::{WatchedJob, WatchedPod};

/// A created object that the watch has not shown for this long is asked for instead, and a request that changed nothing
/// that the watches show is made again.
const UNSEEN_AGE: Duration = Duration::from_secs(10);

/// Entries beyond twice the number of NodeOps that may stay before those of deleted ones are dropped.
const SPARE: usize = 64;

/// Per NodeOp, by UID.
#[derive(Default)]
pub(super) struct Memory(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    latest: HashMap<String, Arc<NodeOp>>,
    ended: HashSet<String>,
    jobs: HashMap<String, Created<WatchedJob>>,
    pods: HashMap<String, Created<WatchedPod>>,
    sent: HashMap<String, HashMap<String, Instant>>,
    blockers: HashMap<String, HashMap<String, String>>,
    backoff: Backoff<String>,
}

impl Inner {
    /// Drops what is only of use while the NodeOp works.
    fn drop_work(&mut self, uid: &str) {
        self.latest.remove(uid);
        self.jobs.remove(uid);
        self.pods.remove(uid);
        self.sent.remove(uid);
        self.blockers.remove(uid);
    }
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change under the lock is a single insert or remove, so the content is whole even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The NodeOp at that version, if it is the one last seen.
    pub(super) fn latest(&self, uid: &str, version: &str) -> Option<Arc<NodeOp>> {
        let known = self.lock().latest.get(uid).cloned()?;
        (known.resource_version().as_deref() == Some(version)).then_some(known)
    }

    pub(super) fn remember(&self, uid: &str, node_op: &Arc<NodeOp>) {
        self.lock()
            .latest
            .insert(uid.to_owned(), Arc::clone(node_op));
    }

    pub(super) fn forget_latest(&self, uid: &str) {
        self.lock().latest.remove(uid);
    }

    /// An ended NodeOp is never looked at again, so nothing of it is kept but its UID.
    pub(super) fn ended(&self, uid: &str) {
        let mut inner = self.lock();
        inner.drop_work(uid);
        inner.ended.insert(uid.to_owned());
    }

    pub(super) fn has_ended(&self, uid: &str) -> bool {
        self.lock().ended.contains(uid)
    }

    pub(super) fn forget(&self, uid: &str) {
        let mut inner = self.lock();
        inner.drop_work(uid);
        inner.ended.remove(uid);
        inner.backoff.reset(&uid.to_owned());
    }

    /// Forgets NodeOps that are gone: their deletion does not always bring a pass. `known` is how many there are.
    pub(super) fn prune(&self, known: usize, uids: impl FnOnce() -> HashSet<String>) {
        let mut inner = self.lock();
        let kept = inner
            .latest
            .len()
            .max(inner.ended.len())
            .max(inner.jobs.len())
            .max(inner.pods.len())
            .max(inner.sent.len())
            .max(inner.blockers.len());
        if kept <= 2 * known + SPARE {
            return;
        }
        let uids = uids();
        inner.latest.retain(|uid, _| uids.contains(uid));
        inner.jobs.retain(|uid, _| uids.contains(uid));
        inner.pods.retain(|uid, _| uids.contains(uid));
        inner.sent.retain(|uid, _| uids.contains(uid));
        inner.blockers.retain(|uid, _| uids.contains(uid));
        inner.ended.retain(|uid| uids.contains(uid));
    }

    pub(super) fn succeeded(&self, uid: &str) {
        self.lock().backoff.reset(&uid.to_owned());
    }

    /// The delay after another failure.
    pub(super) fn failed(&self, uid: &str) -> Duration {
        self.lock()
            .backoff
            .fail(&uid.to_owned(), Instant::now().into_std())
    }

    pub(super) fn add_created_jobs(&self, uid: &str, jobs: Vec<Arc<WatchedJob>>, now: Instant) {
        let mut inner = self.lock();
        let created = inner.jobs.entry(uid.to_owned()).or_default();
        for job in jobs {
            created.0.insert(job.name().to_owned(), (now, job));
        }
    }

    pub(super) fn add_created_pod(&self, uid: &str, pod: Arc<WatchedPod>, now: Instant) {
        let mut inner = self.lock();
        let created = inner.pods.entry(uid.to_owned()).or_default();
        created.0.insert(pod.name().to_owned(), (now, pod));
    }

    /// Created Jobs that the watch does not show yet.
    pub(super) fn created_jobs(
        &self,
        uid: &str,
        cache: &Store<WatchedJob>,
        now: Instant,
    ) -> BTreeMap<String, Arc<WatchedJob>> {
        let mut inner = self.lock();
        let created = inner.jobs.get_mut(uid);
        created.map_or_else(BTreeMap::new, |created| created.unseen(cache, now))
    }

    /// Created Pods that the watch does not show yet.
    pub(super) fn created_pods(
        &self,
        uid: &str,
        cache: &Store<WatchedPod>,
        now: Instant,
    ) -> BTreeMap<String, Arc<WatchedPod>> {
        let mut inner = self.lock();
        let created = inner.pods.get_mut(uid);
        created.map_or_else(BTreeMap::new, |created| created.unseen(cache, now))
    }

    /// Whether this request was made a moment ago, on the same state of the cluster, and its effect has only not been
    /// seen yet. `request` names both.
    pub(super) fn was_sent(&self, uid: &str, request: &str, now: Instant) -> bool {
        let mut inner = self.lock();
        let Some(sent) = inner.sent.get_mut(uid) else {
            return false;
        };
        sent.retain(|_, at| now.duration_since(*at) < UNSEEN_AGE);
        sent.contains_key(request)
    }

    pub(super) fn note_sent(&self, uid: &str, request: String, now: Instant) {
        let mut inner = self.lock();
        let sent = inner.sent.entry(uid.to_owned()).or_default();
        sent.insert(request, now);
    }

    /// Whether these blockers of a node's drain are news.
    pub(super) fn blockers_are_new(&self, uid: &str, node: &str, blockers: &str) -> bool {
        let mut inner = self.lock();
        let known = inner.blockers.entry(uid.to_owned()).or_default();
        let before = known.insert(node.to_owned(), blockers.to_owned());
        before.as_deref() != Some(blockers)
    }
}

/// Objects that this process created, by name, with the time of the answer.
struct Created<K>(BTreeMap<String, (Instant, Arc<K>)>);

impl<K> Default for Created<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K> Created<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    /// Those that the cache does not show; the others are forgotten.
    fn unseen(&mut self, cache: &Store<K>, now: Instant) -> BTreeMap<String, Arc<K>> {
        if self.0.is_empty() {
            return BTreeMap::new();
        }
        let shown: HashSet<String> = cache
            .state()
            .iter()
            .filter_map(|object| object.meta().uid.clone())
            .collect();
        self.0.retain(|_, (at, object)| {
            now.duration_since(*at) < UNSEEN_AGE
                && object
                    .meta()
                    .uid
                    .as_ref()
                    .is_none_or(|uid| !shown.contains(uid))
        });
        self.0
            .iter()
            .map(|(name, (_, object))| (name.clone(), Arc::clone(object)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_forgotten_before_it_adds_up() {
        let memory = Memory::default();
        for index in 0..1000 {
            memory.ended(&format!("uid-{index}"));
            memory.prune(1, || ["uid-0".to_owned()].into());
        }
        assert!(memory.lock().ended.len() <= 2 + SPARE);
        assert!(memory.has_ended("uid-0"), "what still exists is kept");
    }
}
