//! The state machine by examples; `properties.rs` walks it at random.

use api_types::nodeop::{NodeOpStatus, Phase};

use super::*;
use crate::build::names::job_name;
use crate::status::condition;
use crate::testing::{at, by_name, job, node, node_op, not_ready};

mod adopted;
mod claims;
mod deletion;
mod disturbing;
mod drains;
mod nodes;
mod properties;
mod reboots;
mod steps;
mod waits;
mod world;

use world::World;

const CONTROL_PLANE: (&str, &str) = ("node-role.kubernetes.io/control-plane", "");

fn time(second: i64) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(second))
}

fn workers(names: &[&str]) -> Vec<WatchedNode> {
    names.iter().map(|name| node(name, &[])).collect()
}

#[test]
fn nothing_is_reserved_before_the_pod_was_rehearsed() {
    let world = World::new("command: [run]", workers(&["a", "b"]));
    let plan = world.plan(&Rehearsal::NotYet);
    assert_eq!(plan.rehearse.as_deref(), Some("a"));
    assert_eq!(plan.write, Write::Nothing);
    assert!(plan.acts.is_empty());
}

#[test]
fn a_refused_pod_is_a_condition_and_touches_no_node() {
    let world = World::new("command: [run]", workers(&["a"]));
    let plan = world.plan(&Rehearsal::Refused("violates PodSecurity".to_owned()));
    assert!(plan.acts.is_empty() && plan.status.node_statuses.is_empty());
    assert_eq!(plan.status.start_time, None);
    let found = condition(&plan.status, "Progressing").unwrap();
    assert_eq!(
        (found.reason.as_str(), found.message.as_str()),
        (reasons::POD_REFUSED, "violates PodSecurity")
    );
}

#[test]
fn by_default_all_nodes_start_at_once_and_the_operation_completes() {
    let mut world = World::new("command: [run]", workers(&["a", "b", "c"]));
    assert_eq!(world.pass(), ["a", "b", "c"]);
    assert_eq!(world.pass(), [""; 0]);
    assert_eq!(world.entry("a").phase, NodePhase::Running);
    for name in ["a", "b", "c"] {
        world.end_job(name, "Complete");
    }
    world.pass();
    assert_eq!(world.status().phase, Some(Phase::Completed));
    assert_eq!(world.status().summary.as_ref().unwrap().done, "3/3");
    assert!(world.status().completion_time.is_some());
    assert_eq!(
        condition(world.status(), "Complete").unwrap().status,
        "True"
    );
    assert_eq!(condition(world.status(), "Failed").unwrap().status, "False");
}

#[test]
fn concurrency_one_runs_one_after_the_other_in_the_order_of_names() {
    let mut world = World::new("command: [run]\nconcurrency: 1", workers(&["b", "a", "c"]));
    let mut order = Vec::new();
    for _ in 0..12 {
        let started = world.pass();
        assert!(started.len() <= 1);
        let active = world
            .status()
            .node_statuses
            .values()
            .filter(|entry| holds_slot(entry))
            .count();
        assert!(active <= 1);
        for name in started {
            world.end_job(&name, "Complete");
            order.push(name);
        }
    }
    assert_eq!(order, ["a", "b", "c"]);
    assert_eq!(world.status().phase, Some(Phase::Completed));
}

