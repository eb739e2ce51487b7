//! Exporters: each once, all of them, and only what is missing.

use api_types::osartifact::{ArtifactPhase, ExporterPhase};
use kube::ResourceExt as _;
use kube::api::ListParams;

use crate::world::{World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn exporters_with_several_completions_count_and_ready_waits_for_all() {
    let world = World::new("export").await;
    world
        .create(
            "my",
            "{imageName: a, iso: true, exporters: [
              {completions: 3, parallelism: 2, template: {spec: {containers: [{name: a, image: copies}]}}},
              {ttlSecondsAfterFinished: 1, template: {metadata: {labels: {app: upload}}, spec: {restartPolicy: OnFailure, containers: [{name: b, image: uploads}]}}}]}",
        )
        .await;
    world.succeed("my", "i").await;
    let status = world.phase("my", ArtifactPhase::Ready).await;
    assert!(
        status
            .exporters
            .iter()
            .all(|entry| entry.phase == ExporterPhase::Succeeded),
        "{status:#?}"
    );
    world.event("my", "ExportCompleted", "every exporter").await;
    let job = world.jobs().get("my-export-0").await.unwrap();
    assert_eq!(job.status.unwrap().succeeded, Some(3));
    assert_eq!(
        job.spec
            .unwrap()
            .template
            .spec
            .unwrap()
            .restart_policy
            .as_deref(),
        Some("Never")
    );
    eventually(
        "the other Job is removed after its time to live",
        async || {
            world
                .jobs()
                .get_opt("my-export-1")
                .await
                .unwrap()
                .is_none()
                .then_some(())
        },
    )
    .await;
    // Its result is recorded, so it does not run again.
    world
        .patch(
            "my",
            serde_json::json!({"metadata": {"labels": {"seen": "true"}}}),
        )
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(world.jobs().get_opt("my-export-1").await.unwrap().is_none());
    assert_eq!(world.status("my").await.phase, Some(ArtifactPhase::Ready));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_exporter_is_named_the_others_finish_and_a_retry_runs_what_is_missing() {
    let world = World::new("export").await;
    world
        .create(
            "my",
            "{imageName: a, iso: true, exporters: [
              {backoffLimit: 0, template: {spec: {containers: [{name: a, image: fails}]}}},
              {template: {spec: {containers: [{name: b, image: uploads}]}}}]}",
        )
        .await;
    world.succeed("my", "i").await;
    let status = world
        .until("my", "both have ended", |status| {
            status.phase == Some(ArtifactPhase::Error)
                && status
                    .exporters
                    .iter()
                    .all(|entry| entry.phase != ExporterPhase::Running)
        })
        .await;
    let message = status.message.unwrap();
    assert!(
        message.contains("exporter 0 failed: a exited with 1: no space left"),
        "{message}"
    );
    assert_eq!(status.exporters[1].phase, ExporterPhase::Succeeded);
    let (first, second) = (uid(&world, 0).await, uid(&world, 1).await);
    let spec = serde_json::json!({"spec": {"exporters": [
        {"backoffLimit": 0, "template": {"spec": {"containers": [{"name": "a", "image": "works"}]}}},
        {"template": {"spec": {"containers": [{"name": "b", "image": "uploads"}]}}}]}});
    world.retry("my", "1").await;
    world
        .until("my", "it failed again", |status| {
            status.exporters[0].attempt == 2 && status.phase == Some(ArtifactPhase::Error)
        })
        .await;
    world.patch("my", spec).await;
    let status = world.phase("my", ArtifactPhase::Ready).await;
    assert_eq!(status.attempt, Some(1), "nothing was built again");
    assert_ne!(uid(&world, 0).await, first);
    assert_eq!(
        uid(&world, 1).await,
        second,
        "what had succeeded did not run again"
    );
}

async fn uid(world: &World, index: usize) -> Option<String> {
    world
        .jobs()
        .get(&format!("my-export-{index}"))
        .await
        .unwrap()
        .uid()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_that_the_api_server_refuses_is_told() {
    let world = World::new("export").await;
    world
        .create("my", "{imageName: a, iso: true, exporters: [{template: {spec: {containers: [{name: 'Not A Name', image: b}]}}}]}")
        .await;
    world.succeed("my", "i").await;
    let status = world.phase("my", ArtifactPhase::Error).await;
    let message = status.message.unwrap();
    assert!(
        message
            .starts_with("exporter 0 failed: the API server does not accept the Job my-export-0"),
        "{message}"
    );
    assert!(
        world
            .jobs()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}
