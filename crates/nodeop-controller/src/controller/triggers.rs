//! Turns watch events into triggers, and leaves out what changes nothing that a decision reads: kubelets write their
//! Node every few minutes, Jobs change several times on their way.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use futures::{Stream, StreamExt as _, stream};
use kube::runtime::watcher::{Error, Event};
use kube::{Resource, ResourceExt as _};

use crate::watched::{JobOutcome, PodProgress, WatchedJob, WatchedNode, WatchedPod};

/// What a decision reads of a Node, as one number.
pub(super) fn of_node(node: &WatchedNode) -> u64 {
    let mut hasher = DefaultHasher::new();
    node.metadata.uid.hash(&mut hasher);
    node.metadata.labels.hash(&mut hasher);
    node.metadata.annotations.hash(&mut hasher);
    node.metadata.deletion_timestamp.is_some().hash(&mut hasher);
    node.spec.unschedulable.hash(&mut hasher);
    node.status.node_info.system_uuid.hash(&mut hasher);
    node.status.node_info.boot_id.hash(&mut hasher);
    node.readiness().hash(&mut hasher);
    hasher.finish()
}

/// What a decision reads of a Job, as one number.
pub(super) fn of_job(job: &WatchedJob) -> u64 {
    let mut hasher = DefaultHasher::new();
    job.metadata.uid.hash(&mut hasher);
    match job.outcome() {
        JobOutcome::Active => 0,
        JobOutcome::Complete => 1,
        JobOutcome::Failed { .. } => 2,
    }
    .hash(&mut hasher);
    hasher.finish()
}

/// What a decision reads of a Pod, as one number. A Job's Pod that runs as it should changes nothing.
pub(super) fn of_pod(pod: &WatchedPod) -> u64 {
    let mut hasher = DefaultHasher::new();
    pod.metadata.uid.hash(&mut hasher);
    pod.metadata.annotations.hash(&mut hasher);
    pod.is_terminating().hash(&mut hasher);
    pod.obstacle().hash(&mut hasher);
    pod.is_stalled().hash(&mut hasher);
    let of_job = pod
        .controller_owner()
        .is_some_and(|owner| owner.kind == "Job");
    // How a Job's Pod fares, the Job tells; but not that it tries again.
    (pod.progress() == PodProgress::Failed).hash(&mut hasher);
    if !of_job {
        match pod.progress() {
            PodProgress::Starting => 0,
            PodProgress::Running => 1,
            PodProgress::Succeeded => 2,
            PodProgress::Failed => 3,
        }
        .hash(&mut hasher);
    }
    hasher.finish()
}

/// The objects whose fingerprint changed, that were deleted, or that a new list brings. A list triggers when it is
/// complete, so that a pass sees the store as it is after it, without what was deleted meanwhile.
pub(super) fn changes<K>(
    events: impl Stream<Item = Result<Event<K>, Error>>,
    fingerprint: fn(&K) -> u64,
) -> impl Stream<Item = Result<K, Error>>
where
    K: Resource,
{
    let mut filter = Filter {
        fingerprint,
        seen: HashMap::new(),
        listed: Vec::new(),
    };
    events.flat_map(move |event| {
        stream::iter(match event {
            Ok(event) => filter.take(event).into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        })
    })
}

struct Filter<K> {
    fingerprint: fn(&K) -> u64,
    seen: HashMap<String, u64>,
    listed: Vec<K>,
}

impl<K: Resource> Filter<K> {
    fn take(&mut self, event: Event<K>) -> Vec<K> {
        match event {
            Event::Init => {
                self.seen.clear();
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                self.seen.insert(key(&object), (self.fingerprint)(&object));
                self.listed.push(object);
                Vec::new()
            }
            Event::InitDone => std::mem::take(&mut self.listed),
            Event::Apply(object) => {
                let now = (self.fingerprint)(&object);
                if self.seen.insert(key(&object), now) == Some(now) {
                    Vec::new()
                } else {
                    vec![object]
                }
            }
            Event::Delete(object) => {
                self.seen.remove(&key(&object));
                vec![object]
            }
        }
    }
}

fn key<K: Resource>(object: &K) -> String {
    format!(
        "{}/{}",
        object.namespace().unwrap_or_default(),
        object.name_any()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, not_ready};

    fn filter() -> Filter<WatchedNode> {
        Filter {
            fingerprint: of_node,
            seen: HashMap::new(),
            listed: Vec::new(),
        }
    }

    #[test]
    fn a_heartbeat_triggers_nothing_and_a_change_does() {
        let mut filter = filter();
        assert_eq!(filter.take(Event::Apply(node("a", &[]))).len(), 1);
        let mut heartbeat = node("a", &[]);
        heartbeat.metadata.resource_version = Some("2".to_owned());
        assert!(filter.take(Event::Apply(heartbeat)).is_empty());
        assert_eq!(filter.take(Event::Apply(node("a", &[("x", "y")]))).len(), 1);
        assert_eq!(
            filter
                .take(Event::Apply(not_ready(node("a", &[("x", "y")]))))
                .len(),
            1
        );
    }

    #[test]
    fn a_deletion_triggers_and_so_does_the_return() {
        let mut filter = filter();
        filter.take(Event::Apply(node("a", &[])));
        assert_eq!(filter.take(Event::Delete(node("a", &[]))).len(), 1);
        assert_eq!(filter.take(Event::Apply(node("a", &[]))).len(), 1);
    }

    #[test]
    fn a_list_triggers_only_when_it_is_complete() {
        let mut filter = filter();
        filter.take(Event::Init);
        assert!(filter.take(Event::InitApply(node("a", &[]))).is_empty());
        assert!(filter.take(Event::InitApply(node("b", &[]))).is_empty());
        assert_eq!(filter.take(Event::InitDone).len(), 2);
    }
}
