//! Claim and cordon of one operation: set before the command, undone after it, and nobody else's undone.

use api_types::names::ANNOTATION_CORDONED_BY;
use api_types::nodeop::{NodePhase, NodeStep, Phase};
use serde_json::json;

use crate::world::{NodeRecord, World, condition, is_cordoned};

#[tokio::test]
async fn a_cordon_precedes_the_command_and_ends_with_it_in_two_patches_of_the_node() {
    let world = World::new("cordon").await;
    let nodes = world.nodes(3, &[]).await;
    let record = NodeRecord::start(&world).await;
    world
        .node_op("op", "command: [run]\nimage: hangs\ncordon: true")
        .await;
    for node in &nodes {
        let entry = world.step("op", node, NodeStep::Running).await;
        assert!(is_cordoned(&world.node(node).await));
        world.finish_job(entry.job_name.as_ref().unwrap()).await;
    }
    let status = world.ended("op").await;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:#?}");
    world.clean_within(crate::TEN, "op", &nodes).await;
    for node in &nodes {
        assert_eq!(world.node_patches(node).await, 2, "{node}");
        assert!(world.held_before_touched("op", node).await);
        let seen = record.of(node);
        assert!(
            seen.iter()
                .all(|seen| seen.cordoned == seen.claim.is_some()),
            "{seen:?}"
        );
    }
    assert_eq!(condition(&status, "Complete").status, "True");
    world.event("op", "Completed", "3").await;
}

#[tokio::test]
async fn a_plain_command_writes_to_no_node_and_holds_no_finalizer() {
    let world = World::new("plain").await;
    let nodes = world.nodes(2, &[]).await;
    world.node_op("op", "command: [run]").await;
    world.ended("op").await;
    for node in &nodes {
        assert_eq!(world.node_patches(node).await, 0);
    }
    assert!(world.op("op").await.metadata.finalizers.is_none());
}

#[tokio::test]
async fn the_cordon_of_a_human_is_kept() {
    let world = World::new("human").await;
    let nodes = world.nodes(1, &[]).await;
    world.cordon_by_hand(&nodes[0], true).await;
    world.node_op("op", "command: [run]\ncordon: true").await;
    let status = world.ended("op").await;
    assert_eq!(status.phase, Some(Phase::Completed));
    let node = world.node(&nodes[0]).await;
    assert!(is_cordoned(&node), "it was cordoned before");
    assert_eq!(crate::world::claimed_by(&node), None);
    assert_eq!(
        world.annotation(&nodes[0], ANNOTATION_CORDONED_BY).await,
        None
    );
}

#[tokio::test]
async fn a_cordon_that_somebody_removes_is_set_again_while_the_command_runs() {
    let world = World::new("removed").await;
    let nodes = world.nodes(1, &[]).await;
    world
        .node_op("op", "command: [run]\nimage: hangs\ncordon: true")
        .await;
    let entry = world.step("op", &nodes[0], NodeStep::Running).await;
    world.cordon_by_hand(&nodes[0], false).await;
    crate::world::eventually("the node is cordoned again", async || {
        is_cordoned(&world.node(&nodes[0]).await).then_some(())
    })
    .await;
    world.finish_job(entry.job_name.as_ref().unwrap()).await;
    world.ended("op").await;
    world.clean_within(crate::TEN, "op", &nodes).await;
}

#[tokio::test]
async fn a_cordon_that_somebody_removes_is_set_again_while_the_node_is_verified() {
    let world = World::new("verified").await;
    let nodes = world.nodes(1, &[]).await;
    let spec = "command: [run]\ncordon: true\nverify: {command: [check], image: hangs}";
    world.node_op("op", spec).await;
    world.step("op", &nodes[0], NodeStep::Verifying).await;
    assert!(is_cordoned(&world.node(&nodes[0]).await));
    world.cordon_by_hand(&nodes[0], false).await;
    crate::world::eventually("the node is cordoned again", async || {
        is_cordoned(&world.node(&nodes[0]).await).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_failed_node_keeps_its_cordon_and_a_good_operation_takes_it_over_and_undoes_it() {
    let world = World::new("kept").await;
    let nodes = world.nodes(2, &[]).await;
    world
        .node_op(
            "bad",
            "command: [run]\nimage: fails\nbackoffLimit: 0\ncordon: true",
        )
        .await;
    let status = world.ended("bad").await;
    assert_eq!(status.phase, Some(Phase::Failed));
    for node in &nodes {
        let found = world.node(node).await;
        assert!(is_cordoned(&found), "the command failed there");
        let cordon = world
            .annotation(node, ANNOTATION_CORDONED_BY)
            .await
            .unwrap();
        assert!(cordon.contains("/bad@"), "{cordon}");
    }
    world.node_op("good", "command: [run]\ncordon: true").await;
    assert_eq!(world.ended("good").await.phase, Some(Phase::Completed));
    world.clean_within(crate::TEN, "good", &nodes).await;
    world.clean_within(crate::TEN, "bad", &nodes).await;
}

#[tokio::test]
async fn uncordon_on_failure_gives_a_failed_node_back() {
    let world = World::new("uncordon").await;
    let nodes = world.nodes(1, &[]).await;
    let spec =
        "command: [run]\nimage: fails\nbackoffLimit: 0\ncordon: true\nuncordonOnFailure: true";
    world.node_op("op", spec).await;
    let status = world.ended("op").await;
    assert_eq!(status.node_statuses[&nodes[0]].phase, NodePhase::Failed);
    world.clean_within(crate::TEN, "op", &nodes).await;
}

#[tokio::test]
async fn a_failed_operation_that_is_deleted_gives_its_cordons_back() {
    let world = World::new("swept").await;
    let nodes = world.nodes(2, &[]).await;
    let spec = "command: [run]\nimage: fails\nbackoffLimit: 0\ncordon: true";
    world.node_op("op", spec).await;
    world.ended("op").await;
    assert!(is_cordoned(&world.node(&nodes[0]).await));
    world.delete("op").await;
    world.clean_within(crate::TEN, "op", &nodes).await;
}

#[tokio::test]
async fn a_simple_drain_empties_the_node_before_the_command() {
    let world = World::new("drain").await;
    let nodes = world.nodes(1, &[]).await;
    let _: k8s_openapi::api::core::v1::Pod = world
        .create(json!({
            "metadata": {"name": "workload"},
            "spec": {"nodeName": nodes[0], "containers": [{"name": "main", "image": "app"}]},
        }))
        .await;
    let spec = "command: [run]\nimage: hangs\ndrainOptions: {enabled: true, force: true}";
    world.node_op("op", spec).await;
    let entry = world.step("op", &nodes[0], NodeStep::Running).await;
    let pods = world.pod_api();
    assert!(pods.get_opt("workload").await.unwrap().is_none());
    world.finish_job(entry.job_name.as_ref().unwrap()).await;
    assert_eq!(world.ended("op").await.phase, Some(Phase::Completed));
    world.clean_within(crate::TEN, "op", &nodes).await;
}
