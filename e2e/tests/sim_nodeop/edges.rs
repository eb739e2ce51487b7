//! What holds an operation up, what is edited and what disappears under it.

use api_types::nodeop::{NodePhase, NodeStep, Phase};
use serde_json::json;

use crate::world::{World, condition};

#[tokio::test]
async fn without_a_matching_node_it_waits_and_takes_up_the_first_that_matches() {
    let world = World::new("nobody").await;
    world.node_op("op", "command: [run]").await;
    let status = world.reason("op", "NoMatchingNodes").await;
    assert_eq!(status.phase, Some(Phase::Pending));
    world
        .event("op", "NoMatchingNodes", "label the nodes")
        .await;
    world.nodes(1, &[]).await;
    assert_eq!(world.ended("op").await.phase, Some(Phase::Completed));
}

#[tokio::test]
async fn a_node_that_is_not_ready_is_named_holds_no_slot_and_runs_once_it_is_ready() {
    let world = World::new("not-ready").await;
    let late = world.node_that_is_not_ready("late").await;
    let nodes = world.nodes(2, &[]).await;
    world.node_op("op", "command: [run]\nconcurrency: 1").await;
    let status = world.reason("op", "NodesNotReady").await;
    for node in &nodes {
        assert_eq!(status.node_statuses[node].phase, NodePhase::Completed);
    }
    assert_eq!(
        status.node_statuses[&late].step,
        Some(NodeStep::WaitingForReady)
    );
    let message = &condition(&status, "Progressing").message;
    assert!(message.contains(&late), "{message}");
    world.make_ready(&late).await;
    let status = world.ended("op").await;
    assert_eq!(status.summary.unwrap().done, "3/3");
}

#[tokio::test]
async fn a_node_that_never_becomes_ready_fails_by_its_timeout() {
    let world = World::new("never-ready").await;
    let late = world.node_that_is_not_ready("late").await;
    world
        .node_op("op", "command: [run]\nnodeReadyTimeoutSeconds: 2")
        .await;
    let status = world.ended("op").await;
    assert_eq!(status.phase, Some(Phase::Failed));
    let message = status.node_statuses[&late].message.as_ref().unwrap();
    assert!(message.contains("nodeReadyTimeoutSeconds"), "{message}");
    assert_eq!(world.jobs_created(), 0);
}

#[tokio::test]
async fn a_namespace_that_refuses_privileged_pods_is_a_condition_before_any_node_is_touched() {
    let world = World::new("guarded").await;
    world.nodes(2, &[]).await;
    world.pod_security("baseline").await;
    world.node_op("op", "command: [run]").await;
    let status = world.reason("op", "PodRefused").await;
    let message = &condition(&status, "Progressing").message;
    assert!(
        message.contains("PodSecurity") && message.contains("no node was touched"),
        "{message}"
    );
    assert!(status.node_statuses.is_empty() && status.start_time.is_none());
    assert_eq!(world.jobs_created(), 0);
    world.event("op", "PodRefused", "PodSecurity").await;
    world.pod_security("privileged").await;
    assert_eq!(world.ended("op").await.phase, Some(Phase::Completed));
}

#[tokio::test]
async fn a_reboot_without_an_agent_image_starts_nothing_and_says_what_is_missing() {
    let world = World::new("unsupported").await;
    world.nodes(1, &[]).await;
    world
        .node_op("op", "command: [run]\nrebootOnSuccess: true")
        .await;
    let status = world.reason("op", "Unsupported").await;
    assert_eq!(status.phase, Some(Phase::Pending));
    let message = &condition(&status, "Progressing").message;
    assert!(message.contains("--agent-image"), "{message}");
    world.event("op", "Unsupported", "--agent-image").await;
    // Nothing has started, so the spec may still be corrected.
    world
        .edit("op", json!({"rebootOnSuccess": false}))
        .await
        .unwrap();
    assert_eq!(world.ended("op").await.phase, Some(Phase::Completed));
}

#[tokio::test]
async fn paused_starts_nothing_and_goes_on_when_it_is_lifted() {
    let world = World::new("paused").await;
    world.nodes(1, &[]).await;
    world.node_op("op", "command: [run]\npaused: true").await;
    world.reason("op", "Paused").await;
    assert_eq!(world.jobs_created(), 0);
    world.edit("op", json!({"paused": false})).await.unwrap();
    assert_eq!(world.ended("op").await.phase, Some(Phase::Completed));
}

