//! The Jobs that hand on the built files: the user's, with our volume in the place of any that has its name.

use api_types::names::{ANNOTATION_EXPORT_HASH, ANNOTATION_EXPORT_INDEX};
use api_types::osartifact::OSArtifact;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Affinity, Container, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
    PersistentVolumeClaimVolumeSource, PodSpec, Volume,
};
use operator_runtime::names::short_hash;

use super::claim::{claim, is_shared};
use super::names::{claim_name, exporter_name};
use super::{labels, metadata};

/// The name that exporters know the volume by.
const VOLUME: &str = "artifacts";

/// What an exporter's run depends on: its own text, and the build whose files it hands on.
pub fn exporter_hash(exporter: &JobSpec, build: &str) -> String {
    // A JobSpec came as JSON and goes as JSON.
    let text = serde_json::to_string(exporter).unwrap_or_default();
    short_hash(&[&text, build])
}

/// What tells one run of an exporter from another, as an annotation of its Job.
pub fn mark(hash: &str, attempt: i64) -> String {
    format!("{hash}.{attempt}")
}

/// The Job of the exporter at `index`, as the `run` of [`mark`], for files that were built on
/// `node`. Without a time to live: that is set
/// when the result is recorded, so that the result is never removed before it was seen.
pub fn exporter_job(
    artifact: &OSArtifact,
    index: usize,
    exporter: &JobSpec,
    run: &str,
    node: Option<&str>,
) -> Job {
    let name = artifact.metadata.name.as_deref().unwrap_or_default();
    let mut job = Job {
        metadata: metadata(artifact, exporter_name(name, index)),
        spec: Some(exporter.clone()),
        status: None,
    };
    job.metadata.annotations = Some(
        [
            (ANNOTATION_EXPORT_INDEX.to_owned(), index.to_string()),
            (ANNOTATION_EXPORT_HASH.to_owned(), run.to_owned()),
        ]
        .into(),
    );
    let spec = job.spec.get_or_insert_default();
    spec.ttl_seconds_after_finished = None;
    let template = spec.template.metadata.get_or_insert_default();
    template
        .labels
        .get_or_insert_default()
        .extend(labels(artifact));
    let pod = spec.template.spec.get_or_insert_default();
    pod.restart_policy.get_or_insert_with(|| "Never".to_owned());
    mount(pod, name);
    let shared = claim(artifact).spec.is_some_and(|spec| is_shared(&spec));
    if let Some(node) = node.filter(|_| !shared && pod.node_name.is_none()) {
        pod.affinity = Some(on_node(pod.affinity.take(), node));
    }
    job
}

/// Puts our volume in, read-only wherever it is mounted.
fn mount(pod: &mut PodSpec, artifact: &str) {
    let volumes = pod.volumes.get_or_insert_default();
    volumes.retain(|volume| volume.name != VOLUME);
    volumes.push(Volume {
        name: VOLUME.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim_name(artifact),
            read_only: Some(true),
        }),
        ..Volume::default()
    });
    let containers = pod
        .containers
        .iter_mut()
        .chain(pod.init_containers.iter_mut().flatten());
    let mounts = containers
        .flat_map(|container: &mut Container| container.volume_mounts.iter_mut().flatten());
    for mount in mounts.filter(|mount| mount.name == VOLUME) {
        mount.read_only = Some(true);
    }
}

/// Adds a node to what the user wants of nodes. Terms are alternatives, so each one gets it.
fn on_node(affinity: Option<Affinity>, node: &str) -> Affinity {
    let field = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let mut affinity = affinity.unwrap_or_default();
    let of_nodes = affinity
        .node_affinity
        .get_or_insert_with(NodeAffinity::default);
    let required = of_nodes
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_with(NodeSelector::default);
    if required.node_selector_terms.is_empty() {
        required
            .node_selector_terms
            .push(NodeSelectorTerm::default());
    }
    for term in &mut required.node_selector_terms {
        term.match_fields
            .get_or_insert_default()
            .push(field.clone());
    }
    affinity
}
