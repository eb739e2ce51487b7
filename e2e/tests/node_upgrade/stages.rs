//! Every stage of an upgrade's nodes as a watch tells of it, and a kill of a controller in each.

use std::collections::{BTreeSet, HashSet};
use std::pin::Pin;

use api_types::nodeop::{NodeOp, NodeStep};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use kube::Api;
use kube::runtime::watcher::{self, Event};

use crate::site::{NODES, Site};

/// The stages in which controllers are killed. Others may pass too quickly to be seen.
const STAGES: [NodeStep; 5] = [
    NodeStep::Preflight,
    NodeStep::Draining,
    NodeStep::Running,
    NodeStep::Rebooting,
    NodeStep::Verifying,
];

pub(crate) struct Stages {
    name: String,
    events: Pin<Box<dyn Stream<Item = watcher::Result<Event<NodeOp>>> + Send>>,
}

/// What was seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// Nodes in the order in which they began.
    pub(crate) order: Vec<String>,
    /// The most nodes that were at work at the same time.
    pub(crate) most_at_once: usize,
}

impl Stages {
    /// Watches from now on.
    pub(crate) async fn watch(site: &Site, name: &str) -> Self {
        let api: Api<NodeOp> = Api::namespaced(site.client.clone(), "default");
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut events = watcher::watcher(api, config).boxed();
        while !matches!(events.try_next().await.unwrap(), Some(Event::InitDone)) {}
        Self {
            name: name.to_owned(),
            events,
        }
    }

    /// Follows the NodeOp to its end. In each stage of the first node the upgrade-controller is killed once, in each of the
    /// second node the nodeop-controller.
    pub(crate) async fn kill_in_each(mut self, site: &Site) -> Seen {
        let mut seen = Seen::default();
        let mut killed: HashSet<(String, String)> = HashSet::new();
        while let Some(event) = self.events.next().await {
            let Ok(Event::Apply(node_op) | Event::InitApply(node_op)) = event else {
                continue;
            };
            assert_eq!(node_op.metadata.name.as_deref(), Some(&*self.name));
            let Some(status) = node_op.status else {
                continue;
            };
            let at_work: Vec<(&String, NodeStep)> = status
                .node_statuses
                .iter()
                .filter(|(_, entry)| !entry.phase.is_terminal())
                .filter_map(|(name, entry)| Some((name, entry.step?)))
                .collect();
            seen.most_at_once = seen.most_at_once.max(at_work.len());
            for (name, step) in at_work {
                if !seen.order.contains(name) {
                    seen.order.push(name.clone());
                }
                let is_new =
                    STAGES.contains(&step) && killed.insert((name.clone(), format!("{step:?}")));
                if is_new && *name == NODES[0] {
                    site.upgrade_controller.crash(&site.cluster).await;
                } else if is_new && *name == NODES[1] {
                    site.nodeop_controller.crash(&site.cluster).await;
                }
            }
            if status
                .phase
                .is_some_and(api_types::nodeop::Phase::is_terminal)
            {
                break;
            }
        }
        for node in &NODES[..2] {
            let steps: BTreeSet<&str> = killed
                .iter()
                .filter(|(name, _)| name == node)
                .map(|(_, step)| &**step)
                .collect();
            assert_eq!(steps.len(), STAGES.len(), "stages of {node}: {steps:?}");
        }
        seen
    }
}
