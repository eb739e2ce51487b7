//! References to Secrets and volumes, and the processors that images are built for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An entry of a Secret in the OSArtifact's namespace.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeySelector {
    /// The name of the Secret.
    #[schemars(length(max = 253))]
    pub name: String,

    /// The key within the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub key: Option<String>,
}

/// Which volume the build uses for what, each by its name in spec.volumes.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeBindings {
    /// The folder that the Dockerfile's COPY and ADD read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub build_context: Option<String>,

    /// Files that are laid over the ISO.
    #[serde(
        rename = "overlayISO",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 63))]
    pub overlay_iso: Option<String>,

    /// Files that are laid over the root file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub overlay_rootfs: Option<String>,
}

/// A processor architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}
