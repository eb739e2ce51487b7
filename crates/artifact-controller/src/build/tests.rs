//! The objects of the manifests that users have, as snapshots; and what must hold for all of them.

use std::collections::BTreeSet;

use api_types::osartifact::OSArtifact;
use k8s_openapi::api::core::v1::Pod;

use super::claim::{claim, is_ours, is_retained};
use super::config_map::config_map;
use super::exporter::{exporter_hash, exporter_job};
use super::pod::builder_pod;
use crate::plan::plan;
use crate::recipe::recipe;
use crate::testing::{artifact, settings};

/// The manifests of kairos-operator's users.
const MANIFESTS: [(&str, &str); 5] = [
    (
        "advanced",
        include_str!("../../../../e2e/tests/data/compat/osartifact-advanced.yaml"),
    ),
    (
        "dockerfile",
        include_str!("../../../../e2e/tests/data/compat/osartifact-dockerfile.yaml"),
    ),
    (
        "formats",
        include_str!("../../../../e2e/tests/data/compat/osartifact-formats.yaml"),
    ),
    (
        "iso",
        include_str!("../../../../e2e/tests/data/compat/osartifact-iso.yaml"),
    ),
    (
        "upload",
        include_str!("../../../../e2e/tests/data/compat/osartifact-nginx-upload.yaml"),
    ),
];

fn artifacts() -> Vec<OSArtifact> {
    let documents = MANIFESTS
        .into_iter()
        .flat_map(|(_, text)| text.split("\n---\n"));
    let documents =
        documents.map(|text| serde_saphyr::from_str::<serde_json::Value>(text).unwrap());
    documents
        .filter(|document| document["kind"] == "OSArtifact")
        .map(|document| {
            let mut artifact: OSArtifact = serde_json::from_value(document).unwrap();
            artifact.metadata.uid = Some("uid-1".into());
            artifact
        })
        .collect()
}

fn pod(artifact: &OSArtifact) -> Pod {
    builder_pod(artifact, &plan(artifact).unwrap(), "build-1", &settings())
}

#[test]
fn each_manifest_becomes_the_same_objects_as_ever() {
    for artifact in artifacts() {
        let name = artifact.metadata.name.clone().unwrap();
        insta::assert_yaml_snapshot!(format!("pod_{name}"), pod(&artifact));
        let recipe = recipe(&plan(&artifact).unwrap(), "build-1", &settings().recipe());
        insta::assert_yaml_snapshot!(format!("config_{name}"), config_map(&artifact, &recipe));
        insta::assert_yaml_snapshot!(format!("claim_{name}"), claim(&artifact));
        for (index, exporter) in artifact.spec.exporters.iter().flatten().enumerate() {
            let job = exporter_job(&artifact, index, exporter, "hash.1", Some("node-1"));
            insta::assert_yaml_snapshot!(format!("exporter_{name}_{index}"), job);
        }
    }
}

#[test]
fn only_disk_images_are_privileged_and_no_pod_has_a_token() {
    for artifact in artifacts() {
        let spec = pod(&artifact).spec.unwrap();
        assert_eq!(spec.automount_service_account_token, Some(false));
        let containers = spec
            .init_containers
            .iter()
            .flatten()
            .chain(&spec.containers);
        for container in containers {
            let context = container.security_context.as_ref().unwrap();
            let disk = ["build-cloud-image", "build-azure-image", "build-gce-image"]
                .contains(&&*container.name);
            assert_eq!(context.privileged == Some(true), disk, "{}", container.name);
        }
    }
}

#[test]
fn every_mount_names_a_volume_and_every_container_its_own_name() {
    for artifact in artifacts() {
        let spec = pod(&artifact).spec.unwrap();
        let volumes: BTreeSet<_> = spec
            .volumes
            .iter()
            .flatten()
            .map(|volume| volume.name.clone())
            .collect();
        let containers: Vec<_> = spec
            .init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
            .collect();
        let names: BTreeSet<_> = containers.iter().map(|container| &container.name).collect();
        assert_eq!(names.len(), containers.len());
        for mount in containers
            .iter()
            .flat_map(|container| container.volume_mounts.iter().flatten())
        {
            assert!(volumes.contains(&mount.name), "{}", mount.name);
        }
    }
}

