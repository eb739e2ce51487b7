//! What this process remembers to spare requests. Losing it costs requests, never a decision.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api_types::nodeop::NodeOp;
use kube::ResourceExt as _;
use kube::runtime::reflector::Store;
use operator_runtime::backoff::Backoff;

use crate::watched::WatchedJob;

/// A created Job that the watch has not shown for this long is asked for instead.
const CREATED_JOB_AGE: Duration = Duration::from_secs(10);

/// Entries beyond twice the number of NodeOps that may stay before those of deleted ones are dropped.
const SPARE: usize = 64;

/// Per NodeOp, by UID.
#[derive(Default)]
pub(super) struct Memory(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    latest: HashMap<String, Arc<NodeOp>>,
    ended: HashSet<String>,
    created: HashMap<String, BTreeMap<String, (Instant, Arc<WatchedJob>)>>,
    backoff: Backoff<String>,
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
        inner.latest.remove(uid);
        inner.created.remove(uid);
        inner.ended.insert(uid.to_owned());
    }

    pub(super) fn has_ended(&self, uid: &str) -> bool {
        self.lock().ended.contains(uid)
    }

    pub(super) fn forget(&self, uid: &str) {
        let mut inner = self.lock();
        inner.latest.remove(uid);
        inner.created.remove(uid);
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
            .max(inner.created.len());
        if kept <= 2 * known + SPARE {
            return;
        }
        let uids = uids();
        inner.latest.retain(|uid, _| uids.contains(uid));
        inner.created.retain(|uid, _| uids.contains(uid));
        inner.ended.retain(|uid| uids.contains(uid));
    }

    pub(super) fn succeeded(&self, uid: &str) {
        self.lock().backoff.reset(&uid.to_owned());
    }

    /// The delay after another failure.
    pub(super) fn failed(&self, uid: &str) -> Duration {
        self.lock().backoff.fail(&uid.to_owned(), Instant::now())
    }

    pub(super) fn add_created_jobs(&self, uid: &str, jobs: Vec<Arc<WatchedJob>>, now: Instant) {
        let mut inner = self.lock();
        let created = inner.created.entry(uid.to_owned()).or_default();
        created.extend(
            jobs.into_iter()
                .map(|job| (job.name().to_owned(), (now, job))),
        );
    }

    /// Created Jobs that the watch does not show yet.
    pub(super) fn created_jobs(
        &self,
        uid: &str,
        cache: &Store<WatchedJob>,
        now: Instant,
    ) -> BTreeMap<String, Arc<WatchedJob>> {
        let mut inner = self.lock();
        let Some(created) = inner.created.get_mut(uid) else {
            return BTreeMap::new();
        };
        let shown: HashSet<String> = cache
            .state()
            .iter()
            .filter_map(|job| job.metadata.uid.clone())
            .collect();
        created.retain(|_, (at, job)| {
            now.duration_since(*at) < CREATED_JOB_AGE
                && job
                    .metadata
                    .uid
                    .as_ref()
                    .is_none_or(|uid| !shown.contains(uid))
        });
        created
            .iter()
            .map(|(name, (_, job))| (name.clone(), Arc::clone(job)))
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
