//! The spec is edited before, at and after the start.

use api_types::nodeop::Concurrency;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::world::{RUNNING, World, without_controller};

const GENERATION: &str = "nodeopupgrade.kairos.io/generation";

#[tokio::test]
async fn an_edit_before_the_start_reaches_the_node_op() {
    let world = World::new("early").await;
    world
        .upgrade("to-v2", "image: v1\nexcludePaths: [/a]")
        .await;
    world.made("to-v2").await;
    let edit = json!({
        "image": "v2", "concurrency": 3, "upgradeRecovery": true, "excludePaths": ["/it's \"b\""], "force": true,
        "nodeSelector": {"matchLabels": {"a": "b"}},
    });
    world.edit("to-v2", edit).await.unwrap();
    let node_op = world
        .node_op_until("to-v2", "the edit is carried over", |node_op| {
            node_op.metadata.annotations.as_ref().unwrap()[GENERATION] == "2"
        })
        .await;
    let spec = node_op.spec;
    assert_eq!(spec.image.as_deref(), Some("v2"));
    assert_eq!(spec.concurrency, Concurrency::nodes(3));
    assert_eq!(
        spec.command[4..],
        ["run", "recovery", "active", "--", "/it's \"b\""]
    );
    assert_eq!(spec.preflight, None);
    assert!(spec.node_selector.is_some());
    world
        .until("to-v2", "the status speaks of the edit", |status| {
            status.observed_generation == Some(2)
        })
        .await;
}

#[tokio::test]
async fn an_edit_after_the_start_goes_through_or_is_refused_with_a_sentence() {
    let world = World::new("after").await;
    world.upgrade("to-v2", "image: v1").await;
    world.made("to-v2").await;
    world.report("to-v2", RUNNING).await;
    world.because("to-v2", "Progressing", "Running").await;
    let refused = world
        .edit("to-v2", json!({"image": "v2"}))
        .await
        .unwrap_err();
    assert!(
        refused.contains("create a new NodeOpUpgrade instead"),
        "{refused}"
    );
    let edit = json!({
        "paused": true, "concurrency": "50%", "stopOnFailure": true, "uncordonOnFailure": true,
        "drainOptions": {"timeoutSeconds": 5}, "rebootTimeoutSeconds": 60,
    });
    world.edit("to-v2", edit).await.unwrap();
    let node_op = world
        .node_op_until("to-v2", "it is paused", |node_op| node_op.spec.paused)
        .await;
    let spec = node_op.spec;
    assert_eq!(spec.concurrency, Concurrency::percent(50));
    assert!(spec.stop_on_failure && spec.uncordon_on_failure);
    assert_eq!(
        (
            spec.drain_options.unwrap().timeout_seconds,
            spec.reboot_timeout_seconds
        ),
        (5, 60)
    );
}

/// The NodeOp starts while nobody tells the upgrade: the API server cannot know yet that the edit comes too late.
#[tokio::test]
async fn an_edit_that_crosses_the_start_is_refused_by_the_controller() {
    let world = World::new("crossed").await;
    world.upgrade("to-v2", "image: v1").await;
    world.made("to-v2").await;
    world.because("to-v2", "Progressing", "Initializing").await;
    {
        let _paused = without_controller().await;
        world.report("to-v2", RUNNING).await;
        world
            .edit("to-v2", json!({"image": "v2", "paused": true}))
            .await
            .unwrap();
    }
    let node_op = world
        .node_op_until("to-v2", "it is paused", |node_op| node_op.spec.paused)
        .await;
    assert_eq!(node_op.spec.image.as_deref(), Some("v1"));
    let status = world.because("to-v2", "Progressing", "Running").await;
    let message = status.message.unwrap();
    assert!(
        message.contains("the change of image came after") && message.contains("1 of 3 nodes"),
        "{message}"
    );
    world
        .event("to-v2", "EditRefused", "create a new NodeOpUpgrade")
        .await;
}

/// At night somebody stops the NodeOp itself. That must hold until the upgrade is edited.
#[tokio::test]
async fn a_node_op_that_is_paused_by_hand_stays_paused() {
    let world = World::new("by-hand").await;
    world.upgrade("to-v2", "image: v1").await;
    world.made("to-v2").await;
    let patch = json!({"spec": {"paused": true}});
    world
        .node_ops()
        .patch("to-v2", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    world.report("to-v2", RUNNING).await;
    world.because("to-v2", "Progressing", "Running").await;
    assert!(world.node_ops().get("to-v2").await.unwrap().spec.paused);
    drop(without_controller().await);
    world.report("to-v2", "message: later").await;
    world
        .until("to-v2", "the new process has looked", |status| {
            status.message.as_deref() == Some("later")
        })
        .await;
    assert!(world.node_ops().get("to-v2").await.unwrap().spec.paused);
    // An edit is the word that counts.
    world
        .edit(
            "to-v2",
            json!({"concurrency": 1, "paused": Value::Bool(false)}),
        )
        .await
        .unwrap();
    world
        .node_op_until("to-v2", "it goes on", |node_op| !node_op.spec.paused)
        .await;
}
