//! Whose the NodeOp of an upgrade's name is, and what becomes of an upgrade whose NodeOp goes.

use api_types::nodeopupgrade::UpgradePhase;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::world::{COMPLETED, RUNNING, World, without_controller};

#[tokio::test]
async fn a_node_op_of_somebody_else_is_a_clear_failure_and_stays_untouched() {
    let world = World::new("foreign").await;
    let foreign = serde_json::from_value(json!({
        "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp", "metadata": {"name": "to-v2"}, "spec": {"command": ["mine"]},
    }))
    .unwrap();
    world
        .node_ops()
        .create(&PostParams::default(), &foreign)
        .await
        .unwrap();
    world.upgrade("to-v2", "image: i").await;
    let status = world.because("to-v2", "Failed", "NodeOpNameTaken").await;
    assert_eq!(status.phase, Some(UpgradePhase::Failed));
    let message = status.message.unwrap();
    assert!(
        message.contains("delete nodeop/to-v2 or choose another name"),
        "{message}"
    );
    world
        .event("to-v2", "UpgradeFailed", "no node was touched")
        .await;
    assert_eq!(
        world.node_ops().get("to-v2").await.unwrap().spec.command,
        ["mine"]
    );
    // Tidied up, it does not begin by itself.
    world.delete_node_op("to-v2").await;
    world.upgrade("other", "image: i").await;
    world.made("other").await;
    assert!(world.node_ops().get_opt("to-v2").await.unwrap().is_none());
}

#[tokio::test]
async fn a_node_op_that_is_deleted_by_hand_ends_the_upgrade_and_is_not_made_again() {
    let world = World::new("deleted").await;
    world.upgrade("to-v2", "image: i").await;
    world.made("to-v2").await;
    world.report("to-v2", RUNNING).await;
    world.because("to-v2", "Progressing", "Running").await;
    world.delete_node_op("to-v2").await;
    let status = world.because("to-v2", "Failed", "NodeOpDeleted").await;
    assert_eq!(status.node_statuses.len(), 2, "what was reported stays");
    assert_eq!(world.node_ops_created().await, 1);
}

#[tokio::test]
async fn an_upgrade_that_is_done_outlives_its_node_op() {
    let world = World::new("done").await;
    world.upgrade("to-v2", "image: i").await;
    world.made("to-v2").await;
    world.report("to-v2", COMPLETED).await;
    world.because("to-v2", "Complete", "Completed").await;
    world.delete_node_op("to-v2").await;
    drop(without_controller().await);
    world.upgrade("other", "image: i").await;
    world.made("other").await;
    let status = world.because("to-v2", "Complete", "Completed").await;
    assert_eq!(status.phase, Some(UpgradePhase::Completed));
    assert_eq!(world.node_ops_created().await, 2);
}

/// `kubectl delete` and `kubectl apply` in one go: the former NodeOp still gives its nodes back.
#[tokio::test]
async fn an_upgrade_that_is_made_anew_waits_until_the_former_node_op_is_gone() {
    let world = World::new("anew").await;
    world.upgrade("to-v2", "image: i").await;
    let former = world.made("to-v2").await;
    let finalizers = json!({"metadata": {"finalizers": ["operator.kairos.io/release-nodes"]}});
    let params = PatchParams::default();
    world
        .node_ops()
        .patch("to-v2", &params, &Patch::Merge(&finalizers))
        .await
        .unwrap();
    world
        .upgrades()
        .delete("to-v2", &DeleteParams::background())
        .await
        .unwrap();
    world.upgrade("to-v2", "image: other").await;
    let status = world
        .until("to-v2", "it says what it waits for", |status| {
            status
                .message
                .as_ref()
                .is_some_and(|message| message.contains("a former NodeOpUpgrade"))
        })
        .await;
    assert_eq!(status.phase, Some(UpgradePhase::Initializing));
    assert_eq!(status.node_op_name, None);
    // No garbage collector runs here: its part is played too.
    world.delete_node_op("to-v2").await;
    let none = json!({"metadata": {"finalizers": null}});
    world
        .node_ops()
        .patch("to-v2", &params, &Patch::Merge(&none))
        .await
        .unwrap();
    let now = world
        .node_op_until("to-v2", "its own NodeOp is made", |found| {
            found.metadata.uid != former.metadata.uid
        })
        .await;
    assert_eq!(now.spec.image.as_deref(), Some("other"));
}

#[tokio::test]
async fn names_of_253_characters_work() {
    let world = World::new("long").await;
    let name = "u".repeat(253);
    world.upgrade(&name, "image: i").await;
    let made = world.made(&name).await;
    assert_eq!(
        made.metadata.annotations.unwrap()["nodeopupgrade.kairos.io/name"],
        name
    );
    world.report(&name, COMPLETED).await;
    world.because(&name, "Complete", "Completed").await;
    world.event(&name, "UpgradeCompleted", "m").await;
}

#[tokio::test]
async fn what_kairos_operator_left_is_followed_to_its_end() {
    let world = World::new("adopted").await;
    let paused = without_controller().await;
    let upgrade = world.upgrade("old", "image: i").await;
    let left = serde_json::from_value(json!({
        "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp",
        "metadata": {"name": "old", "labels": {"nodeopupgrade.kairos.io/name": "old"}, "ownerReferences": [{
            "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOpUpgrade", "name": "old", "uid": upgrade.metadata.uid,
            "controller": true, "blockOwnerDeletion": true,
        }]},
        "spec": {"command": ["/bin/sh", "-c", "set -x -e"], "image": "i"},
    }))
    .unwrap();
    world
        .node_ops()
        .create(&PostParams::default(), &left)
        .await
        .unwrap();
    let status = json!({"status": {"phase": "Running", "nodeOpName": "old", "nodeStatuses": {"a": {"phase": "Running"}}}});
    let params = PatchParams::default();
    world
        .upgrades()
        .patch_status("old", &params, &Patch::Merge(&status))
        .await
        .unwrap();
    world
        .report(
            "old",
            "phase: Running\nnodeStatuses: {a: {phase: Running}, b: {phase: Pending}}",
        )
        .await;
    drop(paused);
    world
        .until("old", "it is followed", |status| {
            status.node_statuses.len() == 2
        })
        .await;
    world.report("old", COMPLETED).await;
    world.because("old", "Complete", "Completed").await;
    assert_eq!(
        world.node_ops().get("old").await.unwrap().spec.command,
        ["/bin/sh", "-c", "set -x -e"]
    );
    assert_eq!(world.node_ops_created().await, 0);
}
