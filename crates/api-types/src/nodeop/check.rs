//! Commands that only look at a node: before the operation, and after it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A command that decides, before a node is touched, whether there is something to do on it.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreflightCommand {
    /// The program to run and its arguments, with the node's root file system mounted read-only. When it fails, the
    /// node fails; when it writes a reason to /dev/termination-log, the node is skipped with that reason.
    #[schemars(schema_with = "crate::schema::command")]
    pub command: Vec<String>,

    /// Image of the container that runs the check. Left out: the image of the operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub image: Option<String>,

    /// How many seconds the check may take on one node.
    #[serde(default = "default_preflight_deadline")]
    #[schemars(range(min = 1))]
    pub active_deadline_seconds: i32,
}

/// A command that must succeed on a node after the operation before the node counts as done.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyCommand {
    /// The program to run and its arguments, with the node's root file system mounted read-only. When it fails, the
    /// node fails.
    #[schemars(schema_with = "crate::schema::command")]
    pub command: Vec<String>,

    /// Image of the container that runs the check. Left out: the image of the operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub image: Option<String>,

    /// How many seconds the check may take on one node.
    #[serde(default = "default_verify_deadline")]
    #[schemars(range(min = 1))]
    pub active_deadline_seconds: i32,
}

fn default_preflight_deadline() -> i32 {
    120
}

fn default_verify_deadline() -> i32 {
    300
}
