//! The objects this controller creates, one file per kind. Pure: an `OSArtifact`, its plan and the controller's settings in,
//! an object out; snapshot-tested from the manifests that users have.

pub mod claim;
pub mod config_map;
pub mod container;
pub mod exporter;
pub mod names;
pub mod pod;
pub mod volumes;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use api_types::names::LABEL_ARTIFACT;
use api_types::osartifact::OSArtifact;
use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;

use crate::plan::Version;
use crate::recipe::RecipeSettings;
use crate::steps::CallSettings;

/// What the controller's flags contribute to the objects it builds.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildSettings {
    /// Image with our own worker.
    pub worker_image: String,
    /// Image with AuroraBoot.
    pub auroraboot_image: String,
    /// Image with buildah.
    pub buildah_image: String,
    /// Image with kairos-init.
    pub kairos_init_image: String,
    /// Version of converted images whose spec names none.
    pub default_version: Version,
    /// Whether registries without TLS are fine.
    pub insecure_registries: bool,
    /// Pull secrets for every builder Pod, after those of the `OSArtifact`.
    pub image_pull_secrets: Vec<String>,
    /// Priority class of builder Pods; the cluster's default when there is none.
    pub priority_class_name: Option<String>,
    /// Labels of nodes that may build.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that builder Pods tolerate.
    pub tolerations: Vec<Toleration>,
    /// Where builder Pods would rather be.
    pub affinity: Option<Affinity>,
    /// Requests and limits of each step that runs a tool.
    pub resources: ResourceRequirements,
}

impl BuildSettings {
    /// What of it goes into calls.
    pub fn calls(&self) -> CallSettings {
        CallSettings {
            insecure_registries: self.insecure_registries,
        }
    }

    /// What of it goes into recipes.
    pub fn recipe(&self) -> RecipeSettings {
        RecipeSettings {
            kairos_init_image: self.kairos_init_image.clone(),
            default_version: self.default_version.clone(),
        }
    }
}

/// Metadata of an object that belongs to `artifact`.
fn metadata(artifact: &OSArtifact, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: artifact.metadata.namespace.clone(),
        labels: Some(labels(artifact)),
        owner_references: Some(vec![owner_reference(artifact)]),
        ..ObjectMeta::default()
    }
}

fn labels(artifact: &OSArtifact) -> BTreeMap<String, String> {
    let name = artifact.metadata.name.clone().unwrap_or_default();
    [(LABEL_ARTIFACT.to_owned(), name)].into()
}

/// Names the `OSArtifact` as controller. Without `blockOwnerDeletion`: it would need a right on finalizers, and nothing
/// waits for these objects.
pub fn owner_reference(artifact: &OSArtifact) -> OwnerReference {
    OwnerReference {
        api_version: OSArtifact::api_version(&()).into_owned(),
        kind: OSArtifact::kind(&()).into_owned(),
        name: artifact.metadata.name.clone().unwrap_or_default(),
        uid: artifact.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}
