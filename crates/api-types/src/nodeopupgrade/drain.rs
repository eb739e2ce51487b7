//! How an upgrade drains a node: a NodeOp's options with other defaults, because the node reboots anyway.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether and how Pods are evicted from a node before its upgrade. PodDisruptionBudgets are always honoured.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeDrainOptions {
    /// Evict the node's Pods before the upgrade.
    #[serde(default = "default_true")]
    pub enabled: bool,

    /// Evict also Pods that no controller will create anew. With false such a Pod fails the node before anything is
    /// touched.
    #[serde(default = "default_true")]
    pub force: bool,

    /// How many seconds each Pod gets to end. Negative or left out: what the Pod itself asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i32>,

    /// Leave Pods of DaemonSets where they are. With false such a Pod fails the node before anything is touched.
    #[serde(default = "default_true")]
    pub ignore_daemon_sets: bool,

    /// Evict also Pods whose emptyDir volumes lose their data by it. With false such a Pod fails the node before
    /// anything is touched.
    #[serde(default = "default_true")]
    pub delete_empty_dir_data: bool,

    /// How many seconds the drain of one node may take before the node counts as failed. 0 means no limit.
    #[serde(default = "default_timeout_seconds")]
    #[schemars(range(min = 0))]
    pub timeout_seconds: i32,
}

impl Default for UpgradeDrainOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            force: true,
            grace_period_seconds: None,
            ignore_daemon_sets: true,
            delete_empty_dir_data: true,
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
