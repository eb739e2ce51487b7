//! Every change of a world's nodes, as a watch tells it: nothing between two looks is missed.

use std::sync::{Arc, Mutex};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Node;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt as _};
use tokio::task::JoinHandle;

use super::{LABEL, World, claimed_by, is_cordoned};

/// A Node at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) node: String,
    pub(crate) claim: Option<String>,
    pub(crate) cordoned: bool,
}

/// A running record.
pub(crate) struct NodeRecord {
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl NodeRecord {
    /// Records from now on.
    pub(crate) async fn start(world: &World) -> Self {
        let nodes: Api<Node> = Api::all(world.client.clone());
        let config = watcher::Config::default().labels(&format!("{LABEL}={}", world.name()));
        let mut events = watcher::watcher(nodes, config).boxed();
        while !matches!(events.try_next().await.unwrap(), Some(Event::InitDone)) {}
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if let Ok(Event::Apply(node) | Event::InitApply(node)) = event {
                    record.lock().unwrap().push(Seen {
                        node: node.name_any(),
                        claim: claimed_by(&node),
                        cordoned: is_cordoned(&node),
                    });
                }
            }
        });
        Self { seen, task }
    }

    /// Everything that was seen so far.
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// What was seen of that node so far, without repetitions.
    pub(crate) fn of(&self, node: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        let mut of: Vec<Seen> = seen
            .iter()
            .filter(|seen| seen.node == node)
            .cloned()
            .collect();
        of.dedup();
        of
    }

    /// Who claimed that node, one after the other.
    pub(crate) fn claims(&self, node: &str) -> Vec<String> {
        let mut claims: Vec<String> = self
            .of(node)
            .into_iter()
            .filter_map(|seen| seen.claim)
            .collect();
        claims.dedup();
        claims
    }
}

impl Drop for NodeRecord {
    fn drop(&mut self) {
        self.task.abort();
    }
}
