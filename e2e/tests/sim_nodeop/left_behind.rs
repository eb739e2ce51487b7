//! NodeOps as kairos-operator leaves them: adopted, never run again.

use api_types::names::FINALIZER_KAIROS_OPERATOR_NODEOP;
use api_types::nodeop::{NodePhase, Phase};
use serde_json::json;

use crate::world::{World, condition};

#[tokio::test]
async fn a_finished_one_gets_conditions_and_is_not_run_again() {
    let world = World::new("old-done").await;
    let nodes = world.nodes(2, &[]).await;
    let entries = json!({
        &nodes[0]: {"phase": "Completed", "jobName": "old-0", "rebootStatus": "not-requested"},
        &nodes[1]: {"phase": "Completed", "jobName": "old-1", "rebootStatus": "completed"},
    });
    world
        .old_node_op("op", json!({"phase": "Completed", "nodeStatuses": entries}))
        .await;
    let status = world.ended("op").await;
    assert_eq!(condition(&status, "Complete").reason, "Adopted");
    assert_eq!(status.node_statuses[&nodes[0]].phase, NodePhase::Completed);
    assert_eq!(world.jobs_created(), 0);
}

#[tokio::test]
async fn a_running_one_has_its_jobs_followed_and_nothing_new_is_started() {
    let world = World::new("old-running").await;
    let nodes = world.nodes(2, &[]).await;
    world.foreign_job("old-0", &nodes[0], "slow").await;
    let entries = json!({
        &nodes[0]: {"phase": "Running", "jobName": "old-0", "rebootStatus": "not-requested"},
        &nodes[1]: {"phase": "Pending"},
    });
    world
        .old_node_op("op", json!({"phase": "Running", "nodeStatuses": entries}))
        .await;
    world.reason("op", "Adopted").await;
    let status = world.ended("op").await;
    assert_eq!(status.node_statuses[&nodes[0]].phase, NodePhase::Completed);
    assert_eq!(status.phase, Some(Phase::Failed));
    let message = &condition(&status, "Failed").message;
    assert!(message.contains("create a new NodeOp"), "{message}");
    assert_eq!(world.jobs_created(), 0);
}

#[tokio::test]
async fn its_finalizer_does_not_hold_a_deletion_up() {
    let world = World::new("old-finalizer").await;
    world.node_op("op", "command: [run]\npaused: true").await;
    world
        .add_finalizer("op", FINALIZER_KAIROS_OPERATOR_NODEOP)
        .await;
    world.delete("op").await;
    world.is_gone("op").await;
}
