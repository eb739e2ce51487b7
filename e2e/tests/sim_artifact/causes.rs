//! What goes wrong is told in words, at once.

use std::time::Duration;

use api_types::osartifact::ArtifactPhase;
use kube::ResourceExt as _;

use crate::kubelet::{ended, running, waiting};
use crate::world::{AT_ONCE, World, eventually, reason};

const ISO: &str = "{imageName: quay.io/kairos/opensuse:v3.6.0, iso: true}";

/// Each kind of bad template, as the worker reports it, and what the status has to say.
#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_bad_template_is_an_error_with_its_place_and_is_not_tried_again() {
    let world = World::new("templates").await;
    let errors = [
        (
            "parse",
            "template: ocispec:3: function \"upper\" not defined",
        ),
        (
            "execution",
            "template: ocispec:2:9: executing \"ocispec\" at <.A.B>: can't evaluate field B in type string",
        ),
        (
            "refused",
            "template: ocispec:1: {{define}} is refused: write the text where it is used",
        ),
        (
            "limit",
            "template: ocispec: the template is larger than 1048576 bytes",
        ),
        (
            "binary",
            "the entry \"KEY\" of the Secret \"values\" is binary",
        ),
    ];
    for (name, words) in errors {
        world
            .create(
                name,
                "{baseImageDockerfile: {name: my-dockerfile}, iso: true}",
            )
            .await;
        world.phase(name, ArtifactPhase::Building).await;
        world
            .at_step(name, "prepare", ended(1, "Error", words))
            .await;
        let status = world
            .within(AT_ONCE, name, "the error is told", |status| {
                status.phase == Some(ArtifactPhase::Error)
            })
            .await;
        let message = status.message.clone().unwrap();
        assert!(message.contains(words), "{message}");
        assert_eq!(reason(&status), "BuildFailed");
        world.event(name, "BuildFailed", &words[..40]).await;
        world.delete(name).await;
        eventually("the volume is free", async || {
            world
                .claims()
                .get_opt(&format!("{name}-artifacts"))
                .await
                .unwrap()
                .is_none()
                .then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_build_starts_no_second_pod_by_itself() {
    let world = World::new("loop").await;
    world.create("my", ISO).await;
    world
        .at_step("my", "prepare", ended(1, "Error", "bad"))
        .await;
    let status = world.phase("my", ArtifactPhase::Error).await;
    // A change that asks for nothing makes the controller look again.
    world
        .patch(
            "my",
            serde_json::json!({"metadata": {"labels": {"seen": "true"}}}),
        )
        .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.status("my").await.attempt, status.attempt);
    assert_eq!(world.pod_names().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_of_a_pod_is_named() {
    let world = World::new("failures").await;
    world.create("memory", ISO).await;
    world
        .at_step("memory", "build-iso", ended(137, "OOMKilled", ""))
        .await;
    let status = world
        .within(AT_ONCE, "memory", "told", |status| {
            status.phase == Some(ArtifactPhase::Error)
        })
        .await;
    assert!(
        status
            .message
            .unwrap()
            .contains("build-iso was killed for using more memory")
    );

    world.create("full", ISO).await;
    world
        .at_step(
            "full",
            "build-iso",
            ended(1, "Error", "mksquashfs: No space left on device"),
        )
        .await;
    let status = world
        .within(AT_ONCE, "full", "told", |status| {
            status.phase == Some(ArtifactPhase::Error)
        })
        .await;
    let message = status.message.unwrap();
    assert!(
        message.contains("No space left on device")
            && message.contains("ask for a larger spec.volume"),
        "{message}"
    );

    world.create("evicted", ISO).await;
    world
        .fail_pod(
            "evicted",
            "Evicted",
            "The node was low on resource: ephemeral-storage.",
        )
        .await;
    let status = world
        .within(AT_ONCE, "evicted", "told", |status| {
            status.phase == Some(ArtifactPhase::Error)
        })
        .await;
    assert!(
        status
            .message
            .unwrap()
            .contains("Evicted: The node was low on resource: ephemeral-storage.")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_is_told_at_once_and_given_up_later() {
    let world = World::new("pull").await;
    world.create("my", ISO).await;
    world
        .at_step(
            "my",
            "unpack-image",
            waiting("ImagePullBackOff", "Back-off pulling image \"tools\""),
        )
        .await;
    let status = world
        .within(AT_ONCE, "my", "the cause is told", |status| {
            status
                .message
                .as_ref()
                .is_some_and(|message| message.contains("ImagePullBackOff: Back-off pulling image"))
        })
        .await;
    assert_eq!(status.phase, Some(ArtifactPhase::Building));
    world.event("my", "Waiting", "ImagePullBackOff").await;
    let status = world.phase("my", ArtifactPhase::Error).await;
    assert_eq!(reason(&status), "Stuck");
    let message = status.message.unwrap();
    assert!(
        message.starts_with("given up after 15 s without progress: "),
        "{message}"
    );
    eventually("its Pod is stopped", async || {
        world.pod_names().await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_not_bound_is_told_and_a_retry_after_it_is_mended_builds() {
    let world = World::poor("unbound").await;
    world.create("my", ISO).await;
    let status = world
        .within(AT_ONCE, "my", "the cause is told", |status| {
            status
                .message
                .as_ref()
                .is_some_and(|message| message.contains("no node takes the Pod"))
        })
        .await;
    let message = status.message.unwrap();
    assert!(
        message.contains("PersistentVolumeClaim") && message.contains("my-artifacts is Pending"),
        "{message}"
    );
    let status = world.phase("my", ArtifactPhase::Error).await;
    assert_eq!(reason(&status), "Stuck");
    let first = status.builder_pod;
    world.retry("my", "again").await;
    let status = world
        .until("my", "another build", |status| status.builder_pod != first)
        .await;
    assert_eq!(status.attempt, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_fits_nowhere_is_told() {
    let world = World::new("nowhere").await;
    world
        .create("my", "{imageName: a, cloudImage: true, diskSize: 60Ti}")
        .await;
    world
        .within(AT_ONCE, "my", "the cause is told", |status| {
            status
                .message
                .as_ref()
                .is_some_and(|message| message.contains("Insufficient ephemeral-storage"))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_pod_security_is_a_condition_and_is_tried_again() {
    let world = World::new("security").await;
    world.pod_security("baseline").await;
    world.create("my", "{imageName: a, cloudImage: true}").await;
    let status = world
        .within(AT_ONCE, "my", "the refusal is told", |status| {
            status
                .conditions
                .iter()
                .any(|found| found.reason == "PodRefused")
        })
        .await;
    assert!(status.message.unwrap().contains("privileged"));
    world.pod_security("privileged").await;
    world.phase("my", ArtifactPhase::Building).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_step_is_not_given_up_and_a_deleted_pod_is_told() {
    let world = World::new("deleted").await;
    world.create("my", ISO).await;
    world.at_step("my", "build-iso", running()).await;
    world
        .until("my", "the step is told", |status| {
            status.step.as_deref() == Some("5/6 build-iso")
        })
        .await;
    let pod = world.builder("my").await.name_any();
    world
        .pods()
        .delete(&pod, &kube::api::DeleteParams::default())
        .await
        .unwrap();
    let status = world.phase("my", ArtifactPhase::Error).await;
    assert!(
        status
            .message
            .unwrap()
            .contains("was deleted before the build was done")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_cannot_be_built_is_told_in_a_sentence() {
    let world = World::new("invalid").await;
    world
        .create("my", "{baseImageName: a, kairosRelease: latest}")
        .await;
    let status = world.phase("my", ArtifactPhase::Error).await;
    assert_eq!(reason(&status), "InvalidSpec");
    assert!(status.message.unwrap().contains("write such as \"v3.6.0\""));
    world
        .patch(
            "my",
            serde_json::json!({"spec": {"kairosRelease": "v3.6.0"}}),
        )
        .await;
    world.phase("my", ArtifactPhase::Building).await;
}
