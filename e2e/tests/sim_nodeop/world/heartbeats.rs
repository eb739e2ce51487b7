//! Kubelets that write their Nodes all the time, in what no decision reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::task::JoinHandle;

use super::World;

pub(crate) struct Heartbeats {
    stopped: Arc<AtomicBool>,
    writes: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl World {
    /// Writes the status of `nodes` some hundred times a second until stopped.
    pub(crate) fn heartbeats(&self, nodes: &[String]) -> Heartbeats {
        let stopped = Arc::new(AtomicBool::new(false));
        let writes = Arc::new(AtomicUsize::new(0));
        let tasks = nodes
            .iter()
            .map(|node| {
                let beat = beat(
                    self.node_api(),
                    node.clone(),
                    Arc::clone(&stopped),
                    Arc::clone(&writes),
                );
                tokio::spawn(beat)
            })
            .collect();
        Heartbeats {
            stopped,
            writes,
            tasks,
        }
    }
}

impl Heartbeats {
    /// Ends them and returns how many writes there were.
    pub(crate) async fn stop(self) -> usize {
        self.stopped.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.writes.load(Ordering::SeqCst)
    }
}

async fn beat(api: Api<Node>, node: String, stopped: Arc<AtomicBool>, writes: Arc<AtomicUsize>) {
    let mut number = 0;
    while !stopped.load(Ordering::SeqCst) {
        number += 1;
        let patch = json!({"status": {"nodeInfo": {"kubeProxyVersion": format!("v{number}")}}});
        let params = PatchParams::default();
        if api
            .patch_status(&node, &params, &Patch::Strategic(&patch))
            .await
            .is_ok()
        {
            writes.fetch_add(1, Ordering::SeqCst);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
