//! The upgrade controller as a process, where more of a cluster is needed than its API: the garbage collector, a missing
//! nodeop-controller, and kills around each write. The NodeOps' side is played by the tests, so there are no nodes.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

mod crash;
mod deletion;
mod missing;

use std::time::Duration;

use api_types::nodeop::NodeOp;
use api_types::nodeopupgrade::NodeOpUpgrade;
use e2e::cluster::{Cluster, ControlPlane};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

/// The longest that any expected change may take.
const PATIENCE: Duration = Duration::from_mins(2);

async fn cluster() -> Cluster {
    let cluster = Cluster::builder()
        .control_plane(ControlPlane::Full)
        .start()
        .await
        .unwrap();
    e2e::operator::install_controllers(&cluster, &["upgrade-controller"])
        .await
        .unwrap();
    cluster
}

/// One namespace's objects.
struct Objects {
    upgrades: Api<NodeOpUpgrade>,
    node_ops: Api<NodeOp>,
}

impl Objects {
    fn of(client: &Client, namespace: &str) -> Self {
        Self {
            upgrades: Api::namespaced(client.clone(), namespace),
            node_ops: Api::namespaced(client.clone(), namespace),
        }
    }

    async fn create(&self, name: &str) {
        let upgrade = serde_json::from_value(json!({
            "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOpUpgrade", "metadata": {"name": name},
            "spec": {"image": "registry.example.com/kairos:v2"},
        }))
        .unwrap();
        self.upgrades
            .create(&PostParams::default(), &upgrade)
            .await
            .unwrap();
    }

    async fn made(&self, name: &str) -> NodeOp {
        eventually("the NodeOp is there", async || {
            self.node_ops.get_opt(name).await.unwrap()
        })
        .await
    }

    async fn patch_node_op(&self, name: &str, patch: Value) {
        let params = PatchParams::default();
        self.node_ops
            .patch(name, &params, &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    /// Plays the nodeop-controller.
    async fn report(&self, name: &str, status: Value) {
        let (params, patch) = (PatchParams::default(), json!({"status": status}));
        self.node_ops
            .patch_status(name, &params, &Patch::Merge(&patch))
            .await
            .unwrap();
    }
}

/// Polls until there is something.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{what}: not within {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