#[test]
fn a_container_is_told_of_credentials_exactly_where_it_has_them() {
    let artifact = artifact(
        "my",
        "{baseImageName: a, iso: true, cloudImage: true, bundles: [b], imagePullSecrets: [{name: one}]}",
    );
    let spec = pod(&artifact).spec.unwrap();
    let mut told = Vec::new();
    for container in spec.init_containers.iter().flatten() {
        let environment = container.env.iter().flatten();
        let variables: BTreeSet<_> = environment.map(|variable| &*variable.name).collect();
        let mounts = container.volume_mounts.iter().flatten();
        let mut folders = mounts.map(|mount| &*mount.mount_path);
        if container.name == "prepare" {
            continue;
        }
        let is_told = variables.contains("DOCKER_CONFIG");
        assert_eq!(
            is_told,
            folders.any(|folder| folder == "/registry-auth"),
            "{}",
            container.name
        );
        told.extend(is_told.then_some(&*container.name));
    }
    assert_eq!(told, ["convert-image", "unpack-image", "unpack-bundles"]);
}

#[test]
fn everything_that_a_spec_can_ask_for_reaches_the_pod() {
    let artifact = artifact(
        "all",
        "baseImageDockerfile: {name: d, key: Containerfile}
dockerfileTemplateValuesFrom: {name: values, key: A}
dockerfileTemplateValues: {B: c}
imageName: registry.example.com/out:v1
iso: true
cloudImage: true
azureImage: true
gceImage: true
netboot: true
netbootURL: http://example.com/netboot
diskSize: 16Gi
arch: arm64
cloudConfigRef: {name: cloud, key: userdata}
grubConfig: set timeout=5
osRelease: leap
kairosRelease: v3.6.0
bundles: [docker, k3s]
imagePullSecrets: [{name: one}, {name: two}]
volumes: [{name: context, emptyDir: {}}, {name: iso-files, emptyDir: {}}, {name: root-files, emptyDir: {}}]
importers: [{name: fetch, image: alpine/git, volumeMounts: [{name: context, mountPath: /context}]}]
volumeBindings: {buildContext: context, overlayISO: iso-files, overlayRootfs: root-files}",
    );
    let mut settings = settings();
    settings.insecure_registries = true;
    settings.image_pull_secrets = vec!["two".into(), "three".into()];
    settings.node_selector = [("disk".into(), "fast".into())].into();
    let plan = plan(&artifact).unwrap();
    insta::assert_yaml_snapshot!(builder_pod(&artifact, &plan, "build-1", &settings));
    insta::assert_yaml_snapshot!(config_map(
        &artifact,
        &recipe(&plan, "build-1", &settings.recipe())
    ));
}

#[test]
fn an_exporter_keeps_what_is_its_own_and_gets_our_volume() {
    let artifact = artifact(
        "my",
        "imageName: a
exporters:
- completions: 3
  parallelism: 2
  backoffLimit: 1
  ttlSecondsAfterFinished: 60
  template:
    metadata: {labels: {app: upload}, annotations: {note: keep}}
    spec:
      restartPolicy: OnFailure
      serviceAccountName: copier
      affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [
        {matchExpressions: [{key: a, operator: Exists}]}, {matchExpressions: [{key: b, operator: Exists}]}]}}}
      containers: [{name: copy, image: b, volumeMounts: [{name: artifacts, mountPath: /out}]}]
      volumes: [{name: artifacts, hostPath: {path: /}}, {name: own, emptyDir: {}}]",
    );
    let exporter = &artifact.spec.exporters.as_ref().unwrap()[0];
    insta::assert_yaml_snapshot!(exporter_job(
        &artifact,
        0,
        exporter,
        "hash.1",
        Some("node-1")
    ));
    assert_ne!(
        exporter_hash(exporter, "build-1"),
        exporter_hash(exporter, "build-2")
    );
}

#[test]
fn a_shared_volume_ties_no_exporter_to_a_node() {
    let artifact = artifact(
        "my",
        "{imageName: a, volume: {accessModes: [ReadWriteMany]}, exporters: [{template: {spec: {containers: [{name: a, image: b}]}}}]}",
    );
    let exporter = &artifact.spec.exporters.as_ref().unwrap()[0];
    let job = exporter_job(&artifact, 0, exporter, "hash.1", Some("node-1"));
    assert_eq!(job.spec.unwrap().template.spec.unwrap().affinity, None);
}

#[test]
fn a_claim_is_ours_by_uid_only_and_retained_by_annotation() {
    let mut artifact = artifact("my", "imageName: a");
    let mut claim = claim(&artifact);
    assert!(is_ours(&artifact, &claim));
    assert!(!is_retained(&artifact, &claim));
    let retain = [("build.kairos.io/retain".to_owned(), "true".to_owned())];
    claim.metadata.annotations = Some(retain.clone().into());
    assert!(is_retained(&artifact, &claim));
    claim.metadata.annotations = None;
    artifact.metadata.annotations = Some(retain.into());
    assert!(is_retained(&artifact, &claim));
    artifact.metadata.uid = Some("another".into());
    assert!(
        !is_ours(&artifact, &claim),
        "an artifact of the same name is another one"
    );
}
