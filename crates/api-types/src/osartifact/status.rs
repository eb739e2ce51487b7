//! What an OSArtifact reports.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the build stands.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OSArtifactStatus {
    /// Where the build stands: Pending, Building, Exporting, Ready or Error.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ArtifactPhase")]
    pub phase: Option<ArtifactPhase>,

    /// What is being done within that phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,

    /// What is going on, or what went wrong and what to do, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// When this status was last written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<Time>,

    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Complete, Failed and Progressing, each with a reason; kubectl wait reads them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// Where a build stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ArtifactPhase {
    /// Nothing has started.
    #[default]
    Pending,
    /// The builder Pod runs.
    Building,
    /// The files are built, and exporters run.
    Exporting,
    /// The files are built, and every exporter has succeeded.
    Ready,
    /// The build or an exporter failed.
    Error,
}
