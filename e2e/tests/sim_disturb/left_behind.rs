//! NodeOps that kairos-operator left in the middle of a cordon, a drain or a reboot: followed to their end, and nothing
//! runs twice.

use api_types::names::{ANNOTATION_CORDONED_BY, FINALIZER_KAIROS_OPERATOR_NODEOP};
use api_types::nodeop::{NodePhase, Phase, RebootStatus};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::world::{World, without_controller};

const SPEC: &str = "command: [run]\ncordon: true\nrebootOnSuccess: true\nbackoffLimit: 0";

/// What kairos-operator had made: a NodeOp with that status, cordons in its name, a Job on each node (of an image that
/// says how it ends) and a reboot Pod that waits for it.
async fn left(world: &World, nodes: &[String], images: &[Option<&str>], entries: Value) {
    let _paused = without_controller().await;
    world.node_op("op", SPEC).await;
    let op = world.op("op").await;
    let uid = op.metadata.uid.unwrap();
    let owner = json!([{
        "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp", "name": "op", "uid": uid,
        "controller": true, "blockOwnerDeletion": true,
    }]);
    let cordoned = json!({ANNOTATION_CORDONED_BY: format!("{}/op@{uid}", world.name())});
    for (index, (node, image)) in nodes.iter().zip(images).enumerate() {
        world
            .patch_node(
                node,
                json!({"metadata": {"annotations": cordoned}, "spec": {"unschedulable": true}}),
            )
            .await;
        let labels = json!({"kairos.io/nodeop": "op", "kairos.io/node": node});
        let mut reboot = labels.clone();
        reboot["kairos.io/reboot"] = json!("true");
        let _: Pod = world
            .create(json!({
                "metadata": {"generateName": "op-reboot-", "labels": reboot, "ownerReferences": owner},
                "spec": {"nodeName": node, "hostPID": true, "restartPolicy": "OnFailure",
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [{"name": "reboot", "image": "operator"}]},
            }))
            .await;
        let Some(image) = image else { continue };
        let _: Job = world
            .create(json!({
                "metadata": {"name": format!("old-{index}"), "labels": labels, "ownerReferences": owner},
                "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": {
                    "nodeName": node, "restartPolicy": "Never", "tolerations": [{"operator": "Exists"}],
                    "containers": [{"name": "nodeop", "image": image, "command": ["run"]}],
                }}},
            }))
            .await;
    }
    world
        .patch_op_status("op", json!({"phase": "Running", "nodeStatuses": entries}))
        .await;
    world
        .patch_op(
            "op",
            json!({"metadata": {"finalizers": [FINALIZER_KAIROS_OPERATOR_NODEOP]}}),
        )
        .await;
}

fn running(job: &str) -> Value {
    json!({"phase": "Running", "jobName": job, "rebootStatus": "pending"})
}

/// The cordon and every Pod of kairos-operator on that node are gone.
async fn is_given_back(world: &World, node: &str) {
    crate::world::eventually(&format!("{node} is given back"), async || {
        let found = world.node(node).await;
        let mark = found
            .metadata
            .annotations
            .is_some_and(|all| all.contains_key(ANNOTATION_CORDONED_BY));
        let cordoned = found.spec.unwrap_or_default().unschedulable;
        (!mark && cordoned != Some(true)).then_some(())
    })
    .await;
}

async fn no_reboot_pod(world: &World, node: &str) {
    crate::world::eventually(&format!("{node} has no reboot Pod"), async || {
        let pods = world.reboot_pods(node).await;
        let alive = |pod: &Pod| {
            let phase = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            phase != Some("Succeeded")
        };
        (!pods.iter().any(alive)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_reboot_under_way_is_followed_to_its_proof_and_the_cordon_is_undone() {
    let world = World::new("old-reboot").await;
    let nodes = world.nodes(2, &[]).await;
    let entries = json!({&nodes[0]: running("old-0"), &nodes[1]: running("old-1")});
    left(&world, &nodes, &[Some("works"), Some("works")], entries).await;
    for node in &nodes {
        world
            .entry("op", node, "its boot is noted", |entry| {
                entry.boot_id.is_some()
            })
            .await;
        // kairos-operator's own Pod reboots the node.
        world.goes_down(node).await;
        world.boots(node).await;
        world.comes_up(node).await;
    }
    let status = world.ended("op").await;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:#?}");
    for node in &nodes {
        let entry = &status.node_statuses[node];
        assert_eq!(entry.reboot_status, Some(RebootStatus::Completed));
        is_given_back(&world, node).await;
        no_reboot_pod(&world, node).await;
    }
    assert_eq!(world.jobs_created().await, 0);
}

#[tokio::test]
async fn a_command_that_fails_leaves_no_reboot_pod_that_waits_for_ever() {
    let world = World::new("old-fails").await;
    let nodes = world.nodes(1, &[]).await;
    let entries = json!({&nodes[0]: running("old-0")});
    left(&world, &nodes, &[Some("fails")], entries).await;
    let status = world.ended("op").await;
    assert_eq!(status.node_statuses[&nodes[0]].phase, NodePhase::Failed);
    no_reboot_pod(&world, &nodes[0]).await;
    assert_eq!(world.jobs_created().await, 0);
}

#[tokio::test]
async fn a_node_that_was_cordoned_but_got_no_job_is_given_back_and_told_of() {
    let world = World::new("old-drain").await;
    let nodes = world.nodes(2, &[]).await;
    let entries = json!({&nodes[0]: running("old-0"), &nodes[1]: {"phase": "Pending"}});
    left(&world, &nodes, &[Some("works"), None], entries).await;
    world
        .entry("op", &nodes[0], "its boot is noted", |entry| {
            entry.boot_id.is_some()
        })
        .await;
    is_given_back(&world, &nodes[1]).await;
    no_reboot_pod(&world, &nodes[1]).await;
    world.boots(&nodes[0]).await;
    let status = world.ended("op").await;
    assert_eq!(status.node_statuses[&nodes[0]].phase, NodePhase::Completed);
    assert_eq!(status.phase, Some(Phase::Failed));
    let message = &crate::world::condition(&status, "Failed").message;
    assert!(message.contains("create a new NodeOp"), "{message}");
    is_given_back(&world, &nodes[0]).await;
    assert_eq!(world.jobs_created().await, 0);
}

#[tokio::test]
async fn one_that_is_deleted_gives_its_nodes_back_and_its_finalizer_goes() {
    let world = World::new("old-deleted").await;
    let nodes = world.nodes(1, &[]).await;
    let entries = json!({&nodes[0]: running("old-0")});
    left(&world, &nodes, &[Some("hangs")], entries).await;
    world.reason("op", "Adopted").await;
    world.delete("op").await;
    world.clean_within(crate::TEN, "op", &nodes).await;
    assert!(world.find("op").await.is_none());
}

#[tokio::test]
async fn a_new_operation_may_follow_on_its_nodes() {
    let world = World::new("old-follow").await;
    let nodes = world.nodes(1, &[]).await;
    let entries = json!({&nodes[0]: running("old-0")});
    left(&world, &nodes, &[Some("fails")], entries).await;
    world.ended("op").await;
    world.node_op("next", "command: [run]\ncordon: true").await;
    assert_eq!(world.ended("next").await.phase, Some(Phase::Completed));
    is_given_back(&world, &nodes[0]).await;
}
