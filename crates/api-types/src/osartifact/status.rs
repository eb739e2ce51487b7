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

    /// What is being done within that phase, such as "3/6 build-iso".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,

    /// Since when nothing but this has been done. A build that has waited too long is given up from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_since: Option<Time>,

    /// What is going on, or what went wrong and what to do, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// When this status was last written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<Time>,

    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// What the current build was started from, as a hash. A spec that makes another one is built anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_hash: Option<String>,

    /// Builds started so far; part of the builder Pod's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i64>,

    /// The value of the annotation build.kairos.io/retry that was last acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<String>,

    /// The Pod that builds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builder_pod: Option<String>,

    /// The node that the Pod builds on, where exporters find its volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builder_node: Option<String>,

    /// The steps of the build that have begun, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepStatus>,

    /// The files that were built, as measured at the end of the build.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ArtifactFile>,

    /// How far the exporters are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exporters: Vec<ExporterStatus>,

    /// Built, Exported and Ready, each with a reason; kubectl wait reads them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// Where a build stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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

/// One step of a build.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StepStatus {
    /// Its name; the container of the builder Pod is called the same.
    pub name: String,

    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

/// A file that was built.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtifactFile {
    /// Its name in the volume.
    pub file: String,

    /// Which output it belongs to: image, iso, cloudImage, azureImage, gceImage or netboot.
    pub kind: String,

    /// Its size in bytes.
    pub bytes: i64,

    /// Its SHA-256 checksum in hexadecimal.
    pub sha256: String,
}

/// What became of one exporter.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExporterStatus {
    /// Its place in spec.exporters, counted from 0.
    pub index: i32,

    /// What runs, as a hash of the exporter and of the build; another one runs again.
    pub hash: String,

    /// How often it was started: a retry starts what failed once more.
    pub attempt: i64,

    /// Whether it runs, has succeeded or has failed.
    pub phase: ExporterPhase,

    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How far an exporter is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExporterPhase {
    /// Its Job runs, or is about to.
    #[default]
    Running,
    /// Its Job is complete.
    Succeeded,
    /// Its Job has failed.
    Failed,
}
