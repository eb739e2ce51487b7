//! Never two control-plane nodes at once. The place for a disturbed control-plane node and the readiness of all of them are
//! the whole cluster's, so these stories are told one after the other, in a cluster of their own.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

use std::time::Duration;

use api_types::nodeop::{NodeStep, Phase};
use serde_json::json;

#[path = "../sim_disturb/world/mod.rs"]
mod world;

use world::{NodeRecord, World, claimed_by, condition, eventually};

const TEN: Duration = Duration::from_secs(10);
const CONTROL_PLANE: (&str, &str) = ("node-role.kubernetes.io/control-plane", "");

/// Whether no two nodes had a claim together, over every change of any of them.
fn never_two(record: &NodeRecord, nodes: &[String]) {
    let mut held: Vec<&str> = Vec::new();
    let all = record.all();
    for seen in &all {
        if !nodes.contains(&seen.node) {
            continue;
        }
        held.retain(|node| *node != seen.node);
        if seen.claim.is_some() {
            held.push(&seen.node);
        }
        assert!(held.len() <= 1, "{held:?} together: {all:#?}");
    }
}

#[tokio::test]
async fn control_plane_nodes_are_disturbed_one_at_a_time_and_only_while_the_others_are_ready() {
    across_two_operations().await;
    while_another_is_not_ready().await;
    one_that_goes_down_holds_a_reboot_back().await;
    a_deleted_operation_frees_the_place().await;
    unless_it_is_allowed().await;
}

async fn across_two_operations() {
    let world = World::new("pair").await;
    let nodes = world.nodes(3, &[CONTROL_PLANE]).await;
    let record = NodeRecord::start(&world).await;
    let spec = "command: [run]\ncordon: true\nrebootOnSuccess: true\nconcurrency: 0";
    tokio::join!(world.node_op("one", spec), world.node_op("two", spec));
    // Each node reboots once for each operation, in whatever order they come.
    for _ in 0..6 {
        let node = eventually("the next permission", async || {
            let mut permitted = Vec::new();
            for node in &nodes {
                let boot = world.boot_id(node).await;
                let pods = world.reboot_pods(node).await;
                let told = pods.iter().any(|pod| {
                    let annotations = pod.metadata.annotations.as_ref();
                    annotations
                        .and_then(|all| all.get("kairos.io/reboot-authorized"))
                        .is_some_and(|left| *left == boot)
                });
                if told {
                    permitted.push(node.clone());
                }
            }
            assert!(permitted.len() <= 1, "{permitted:?} at once");
            permitted.pop()
        })
        .await;
        world.goes_down(&node).await;
        world.boots(&node).await;
        world.comes_up(&node).await;
    }
    for name in ["one", "two"] {
        let status = world.ended(name).await;
        assert_eq!(status.phase, Some(Phase::Completed), "{status:#?}");
        world.clean_within(TEN, name, &nodes).await;
    }
    assert_eq!(world.jobs_created().await, 6);
    never_two(&record, &nodes);
    world.forget(&nodes).await;
}

async fn while_another_is_not_ready() {
    let world = World::new("down").await;
    let nodes = world.nodes(1, &[CONTROL_PLANE]).await;
    let other = World::new("else").await;
    let others = other.nodes(1, &[CONTROL_PLANE]).await;
    other.goes_down(&others[0]).await;
    world.node_op("op", "command: [run]\ncordon: true").await;
    let status = world.reason("op", "ControlPlaneBusy").await;
    let message = &condition(&status, "Progressing").message;
    assert!(message.contains(&others[0]), "{message}");
    assert!(status.node_statuses.is_empty());
    world.event("op", "ControlPlaneBusy", &others[0]).await;
    // A plain command is not held up.
    world.node_op("plain", "command: [run]").await;
    assert_eq!(world.ended("plain").await.phase, Some(Phase::Completed));
    assert!(claimed_by(&world.node(&nodes[0]).await).is_none());
    other.comes_up(&others[0]).await;
    assert_eq!(world.ended("op").await.phase, Some(Phase::Completed));
    world.clean_within(TEN, "op", &nodes).await;
    world.forget(&nodes).await;
    other.forget(&others).await;
}

async fn one_that_goes_down_holds_a_reboot_back() {
    let world = World::new("late").await;
    let nodes = world.nodes(1, &[CONTROL_PLANE]).await;
    let other = World::new("fails").await;
    let others = other.nodes(1, &[CONTROL_PLANE]).await;
    let spec = "command: [run]\nimage: hangs\nrebootOnSuccess: true";
    world.node_op("op", spec).await;
    let entry = world.step("op", &nodes[0], NodeStep::Running).await;
    other.goes_down(&others[0]).await;
    world.finish_job(entry.job_name.as_ref().unwrap()).await;
    let entry = world.message("op", &nodes[0], &others[0]).await;
    assert_eq!(entry.step, Some(NodeStep::AwaitingReboot));
    other.comes_up(&others[0]).await;
    world.play_reboot(&nodes[0]).await;
    assert_eq!(world.ended("op").await.phase, Some(Phase::Completed));
    world.clean_within(TEN, "op", &nodes).await;
    world.forget(&nodes).await;
    other.forget(&others).await;
}

async fn a_deleted_operation_frees_the_place() {
    let world = World::new("gone").await;
    let nodes = world.nodes(2, &[CONTROL_PLANE]).await;
    let spec = "command: [run]\nimage: hangs\ncordon: true";
    world.node_op("first", spec).await;
    world.step("first", &nodes[0], NodeStep::Running).await;
    world
        .node_op("second", "command: [run]\ncordon: true")
        .await;
    let status = world.reason("second", "NodesClaimed").await;
    assert!(condition(&status, "Progressing").message.contains("first"));
    world.delete("first").await;
    assert_eq!(world.ended("second").await.phase, Some(Phase::Completed));
    world.clean_within(TEN, "second", &nodes).await;
    // The same by force: the place's holder is dead.
    world.node_op("first", spec).await;
    world.step("first", &nodes[0], NodeStep::Running).await;
    {
        let _paused = world::without_controller().await;
        world.delete("first").await;
        world
            .patch_op("first", json!({"metadata": {"finalizers": null}}))
            .await;
    }
    world.node_op("third", "command: [run]\ncordon: true").await;
    assert_eq!(world.ended("third").await.phase, Some(Phase::Completed));
    world.clean_within(TEN, "third", &nodes).await;
    world.forget(&nodes).await;
}

async fn unless_it_is_allowed() {
    let world = World::new("allowed").await;
    let nodes = world.nodes(2, &[CONTROL_PLANE]).await;
    let spec = "command: [run]\nimage: hangs\ncordon: true\nallowControlPlaneParallel: true";
    world.node_op("op", spec).await;
    for node in &nodes {
        world.step("op", node, NodeStep::Running).await;
    }
    let status = world.status("op").await;
    for node in &nodes {
        assert!(claimed_by(&world.node(node).await).is_some());
        let job = status.node_statuses[node].job_name.as_ref().unwrap();
        world.finish_job(job).await;
    }
    assert_eq!(world.ended("op").await.phase, Some(Phase::Completed));
    world.clean_within(TEN, "op", &nodes).await;
    world.forget(&nodes).await;
}