#[tokio::test]
async fn after_the_start_only_what_cannot_harm_may_be_edited() {
    let world = World::new("edits").await;
    world.nodes(3, &[]).await;
    world
        .node_op("op", "command: [run]\nimage: hangs\nconcurrency: 1")
        .await;
    world.started("op", 1).await;
    let refused = world
        .edit("op", json!({"command": ["other"]}))
        .await
        .unwrap_err();
    assert!(refused.contains("create a new NodeOp"), "{refused}");
    world.edit("op", json!({"concurrency": 2})).await.unwrap();
    world.started("op", 2).await;
    world.edit("op", json!({"paused": true})).await.unwrap();
}

#[tokio::test]
async fn a_job_deleted_before_its_result_is_failed_and_never_made_again() {
    let world = World::new("job-gone").await;
    let nodes = world.nodes(1, &[]).await;
    world.node_op("op", "command: [run]\nimage: hangs").await;
    let status = world.started("op", 1).await;
    world
        .delete_job(status.node_statuses[&nodes[0]].job_name.as_ref().unwrap())
        .await;
    let status = world.ended("op").await;
    let message = status.node_statuses[&nodes[0]].message.as_ref().unwrap();
    assert!(message.starts_with("Job was deleted"), "{message}");
    assert_eq!(world.jobs_created(), 1);
}

#[tokio::test]
async fn a_job_that_is_collected_after_its_result_changes_nothing() {
    let world = World::new("collected").await;
    let nodes = world.nodes(2, &[]).await;
    world
        .node_op("op", "command: [run]\nimage: slow\nconcurrency: 1")
        .await;
    let status = world
        .until("op", "the first node has its result", |status| {
            let entry = status.node_statuses.get(&nodes[0]);
            entry.is_some_and(|entry| entry.phase == NodePhase::Completed)
        })
        .await;
    world
        .delete_job(status.node_statuses[&nodes[0]].job_name.as_ref().unwrap())
        .await;
    let status = world.ended("op").await;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:#?}");
    assert_eq!(world.jobs_created(), 2);
}

#[tokio::test]
async fn a_node_that_is_deleted_leaves_the_plan() {
    let world = World::new("node-gone").await;
    let nodes = world.nodes(2, &[]).await;
    world
        .node_op("op", "command: [run]\nimage: hangs\nconcurrency: 1")
        .await;
    world.started("op", 1).await;
    world.delete_node(&nodes[0]).await;
    world
        .until("op", "the first node is noted as gone", |status| {
            status
                .node_statuses
                .get(&nodes[0])
                .is_some_and(|entry| entry.step == Some(NodeStep::NodeGone))
        })
        .await;
    world
        .until("op", "the second node has the slot", |status| {
            status
                .node_statuses
                .get(&nodes[1])
                .is_some_and(|entry| entry.phase == NodePhase::Running)
        })
        .await;
}

#[tokio::test]
async fn node_ops_of_one_name_in_two_namespaces_do_not_see_each_other() {
    let (here, there) = (World::new("here").await, World::new("there").await);
    here.nodes(1, &[]).await;
    there.nodes(2, &[]).await;
    here.node_op("op", "command: [run]").await;
    there
        .node_op("op", "command: [run]\nimage: fails\nbackoffLimit: 0")
        .await;
    assert_eq!(here.ended("op").await.phase, Some(Phase::Completed));
    assert_eq!(there.ended("op").await.phase, Some(Phase::Failed));
    assert_eq!((here.jobs_created(), there.jobs_created()), (1, 2));
}

#[tokio::test]
async fn deleting_a_node_op_ends_its_jobs() {
    let world = World::new("deleted").await;
    world.nodes(2, &[]).await;
    world.node_op("op", "command: [run]\nimage: hangs").await;
    world.started("op", 2).await;
    world.delete("op").await;
    world.no_jobs_left().await;
}

/// A kubelet writes its Node all the time. A claim that meets such a write is made again at once: the write itself is no
/// change that a decision reads, so nothing else would bring the operation back to the node soon.
#[tokio::test]
async fn a_node_whose_kubelet_writes_all_the_time_is_claimed_all_the_same() {
    let world = World::new("heartbeats").await;
    let nodes = world.nodes(4, &[]).await;
    let heartbeats = world.heartbeats(&nodes);
    world.node_op("op", "command: [run]\ncordon: true").await;
    assert_eq!(world.ended("op").await.phase, Some(Phase::Completed));
    assert!(heartbeats.stop().await > 0, "no write came between");
}
