//! Edits, retries and what kairos-operator left.

use api_types::osartifact::ArtifactPhase;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::kubelet::{ended, running};
use crate::world::{World, eventually};

const ISO: &str = "{imageName: quay.io/kairos/opensuse:v3.6.0, iso: true}";

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_stops_the_running_build_and_builds_the_new_plan() {
    let world = World::new("edit").await;
    world.create("my", ISO).await;
    world.at_step("my", "build-iso", running()).await;
    let first = world.builder("my").await.name_any();
    world
        .patch("my", json!({"spec": {"grubConfig": "set timeout=5"}}))
        .await;
    world
        .until("my", "another build", |status| {
            status.builder_pod.as_ref() != Some(&first)
        })
        .await;
    let second = world.builder("my").await;
    assert_ne!(second.name_any(), first);
    eventually("the first Pod is gone", async || {
        (world.pod_names().await == [second.name_any()]).then_some(())
    })
    .await;
    let config = world.config_maps().get("my").await.unwrap().data.unwrap();
    assert!(
        config["recipe.json"].contains("set timeout=5")
            && config["recipe.json"].contains(&second.name_any())
    );
    world.succeed("my", "i").await;
    world.phase("my", ArtifactPhase::Ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_changes_no_file_builds_nothing() {
    let world = World::new("edit").await;
    world.create("my", ISO).await;
    world.succeed("my", "i").await;
    let before = world.phase("my", ArtifactPhase::Ready).await;
    world
        .patch(
            "my",
            json!({"spec": {"imagePullSecrets": [{"name": "s"}], "diskSize": "10G"}}),
        )
        .await;
    let after = world
        .until("my", "the edit is seen", |status| {
            status.observed_generation == Some(2)
        })
        .await;
    assert_eq!(
        (after.phase, after.builder_pod, after.attempt),
        (before.phase, before.builder_pod, before.attempt)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_leaves_the_error_once() {
    let world = World::new("retry").await;
    world.create("my", ISO).await;
    for attempt in 1..=2 {
        let status = world
            .until("my", "the attempt builds", |status| {
                status.attempt == Some(attempt) && status.phase == Some(ArtifactPhase::Building)
            })
            .await;
        world
            .at_step("my", "prepare", ended(1, "Error", "bad"))
            .await;
        world.phase("my", ArtifactPhase::Error).await;
        assert_eq!(status.attempt, Some(attempt));
        world.retry("my", &attempt.to_string()).await;
    }
    world
        .until("my", "the third attempt builds", |status| {
            status.attempt == Some(3)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kairos_operator_left_ready_is_not_built_and_is_let_go() {
    let world = World::new("left").await;
    // A phase without conditions is what kairos-operator writes. It is there before the controller looks, because the
    // artifact cannot be built yet.
    let metadata = json!({"finalizers": ["build.kairos.io/osbuilder-finalizer"]});
    world
        .create_as_is("my", metadata, &json!({"imageName": "a", "iso": true}))
        .await
        .unwrap();
    let patch = json!({"status": {"phase": "Ready", "conditions": null, "planHash": null, "builderPod": null, "attempt": null,
        "message": null, "step": null, "stepSince": null, "observedGeneration": null}});
    let adopted = async || {
        let status = world.status("my").await;
        let mut reasons = status.conditions.iter();
        reasons.any(|found| found.reason == "Adopted").then_some(())
    };
    eventually("the former status is taken over", async || {
        if let Some(seen) = adopted().await {
            return Some(seen);
        }
        // The controller may have written one of its own in between: then it is put in place again.
        let status = world.status("my").await;
        if status.phase != Some(ArtifactPhase::Ready) || !status.conditions.is_empty() {
            world
                .artifacts()
                .patch_status("my", &PatchParams::default(), &Patch::Merge(&patch))
                .await
                .unwrap();
        }
        adopted().await
    })
    .await;
    let status = world.status("my").await;
    assert_eq!(status.phase, Some(ArtifactPhase::Ready));
    world.delete("my").await;
    eventually("it is gone", async || {
        world
            .artifacts()
            .get_opt("my")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
}
