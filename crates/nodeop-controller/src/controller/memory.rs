//! What this process remembers to spare requests. Losing it costs requests, never a decision, but for the Jobs it has ever
//! created: with them goes the proof that one which nobody else has noted yet was there.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use api_types::nodeop::NodeOp;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt as _};
use operator_runtime::backoff::Backoff;

use super::rest::Rest;
use crate::watched::{WatchedJob, WatchedPod};

/// A created object that the watch has not shown for this long is asked for instead, and a request that changed nothing
/// that the watches show is made again.
const UNSEEN_AGE: Duration = Duration::from_secs(10);

/// Versions of one NodeOp that are remembered as older than the latest one: watches lag behind by a few writes at most.
const OLDER_VERSIONS: usize = 16;

/// Entries beyond twice the number of NodeOps that may stay before those of deleted ones are dropped.
const SPARE: usize = 64;

/// Per NodeOp, by UID.
#[derive(Default)]
pub(super) struct Memory(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    latest: HashMap<String, Latest>,
    rests: HashMap<String, Resting>,
    ended: HashSet<String>,
    jobs: HashMap<String, Created<WatchedJob>>,
    ever_created: HashMap<String, HashSet<String>>,
    pods: HashMap<String, Created<WatchedPod>>,
    claims: HashMap<String, HashSet<String>>,
    sent: HashMap<String, HashMap<String, Instant>>,
    blockers: HashMap<String, HashMap<String, String>>,
    backoff: Backoff<String>,
}

impl Inner {
    /// Drops what is only of use while the NodeOp works.
    fn drop_work(&mut self, uid: &str) {
        self.latest.remove(uid);
        self.rests.remove(uid);
        self.jobs.remove(uid);
        self.ever_created.remove(uid);
        self.pods.remove(uid);
        self.claims.remove(uid);
        self.sent.remove(uid);
        self.blockers.remove(uid);
    }
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change under the lock is a single insert or remove, so the content is whole even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The NodeOp as last seen, if that is the version which the watch shows, or one that came after it: own writes are
    /// known before the watch tells of them.
    pub(super) fn latest(&self, uid: &str, version: &str) -> Option<Arc<NodeOp>> {
        let inner = self.lock();
        let known = inner.latest.get(uid)?;
        known.covers(version).then(|| Arc::clone(&known.node_op))
    }

    pub(super) fn remember(&self, uid: &str, node_op: &Arc<NodeOp>) {
        let mut inner = self.lock();
        let former = inner.latest.remove(uid);
        let latest = Latest::after(former, Arc::clone(node_op));
        inner.latest.insert(uid.to_owned(), latest);
    }

    /// A pass begins: Jobs that end from now on are news to the next one.
    pub(super) fn begin_pass(&self, uid: &str) {
        self.lock().rests.insert(uid.to_owned(), Resting::default());
    }

    /// A Job of that NodeOp has ended.
    pub(super) fn job_ended(&self, uid: &str) {
        if let Some(resting) = self.lock().rests.get_mut(uid) {
            resting.ended += 1;
        }
    }

    /// The next pass over that NodeOp waits for the end of this.
    pub(super) fn rest(&self, uid: &str, rest: Rest) {
        self.lock().rests.entry(uid.to_owned()).or_default().rest = Some(rest);
    }

    /// How long the NodeOp of that generation still rests.
    pub(super) fn rest_left(
        &self,
        uid: &str,
        generation: Option<i64>,
        now: Instant,
    ) -> Option<Duration> {
        let inner = self.lock();
        let resting = inner.rests.get(uid)?;
        resting.rest.as_ref()?.left(generation, resting.ended, now)
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
            .max(inner.rests.len())
            .max(inner.jobs.len())
            .max(inner.ever_created.len())
            .max(inner.pods.len())
            .max(inner.claims.len())
            .max(inner.sent.len())
            .max(inner.blockers.len());
        if kept <= 2 * known + SPARE {
            return;
        }
        let uids = uids();
        inner.latest.retain(|uid, _| uids.contains(uid));
        inner.rests.retain(|uid, _| uids.contains(uid));
        inner.jobs.retain(|uid, _| uids.contains(uid));
        inner.ever_created.retain(|uid, _| uids.contains(uid));
        inner.pods.retain(|uid, _| uids.contains(uid));
        inner.claims.retain(|uid, _| uids.contains(uid));
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
        let names = jobs.iter().map(|job| job.name().to_owned());
        let ever = inner.ever_created.entry(uid.to_owned()).or_default();
        ever.extend(names);
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

    /// Names of all Jobs of that NodeOp which this process has created: one that is gone was deleted.
    pub(super) fn ever_created(&self, uid: &str) -> HashSet<String> {
        self.lock()
            .ever_created
            .get(uid)
            .cloned()
            .unwrap_or_default()
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

    /// Nodes that this process has claimed, or seen claimed at the API server, and has not given back: what a cache shows of
    /// the claim on any other may be over.
    pub(super) fn claims(&self, uid: &str) -> HashSet<String> {
        self.lock().claims.get(uid).cloned().unwrap_or_default()
    }

    pub(super) fn note_claims(&self, uid: &str, nodes: impl IntoIterator<Item = String>) {
        let mut nodes = nodes.into_iter().peekable();
        if nodes.peek().is_some() {
            let mut inner = self.lock();
            inner
                .claims
                .entry(uid.to_owned())
                .or_default()
                .extend(nodes);
        }
    }

    pub(super) fn forget_claim(&self, uid: &str, node: &str) {
        if let Some(claims) = self.lock().claims.get_mut(uid) {
            claims.remove(node);
        }
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

/// A NodeOp between two passes.
#[derive(Default)]
struct Resting {
    /// None while nothing holds the next pass back.
    rest: Option<Rest>,
    /// Jobs that have ended since the last pass began.
    ended: usize,
}

/// A NodeOp as it was last read or written.
struct Latest {
    node_op: Arc<NodeOp>,
    /// Versions that it came after, the newest last.
    older: VecDeque<String>,
}

impl Latest {
    /// What is read live or written comes after all that was seen before.
    fn after(former: Option<Self>, node_op: Arc<NodeOp>) -> Self {
        let Some(Self {
            node_op: former,
            mut older,
        }) = former
        else {
            return Self {
                node_op,
                older: VecDeque::new(),
            };
        };
        let version = node_op.resource_version();
        older.extend(former.resource_version());
        older.retain(|known| Some(known) != version.as_ref());
        while older.len() > OLDER_VERSIONS {
            older.pop_front();
        }
        Self { node_op, older }
    }

    fn covers(&self, version: &str) -> bool {
        self.node_op.resource_version().as_deref() == Some(version)
            || self.older.iter().any(|known| known == version)
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
mod tests;
