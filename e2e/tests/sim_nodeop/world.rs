//! One namespace with its own simulated nodes, and what tests ask and do there. All worlds of this binary share one
//! cluster and one controller.

use std::collections::BTreeMap;
use std::time::Duration;

use api_types::nodeop::{NodeOp, NodeOpStatus, NodePhase, NodeStep};
use e2e::assets::{self, Tool};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

mod heartbeats;
mod history;
mod shared;

pub(crate) use history::JobHistory;

/// The longest that any expected change may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Label by which a world's NodeOps select its nodes.
const LABEL: &str = "test-world";

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) namespace: e2e::cluster::TempNamespace,
}

/// The condition of that type; panics when there is none.
pub(crate) fn condition<'a>(status: &'a NodeOpStatus, name: &str) -> &'a Condition {
    let found = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == name);
    found.unwrap_or_else(|| panic!("no condition {name} in {status:?}"))
}

impl World {
    pub(crate) async fn new(prefix: &str) -> Self {
        let cluster = shared::cluster().await;
        let namespace = cluster.temp_namespace(prefix).await.unwrap();
        Self {
            client: cluster.client().unwrap(),
            namespace,
        }
    }

    fn name(&self) -> &str {
        self.namespace.name()
    }

    fn node_ops(&self) -> Api<NodeOp> {
        Api::namespaced(self.client.clone(), self.name())
    }

    pub(crate) fn job_api(&self) -> Api<Job> {
        Api::namespaced(self.client.clone(), self.name())
    }

    fn node_api(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    /// Ready nodes of this world, named after it.
    pub(crate) async fn nodes(&self, count: usize, labels: &[(&str, &str)]) -> Vec<String> {
        let names: Vec<String> = (0..count).map(|index| format!("node-{index}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.named_nodes(&names, labels).await
    }

    pub(crate) async fn named_nodes(&self, names: &[&str], labels: &[(&str, &str)]) -> Vec<String> {
        let mut created = Vec::new();
        for name in names {
            created.push(self.create_node(name, labels, true).await);
        }
        for name in &created {
            self.wait_until_ready(name).await;
        }
        created
    }

    /// A node that no kubelet, not even a simulated one, speaks for.
    pub(crate) async fn node_that_is_not_ready(&self, name: &str) -> String {
        self.create_node(name, &[], false).await
    }

    async fn create_node(&self, name: &str, labels: &[(&str, &str)], simulated: bool) -> String {
        let name = format!("{}-{name}", self.name());
        let mut all: BTreeMap<&str, &str> = labels.iter().copied().collect();
        all.insert(LABEL, self.name());
        let annotations = if simulated {
            json!({"kwok.x-k8s.io/node": "fake"})
        } else {
            json!({})
        };
        let node = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": all, "annotations": annotations},
        }))
        .unwrap();
        self.node_api()
            .create(&PostParams::default(), &node)
            .await
            .unwrap();
        name
    }

    pub(crate) async fn make_ready(&self, name: &str) {
        let patch = json!({"metadata": {"annotations": {"kwok.x-k8s.io/node": "fake"}}});
        self.node_api()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
        self.wait_until_ready(name).await;
    }

    async fn wait_until_ready(&self, name: &str) {
        eventually(&format!("node {name} is Ready"), async || {
            let node = self.node_api().get(name).await.ok()?;
            let conditions = node.status?.conditions?;
            conditions
                .iter()
                .any(|found| found.type_ == "Ready" && found.status == "True")
                .then_some(())
        })
        .await;
    }