#[test]
fn a_result_and_the_next_reservation_share_one_write() {
    let mut world = World::new("command: [run]\nconcurrency: 1", workers(&["a", "b"]));
    world.pass();
    world.end_job("a", "Complete");
    let plan = world.plan(&Rehearsal::Passed);
    assert_eq!(plan.write, Write::Now);
    assert_eq!(plan.status.node_statuses["a"].phase, NodePhase::Completed);
    assert_eq!(
        plan.status.node_statuses["b"].step,
        Some(NodeStep::Reserved)
    );
    assert_eq!(plan.starts().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_percentage_is_of_the_matching_nodes_rounded_down_but_at_least_one() {
    let names: Vec<String> = (0..9).map(|index| format!("n{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (percentage, expected) in [("25%", 2), ("1%", 1), ("100%", 9)] {
        let mut world = World::new(
            &format!("command: [run]\nconcurrency: '{percentage}'"),
            workers(&names),
        );
        assert_eq!(world.pass().len(), expected, "{percentage}");
    }
}

#[test]
fn no_worker_starts_before_the_last_control_plane_node_has_ended() {
    let nodes = vec![
        node("a-worker", &[]),
        node("z-1", &[CONTROL_PLANE]),
        node("z-2", &[CONTROL_PLANE]),
    ];
    let mut world = World::new("command: [run]", nodes);
    assert_eq!(world.pass(), ["z-1", "z-2"]);
    world.end_job("z-1", "Complete");
    assert_eq!(world.pass(), [""; 0]);
    world.end_job("z-2", "Failed");
    assert_eq!(world.pass(), ["a-worker"]);
}

#[test]
fn the_controllers_own_node_is_the_last_of_its_group() {
    let mut world = World::new("command: [run]\nconcurrency: 1", workers(&["a", "b"]));
    world.own_node = Some("a");
    assert_eq!(world.pass(), ["b"]);
}

#[test]
fn stop_on_failure_leaves_the_rest_untouched_and_says_which_node_and_why() {
    let mut world = World::new(
        "command: [run]\nconcurrency: 1\nstopOnFailure: true",
        workers(&["a", "b", "c"]),
    );
    world.pass();
    world.end_job("a", "Failed");
    assert_eq!(world.pass(), [""; 0]);
    assert_eq!(world.status().phase, Some(Phase::Failed));
    assert!(!world.status().node_statuses.contains_key("b"));
    let failed = condition(world.status(), "Failed").unwrap();
    assert_eq!(failed.reason, reasons::STOPPED);
    assert!(
        failed
            .message
            .contains("a: Job failed: BackoffLimitExceeded"),
        "{}",
        failed.message
    );
    assert!(
        failed.message.contains("2 nodes were not started"),
        "{}",
        failed.message
    );
}

#[test]
fn stop_on_failure_lets_running_nodes_finish_first() {
    let mut world = World::new(
        "command: [run]\nconcurrency: 2\nstopOnFailure: true",
        workers(&["a", "b", "c"]),
    );
    world.pass();
    world.end_job("a", "Failed");
    world.pass();
    assert_eq!(world.status().phase, Some(Phase::Running));
    world.end_job("b", "Complete");
    world.pass();
    assert_eq!(world.status().phase, Some(Phase::Failed));
    assert_eq!(world.entry("b").phase, NodePhase::Completed);
}

#[test]
fn without_stop_on_failure_all_nodes_run_and_the_operation_is_failed() {
    let mut world = World::new("command: [run]\nconcurrency: 1", workers(&["a", "b"]));
    world.pass();
    world.end_job("a", "Failed");
    assert_eq!(world.pass(), ["b"]);
    world.end_job("b", "Complete");
    world.pass();
    assert_eq!(world.status().phase, Some(Phase::Failed));
    assert_eq!(
        condition(world.status(), "Failed").unwrap().reason,
        reasons::NODE_FAILED
    );
}

#[test]
fn the_cause_that_the_pod_tells_reaches_the_nodes_message() {
    let mut world = World::new("command: [run]", workers(&["a"]));
    world.pass();
    world.end_job("a", "Failed");
    world.causes.insert(
        job_name(&world.op, "a"),
        "command exited with 3: no space".to_owned(),
    );
    let plan = world.plan(&Rehearsal::Passed);
    assert_eq!(
        plan.status.node_statuses["a"].message.as_deref(),
        Some("command exited with 3: no space (Job failed: BackoffLimitExceeded)")
    );
}

#[test]
fn a_selector_without_matches_waits_and_says_so() {
    let mut world = World::new(
        "command: [run]\nnodeSelector: {matchLabels: {kairos.io/managed: 'true'}}",
        workers(&["a"]),
    );
    world.pass();
    assert_eq!(world.status().phase, Some(Phase::Pending));
    assert_eq!(world.progressing().1, reasons::NO_MATCHING_NODES);
    world
        .nodes
        .push(node("b", &[("kairos.io/managed", "true")]));
    assert_eq!(world.pass(), ["b"]);
}

#[test]
fn paused_starts_nothing_new_and_finishes_what_runs() {
    let mut world = World::new("command: [run]\nconcurrency: 1", workers(&["a", "b"]));
    world.pass();
    world.op.spec.paused = true;
    world.end_job("a", "Complete");
    assert_eq!(world.pass(), [""; 0]);
    assert_eq!(world.entry("a").phase, NodePhase::Completed);
    assert_eq!(world.progressing().1, reasons::PAUSED);
    world.op.spec.paused = false;
    assert_eq!(world.pass(), ["b"]);
}

#[test]
fn a_reboot_without_an_agent_starts_nothing_and_says_what_is_missing() {
    let mut world = World::new("command: [run]\nrebootOnSuccess: true", workers(&["a"]));
    world.can_reboot = false;
    assert_eq!(world.pass(), [""; 0]);
    assert_eq!(world.status().phase, Some(Phase::Pending));
    let (_, reason, message) = world.progressing();
    assert_eq!(reason, reasons::UNSUPPORTED);
    assert!(message.contains("--agent-image"), "{message}");
}

#[test]
fn lowering_concurrency_starts_no_more_than_the_new_limit() {
    let mut world = World::new(
        "command: [run]\nconcurrency: 3",
        workers(&["a", "b", "c", "d"]),
    );
    world.pass();
    world.op.spec.concurrency = serde_json::from_value(serde_json::json!(1)).unwrap();
    world.end_job("a", "Complete");
    assert_eq!(world.pass(), [""; 0]);
    world.end_job("b", "Complete");
    world.end_job("c", "Complete");
    assert_eq!(world.pass(), ["d"]);
}

#[test]
fn an_ended_operation_is_never_touched_again() {
    let mut world = World::new("command: [run]", workers(&["a"]));
    world.pass();
    world.end_job("a", "Complete");
    world.pass();
    let ended = world.op.status.clone();
    world.jobs.clear();
    world.nodes.push(node("b", &[]));
    world.op.metadata.generation = Some(7);
    assert_eq!(world.pass(), [""; 0]);
    assert_eq!(world.op.status, ended);
}
