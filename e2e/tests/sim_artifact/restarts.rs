//! A controller that is killed at any stage loses nothing and does nothing twice.

use api_types::osartifact::{ArtifactPhase, ExporterPhase};
use e2e::guard::Signal;

use crate::kubelet::running;
use crate::world::{World, controller, created, start_cluster};

/// After each stage the controller is killed; the world goes on without it, and the next one has to find its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_controller_killed_at_every_stage_builds_and_exports_once() {
    let cluster = start_cluster().await;
    let world = World::on(&cluster, "restart").await;
    let controller = controller(&cluster, None).await;
    let mut process = controller.start(&cluster).unwrap();
    world
        .create("my", "{imageName: a, iso: true, exporters: [{template: {spec: {containers: [{name: a, image: hangs}]}}}, {template: {spec: {containers: [{name: a, image: b}]}}}]}")
        .await;
    for stage in ["created", "building", "built", "exporting", "ready"] {
        process.signal(Signal::Kill).unwrap();
        process.wait().await.unwrap();
        match stage {
            "built" => world.succeed("my", "i").await,
            "building" => world.at_step("my", "build-iso", running()).await,
            "ready" => {
                let patch = serde_json::json!({"status": {"phase": "Succeeded"}});
                let pods = world
                    .pods()
                    .list(
                        &kube::api::ListParams::default()
                            .labels("batch.kubernetes.io/job-name=my-export-0"),
                    )
                    .await
                    .unwrap();
                let pod = kube::ResourceExt::name_any(&pods.items[0]);
                world
                    .pods()
                    .patch_status(
                        &pod,
                        &kube::api::PatchParams::default(),
                        &kube::api::Patch::Merge(&patch),
                    )
                    .await
                    .unwrap();
            }
            _ => {}
        }
        process = controller.start(&cluster).unwrap();
        match stage {
            "created" => world.phase("my", ArtifactPhase::Building).await,
            "building" => {
                world
                    .until("my", "the step is told", |status| {
                        status.step.as_deref() == Some("5/6 build-iso")
                    })
                    .await
            }
            "built" => world.phase("my", ArtifactPhase::Exporting).await,
            "exporting" => {
                world
                    .until("my", "one is done", |status| {
                        status
                            .exporters
                            .iter()
                            .any(|entry| entry.phase == ExporterPhase::Succeeded)
                    })
                    .await
            }
            _ => world.phase("my", ArtifactPhase::Ready).await,
        };
    }
    let status = world.status("my").await;
    assert_eq!(status.attempt, Some(1));
    for (resource, count) in [
        ("pods", 1),
        ("persistentvolumeclaims", 1),
        ("configmaps", 1),
        ("jobs", 2),
    ] {
        assert_eq!(
            created(&cluster, world.name(), resource),
            count,
            "{resource}"
        );
    }
}
