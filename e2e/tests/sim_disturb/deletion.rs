//! A NodeOp deleted while it works: within ten seconds nothing is left of it.

use api_types::nodeop::NodeStep;

use crate::world::{World, is_cordoned};

async fn is_let_go(world: &World, nodes: &[String]) {
    world.delete_within(crate::TEN, "op", nodes).await;
    crate::world::eventually("its Jobs and Pods are gone", async || {
        (world.jobs().await.is_empty() && world.pods().await.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn in_its_preflight() {
    let world = World::new("in-preflight").await;
    let nodes = world.nodes(2, &[]).await;
    let spec = "command: [run]\ncordon: true\nrebootOnSuccess: true\n\
                preflight: {command: [look], image: hangs}";
    world.node_op("op", spec).await;
    for node in &nodes {
        world.step("op", node, NodeStep::Preflight).await;
    }
    is_let_go(&world, &nodes).await;
    assert_eq!(world.jobs_created().await, 0);
}

#[tokio::test]
async fn while_it_drains() {
    let world = World::new("in-drain").await;
    let nodes = world.nodes(1, &[]).await;
    // A Pod that does not go: its budget allows no disruption.
    let _: k8s_openapi::api::core::v1::Pod = world
        .create(serde_json::json!({
            "metadata": {"name": "held", "labels": {"app": "held"}},
            "spec": {"nodeName": nodes[0], "containers": [{"name": "main", "image": "app"}]},
        }))
        .await;
    let _: k8s_openapi::api::policy::v1::PodDisruptionBudget = world
        .create(serde_json::json!({
            "metadata": {"name": "held"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "held"}}},
        }))
        .await;
    let spec = "command: [run]\nrebootOnSuccess: true\ndrainOptions: {enabled: true, force: true}";
    world.node_op("op", spec).await;
    world.step("op", &nodes[0], NodeStep::Draining).await;
    crate::world::eventually("its reboot Pod is there", async || {
        (!world.reboot_pods(&nodes[0]).await.is_empty()).then_some(())
    })
    .await;
    assert!(is_cordoned(&world.node(&nodes[0]).await));
    world.delete_within(crate::TEN, "op", &nodes).await;
    let held = world.pod_api().get("held").await.unwrap();
    assert!(held.metadata.deletion_timestamp.is_none());
    assert_eq!(world.jobs_created().await, 0);
}

#[tokio::test]
async fn while_the_command_runs() {
    let world = World::new("in-job").await;
    let nodes = world.nodes(3, &[]).await;
    let spec = "command: [run]\nimage: hangs\ncordon: true\nrebootOnSuccess: true";
    world.node_op("op", spec).await;
    for node in &nodes {
        world.step("op", node, NodeStep::Running).await;
    }
    is_let_go(&world, &nodes).await;
}

#[tokio::test]
async fn while_a_finished_command_awaits_its_reboot() {
    let world = World::new("in-wait").await;
    let nodes = world.nodes(1, &[]).await;
    let spec = "command: [run]\nimage: hangs\ncordon: true\nrebootOnSuccess: true";
    world.node_op("op", spec).await;
    let entry = world.step("op", &nodes[0], NodeStep::Running).await;
    world.edit("op", serde_json::json!({"paused": true})).await;
    world.finish_job(entry.job_name.as_ref().unwrap()).await;
    world.step("op", &nodes[0], NodeStep::AwaitingReboot).await;
    is_let_go(&world, &nodes).await;
}

#[tokio::test]
async fn while_a_reboot_is_permitted_and_the_node_is_still_up() {
    let world = World::new("in-reboot").await;
    let nodes = world.nodes(1, &[]).await;
    let spec = "command: [run]\ncordon: true\nrebootOnSuccess: true";
    world.node_op("op", spec).await;
    world.authorized(&nodes[0]).await;
    is_let_go(&world, &nodes).await;
}

#[tokio::test]
async fn while_the_node_is_down_for_its_reboot_it_is_followed_until_the_node_is_ready() {
    let world = World::new("down").await;
    let nodes = world.nodes(1, &[]).await;
    let spec = "command: [run]\ncordon: true\nrebootOnSuccess: true";
    world.node_op("op", spec).await;
    world.authorized(&nodes[0]).await;
    world.goes_down(&nodes[0]).await;
    world.delete("op").await;
    crate::world::eventually("its reboot Pod is being deleted", async || {
        let pods = world.reboot_pods(&nodes[0]).await;
        let going =
            |pod: &k8s_openapi::api::core::v1::Pod| pod.metadata.deletion_timestamp.is_some();
        pods.iter().all(going).then_some(())
    })
    .await;
    assert!(
        is_cordoned(&world.node(&nodes[0]).await),
        "nobody knows yet whether it reboots"
    );
    assert!(world.find("op").await.is_some());
    world.boots(&nodes[0]).await;
    world.comes_up(&nodes[0]).await;
    world.clean_within(crate::TEN, "op", &nodes).await;
    assert!(world.find("op").await.is_none());
}

#[tokio::test]
async fn a_node_that_died_while_the_command_ran_does_not_hold_the_deletion_up() {
    let world = World::new("died").await;
    let nodes = world.nodes(1, &[]).await;
    let spec = "command: [run]\nimage: hangs\ncordon: true";
    world.node_op("op", spec).await;
    world.step("op", &nodes[0], NodeStep::Running).await;
    world.goes_down(&nodes[0]).await;
    is_let_go(&world, &nodes).await;
}

#[tokio::test]
async fn while_it_verifies() {
    let world = World::new("in-verify").await;
    let nodes = world.nodes(1, &[]).await;
    let spec = "command: [run]\ncordon: true\nrebootOnSuccess: true\n\
                verify: {command: [check], image: hangs}";
    world.node_op("op", spec).await;
    world.play_reboot(&nodes[0]).await;
    world.step("op", &nodes[0], NodeStep::Verifying).await;
    is_let_go(&world, &nodes).await;
}

#[tokio::test]
async fn a_hundred_nodes_at_work_are_given_back_as_fast() {
    let world = World::new("hundred").await;
    let nodes = world.nodes(100, &[]).await;
    // Without reboot Pods: how fast the simulator ends those is not what is measured.
    let spec = "command: [run]\nimage: hangs\ncordon: true";
    world.node_op("op", spec).await;
    world
        .until("op", "all commands run", |status| {
            let mut entries = status.node_statuses.values();
            status.node_statuses.len() == 100
                && entries.all(|entry| entry.step == Some(NodeStep::Running))
        })
        .await;
    is_let_go(&world, &nodes).await;
    world.forget(&nodes).await;
}

#[tokio::test]
async fn an_idle_one_goes_at_once() {
    let world = World::new("idle").await;
    let nodes = world.nodes(1, &[]).await;
    world
        .node_op("op", "command: [run]\ncordon: true\npaused: true")
        .await;
    world.reason("op", "Paused").await;
    assert!(world.op("op").await.metadata.finalizers.is_none());
    is_let_go(&world, &nodes).await;
}
