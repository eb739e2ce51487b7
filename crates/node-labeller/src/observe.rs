//! What one decision looks at: the caches, and what this process has done that they do not show yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::Store;

use crate::controller::memory::Memory;
use crate::watched::{WatchedNode, WatchedPod};

/// The watched objects.
#[derive(Clone)]
pub struct Caches {
    /// Every Node that is selected.
    pub nodes: Store<WatchedNode>,
    /// Every Pod of ours.
    pub pods: Store<WatchedPod>,
}

/// What [`crate::decide::Snapshot`] borrows from.
#[derive(Debug, Default)]
pub struct Observed {
    /// Nodes, in no order.
    pub nodes: Vec<Arc<WatchedNode>>,
    /// Our Pods by name.
    pub pods: BTreeMap<String, Arc<WatchedPod>>,
}

/// Reads the snapshot.
pub fn observe(caches: &Caches, memory: &mut Memory, now: Instant, clock: Timestamp) -> Observed {
    let pods = caches.pods.state();
    let nodes = caches.nodes.state();
    memory.prune(&nodes, &pods, now, clock);
    Observed {
        nodes: nodes
            .into_iter()
            .map(|node| memory.with_written_record(node))
            .collect(),
        pods: memory
            .pods(pods)
            .map(|pod| (pod.name().to_owned(), pod))
            .collect(),
    }
}
