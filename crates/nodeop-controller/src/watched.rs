//! The objects that are watched in thousands, cut down to the fields that decisions read.
//!
//! Memory follows from this file: a full Node is some 10 KiB, a trimmed one under 1 KiB.

mod pod;

use api_types::names::{ANNOTATION_CLAIMED_BY, ANNOTATION_CORDONED_BY, LABEL_NODE};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use serde::{Deserialize, Serialize};

pub use pod::{PodProgress, WatchedPod};

/// Labels that mark a control-plane node, by kubeadm, k3s and older distributions.
const CONTROL_PLANE_LABELS: [&str; 3] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
    "node-role.kubernetes.io/etcd",
];

/// A Node with the fields that selection, ordering and readiness read.
#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[resource(inherit = Node)]
#[serde(rename_all = "camelCase", default)]
pub struct WatchedNode {
    /// Name, labels and our own annotations; the rest is dropped by [`WatchedNode::trim`].
    pub metadata: ObjectMeta,
    /// Whether Pods are scheduled to it.
    pub spec: WatchedNodeSpec,
    /// Readiness and identity.
    pub status: WatchedNodeStatus,
}

/// The part of a Node's spec that is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchedNodeSpec {
    /// Whether the node is cordoned.
    pub unschedulable: bool,
}

/// The part of a Node's status that is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WatchedNodeStatus {
    /// All conditions as received, `Ready` alone after [`WatchedNode::trim`].
    pub conditions: Vec<WatchedCondition>,
    /// Identity of the machine.
    pub node_info: WatchedNodeInfo,
}

/// The part of a Node's `nodeInfo` that is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchedNodeInfo {
    /// The machine's identity as its firmware tells it; empty when it tells none.
    #[serde(rename = "systemUUID")]
    pub system_uuid: String,
    /// The boot that the kubelet reports.
    #[serde(rename = "bootID")]
    pub boot_id: String,
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
    /// Machine-readable cause.
    pub reason: Option<String>,
    /// Cause in words.
    pub message: Option<String>,
}

impl WatchedNode {
    /// Drops what no decision reads.
    pub fn trim(&mut self) {
        keep_identity(&mut self.metadata);
        if let Some(annotations) = &mut self.metadata.annotations {
            annotations
                .retain(|key, _| key == ANNOTATION_CLAIMED_BY || key == ANNOTATION_CORDONED_BY);
        }
        self.status
            .conditions
            .retain(|condition| condition.type_ == "Ready");
    }

    /// The node's name; empty only for objects that no API server sent.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether the kubelet reports Ready, and if not, why, in words.
    pub fn readiness(&self) -> Result<(), String> {
        let Some(ready) = self
            .status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Ready")
        else {
            return Err("its kubelet has not reported yet".to_owned());
        };
        if ready.status == "True" {
            return Ok(());
        }
        let cause = ready.message.as_deref().filter(|text| !text.is_empty());
        Err(cause
            .or(ready.reason.as_deref())
            .unwrap_or("no reason given")
            .to_owned())
    }

    /// The value of one of our annotations.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        let annotations = self.metadata.annotations.as_ref()?;
        annotations.get(key).map(String::as_str)
    }

    /// Whether the node carries a control-plane role label, whatever its value.
    pub fn is_control_plane(&self) -> bool {
        let labels = self.metadata.labels.as_ref();
        labels.is_some_and(|labels| {
            CONTROL_PLANE_LABELS
                .iter()
                .any(|key| labels.contains_key(*key))
        })
    }
}

/// A Job of ours with the fields that tell how it ended.
#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[resource(inherit = Job)]
#[serde(rename_all = "camelCase", default)]
pub struct WatchedJob {
    /// Name, labels, owners; the rest is dropped by [`WatchedJob::trim`].
    pub metadata: ObjectMeta,
    /// How it ended.
    pub status: WatchedJobStatus,
}

/// The part of a Job's status that is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchedJobStatus {
    /// The Job's conditions.
    pub conditions: Vec<WatchedCondition>,
}

/// How far a Job has come, as its conditions tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobOutcome<'a> {
    /// No result yet.
    Active,
    /// The condition Complete is True.
    Complete,
    /// The condition Failed or `FailureTarget` is True.
    Failed {
        /// The Job controller's reason, such as `BackoffLimitExceeded`.
        reason: &'a str,
        /// The Job controller's words.
        message: &'a str,
    },
}

impl WatchedJob {
    /// Drops what no decision reads.
    pub fn trim(&mut self) {
        keep_identity(&mut self.metadata);
        // A node's name that the label had to cut stands in full in an annotation.
        if let Some(annotations) = &mut self.metadata.annotations {
            annotations.retain(|key, _| key == LABEL_NODE);
        }
    }

