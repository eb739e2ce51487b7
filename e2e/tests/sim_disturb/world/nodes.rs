//! The simulated nodes of a world, and the kubelet's part: boots and readiness.

use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::{World, eventually, labels, shared};

/// While a node has it, the simulator leaves its status to the test.
const DOWN: &str = "test/down";

impl World {
    fn node_api(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    /// Ready nodes of this world, named after it.
    pub(crate) async fn nodes(&self, count: usize, more: &[(&str, &str)]) -> Vec<String> {
        let names: Vec<String> = (0..count)
            .map(|index| format!("{}-{index}", self.name()))
            .collect();
        for name in &names {
            self.create_node(name, more).await;
        }
        for name in &names {
            self.wait_until_ready(name).await;
        }
        names
    }

    pub(crate) async fn create_node(&self, name: &str, more: &[(&str, &str)]) {
        let node = json!({"metadata": {
            "name": name, "labels": labels(self.name(), more), "annotations": {"kwok.x-k8s.io/node": "fake"},
        }});
        let node = serde_json::from_value(node).unwrap();
        self.node_api()
            .create(&PostParams::default(), &node)
            .await
            .unwrap();
    }

    /// The Node object again, for a machine that was known before and comes in another boot.
    pub(crate) async fn create_node_of(&self, name: &str, system_uuid: &str) {
        let node = json!({
            "metadata": {"name": name, "labels": labels(self.name(), &[]), "annotations": {DOWN: "yes"}},
        });
        let node = serde_json::from_value(node).unwrap();
        self.node_api()
            .create(&PostParams::default(), &node)
            .await
            .unwrap();
        let info = json!({"systemUUID": system_uuid, "bootID": "boot-of-the-return"});
        self.patch_node_status(name, json!({"nodeInfo": info}))
            .await;
        let annotations = json!({DOWN: null, "kwok.x-k8s.io/node": "fake"});
        self.patch_node(name, json!({"metadata": {"annotations": annotations}}))
            .await;
        self.wait_until_ready(name).await;
    }

    pub(crate) async fn wait_until_ready(&self, name: &str) {
        eventually(&format!("node {name} is Ready"), async || {
            let status = self.node(name).await.status?;
            let mut conditions = status.conditions?.into_iter();
            conditions
                .any(|found| found.type_ == "Ready" && found.status == "True")
                .then_some(())
        })
        .await;
    }

    /// The nodes of this world.
    pub(crate) async fn all_nodes(&self) -> Vec<Node> {
        let own = ListParams::default().labels(&format!("{}={}", super::LABEL, self.name()));
        self.node_api().list(&own).await.unwrap().items
    }

    pub(crate) async fn node(&self, name: &str) -> Node {
        self.node_api().get(name).await.unwrap()
    }

    pub(crate) async fn delete_node(&self, name: &str) {
        self.node_api()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    /// Deletes these nodes, so that they concern nobody any more.
    pub(crate) async fn forget(&self, names: &[String]) {
        for name in names {
            self.delete_node(name).await;
        }
    }

    pub(crate) async fn patch_node(&self, name: &str, patch: Value) {
        self.node_api()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    async fn patch_node_status(&self, name: &str, status: Value) {
        let patch = json!({"status": status});
        self.node_api()
            .patch_status(name, &PatchParams::default(), &Patch::Strategic(&patch))
            .await
            .unwrap();
    }

    pub(crate) async fn cordon_by_hand(&self, name: &str, yes: bool) {
        self.patch_node(name, json!({"spec": {"unschedulable": yes}}))
            .await;
    }

    pub(crate) async fn boot_id(&self, name: &str) -> String {
        let status = self.node(name).await.status.unwrap();
        status.node_info.unwrap().boot_id
    }

    /// The kubelet reports another boot.
    pub(crate) async fn boots(&self, name: &str) -> String {
        let boot = format!("boot-after-{}", self.boot_id(name).await);
        self.patch_node_status(name, json!({"nodeInfo": {"bootID": boot}}))
            .await;
        boot
    }

    /// Another machine speaks under this name.
    pub(crate) async fn becomes_another_machine(&self, name: &str) {
        let info = json!({"systemUUID": "another-machine", "bootID": "another-boot"});
        self.patch_node_status(name, json!({"nodeInfo": info}))
            .await;
    }

    pub(crate) async fn goes_down(&self, name: &str) {
        self.patch_node(name, json!({"metadata": {"annotations": {DOWN: "yes"}}}))
            .await;
        let condition =
            json!({"type": "Ready", "status": "False", "reason": "Rebooting", "message": "down"});
        self.patch_node_status(name, json!({"conditions": [condition]}))
            .await;
    }

    pub(crate) async fn comes_up(&self, name: &str) {
        self.patch_node(name, json!({"metadata": {"annotations": {DOWN: null}}}))
            .await;
        self.wait_until_ready(name).await;
    }

    /// Waits for the permission to reboot, and goes down and up as a machine would. Returns the boots before and after.
    pub(crate) async fn play_reboot(&self, name: &str) -> (String, String) {
        let left = self.authorized(name).await;
        assert_eq!(
            left,
            self.boot_id(name).await,
            "the permission is for the boot that the node is in"
        );
        self.goes_down(name).await;
        let boot = self.boots(name).await;
        self.comes_up(name).await;
        (left, boot)
    }

    /// What the controller wrote to the Node and got through, by the audit log.
    pub(crate) async fn node_patches(&self, name: &str) -> usize {
        let audit = shared::audit().await;
        audit
            .writes()
            .resource("nodes")
            .name(name)
            .succeeded()
            .count()
    }

    /// The order of the controller's first writes: whether it wrote to the NodeOp itself before it wrote to the Node.
    pub(crate) async fn held_before_touched(&self, name: &str, node: &str) -> bool {
        let audit = shared::audit().await.writes().succeeded();
        let events = audit.events();
        let held = events.iter().position(|event| {
            let object = &event.object_ref;
            object.resource == "nodeops"
                && object.subresource.is_empty()
                && object.namespace == self.name()
                && object.name == name
        });
        let touched = events.iter().position(|event| {
            event.object_ref.resource == "nodes" && event.object_ref.name == node
        });
        held.unwrap() < touched.unwrap()
    }

    pub(crate) async fn annotation(&self, node: &str, key: &str) -> Option<String> {
        self.node(node).await.annotations().get(key).cloned()
    }
}
