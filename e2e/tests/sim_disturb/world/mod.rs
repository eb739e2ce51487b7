//! One namespace with its own simulated nodes, and what tests ask and do there. All worlds of one binary share a cluster
//! and a controller.

#![allow(
    dead_code,
    reason = "several test binaries use this file, each another part of it"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use api_types::names::{
    ANNOTATION_CLAIMED_BY, ANNOTATION_REBOOT_AUTHORIZED, LABEL_NODE, LABEL_REBOOT,
};
use api_types::nodeop::{NodeOp, NodeOpStatus, NodeStatus, NodeStep};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

mod clean;
mod nodes;
mod shared;
mod watch;

pub(crate) use shared::{cluster, with_controller, without_controller};
pub(crate) use watch::NodeRecord;

/// The longest that any expected change may take.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
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

/// Whether the operation has a verdict.
pub(crate) fn has_ended(status: &NodeOpStatus) -> bool {
    let verdict = |found: &Condition| found.type_ != "Progressing" && found.status == "True";
    status.conditions.iter().any(verdict)
}

impl World {
    pub(crate) async fn new(prefix: &str) -> Self {
        let cluster = cluster().await;
        Self {
            client: cluster.client().unwrap(),
            namespace: cluster.temp_namespace(prefix).await.unwrap(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.namespace.name()
    }

    fn node_ops(&self) -> Api<NodeOp> {
        Api::namespaced(self.client.clone(), self.name())
    }

    pub(crate) fn pod_api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), self.name())
    }

    /// Creates a NodeOp over this world's nodes.
    pub(crate) async fn node_op(&self, name: &str, spec: &str) {
        let mut spec: Value = serde_saphyr::from_str(spec).unwrap();
        spec["nodeSelector"] = json!({"matchLabels": {LABEL: self.name()}});
        let node_op = json!({
            "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp",
            "metadata": {"name": name}, "spec": spec,
        });
        self.node_ops()
            .create(
                &PostParams::default(),
                &serde_json::from_value(node_op).unwrap(),
            )
            .await
            .unwrap();
    }

    pub(crate) async fn edit(&self, name: &str, spec: Value) {
        self.patch_op(name, json!({"spec": spec})).await;
    }

    pub(crate) async fn patch_op(&self, name: &str, patch: Value) {
        self.node_ops()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    pub(crate) async fn patch_op_status(&self, name: &str, status: Value) {
        let patch = json!({"status": status});
        self.node_ops()
            .patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.node_ops()
            .delete(name, &DeleteParams::background())
            .await
            .unwrap();
    }

    pub(crate) async fn find(&self, name: &str) -> Option<NodeOp> {
        self.node_ops().get_opt(name).await.unwrap()
    }

    pub(crate) async fn op(&self, name: &str) -> NodeOp {
        self.node_ops().get(name).await.unwrap()
    }

    pub(crate) async fn status(&self, name: &str) -> NodeOpStatus {
        self.op(name).await.status.unwrap_or_default()
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
        self.until(name, "the operation has ended", has_ended).await
    }

    /// Waits until Progressing gives that reason.
    pub(crate) async fn reason(&self, name: &str, reason: &str) -> NodeOpStatus {
        self.until(name, reason, |status| {
            let mut conditions = status.conditions.iter();
            conditions.any(|found| found.type_ == "Progressing" && found.reason == reason)
        })
        .await
    }

    /// Waits until the node's entry `holds`, and returns it.
    pub(crate) async fn entry(
        &self,
        name: &str,
        node: &str,
        what: &str,
        holds: impl Fn(&NodeStatus) -> bool,
    ) -> NodeStatus {
        let status = self
            .until(name, &format!("{node}: {what}"), |status| {
                status.node_statuses.get(node).is_some_and(&holds)
            })
            .await;
        status.node_statuses[node].clone()
    }

    pub(crate) async fn step(&self, name: &str, node: &str, step: NodeStep) -> NodeStatus {
        self.entry(name, node, &format!("{step:?}"), |entry| {
            entry.step == Some(step)
        })
        .await
    }

    /// Waits until the node's message has those words.
    pub(crate) async fn message(&self, name: &str, node: &str, words: &str) -> NodeStatus {
        self.entry(name, node, &format!("message \"{words}\""), |entry| {
            entry
                .message
                .as_ref()
                .is_some_and(|text| text.contains(words))
        })
        .await
    }

    pub(crate) async fn jobs(&self) -> Vec<Job> {
        let api: Api<Job> = Api::namespaced(self.client.clone(), self.name());
        api.list(&ListParams::default()).await.unwrap().items
    }

    pub(crate) async fn pods(&self) -> Vec<Pod> {
        self.pod_api()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
    }

    /// The reboot Pods of this world; `node` as its label holds it, or in full.
    pub(crate) async fn reboot_pods(&self, node: &str) -> Vec<Pod> {
        let mut pods = self.pods().await;
        pods.retain(|pod| is_reboot_pod_of(pod, node));
        pods
    }

    /// Waits until a reboot Pod of that node is permitted to end a boot, and returns which.
    pub(crate) async fn authorized(&self, node: &str) -> String {
        eventually(&format!("the reboot of {node} is authorised"), async || {
            let pods = self.reboot_pods(node).await;
            pods.iter()
                .find_map(|pod| pod.annotations().get(ANNOTATION_REBOOT_AUTHORIZED).cloned())
        })
        .await
    }

    /// Ends the Pods of a Job that hang.
    pub(crate) async fn finish_job(&self, job: &str) {
        let patch = json!({"status": {"phase": "Succeeded"}});
        eventually(&format!("a Pod of Job {job}"), async || {
            let pods = self.pods().await;
            let pod = pods.iter().find(|pod| {
                let owned = pod.owner_references().iter().any(|owner| owner.name == job);
                let phase = pod
                    .status
                    .as_ref()
                    .and_then(|status| status.phase.as_deref());
                owned && phase == Some("Running")
            })?;
            self.pod_api()
                .patch_status(
                    &pod.name_any(),
                    &PatchParams::default(),
                    &Patch::Merge(&patch),
                )
                .await
                .unwrap();
            Some(())
        })
        .await;
    }

    /// Creates any object of this namespace.
    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), self.name());
        let object = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap()
    }

    /// Waits for an Event about that NodeOp, with that reason and those words.
    pub(crate) async fn event(&self, name: &str, reason: &str, words: &str) {
        let events: Api<Event> = Api::namespaced(self.client.clone(), self.name());
        eventually(&format!("an Event {reason} with \"{words}\""), async || {
            let listed = events.list(&ListParams::default()).await.ok()?;
            let mut matching = listed.items.iter().filter(|event| {
                event.reason.as_deref() == Some(reason)
                    && event.note.as_ref().is_some_and(|note| note.contains(words))
            });
            matching
                .any(|event| {
                    let about = event.regarding.as_ref();
                    about.and_then(|object| object.name.as_deref()) == Some(name)
                })
                .then_some(())
        })
        .await;
    }

    /// Jobs that the controller created here, by the audit log: also those that are gone.
    pub(crate) async fn jobs_created(&self) -> usize {
        let audit = shared::audit().await.namespace(self.name());
        audit.verb("create").resource("jobs").succeeded().count()
    }
}

pub(crate) fn is_cordoned(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    spec.and_then(|spec| spec.unschedulable).unwrap_or_default()
}

fn is_reboot_pod_of(pod: &Pod, node: &str) -> bool {
    let full = pod
        .annotations()
        .get(LABEL_NODE)
        .or(pod.labels().get(LABEL_NODE));
    pod.labels().contains_key(LABEL_REBOOT) && full.is_some_and(|found| found == node)
}

/// Who claims a node, by its annotation.
pub(crate) fn claimed_by(node: &Node) -> Option<String> {
    node.annotations().get(ANNOTATION_CLAIMED_BY).cloned()
}

/// Labels as the simulated nodes of a world have them.
fn labels(world: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = [(LABEL, world)];
    let all = own.iter().chain(more);
    all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
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