    /// The Job's name; empty only for objects that no API server sent.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The owner that controls this Job.
    pub fn controller_owner(&self) -> Option<&OwnerReference> {
        let owners = self.metadata.owner_references.as_ref()?;
        owners.iter().find(|owner| owner.controller == Some(true))
    }

    /// Whether the Job has succeeded.
    pub fn is_complete(&self) -> bool {
        self.outcome() == JobOutcome::Complete
    }

    /// How the Job ended. `FailureTarget` already counts as failed: it announces the verdict while Pods still end
    /// (KEP-3939). `SuccessCriteriaMet` does not count as success: only Complete does.
    pub fn outcome(&self) -> JobOutcome<'_> {
        let holds = |name: &str| {
            self.status
                .conditions
                .iter()
                .find(|condition| condition.type_ == name && condition.status == "True")
        };
        if holds("Complete").is_some() {
            return JobOutcome::Complete;
        }
        match holds("Failed").or_else(|| holds("FailureTarget")) {
            Some(failed) => JobOutcome::Failed {
                reason: failed.reason.as_deref().unwrap_or("Failed"),
                message: failed.message.as_deref().unwrap_or_default(),
            },
            None => JobOutcome::Active,
        }
    }
}

impl From<Job> for WatchedJob {
    fn from(job: Job) -> Self {
        let conditions = job
            .status
            .and_then(|status| status.conditions)
            .unwrap_or_default();
        let mut watched = Self {
            metadata: job.metadata,
            status: WatchedJobStatus {
                conditions: conditions
                    .into_iter()
                    .map(|condition| WatchedCondition {
                        type_: condition.type_,
                        status: condition.status,
                        reason: condition.reason,
                        message: condition.message,
                    })
                    .collect(),
            },
        };
        watched.trim();
        watched
    }
}

/// Keeps of an object's metadata what identifies it and what selects it.
fn keep_identity(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.generate_name = None;
    metadata.self_link = None;
    metadata.finalizers = None;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(type_: &str, status: &str) -> WatchedCondition {
        WatchedCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            ..WatchedCondition::default()
        }
    }

    fn job(conditions: Vec<WatchedCondition>) -> WatchedJob {
        WatchedJob {
            status: WatchedJobStatus { conditions },
            ..WatchedJob::default()
        }
    }

    #[test]
    fn only_complete_is_success_and_failure_target_is_failure() {
        assert_eq!(job(vec![]).outcome(), JobOutcome::Active);
        assert_eq!(
            job(vec![condition("SuccessCriteriaMet", "True")]).outcome(),
            JobOutcome::Active
        );
        assert_eq!(
            job(vec![condition("Complete", "True")]).outcome(),
            JobOutcome::Complete
        );
        assert_eq!(
            job(vec![condition("Failed", "False")]).outcome(),
            JobOutcome::Active
        );
        for type_ in ["Failed", "FailureTarget"] {
            let job = job(vec![condition(type_, "True")]);
            assert!(
                matches!(job.outcome(), JobOutcome::Failed { .. }),
                "{type_}"
            );
        }
    }

    #[test]
    fn a_real_node_deserialises_and_trims_to_what_is_read() {
        let mut node: WatchedNode = serde_json::from_value(serde_json::json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "worker", "labels": {"a": "b"}, "annotations": {"x": "y"},
                "managedFields": [{"manager": "kubelet"}]},
            "spec": {"podCIDR": "10.0.0.0/24"},
            "status": {
                "capacity": {"cpu": "2"},
                "conditions": [
                    {"type": "MemoryPressure", "status": "False", "lastHeartbeatTime": "2026-01-01T00:00:00Z"},
                    {"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status."}],
                "nodeInfo": {"systemUUID": "ABC", "bootID": "x"}}
        }))
        .unwrap();
        node.trim();
        assert_eq!(node.metadata.managed_fields, None);
        assert_eq!(node.status.conditions.len(), 1);
        assert_eq!(node.status.node_info.system_uuid, "ABC");
        assert_eq!(
            node.readiness(),
            Err("Kubelet stopped posting node status.".to_owned())
        );
        assert!(!node.is_control_plane());
    }

    #[test]
    fn a_role_label_counts_whatever_its_value() {
        let mut node = WatchedNode::default();
        node.metadata.labels =
            Some([("node-role.kubernetes.io/master".to_owned(), String::new())].into());
        assert!(node.is_control_plane());
    }
}
