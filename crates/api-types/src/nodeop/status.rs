//! What a NodeOp reports. The words are kairos-operator's; what is new is optional.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the operation stands, on the whole and on each node.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeOpStatus {
    /// Where the operation stands: Pending, Running, Completed or Failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Phase")]
    pub phase: Option<Phase>,

    /// When this status was last written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<Time>,

    /// When the first node was reserved. From then on only some fields of the spec may be edited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// When the last node was done, or the operation had failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// What is going on, or what went wrong and where, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// How many nodes stand where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<NodeCounts>,

    /// Complete, Failed and Progressing, each with a reason; kubectl wait reads them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,

    /// Where each node stands, by the name of the node.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub node_statuses: BTreeMap<String, NodeStatus>,
}

/// Where a whole operation stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// No node has started.
    #[default]
    Pending,
    /// Nodes are being worked on, or wait for their turn.
    Running,
    /// Every selected node is done.
    Completed,
    /// At least one node failed, and nothing more will start.
    Failed,
}

impl Phase {
    /// Whether the operation is over.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// How many of the selected nodes stand where. The five counts after `total` add up to it.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeCounts {
    /// Nodes that are selected.
    pub total: i64,
    /// Nodes that wait for their turn.
    pub pending: i64,
    /// Nodes that are being worked on.
    pub running: i64,
    /// Nodes where the operation succeeded.
    pub completed: i64,
    /// Nodes where the operation failed.
    pub failed: i64,
    /// Nodes where there was nothing to do.
    pub skipped: i64,
    /// Nodes that are done (completed or skipped) of all that are selected, such as "3/5".
    pub done: String,
}

/// Where one node stands.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// Where the node stands: Pending, Preflight, Running, Completed or Failed. A node that was skipped is
    /// Completed, and its message begins with "Skipped:".
    pub phase: NodePhase,

    /// The Job that runs the command on this node, in the namespace of the NodeOp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_name: Option<String>,

    /// What is going on, or what went wrong and what to do, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// How far the reboot is. Left out: none was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RebootStatus")]
    pub reboot_status: Option<RebootStatus>,

    /// When this entry last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<Time>,

    /// What is being done on the node. Left out before the node starts and after it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "NodeStep")]
    pub step: Option<NodeStep>,

    /// When that step began; its deadline counts from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,

    /// The machine behind the name when the node started, so that another one of the same name is told apart.
    #[serde(rename = "systemUUID", skip_serializing_if = "Option::is_none")]
    pub system_uuid: Option<String>,

    /// The boot that the node is to leave by its reboot, as its kubelet reports it. The reboot is proven when the node
    /// is Ready with another one.
    #[serde(rename = "bootID", skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
}

/// Where one node stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodePhase {
    /// It waits for its turn.
    #[default]
    Pending,
    /// It is being checked whether there is something to do.
    Preflight,
    /// It is being worked on.
    Running,
    /// The operation succeeded, or there was nothing to do.
    Completed,
    /// The operation failed.
    Failed,
}

impl NodePhase {
    /// Whether the node has a result, and never starts again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// How far a node's reboot is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RebootStatus {
    /// No reboot was asked for.
    #[default]
    NotRequested,
    /// The node is to reboot, or is rebooting.
    Pending,
    /// The node is back with a new boot ID and Ready.
    Completed,
    /// The command failed, so the node was not rebooted.
    Cancelled,
}

/// What is being done on a node that has no result yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeStep {
    /// The node has a place within `concurrency`; nothing has been done yet.
    Reserved,
    /// The node is not Ready and is waited for.
    WaitingForReady,
    /// The Node object is gone; it may come back.
    NodeGone,
    /// The preflight command runs.
    Preflight,
    /// The node is claimed, and cordoned where asked for.
    Claimed,
    /// Pods are being evicted.
    Draining,
    /// The Job is being created.
    Starting,
    /// The command runs.
    Running,
    /// The command succeeded, and the reboot waits for its permission.
    AwaitingReboot,
    /// The node may reboot, or is rebooting.
    Rebooting,
    /// The verify command runs.
    Verifying,
}
