//! From the command to a proven reboot.

use api_types::nodeop::{NodePhase, NodeStep, Phase, RebootStatus};
use serde_json::json;

use crate::world::{World, condition, is_cordoned};

const SPEC: &str = "command: [run]\ncordon: true\nrebootOnSuccess: true\nconcurrency: 1\n";

#[tokio::test]
async fn nodes_reboot_one_after_the_other_and_each_proves_it_by_a_new_boot_and_ready() {
    let world = World::new("reboot").await;
    let nodes = world.nodes(3, &[]).await;
    world.node_op("op", SPEC).await;
    for (index, node) in nodes.iter().enumerate() {
        let left = world.authorized(node).await;
        assert_eq!(left, world.boot_id(node).await);
        let status = world.status("op").await;
        assert_eq!(status.node_statuses.len(), index + 1, "one at a time");
        let entry = &status.node_statuses[node];
        assert_eq!(entry.reboot_status, Some(RebootStatus::Pending));
        assert_eq!(entry.boot_id.as_ref(), Some(&left));
        assert!(is_cordoned(&world.node(node).await));
        world.play_reboot(node).await;
    }
    let status = world.ended("op").await;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:#?}");
    for entry in status.node_statuses.values() {
        assert_eq!(entry.reboot_status, Some(RebootStatus::Completed));
    }
    world.clean_within(crate::TEN, "op", &nodes).await;
    for node in &nodes {
        world.event("op", "NodeCompleted", node).await;
    }
    assert_eq!(condition(&status, "Complete").status, "True");
    assert_eq!(world.jobs_created().await, 3);
}

#[tokio::test]
async fn another_boot_alone_proves_nothing_and_ready_alone_neither() {
    let world = World::new("proof").await;
    let nodes = world.nodes(1, &[]).await;
    world.node_op("op", SPEC).await;
    world.authorized(&nodes[0]).await;
    world.goes_down(&nodes[0]).await;
    world.boots(&nodes[0]).await;
    // Something that the controller answers after it has seen the new boot.
    world.cordon_by_hand(&nodes[0], false).await;
    crate::world::eventually("the cordon is there again", async || {
        is_cordoned(&world.node(&nodes[0]).await).then_some(())
    })
    .await;
    let status = world.status("op").await;
    assert_eq!(
        status.node_statuses[&nodes[0]].step,
        Some(NodeStep::Rebooting)
    );
    world.comes_up(&nodes[0]).await;
    assert_eq!(world.ended("op").await.phase, Some(Phase::Completed));
    world.clean_within(crate::TEN, "op", &nodes).await;
}

#[tokio::test]
async fn a_reboot_that_never_comes_fails_by_its_timeout_keeps_the_cordon_and_stops_the_rest() {
    let world = World::new("never").await;
    let nodes = world.nodes(2, &[]).await;
    let more = "rebootTimeoutSeconds: 3\nstopOnFailure: true\nuncordonOnFailure: true";
    world.node_op("op", &format!("{SPEC}{more}")).await;
    let status = world.ended("op").await;
    assert_eq!(status.phase, Some(Phase::Failed));
    assert_eq!(status.node_statuses.len(), 1);
    let message = status.node_statuses[&nodes[0]].message.as_ref().unwrap();
    for words in ["rebootTimeoutSeconds", "still in boot", "stays cordoned"] {
        assert!(message.contains(words), "{message}");
    }
    assert!(is_cordoned(&world.node(&nodes[0]).await));
    assert_eq!(condition(&status, "Failed").reason, "Stopped");
    crate::world::eventually("its reboot Pod is gone", async || {
        world.reboot_pods(&nodes[0]).await.is_empty().then_some(())
    })
    .await;
    world
        .event("op", "NodeFailed", "rebootTimeoutSeconds")
        .await;
}

#[tokio::test]
async fn a_failed_command_cancels_the_reboot_and_takes_its_pod_away() {
    let world = World::new("cancelled").await;
    let nodes = world.nodes(1, &[]).await;
    let more = "image: fails\nbackoffLimit: 0\nuncordonOnFailure: true";
    world.node_op("op", &format!("{SPEC}{more}")).await;
    let status = world.ended("op").await;
    let entry = &status.node_statuses[&nodes[0]];
    assert_eq!(entry.phase, NodePhase::Failed);
    assert_eq!(entry.reboot_status, Some(RebootStatus::Cancelled));
    world.clean_within(crate::TEN, "op", &nodes).await;
}

