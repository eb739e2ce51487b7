//! What a NodeOpUpgrade reports: mostly a mirror of its NodeOp's status.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::nodeop::{NodeCounts, NodeStatus, Phase};

/// Where the upgrade stands, on the whole and on each node.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeOpUpgradeStatus {
    /// Where the upgrade stands: Initializing until the NodeOp reports, then the phase of the NodeOp.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "UpgradePhase")]
    pub phase: Option<UpgradePhase>,

    /// The NodeOp that does the work, in the same namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_op_name: Option<String>,

    /// When this status was last written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<Time>,

    /// When the first node was reserved. From then on only some fields of the spec may be edited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// When the last node was done, or the upgrade had failed.
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

    /// The nodes that are being worked on, as one line that is cut when there are many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,

    /// Complete, Failed and Progressing, each with a reason; kubectl wait reads them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,

    /// Where each node stands, by the name of the node.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub node_statuses: BTreeMap<String, NodeStatus>,
}

/// Where a whole upgrade stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpgradePhase {
    /// The NodeOp has not reported yet.
    #[default]
    Initializing,
    /// No node has started.
    Pending,
    /// Nodes are being worked on, or wait for their turn.
    Running,
    /// Every selected node is done.
    Completed,
    /// At least one node failed, and nothing more will start.
    Failed,
}

impl From<Phase> for UpgradePhase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Pending => Self::Pending,
            Phase::Running => Self::Running,
            Phase::Completed => Self::Completed,
            Phase::Failed => Self::Failed,
        }
    }
}
