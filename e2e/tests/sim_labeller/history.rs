//! What happened to nodes and Pods, recorded from watches: the order of events is the API server's.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use tokio::task::JoinHandle;

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// When each node was first seen Ready, and when with its label.
    pub(crate) ready: HashMap<String, Instant>,
    pub(crate) labelled: HashMap<String, Instant>,
    /// Pods that have not ended.
    active: HashSet<String>,
    /// The most of them at once.
    pub(crate) most_active: usize,
}

/// Records until it is dropped.
pub(crate) struct History {
    seen: Arc<Mutex<Seen>>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for History {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl History {
    pub(crate) fn record(nodes: Api<Node>, pods: Api<Pod>) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let of_nodes = Arc::clone(&seen);
        let node_task = tokio::spawn(async move {
            let mut events = watcher(nodes, watcher::Config::default())
                .default_backoff()
                .applied_objects()
                .boxed();
            while let Ok(Some(node)) = events.try_next().await {
                of_nodes.lock().unwrap().node(&node);
            }
        });
        let of_pods = Arc::clone(&seen);
        let pod_task = tokio::spawn(async move {
            let mut events = watcher(pods, watcher::Config::default())
                .default_backoff()
                .boxed();
            while let Ok(Some(event)) = events.try_next().await {
                of_pods.lock().unwrap().pod(event);
            }
        });
        Self {
            seen,
            tasks: [node_task, pod_task],
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// How many nodes carry the label.
    pub(crate) fn labelled(&self) -> usize {
        self.seen.lock().unwrap().labelled.len()
    }
}

impl Seen {
    fn node(&mut self, node: &Node) {
        let name = node.name_any();
        let conditions = node
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        let is_ready = conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        if is_ready {
            self.ready.entry(name.clone()).or_insert_with(Instant::now);
        }
        if node.labels().contains_key("kairos.io/managed") {
            self.labelled.entry(name).or_insert_with(Instant::now);
        }
    }

    fn pod(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => {
                let phase = pod
                    .status
                    .as_ref()
                    .and_then(|status| status.phase.as_deref());
                if matches!(phase, Some("Succeeded" | "Failed")) {
                    self.active.remove(&pod.name_any());
                } else {
                    self.active.insert(pod.name_any());
                }
            }
            watcher::Event::Delete(pod) => {
                self.active.remove(&pod.name_any());
            }
            watcher::Event::Init => self.active.clear(),
            watcher::Event::InitDone => {}
        }
        self.most_active = self.most_active.max(self.active.len());
    }

    /// From Ready to labelled, shortest first, of the nodes with such a name.
    pub(crate) fn delays(&self, of: impl Fn(&str) -> bool) -> Vec<Duration> {
        let mut delays: Vec<Duration> = self
            .labelled
            .iter()
            .filter(|(name, _)| of(name))
            .filter_map(|(name, labelled)| {
                Some(labelled.saturating_duration_since(*self.ready.get(name)?))
            })
            .collect();
        delays.sort();
        delays
    }
}

/// The value below which that part (in hundredths) of the sorted values lie.
pub(crate) fn percentile(sorted: &[Duration], hundredths: usize) -> Duration {
    let index = (sorted.len() * hundredths).div_ceil(100).saturating_sub(1);
    sorted.get(index).copied().unwrap_or_default()
}
