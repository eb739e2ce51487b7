//! Several operations that want the same nodes.

use std::time::Duration;

use api_types::nodeop::{NodeStep, Phase};
use serde_json::json;

use crate::world::{NodeRecord, World, claimed_by, eventually, has_ended, is_cordoned};

#[tokio::test]
async fn two_operations_that_cordon_the_same_nodes_at_once_take_turns_and_both_complete() {
    let world = World::new("both").await;
    let nodes = world.nodes(4, &[]).await;
    let record = NodeRecord::start(&world).await;
    let spec = "command: [run]\ncordon: true";
    tokio::join!(world.node_op("one", spec), world.node_op("two", spec));
    for name in ["one", "two"] {
        assert_eq!(world.ended(name).await.phase, Some(Phase::Completed));
        world.clean_within(crate::TEN, name, &nodes).await;
    }
    for node in &nodes {
        let claims = record.claims(node);
        assert_eq!(claims.len(), 2, "one claim after the other: {claims:?}");
        assert_ne!(claims[0], claims[1]);
        // The Jobs of both, which never ran together there.
        let mut spans: Vec<(k8s_openapi::jiff::Timestamp, k8s_openapi::jiff::Timestamp)> =
            Vec::new();
        for job in world.jobs().await {
            let template = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
            if template.node_name.as_ref() == Some(node) {
                let created = job.metadata.creation_timestamp.as_ref().unwrap().0;
                let ended = job.status.unwrap().completion_time.unwrap().0;
                spans.push((created, ended));
            }
        }
        spans.sort();
        assert_eq!(spans.len(), 2);
        assert!(spans[0].1 <= spans[1].0, "{spans:?}");
    }
    assert_eq!(world.jobs_created().await, 8);
}

#[tokio::test]
async fn a_node_on_which_another_operations_plain_command_runs_is_not_cordoned_until_it_ends() {
    let world = World::new("busy").await;
    let nodes = world.nodes(1, &[]).await;
    world.node_op("plain", "command: [run]\nimage: hangs").await;
    let entry = world.step("plain", &nodes[0], NodeStep::Running).await;
    let spec = "command: [run]\ndrainOptions: {enabled: true, force: true}";
    world.node_op("drains", spec).await;
    let status = world.reason("drains", "NodesClaimed").await;
    let message = &crate::world::condition(&status, "Progressing").message;
    assert!(
        message.contains("of another NodeOp on this node"),
        "{message}"
    );
    let node = world.node(&nodes[0]).await;
    assert!(!is_cordoned(&node) && claimed_by(&node).is_none());
    world.finish_job(entry.job_name.as_ref().unwrap()).await;
    for name in ["plain", "drains"] {
        assert_eq!(world.ended(name).await.phase, Some(Phase::Completed));
    }
    world.clean_within(crate::TEN, "drains", &nodes).await;
}

#[tokio::test]
async fn a_reboot_waits_for_another_operations_plain_command() {
    let world = World::new("waits").await;
    let nodes = world.nodes(1, &[]).await;
    let spec = "command: [run]\nimage: hangs\nrebootOnSuccess: true";
    world.node_op("reboots", spec).await;
    let reboots = world.step("reboots", &nodes[0], NodeStep::Running).await;
    world.node_op("plain", "command: [run]\nimage: hangs").await;
    let plain = world.step("plain", &nodes[0], NodeStep::Running).await;
    world.finish_job(reboots.job_name.as_ref().unwrap()).await;
    let entry = world
        .message("reboots", &nodes[0], "of another NodeOp on this node")
        .await;
    assert_eq!(entry.step, Some(NodeStep::AwaitingReboot));
    world.finish_job(plain.job_name.as_ref().unwrap()).await;
    world.play_reboot(&nodes[0]).await;
    assert_eq!(world.ended("reboots").await.phase, Some(Phase::Completed));
    world.clean_within(crate::TEN, "reboots", &nodes).await;
}

#[tokio::test]
async fn an_operation_that_was_deleted_by_force_leaves_a_claim_that_is_swept() {
    let world = World::new("forced").await;
    let nodes = world.nodes(2, &[]).await;
    let spec = "command: [run]\nimage: hangs\ncordon: true\nrebootOnSuccess: true";
    world.node_op("op", spec).await;
    for node in &nodes {
        world.step("op", node, NodeStep::Running).await;
    }
    {
        let _paused = crate::world::without_controller().await;
        world.delete("op").await;
        world
            .patch_op("op", json!({"metadata": {"finalizers": null}}))
            .await;
        assert!(world.find("op").await.is_none());
        assert!(claimed_by(&world.node(&nodes[0]).await).is_some());
    }
    // The garbage collector takes the Pods, the controller the rest.
    world
        .clean_within(Duration::from_secs(20), "op", &nodes)
        .await;
}

#[tokio::test]
async fn a_dead_claim_does_not_hold_up_another_operation() {
    let world = World::new("dead").await;
    let nodes = world.nodes(1, &[]).await;
    let holder = format!("{}/never@1234", world.name());
    let annotations = json!({
        "operator.kairos.io/claimed-by": holder, "operator.kairos.io/cordoned-by": holder,
    });
    world
        .patch_node(
            &nodes[0],
            json!({"metadata": {"annotations": annotations}, "spec": {"unschedulable": true}}),
        )
        .await;
    world.node_op("op", "command: [run]\ncordon: true").await;
    assert_eq!(world.ended("op").await.phase, Some(Phase::Completed));
    world.clean_within(crate::TEN, "op", &nodes).await;
}

#[tokio::test]
async fn stop_on_failure_withdraws_what_only_waits_and_leaves_no_mark_on_any_node() {
    let world = World::new("withdraw").await;
    let nodes = world.nodes(4, &[]).await;
    let spec = "command: [run]\nimage: fails\nbackoffLimit: 0\ncordon: true\nconcurrency: 2\n\
                stopOnFailure: true\nuncordonOnFailure: true";
    world.node_op("op", spec).await;
    let status = world.ended("op").await;
    assert_eq!(status.phase, Some(Phase::Failed));
    assert!(status.node_statuses.len() <= 2, "{status:#?}");
    world.clean_within(crate::TEN, "op", &nodes).await;
}

#[tokio::test]
async fn a_claim_that_somebody_takes_off_is_taken_again() {
    let world = World::new("taken-off").await;
    let nodes = world.nodes(1, &[]).await;
    let spec = "command: [run]\nimage: hangs\ncordon: true";
    world.node_op("op", spec).await;
    world.step("op", &nodes[0], NodeStep::Running).await;
    let marks =
        json!({"operator.kairos.io/claimed-by": null, "operator.kairos.io/cordoned-by": null});
    world
        .patch_node(&nodes[0], json!({"metadata": {"annotations": marks}}))
        .await;
    eventually("the claim is there again", async || {
        claimed_by(&world.node(&nodes[0]).await)
    })
    .await;
    assert!(!has_ended(&world.status("op").await));
}