#[tokio::test]
async fn a_paused_operation_permits_no_reboot_until_it_goes_on() {
    let world = World::new("paused").await;
    let nodes = world.nodes(2, &[]).await;
    world.node_op("op", &format!("{SPEC}image: hangs")).await;
    let entry = world.step("op", &nodes[0], NodeStep::Running).await;
    world.edit("op", json!({"paused": true})).await;
    world.finish_job(entry.job_name.as_ref().unwrap()).await;
    world
        .message("op", &nodes[0], "until spec.paused is false")
        .await;
    let pods = world.reboot_pods(&nodes[0]).await;
    let told = pods[0].metadata.annotations.as_ref();
    assert!(told.is_none_or(|all| !all.contains_key("kairos.io/reboot-authorized")));
    world.edit("op", json!({"paused": false})).await;
    world.play_reboot(&nodes[0]).await;
    let entry = world.step("op", &nodes[1], NodeStep::Running).await;
    world.finish_job(entry.job_name.as_ref().unwrap()).await;
    world.play_reboot(&nodes[1]).await;
    assert_eq!(world.ended("op").await.phase, Some(Phase::Completed));
    world.clean_within(crate::TEN, "op", &nodes).await;
}

#[tokio::test]
async fn a_reboot_pod_that_is_lost_comes_again_with_the_same_permission() {
    let world = World::new("lost").await;
    let nodes = world.nodes(1, &[]).await;
    world.node_op("op", SPEC).await;
    let left = world.authorized(&nodes[0]).await;
    let lost = world.reboot_pods(&nodes[0]).await.remove(0);
    world
        .pod_api()
        .delete(
            lost.metadata.name.as_ref().unwrap(),
            &kube::api::DeleteParams::default(),
        )
        .await
        .unwrap();
    crate::world::eventually("another reboot Pod", async || {
        let pods = world.reboot_pods(&nodes[0]).await;
        pods.iter()
            .any(|pod| pod.metadata.uid != lost.metadata.uid)
            .then_some(())
    })
    .await;
    assert_eq!(world.authorized(&nodes[0]).await, left);
    world.play_reboot(&nodes[0]).await;
    assert_eq!(world.ended("op").await.phase, Some(Phase::Completed));
    world.clean_within(crate::TEN, "op", &nodes).await;
}

#[tokio::test]
async fn another_machine_that_registers_under_the_name_fails_the_node_and_gets_nothing() {
    let world = World::new("other").await;
    let nodes = world.nodes(1, &[]).await;
    world.node_op("op", &format!("{SPEC}image: hangs")).await;
    let entry = world.step("op", &nodes[0], NodeStep::Running).await;
    world.becomes_another_machine(&nodes[0]).await;
    let status = world.ended("op").await;
    let found = &status.node_statuses[&nodes[0]];
    assert_eq!(found.phase, NodePhase::Failed);
    let message = found.message.as_ref().unwrap();
    assert!(message.contains("systemUUID changed"), "{message}");
    assert_eq!(found.job_name, entry.job_name);
    world.clean_within(crate::TEN, "op", &nodes).await;
    assert_eq!(world.jobs_created().await, 1);
}

#[tokio::test]
async fn a_node_whose_object_is_deleted_and_comes_back_in_its_reboot_is_proven() {
    let world = World::new("again").await;
    let nodes = world.nodes(1, &[]).await;
    world.node_op("op", SPEC).await;
    world.authorized(&nodes[0]).await;
    let uuid = world
        .node(&nodes[0])
        .await
        .status
        .unwrap()
        .node_info
        .unwrap()
        .system_uuid;
    world.delete_node(&nodes[0]).await;
    world.step("op", &nodes[0], NodeStep::NodeGone).await;
    world.create_node_of(&nodes[0], &uuid).await;
    let status = world.ended("op").await;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:#?}");
    world.clean_within(crate::TEN, "op", &nodes).await;
    assert_eq!(world.jobs_created().await, 1);
}
