//! Which nodes run, when, and what the status says of it.

use std::collections::BTreeMap;

use api_types::nodeop::{NodePhase, Phase};

use crate::world::{JobHistory, World, condition};

#[tokio::test]
async fn every_matching_node_gets_exactly_one_job_and_the_operation_completes() {
    let world = World::new("all").await;
    let nodes = world.nodes(10, &[]).await;
    world.node_op("op", "command: [run]").await;
    let status = world.ended("op").await;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:?}");
    assert_eq!(status.summary.unwrap().done, "10/10");
    let entries: Vec<&String> = status.node_statuses.keys().collect();
    assert_eq!(entries, nodes.iter().collect::<Vec<_>>());
    assert_eq!(world.jobs_created(), 10, "by the audit log");
    let jobs = world.jobs().await;
    let by_node: BTreeMap<&str, usize> = jobs.iter().fold(BTreeMap::new(), |mut counts, job| {
        let node = job
            .spec
            .as_ref()
            .unwrap()
            .template
            .spec
            .as_ref()
            .unwrap()
            .node_name
            .as_deref();
        *counts.entry(node.unwrap()).or_default() += 1;
        counts
    });
    assert!(
        by_node.values().all(|count| *count == 1) && by_node.len() == 10,
        "{by_node:?}"
    );
}

#[tokio::test]
async fn kubectl_wait_tells_when_an_operation_is_complete_or_has_failed() {
    let world = World::new("wait").await;
    world.nodes(1, &[]).await;
    world.node_op("good", "command: [run]\nimage: slow").await;
    let fails = "command: [run]\nimage: fails\nbackoffLimit: 0";
    world.node_op("bad", fails).await;
    for (name, condition) in [("good", "Complete"), ("bad", "Failed")] {
        let words = [
            "wait",
            &format!("--for=condition={condition}"),
            &format!("nodeop/{name}"),
            "--timeout=60s",
        ];
        let said = world.kubectl(&words).await;
        assert!(said.contains("condition met"), "{said}");
    }
    assert_eq!(world.status("good").await.phase, Some(Phase::Completed));
    assert_eq!(world.status("bad").await.phase, Some(Phase::Failed));
}

#[tokio::test]
async fn concurrency_one_never_has_two_jobs_active() {
    let world = World::new("one").await;
    world.nodes(4, &[]).await;
    let history = JobHistory::record(world.job_api()).await;
    world.node_op("op", "command: [run]\nconcurrency: 1").await;
    world.ended("op").await;
    let history = history.finish(4).await;
    assert_eq!(
        history.most_active, 1,
        "active at once, over every watch event"
    );
    let mut sorted = history.order.clone();
    sorted.sort();
    assert_eq!(history.order, sorted, "nodes are taken by name");
}

#[tokio::test]
async fn a_percentage_bounds_the_jobs_that_are_active() {
    let world = World::new("percent").await;
    world.nodes(8, &[]).await;
    let history = JobHistory::record(world.job_api()).await;
    world
        .node_op("op", "command: [run]\nconcurrency: 25%")
        .await;
    world.ended("op").await;
    assert_eq!(history.finish(8).await.most_active, 2);
}

#[tokio::test]
async fn workers_wait_for_the_control_plane() {
    let world = World::new("roles").await;
    world.nodes(2, &[]).await;
    let masters = world
        .named_nodes(
            &["zz-1", "zz-2"],
            &[("node-role.kubernetes.io/control-plane", "")],
        )
        .await;
    let history = JobHistory::record(world.job_api()).await;
    world.node_op("op", "command: [run]").await;
    world.ended("op").await;
    let history = history.finish(4).await;
    // Jobs of one pass are created side by side.
    let mut first = history.order[..2].to_vec();
    first.sort();
    assert_eq!(first, masters, "{:?}", history.order);
    assert!(history.overlaps(&masters, &history.order[2..]).is_empty());
}

#[tokio::test]
async fn a_failing_command_with_stop_on_failure_leaves_the_rest_untouched_and_says_which_and_why() {
    let world = World::new("stop").await;
    let nodes = world.nodes(4, &[]).await;
    let spec = "command: [run]\nimage: fails\nbackoffLimit: 0\nconcurrency: 1\nstopOnFailure: true";
    world.node_op("op", spec).await;
    let status = world.ended("op").await;
    assert_eq!(status.phase, Some(Phase::Failed));
    assert_eq!(status.node_statuses.len(), 1, "{:?}", status.node_statuses);
    assert_eq!(status.node_statuses[&nodes[0]].phase, NodePhase::Failed);
    let failed = condition(&status, "Failed");
    assert_eq!(
        (failed.status.as_str(), failed.reason.as_str()),
        ("True", "Stopped")
    );
    for part in [
        nodes[0].as_str(),
        "command exited with 1",
        "no space left",
        "3 nodes were not started",
    ] {
        assert!(
            failed.message.contains(part),
            "\"{part}\" is missing in: {}",
            failed.message
        );
    }
    assert_eq!(world.jobs_created(), 1);
    world.event("op", "NodeFailed", &nodes[0]).await;
    world.event("op", "OperationFailed", "not started").await;
}

#[tokio::test]
async fn without_stop_on_failure_the_others_run_all_the_same() {
    let world = World::new("go-on").await;
    world.nodes(3, &[]).await;
    world
        .node_op(
            "op",
            "command: [run]\nimage: fails\nbackoffLimit: 0\nconcurrency: 1",
        )
        .await;
    let status = world.ended("op").await;
    assert_eq!(status.phase, Some(Phase::Failed));
    assert_eq!(status.summary.unwrap().failed, 3);
}