    pub(crate) async fn delete_node(&self, name: &str) {
        self.node_api()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    /// Creates a NodeOp over this world's nodes.
    pub(crate) async fn node_op(&self, name: &str, spec: &str) {
        let mut spec: Value = serde_saphyr::from_str(spec).unwrap();
        spec["nodeSelector"] = json!({"matchLabels": {LABEL: self.name()}});
        let node_op = json!({
            "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp",
            "metadata": {"name": name}, "spec": spec,
        });
        let node_op = serde_json::from_value(node_op).unwrap();
        self.node_ops()
            .create(&PostParams::default(), &node_op)
            .await
            .unwrap();
    }

    /// A NodeOp with the status that kairos-operator left. It is created while no controller runs.
    pub(crate) async fn old_node_op(&self, name: &str, status: Value) {
        let _paused = shared::without_controller().await;
        self.node_op(name, "command: [run]").await;
        let patch = json!({"status": status});
        self.node_ops()
            .patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    pub(crate) async fn edit(&self, name: &str, spec: Value) -> Result<(), String> {
        let patch = json!({"spec": spec});
        let edited = self
            .node_ops()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        edited.map(|_| ()).map_err(|error| error.to_string())
    }

    pub(crate) async fn add_finalizer(&self, name: &str, finalizer: &str) {
        let patch = json!({"metadata": {"finalizers": [finalizer]}});
        self.node_ops()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.node_ops()
            .delete(name, &DeleteParams::background())
            .await
            .unwrap();
    }

    pub(crate) async fn is_gone(&self, name: &str) {
        eventually("the NodeOp is gone", async || {
            self.node_ops()
                .get_opt(name)
                .await
                .unwrap()
                .is_none()
                .then_some(())
        })
        .await;
    }

    pub(crate) async fn status(&self, name: &str) -> NodeOpStatus {
        self.node_ops()
            .get(name)
            .await
            .unwrap()
            .status
            .unwrap_or_default()
    }

    /// Waits for a status that `holds`, and returns it.
    pub(crate) async fn until(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&NodeOpStatus) -> bool,
    ) -> NodeOpStatus {
        let mut last = NodeOpStatus::default();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            last = self.status(name).await;
            if holds(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{what}: not within {PATIENCE:?}; the status is {last:#?}")
    }

    pub(crate) async fn ended(&self, name: &str) -> NodeOpStatus {
        self.until(name, "the operation has ended", |status| {
            let ended = |found: &&Condition| found.type_ != "Progressing" && found.status == "True";
            status.conditions.iter().any(|found| ended(&found))
        })
        .await
    }

    /// Waits until Progressing gives that reason.
    pub(crate) async fn reason(&self, name: &str, reason: &str) -> NodeOpStatus {
        self.until(name, reason, |status| {
            status
                .conditions
                .iter()
                .any(|found| found.type_ == "Progressing" && found.reason == reason)
        })
        .await
    }

    /// Waits until that many nodes have started and have not been given up.
    pub(crate) async fn started(&self, name: &str, count: usize) -> NodeOpStatus {
        let running = |status: &NodeOpStatus| {
            let gone = |step: Option<NodeStep>| step == Some(NodeStep::NodeGone);
            let entries = status.node_statuses.values();
            entries
                .filter(|entry| entry.phase == NodePhase::Running && !gone(entry.step))
                .count()
        };
        self.until(name, "the nodes have started", |status| {
            running(status) >= count
        })
        .await
    }

    /// What kubectl says in this namespace.
    pub(crate) async fn kubectl(&self, words: &[&str]) -> String {
        let output = tokio::process::Command::new(assets::tool(Tool::Kubectl).unwrap())
            .arg("--kubeconfig")
            .arg(shared::cluster().await.kubeconfig())
            .args(["--namespace", self.name()])
            .args(words)
            .output()
            .await
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).into_owned()
    }

    pub(crate) async fn jobs(&self) -> Vec<Job> {
        self.job_api()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
    }

    pub(crate) async fn no_jobs_left(&self) {
        eventually("the Jobs are gone", async || {
            self.jobs().await.is_empty().then_some(())
        })
        .await;
    }

    pub(crate) async fn delete_job(&self, name: &str) {
        self.job_api()
            .delete(name, &DeleteParams::background())
            .await
            .unwrap();
    }

    /// A Job as kairos-operator made them.
    pub(crate) async fn foreign_job(&self, name: &str, node: &str, image: &str) {
        let job = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"kairos.io/nodeop": "op", "kairos.io/node": node}},
            "spec": {"template": {"spec": {
                "nodeName": node, "restartPolicy": "Never",
                "containers": [{"name": "nodeop", "image": image, "command": ["run"]}],
            }}},
        }))
        .unwrap();
        self.job_api()
            .create(&PostParams::default(), &job)
            .await
            .unwrap();
    }

    pub(crate) async fn pod_security(&self, level: &str) {
        let patch = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces
            .patch(self.name(), &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    /// Waits for an Event about that NodeOp, with that reason and those words.
    pub(crate) async fn event(&self, name: &str, reason: &str, words: &str) {
        let events: Api<Event> = Api::namespaced(self.client.clone(), self.name());
        eventually(&format!("an Event {reason} with \"{words}\""), async || {
            let listed = events.list(&ListParams::default()).await.ok()?;
            let matches = |event: &Event| {
                event.reason.as_deref() == Some(reason)
                    && event.note.as_ref().is_some_and(|note| note.contains(words))
                    && event
                        .regarding
                        .as_ref()
                        .and_then(|object| object.name.as_deref())
                        == Some(name)
            };
            listed.items.iter().any(matches).then_some(())
        })
        .await;
    }

    /// Jobs that the controller created here, by the audit log: also those that are gone.
    pub(crate) fn jobs_created(&self) -> usize {
        shared::jobs_created(self.name())
    }
}

/// Polls until there is something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
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
