//! The `ConfigMap` that carries the recipe to the worker. It holds nothing secret.

use api_types::osartifact::OSArtifact;
use k8s_openapi::api::core::v1::ConfigMap;

use super::metadata;
use crate::recipe::{KEY, Recipe};

/// The `ConfigMap`, called like the artifact.
pub fn config_map(artifact: &OSArtifact, recipe: &Recipe) -> ConfigMap {
    let name = artifact.metadata.name.clone().unwrap_or_default();
    // Every part of a recipe serialises.
    let text = serde_json::to_string_pretty(recipe).unwrap_or_default();
    ConfigMap {
        metadata: metadata(artifact, name),
        data: Some([(KEY.to_owned(), text)].into()),
        ..ConfigMap::default()
    }
}
