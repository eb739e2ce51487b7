//! The objects that are watched, cut down to the fields that decisions read.
//!
//! Memory follows from this file: a full Node is some 10 KiB, a trimmed one under 1 KiB.

use api_types::names::{LABEL_MANAGED, VALUE_TRUE};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use serde::{Deserialize, Serialize};

use crate::build::pod::pod_name;
use crate::facts::{is_our_annotation, is_our_label};
use crate::record::{ANNOTATION_DETECTED, Record, jitter, state_of};

/// Label by which kubelets tell their operating system.
const LABEL_OS: &str = "kubernetes.io/os";
/// Label by which virtual kubelets tell that there is no machine behind them.
const LABEL_TYPE: &str = "type";
const VIRTUAL_KUBELET: &str = "virtual-kubelet";

/// A Node with the fields that tell what is known of it and whether it is to be looked at.
#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[resource(inherit = Node)]
#[serde(rename_all = "camelCase", default)]
pub struct WatchedNode {
    /// Name, uid, and of labels and annotations our own; the rest is dropped by [`WatchedNode::trim`].
    pub metadata: ObjectMeta,
    /// Readiness and what runs there; what is summed up in the fields below is dropped by [`WatchedNode::trim`].
    pub status: WatchedNodeStatus,
    /// What was last detected, as the Node's annotation tells.
    #[serde(skip)]
    pub record: Option<Record>,
    /// What a detection depends on, from [`state_of`].
    #[serde(skip)]
    pub state: String,
    /// Whether a Pod of ours could tell anything: not on Windows, not on virtual kubelets.
    #[serde(skip)]
    pub has_linux: bool,
    /// The name of the node's Pod, from [`pod_name`]; here, because a hash per node and decision adds up.
    #[serde(skip)]
    pub pod_name: String,
    /// The node's part of the jitter, from [`jitter`]; here for the same reason.
    #[serde(skip)]
    pub jitter: u16,
}

/// The part of a Node's status that is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WatchedNodeStatus {
    /// All conditions as received, `Ready` alone after [`WatchedNode::trim`].
    pub conditions: Vec<WatchedCondition>,
    /// Identity of the system.
    pub node_info: WatchedNodeInfo,
}

/// The part of a Node's `nodeInfo` that is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WatchedNodeInfo {
    /// Changes with each boot.
    #[serde(rename = "bootID")]
    pub boot_id: String,
    /// Changes with most upgrades.
    pub os_image: String,
    /// Changes with upgrades of Kubernetes.
    pub kubelet_version: String,
    /// `linux` or `windows`.
    pub operating_system: String,
}

/// A condition without its times: heartbeats must not look like changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchedCondition {
    /// Name of the condition, such as `Ready`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
}

impl WatchedNode {
    /// Sums up what decisions read, and drops the rest.
    pub fn trim(&mut self) {
        let info = std::mem::take(&mut self.status.node_info);
        let label = |key: &str| Some(self.metadata.labels.as_ref()?.get(key)?.as_str());
        let is_other = |system: &str| !system.is_empty() && system != "linux";
        self.has_linux = !is_other(&info.operating_system)
            && !label(LABEL_OS).is_some_and(is_other)
            && label(LABEL_TYPE) != Some(VIRTUAL_KUBELET);
        self.pod_name = pod_name(self.name(), self.uid());
        self.jitter = jitter(self.uid());
        self.state = state_of(&info.boot_id, &info.os_image, &info.kubelet_version);
        self.record = self
            .metadata
            .annotations
            .as_ref()
            .and_then(|annotations| Record::parse(annotations.get(ANNOTATION_DETECTED)?));
        if let Some(labels) = &mut self.metadata.labels {
            labels.retain(|key, _| is_our_label(key));
        }
        if let Some(annotations) = &mut self.metadata.annotations {
            annotations.retain(|key, _| is_our_annotation(key));
        }
        self.metadata.owner_references = None;
        keep_identity(&mut self.metadata);
        self.status
            .conditions
            .retain(|condition| condition.type_ == "Ready");
    }

    /// The node's name; empty only for objects that no API server sent.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The Node's uid; empty only for objects that no API server sent.
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Whether the kubelet reports Ready.
    pub fn is_ready(&self) -> bool {
        let mut conditions = self.status.conditions.iter();
        conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
    }

    /// Whether the Node carries the label that says Kairos.
    pub fn is_managed(&self) -> bool {
        let labels = self.metadata.labels.as_ref();
        labels
            .and_then(|labels| labels.get(LABEL_MANAGED))
            .is_some_and(|value| value == VALUE_TRUE)
    }
}

/// Annotation of our Pods: the node's state that they were made for, from [`state_of`].
pub const ANNOTATION_STATE: &str = "operator.kairos.io/detect-state";
/// Annotation of our Pods that look at the marker files too.
pub const ANNOTATION_WITH_MARKERS: &str = "operator.kairos.io/detect-markers";

