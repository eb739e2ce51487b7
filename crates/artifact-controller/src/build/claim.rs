//! The volume claim that holds the built files.

use api_types::names::{ANNOTATION_ARTIFACT_UID, ANNOTATION_RETAIN, VALUE_TRUE};
use api_types::osartifact::OSArtifact;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::metadata;
use super::names::claim_name;
use crate::plan::mebibytes;

/// What an artifact that says nothing gets.
const DEFAULT_SIZE: &str = "10Gi";
const DEFAULT_ACCESS: &str = "ReadWriteOnce";

/// The claim.
pub fn claim(artifact: &OSArtifact) -> PersistentVolumeClaim {
    let name = artifact.metadata.name.as_deref().unwrap_or_default();
    let mut spec = artifact.spec.volume.clone().unwrap_or_default();
    if spec.access_modes.as_ref().is_none_or(Vec::is_empty) {
        spec.access_modes = Some(vec![DEFAULT_ACCESS.to_owned()]);
    }
    let resources = spec
        .resources
        .get_or_insert_with(VolumeResourceRequirements::default);
    let requests = resources.requests.get_or_insert_default();
    requests
        .entry("storage".to_owned())
        .or_insert_with(|| Quantity(DEFAULT_SIZE.to_owned()));
    PersistentVolumeClaim {
        metadata: metadata(artifact, claim_name(name)),
        spec: Some(spec),
        status: None,
    }
}

/// The fields in which a claim that exists is not what the spec asks for now. Only those that a user sets: the API server
/// fills in others, and what the spec leaves out is whatever the claim has got.
pub fn differences(artifact: &OSArtifact, found: &PersistentVolumeClaim) -> Vec<&'static str> {
    let wanted = claim(artifact).spec.unwrap_or_default();
    let found = found.spec.clone().unwrap_or_default();
    let differs = |wanted: &Option<String>, found: &Option<String>| {
        wanted.is_some() && wanted.as_deref() != found.as_deref()
    };
    let sorted = |spec: &PersistentVolumeClaimSpec| {
        let mut modes = spec.access_modes.clone().unwrap_or_default();
        modes.sort();
        modes
    };
    let storage = |spec: &PersistentVolumeClaimSpec| {
        let requests = spec.resources.as_ref()?.requests.as_ref()?;
        let text = &requests.get("storage")?.0;
        // The API server may write the same size in another way.
        Some(mebibytes(text).map_or_else(|_| text.clone(), |size| size.to_string()))
    };
    [
        (
            "storageClassName",
            differs(&wanted.storage_class_name, &found.storage_class_name),
        ),
        (
            "volumeName",
            differs(&wanted.volume_name, &found.volume_name),
        ),
        (
            "volumeMode",
            differs(&wanted.volume_mode, &found.volume_mode),
        ),
        ("accessModes", sorted(&wanted) != sorted(&found)),
        (
            "resources.requests.storage",
            differs(&storage(&wanted), &storage(&found)),
        ),
    ]
    .into_iter()
    .filter_map(|(field, differs)| differs.then_some(field))
    .collect()
}

/// Whether Pods on several nodes can use the claim at once.
pub fn is_shared(spec: &PersistentVolumeClaimSpec) -> bool {
    let mut modes = spec.access_modes.iter().flatten();
    modes.any(|mode| mode == "ReadWriteMany" || mode == "ReadOnlyMany")
}

/// Whether an annotation asks that the claim outlives the artifact.
pub fn is_retained(artifact: &OSArtifact, claim: &PersistentVolumeClaim) -> bool {
    let annotations = [&artifact.metadata.annotations, &claim.metadata.annotations];
    let wanted = |annotations: &&Option<std::collections::BTreeMap<String, String>>| {
        annotations
            .as_ref()
            .and_then(|all| all.get(ANNOTATION_RETAIN))
            .is_some_and(|value| value == VALUE_TRUE)
    };
    annotations.iter().any(wanted)
}

/// Whether the claim is this artifact's: by its controller, or, once it is retained and has none, by our note on it.
pub fn is_ours(artifact: &OSArtifact, claim: &PersistentVolumeClaim) -> bool {
    let Some(uid) = artifact.metadata.uid.as_ref() else {
        return false;
    };
    let owners = claim.metadata.owner_references.iter().flatten();
    let noted = claim
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(ANNOTATION_ARTIFACT_UID));
    owners
        .into_iter()
        .any(|owner| owner.controller == Some(true) && owner.uid == *uid)
        || noted == Some(uid)
}
