//! Plays the machines: a node whose reboot Pod is permitted to end its boot comes back in another one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api_types::names::{ANNOTATION_REBOOT_AUTHORIZED, LABEL_REBOOT};
use api_types::nodeop::NodeOp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::task::JoinHandle;

/// The boots that were permitted to end, by node.
type Permitted = Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>;

/// The machines during one run.
pub(crate) struct Machines {
    client: Client,
    namespace: String,
    permitted: Permitted,
    task: JoinHandle<()>,
}

impl Machines {
    pub(crate) fn start(client: Client, namespace: String) -> Self {
        let permitted = Permitted::default();
        let task = tokio::spawn(play(
            client.clone(),
            namespace.clone(),
            Arc::clone(&permitted),
        ));
        Self {
            client,
            namespace,
            permitted,
            task,
        }
    }

    /// How many boots each node was permitted to end.
    pub(crate) fn boots(&self) -> Vec<usize> {
        let permitted = self.permitted.lock().unwrap();
        permitted.values().map(BTreeSet::len).collect()
    }

    /// Whether nothing of the operation is left: no claim, no cordon, no reboot Pod, no finalizer, no place.
    pub(crate) async fn are_given_back(&self, count: usize) -> Result<(), String> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let nodes = nodes.list(&ListParams::default()).await.unwrap().items;
        assert_eq!(nodes.len(), count);
        for node in nodes {
            let mark = node
                .annotations()
                .keys()
                .find(|key| key.starts_with("operator.kairos.io/"));
            if let Some(mark) = mark {
                return Err(format!("{} has {mark}", node.name_any()));
            }
            let spec = node.spec.as_ref();
            if spec.and_then(|spec| spec.unschedulable) == Some(true) {
                return Err(format!("{} is cordoned", node.name_any()));
            }
        }
        if let Some(pod) = self.reboot_pods().await.first() {
            return Err(format!("{} is there", pod.name_any()));
        }
        let node_ops: Api<NodeOp> = Api::namespaced(self.client.clone(), &self.namespace);
        let node_op = node_ops.get("op").await.unwrap();
        if !node_op.finalizers().is_empty() {
            return Err(format!("the NodeOp has {:?}", node_op.finalizers()));
        }
        let leases: Api<Lease> = Api::all(self.client.clone());
        let leases = leases.list(&ListParams::default()).await.unwrap().items;
        let place = leases
            .into_iter()
            .find(|lease| lease.name_any() == "nodeop-control-plane");
        let holder = place
            .and_then(|lease| lease.spec?.holder_identity)
            .filter(|holder| !holder.is_empty());
        holder.map_or(Ok(()), |holder| Err(format!("the place is {holder}'s")))
    }

    async fn reboot_pods(&self) -> Vec<Pod> {
        reboot_pods(&self.client, &self.namespace).await
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn reboot_pods(client: &Client, namespace: &str) -> Vec<Pod> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(LABEL_REBOOT);
    pods.list(&params).await.unwrap().items
}

async fn play(client: Client, namespace: String, permitted: Permitted) {
    let nodes: Api<Node> = Api::all(client.clone());
    loop {
        for pod in reboot_pods(&client, &namespace).await {
            let Some(boot) = pod.annotations().get(ANNOTATION_REBOOT_AUTHORIZED) else {
                continue;
            };
            let name = pod.spec.as_ref().unwrap().node_name.clone().unwrap();
            let node = nodes.get(&name).await.unwrap();
            let now = node.status.unwrap().node_info.unwrap().boot_id;
            permitted
                .lock()
                .unwrap()
                .entry(name.clone())
                .or_default()
                .insert(boot.clone());
            // As the agent does: only from the boot that it was permitted to end.
            if *boot == now {
                let next = format!("after-{}", pod.uid().unwrap());
                let patch = json!({"status": {"nodeInfo": {"bootID": next}}});
                nodes
                    .patch_status(&name, &PatchParams::default(), &Patch::Strategic(&patch))
                    .await
                    .unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