/// A Pod of ours with the fields that tell how it ended.
#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[resource(inherit = Pod)]
#[serde(rename_all = "camelCase", default)]
pub struct WatchedPod {
    /// Name, uid, owner, annotations.
    pub metadata: ObjectMeta,
    /// How far it is.
    pub status: WatchedPodStatus,
}

/// The part of a Pod's status that is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WatchedPodStatus {
    /// `Pending`, `Running`, `Succeeded` or `Failed`.
    pub phase: String,
    /// Why the kubelet ended it, such as `DeadlineExceeded`.
    pub reason: Option<String>,
    /// The same in words.
    pub message: Option<String>,
    /// Its one container.
    pub container_statuses: Vec<WatchedContainerStatus>,
}

/// The part of a container's status that is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchedContainerStatus {
    /// Waiting or terminated; neither while it runs.
    pub state: WatchedContainerState,
}

/// The part of a container's state that is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchedContainerState {
    /// Why it does not run yet.
    pub waiting: Option<WatchedWaiting>,
    /// How it ended.
    pub terminated: Option<WatchedTerminated>,
}

/// Why a container does not run yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchedWaiting {
    /// Such as `ContainerCreating` or `ImagePullBackOff`.
    pub reason: Option<String>,
    /// The same in words.
    pub message: Option<String>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WatchedTerminated {
    /// 0 is success.
    pub exit_code: i32,
    /// Such as `Error` or `OOMKilled`.
    pub reason: Option<String>,
    /// The termination message.
    pub message: Option<String>,
}

impl WatchedPod {
    /// Drops what no decision reads.
    pub fn trim(&mut self) {
        keep_identity(&mut self.metadata);
        self.metadata.labels = None;
    }

    /// The Pod's name; empty only for objects that no API server sent.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The Pod's uid; empty only for objects that no API server sent.
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The uid of the Node that owns it.
    pub fn node_uid(&self) -> Option<&str> {
        let owners = self.metadata.owner_references.as_ref()?;
        let is_node = |owner: &&OwnerReference| owner.kind == "Node";
        Some(&owners.iter().find(is_node)?.uid)
    }

    /// The node's state that it was made for.
    pub fn state(&self) -> &str {
        self.annotation(ANNOTATION_STATE).unwrap_or_default()
    }

    /// Whether it looks at the marker files too.
    pub fn with_markers(&self) -> bool {
        self.annotation(ANNOTATION_WITH_MARKERS) == Some(VALUE_TRUE)
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// When it was created.
    pub fn created(&self) -> Option<Timestamp> {
        Some(self.metadata.creation_timestamp.as_ref()?.0)
    }

    /// Its container's state.
    pub fn container(&self) -> Option<&WatchedContainerState> {
        Some(&self.status.container_statuses.first()?.state)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        Some(self.metadata.annotations.as_ref()?.get(key)?)
    }
}

/// Keeps of an object's metadata what identifies it.
fn keep_identity(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.generate_name = None;
    metadata.self_link = None;
    metadata.finalizers = None;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(labels: &serde_json::Value, system: &str) -> WatchedNode {
        let mut node: WatchedNode = serde_json::from_value(serde_json::json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "worker", "uid": "u", "labels": labels,
                "annotations": {"x": "y", "kairos.io/version": "v1",
                    "operator.kairos.io/detected": r#"{"at":"2026-01-01T00:00:00Z","of":"s","by":"p","result":"Kairos"}"#},
                "managedFields": [{"manager": "kubelet"}]},
            "status": {
                "capacity": {"cpu": "2"},
                "conditions": [
                    {"type": "MemoryPressure", "status": "False"},
                    {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}],
                "nodeInfo": {"systemUUID": "ABC", "bootID": "b", "osImage": "o", "kubeletVersion": "k",
                    "operatingSystem": system}}
        }))
        .unwrap();
        node.trim();
        node
    }

    #[test]
    fn a_real_node_is_cut_down_to_what_is_read() {
        let node = node(
            &serde_json::json!({"kairos.io/managed": "true", "kubernetes.io/os": "linux", "a": "b"}),
            "linux",
        );
        assert!(node.is_ready() && node.is_managed() && node.has_linux);
        assert_eq!(node.state, state_of("b", "o", "k"));
        assert_eq!(node.record.as_ref().unwrap().of, "s");
        assert_eq!(node.metadata.labels.as_ref().unwrap().len(), 1);
        assert_eq!(node.metadata.annotations.as_ref().unwrap().len(), 1);
        assert_eq!(node.metadata.managed_fields, None);
    }

    #[test]
    fn windows_and_virtual_kubelets_are_no_linux() {
        let none = serde_json::json!({});
        assert!(node(&none, "").has_linux);
        assert!(!node(&none, "windows").has_linux);
        assert!(!node(&serde_json::json!({"kubernetes.io/os": "windows"}), "").has_linux);
        assert!(!node(&serde_json::json!({"type": "virtual-kubelet"}), "linux").has_linux);
        assert!(node(&serde_json::json!({"type": "gpu"}), "linux").has_linux);
    }
}
