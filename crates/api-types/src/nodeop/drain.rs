//! How a NodeOp drains a node: kubectl drain's options under the names that kairos-operator gave them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether and how Pods are evicted from a node. PodDisruptionBudgets are always honoured.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainOptions {
    /// Evict the node's Pods before the command runs. The node is cordoned for it, also without cordon: true.
    #[serde(default)]
    pub enabled: bool,

    /// Evict also Pods that no controller will create anew. Without it such a Pod fails the node before anything is
    /// touched.
    #[serde(default)]
    pub force: bool,

    /// How many seconds each Pod gets to end. Negative or left out: what the Pod itself asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i32>,

    /// Leave Pods of DaemonSets where they are. With false such a Pod fails the node before anything is touched.
    #[serde(default = "default_true")]
    pub ignore_daemon_sets: bool,

    /// Evict also Pods whose emptyDir volumes lose their data by it. Without it such a Pod fails the node before
    /// anything is touched.
    #[serde(default)]
    pub delete_empty_dir_data: bool,

    /// How many seconds the drain of one node may take before the node counts as failed. 0 means no limit.
    #[serde(default = "default_timeout_seconds")]
    #[schemars(range(min = 0))]
    pub timeout_seconds: i32,
}

impl Default for DrainOptions {
    fn default() -> Self {
        Self {
            enabled: false,
            force: false,
            grace_period_seconds: None,
            ignore_daemon_sets: default_true(),
            delete_empty_dir_data: false,
            timeout_seconds: default_timeout_seconds(),
        }
    }
}

fn default_true() -> bool {
    true
}

fn default_timeout_seconds() -> i32 {
    3600
}
