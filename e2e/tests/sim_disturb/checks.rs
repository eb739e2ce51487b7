//! Preflight and verify.

use api_types::nodeop::{NodePhase, NodeStep, Phase};

use crate::world::{NodeRecord, World};

#[tokio::test]
async fn a_preflight_that_gives_a_reason_skips_the_node_without_touching_it() {
    let world = World::new("skip").await;
    let nodes = world.nodes(2, &[]).await;
    let record = NodeRecord::start(&world).await;
    let spec = "command: [run]\ncordon: true\nrebootOnSuccess: true\n\
                preflight: {command: [look], image: skips}";
    world.node_op("op", spec).await;
    let status = world.ended("op").await;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:#?}");
    for node in &nodes {
        let entry = &status.node_statuses[node];
        assert_eq!(entry.phase, NodePhase::Completed);
        assert_eq!(entry.message.as_deref(), Some("Skipped: already at v2"));
        assert_eq!(world.node_patches(node).await, 0);
        assert!(record.claims(node).is_empty());
        world.event("op", "NodeSkipped", node).await;
    }
    assert_eq!(world.jobs_created().await, 0);
    world.clean_within(crate::TEN, "op", &nodes).await;
}

#[tokio::test]
async fn a_preflight_that_fails_fails_the_node_with_its_words_and_leaves_the_node_alone() {
    let world = World::new("preflight").await;
    let nodes = world.nodes(1, &[]).await;
    let spec = "command: [run]\ncordon: true\npreflight: {command: [look], image: fails}";
    world.node_op("op", spec).await;
    let status = world.ended("op").await;
    let entry = &status.node_statuses[&nodes[0]];
    assert_eq!(entry.phase, NodePhase::Failed);
    let message = entry.message.as_ref().unwrap();
    assert!(
        message.starts_with("preflight") && message.contains("no space left"),
        "{message}"
    );
    assert_eq!(world.node_patches(&nodes[0]).await, 0);
    assert_eq!(world.jobs_created().await, 0);
}

#[tokio::test]
async fn a_preflight_whose_image_cannot_be_pulled_says_so_while_it_waits_and_fails_by_its_deadline()
{
    let world = World::new("unpullable").await;
    let nodes = world.nodes(1, &[]).await;
    let spec = "command: [run]\ncordon: true\n\
                preflight: {command: [look], image: unpullable, activeDeadlineSeconds: 3}";
    world.node_op("op", spec).await;
    let words = "preflight cannot start: ";
    world.message("op", &nodes[0], words).await;
    world.message("op", &nodes[0], "ImagePullBackOff").await;
    let status = world.ended("op").await;
    let message = status.node_statuses[&nodes[0]].message.as_ref().unwrap();
    for words in ["gave no result within 3 s", "no such image"] {
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(world.node_patches(&nodes[0]).await, 0);
}

#[tokio::test]
async fn a_good_preflight_and_a_good_verify_surround_the_command_and_the_reboot() {
    let world = World::new("whole").await;
    let nodes = world.nodes(1, &[]).await;
    let spec = "command: [run]\ncordon: true\nrebootOnSuccess: true\n\
                preflight: {command: [look], image: goes}\nverify: {command: [check], image: skips}";
    world.node_op("op", spec).await;
    world.play_reboot(&nodes[0]).await;
    let status = world.ended("op").await;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:#?}");
    let entry = &status.node_statuses[&nodes[0]];
    assert_eq!(entry.message.as_deref(), Some("already at v2"));
    world.clean_within(crate::TEN, "op", &nodes).await;
}

#[tokio::test]
async fn a_verify_that_fails_fails_the_node_with_its_words_and_keeps_the_cordon() {
    let world = World::new("verify").await;
    let nodes = world.nodes(1, &[]).await;
    let spec = "command: [run]\ncordon: true\nverify: {command: [check], image: fails}";
    world.node_op("op", spec).await;
    let status = world.ended("op").await;
    let entry = &status.node_statuses[&nodes[0]];
    assert_eq!(entry.phase, NodePhase::Failed);
    let message = entry.message.as_ref().unwrap();
    assert!(
        message.starts_with("verify") && message.contains("no space left"),
        "{message}"
    );
    let node = world.node(&nodes[0]).await;
    assert!(crate::world::is_cordoned(&node) && crate::world::claimed_by(&node).is_none());
}

#[tokio::test]
async fn a_job_whose_image_cannot_be_pulled_says_so_while_it_waits() {
    let world = World::new("pull").await;
    let nodes = world.nodes(1, &[]).await;
    let spec = "command: [run]\nimage: unpullable\nactiveDeadlineSeconds: 15\nbackoffLimit: 0";
    world.node_op("op", spec).await;
    let entry = world.message("op", &nodes[0], "ImagePullBackOff").await;
    assert_eq!(entry.step, Some(NodeStep::Running));
    let status = world.ended("op").await;
    assert_eq!(status.phase, Some(Phase::Failed));
    let message = status.node_statuses[&nodes[0]].message.as_ref().unwrap();
    for words in ["DeadlineExceeded", "ImagePullBackOff: no such image"] {
        assert!(message.contains(words), "{message}");
    }
}
