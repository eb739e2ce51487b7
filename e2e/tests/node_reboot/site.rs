//! What the stories ask of the cluster.

use std::time::Duration;

use api_types::nodeop::{NodeOp, NodeOpStatus, NodeStatus, Phase};
use e2e::cluster::Cluster;
use e2e::nodes::{Boot, End, Node as TestNode, RealNodes};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

/// How long a single change may take.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Site<'a> {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    cluster: &'a Cluster,
    pub(crate) nodes: &'a RealNodes,
}

impl<'a> Site<'a> {
    pub(crate) fn new(cluster: &'a Cluster, nodes: &'a RealNodes, namespace: &str) -> Self {
        Self {
            client: cluster.client().unwrap(),
            namespace: namespace.to_owned(),
            cluster,
            nodes,
        }
    }

    fn node_ops(&self) -> Api<NodeOp> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies a manifest in this site's namespace, and returns its name.
    pub(crate) async fn apply(&self, yaml: &str) -> String {
        let mut node_op: NodeOp = serde_saphyr::from_str(yaml).unwrap();
        node_op.metadata.namespace = Some(self.namespace.clone());
        let created = self
            .node_ops()
            .create(&PostParams::default(), &node_op)
            .await
            .unwrap();
        created.name_any()
    }

    pub(crate) async fn create(&self, name: &str, spec: Value) {
        let node_op = json!({
            "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp", "metadata": {"name": name}, "spec": spec,
        });
        let node_op = serde_json::from_value(node_op).unwrap();
        self.node_ops()
            .create(&PostParams::default(), &node_op)
            .await
            .unwrap();
    }

    pub(crate) async fn delete(&self, name: &str) {
        let params = DeleteParams::background();
        self.node_ops().delete(name, &params).await.unwrap();
    }

    /// Waits until a deleted operation is gone.
    pub(crate) async fn is_gone(&self, name: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while let Some(found) = self.node_ops().get_opt(name).await.unwrap() {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{name} is not gone within {PATIENCE:?}: {found:#?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn status(&self, name: &str) -> NodeOpStatus {
        let found = self.node_ops().get(name).await.unwrap();
        found.status.unwrap_or_default()
    }

    /// The node's entry once it `holds`.
    pub(crate) async fn entry(
        &self,
        name: &str,
        node: &str,
        what: &str,
        holds: impl Fn(&NodeStatus) -> bool,
    ) -> NodeStatus {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = self.status(name).await;
            if let Some(entry) = status.node_statuses.get(node).filter(|entry| holds(entry)) {
                return entry.clone();
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{name}, {node}: {what}: not within {PATIENCE:?}: {status:#?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The reboot Pods of this operation.
    pub(crate) async fn reboot_pods(&self, name: &str) -> Vec<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let selector = format!("kairos.io/reboot=true,kairos.io/nodeop={name}");
        let selector = ListParams::default().labels(&selector);
        pods.list(&selector).await.unwrap().items
    }

    /// The status once the operation has ended and its finalizer is gone.
    pub(crate) async fn ended(&self, name: &str, within: Duration) -> NodeOpStatus {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            let found = self.node_ops().get(name).await.unwrap();
            let held = !found.finalizers().is_empty();
            let status = found.status.unwrap_or_default();
            if status.phase.is_some_and(Phase::is_terminal) && !held {
                return status;
            }
            if tokio::time::Instant::now() >= deadline {
                let log = self.cluster.folder().join("nodeop-controller.log");
                let log = std::fs::read_to_string(log).unwrap_or_default();
                let start = log.floor_char_boundary(log.len().saturating_sub(4000));
                panic!(
                    "{name} has not ended within {within:?}: {status:#?}\n{}",
                    &log[start..]
                );
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub(crate) fn node(&self, name: &str) -> &TestNode {
        self.nodes.get(name).unwrap()
    }

    /// How the node's boots ended, in order; the one that runs has no end.
    pub(crate) fn ends(&self, node: &str) -> Vec<Option<End>> {
        let boots = self.node(node).boots().unwrap();
        boots.iter().map(|boot| boot.end).collect()
    }

    pub(crate) fn last_boot(&self, node: &str) -> Boot {
        self.node(node).boots().unwrap().pop().unwrap()
    }

    pub(crate) async fn wait_for_file(&self, node: &str, path: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let host = self.node(node);
        while host.written_file(path).is_none() {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{path} never came on {node}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the kubelet has told that the command of this operation runs.
    pub(crate) async fn wait_for_running_command(&self, name: &str) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let selector = format!("batch.kubernetes.io/job-name,kairos.io/nodeop={name}");
        let selector = ListParams::default().labels(&selector);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let found = pods.list(&selector).await.unwrap().items;
            let statuses = found
                .iter()
                .filter_map(|pod| pod.status.as_ref()?.init_container_statuses.as_ref())
                .flatten();
            let mut states = statuses.filter_map(|container| container.state.as_ref());
            if states.any(|state| state.running.is_some()) {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "the command of {name} never ran"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn is_cordoned(&self, node: &str) -> bool {
        let node = Api::<Node>::all(self.client.clone())
            .get(node)
            .await
            .unwrap();
        node.spec.and_then(|spec| spec.unschedulable) == Some(true)
    }

    /// No cordon, claim, reboot Pod or place is left.
    pub(crate) async fn assert_given_back(&self) {
        for node in Api::<Node>::all(self.client.clone())
            .list(&ListParams::default())
            .await
            .unwrap()
        {
            let name = node.name_any();
            let ours: Vec<_> = node
                .annotations()
                .keys()
                .filter(|key| key.starts_with("operator.kairos.io/"))
                .collect();
            assert!(ours.is_empty(), "{name} still carries {ours:?}");
            let spec = node.spec.unwrap_or_default();
            assert_ne!(spec.unschedulable, Some(true), "{name} is still cordoned");
        }
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let selector = ListParams::default().labels("kairos.io/reboot=true");
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while !pods.list(&selector).await.unwrap().items.is_empty() {
            assert!(
                tokio::time::Instant::now() < deadline,
                "a reboot Pod is left"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), e2e::operator::NAMESPACE);
        if let Some(lease) = leases.get_opt("nodeop-control-plane").await.unwrap() {
            let holder = lease.spec.and_then(|spec| spec.holder_identity);
            assert_eq!(holder, None, "the control plane's place is still taken");
        }
    }

    pub(crate) async fn assert_one_job_per_node(&self, name: &str) {
        let jobs: Api<Job> = Api::namespaced(self.client.clone(), &self.namespace);
        let selector = ListParams::default().labels(&format!("kairos.io/nodeop={name}"));
        let mut nodes: Vec<String> = jobs
            .list(&selector)
            .await
            .unwrap()
            .iter()
            .map(|job| job.labels()["kairos.io/node"].clone())
            .collect();
        nodes.sort();
        assert_eq!(nodes, crate::NODES);
        let created = self
            .cluster
            .audit()
            .unwrap()
            .service_account(e2e::operator::NAMESPACE, "nodeop-controller")
            .verb("create")
            .resource("jobs")
            .namespace(&self.namespace)
            .succeeded()
            .count();
        assert_eq!(
            created,
            crate::NODES.len(),
            "Jobs created, by the audit log"
        );
    }

    /// Evictions that the API server accepted.
    pub(crate) fn evictions(&self) -> usize {
        self.cluster
            .audit()
            .unwrap()
            .service_account(e2e::operator::NAMESPACE, "nodeop-controller")
            .resource("pods/eviction")
            .succeeded()
            .count()
    }
}
