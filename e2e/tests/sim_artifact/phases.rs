//! From a manifest to its files.

use api_types::osartifact::ArtifactPhase;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use serde_json::Value;

use crate::kubelet::{SHA256, running};
use crate::world::{World, condition, requests_for_secrets};

const ISO: &str = "{imageName: quay.io/kairos/opensuse:v3.6.0, iso: true}";

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_told_step_by_step_and_ends_with_its_files() {
    let world = World::new("phases").await;
    world.create("my", ISO).await;
    world.phase("my", ArtifactPhase::Building).await;
    world.at_step("my", "build-iso", running()).await;
    let status = world
        .until("my", "the step is told", |status| {
            status.step.as_deref() == Some("5/6 build-iso")
        })
        .await;
    assert_eq!(status.steps.len(), 5, "{status:#?}");
    assert!(
        status.steps[4].started_at.is_some() && status.steps[3].finished_at.is_some(),
        "{status:#?}"
    );
    world.event("my", "BuildStarted", "builds").await;

    world.succeed("my", "i").await;
    let status = world.phase("my", ArtifactPhase::Ready).await;
    for name in ["Built", "Exported", "Ready"] {
        assert_eq!(condition(&status, name).status, "True", "{name}");
    }
    let file = &status.artifacts[0];
    assert_eq!(
        (
            file.file.as_str(),
            file.kind.as_str(),
            file.bytes,
            file.sha256.as_str()
        ),
        ("my.iso", "iso", 12, SHA256)
    );
    assert_eq!(status.observed_generation, Some(1));
    assert_eq!(status.step, None);
    world
        .event("my", "BuildCompleted", "my.iso (12 bytes)")
        .await;
    assert_eq!(
        requests_for_secrets().await,
        0,
        "the controller reads no Secret"
    );
}

/// Each manifest that users of kairos-operator have, as it is but for the class of its volume.
#[tokio::test(flavor = "multi_thread")]
async fn every_manifest_of_kairos_operators_users_is_built() {
    let manifests = [
        include_str!("../data/compat/osartifact-advanced.yaml"),
        include_str!("../data/compat/osartifact-dockerfile.yaml"),
        include_str!("../data/compat/osartifact-formats.yaml"),
        include_str!("../data/compat/osartifact-iso.yaml"),
        include_str!("../data/compat/osartifact-nginx-upload.yaml"),
    ];
    // What each has to give: tar, iso, raw, azure, gce, squashfs, kernel, initrd, ipxe.
    let letters = [
        ("advanced-build", "ira"),
        ("custom-build", "ti"),
        ("cloud", "r"),
        ("azure", "a"),
        ("gce", "g"),
        ("net", "iskdx"),
        ("vanilla", "ti"),
        ("image-only", "t"),
        ("my-kairos-iso", "i"),
        ("upload-iso", "i"),
    ];
    let mut built = 0;
    for manifest in manifests {
        let world = World::new("compat").await;
        for document in manifest.split("\n---\n") {
            let mut object: Value = serde_saphyr::from_str(document).unwrap();
            object["metadata"]
                .as_object_mut()
                .unwrap()
                .remove("namespace");
            if object["kind"] == "Secret" {
                let secrets: Api<Secret> = Api::namespaced(world.client.clone(), world.name());
                let secret = serde_json::from_value(object).unwrap();
                secrets
                    .create(&PostParams::default(), &secret)
                    .await
                    .unwrap();
                continue;
            }
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            let mut spec = object["spec"].take();
            if spec.get("volume").is_none() {
                spec["volume"] = serde_json::json!({});
            }
            spec["volume"]["storageClassName"] = serde_json::json!(world.name());
            world
                .create_as_is(&name, serde_json::json!({}), &spec)
                .await
                .unwrap();
            let (_, letters) = letters.iter().find(|(known, _)| *known == name).unwrap();
            world.succeed(&name, letters).await;
            let status = world.phase(&name, ArtifactPhase::Ready).await;
            assert_eq!(status.artifacts.len(), letters.len(), "{status:#?}");
            let pod = world.builder(&name).await;
            assert_eq!(
                pod.spec.as_ref().unwrap().automount_service_account_token,
                Some(false),
                "{}",
                pod.name_any()
            );
            world.delete(&name).await;
            built += 1;
        }
    }
    assert_eq!(built, letters.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_lacks_a_file_is_an_error() {
    let world = World::new("lacks").await;
    world
        .create("my", "{imageName: a, iso: true, cloudImage: true}")
        .await;
    world.phase("my", ArtifactPhase::Building).await;
    world.succeed("my", "i").await;
    let status = world.phase("my", ArtifactPhase::Error).await;
    assert!(
        status
            .message
            .unwrap()
            .contains("list of files is missing or incomplete")
    );
}
