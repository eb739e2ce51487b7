//! The state machine by examples; `properties.rs` walks it at random.

use api_types::nodeop::{NodeOpStatus, Phase};

use super::*;
use crate::build::names::job_name;
use crate::status::condition;
use crate::testing::{at, by_name, job, node, node_op, not_ready};

mod adopted;
mod nodes;
mod properties;

const CONTROL_PLANE: (&str, &str) = ("node-role.kubernetes.io/control-plane", "");

/// A cluster in memory that carries out what a pass plans.
pub(super) struct World {
    pub(super) op: NodeOp,
    pub(super) nodes: Vec<WatchedNode>,
    pub(super) jobs: Vec<WatchedJob>,
    pub(super) second: i64,
    own_node: Option<&'static str>,
}

impl World {
    fn new(spec: &str, nodes: Vec<WatchedNode>) -> Self {
        Self {
            op: node_op(spec),
            nodes,
            jobs: Vec::new(),
            second: 0,
            own_node: None,
        }
    }

    pub(super) fn plan(&self, rehearsal: &Rehearsal) -> Plan {
        let nodes = by_name(self.nodes.clone(), WatchedNode::name);
        let jobs = by_name(self.jobs.clone(), WatchedJob::name);
        let causes = BTreeMap::new();
        let snapshot = Snapshot {
            node_op: &self.op,
            nodes: &nodes,
            jobs: &jobs,
            causes: &causes,
            own_node: self.own_node,
        };
        decide(&snapshot, rehearsal, at(self.second))
    }

    /// One pass: the status is written, the Jobs are created. Returns the nodes whose Job was created.
    pub(super) fn pass(&mut self) -> Vec<String> {
        self.second += 2;
        let plan = self.plan(&Rehearsal::Passed);
        if plan.write != Write::Nothing {
            self.op.status = Some(NodeOpStatus {
                last_updated: Some(time(self.second)),
                ..plan.status
            });
        }
        plan.start
            .into_iter()
            .filter(|name| self.create_job(name))
            .collect()
    }

    pub(super) fn create_job(&mut self, node: &str) -> bool {
        let name = job_name(&self.op, node);
        let new = self.jobs.iter().all(|job| job.name() != name);
        if new {
            self.jobs.push(job(&name, None));
        }
        new
    }

    fn end_job(&mut self, node: &str, how: &str) {
        let name = job_name(&self.op, node);
        self.jobs.retain(|job| job.name() != name);
        self.jobs.push(job(&name, Some(how)));
    }

    fn status(&self) -> &NodeOpStatus {
        self.op.status.as_ref().unwrap()
    }

    fn entry(&self, node: &str) -> &NodeStatus {
        &self.status().node_statuses[node]
    }

    fn progressing(&self) -> (&str, &str, &str) {
        let found = condition(self.status(), "Progressing").unwrap();
        (&found.status, &found.reason, &found.message)
    }
}

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
    assert!(plan.start.is_empty());
}

#[test]
fn a_refused_pod_is_a_condition_and_touches_no_node() {
    let world = World::new("command: [run]", workers(&["a"]));
    let plan = world.plan(&Rehearsal::Refused("violates PodSecurity".to_owned()));
    assert!(plan.start.is_empty() && plan.status.node_statuses.is_empty());
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
    assert_eq!(plan.start, ["b"]);
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
    let nodes = by_name(world.nodes.clone(), WatchedNode::name);
    let jobs = by_name(world.jobs.clone(), WatchedJob::name);
    let causes = [(
        job_name(&world.op, "a"),
        "command exited with 3: no space".to_owned(),
    )]
    .into();
    let snapshot = Snapshot {
        node_op: &world.op,
        nodes: &nodes,
        jobs: &jobs,
        causes: &causes,
        own_node: None,
    };
    let plan = decide(&snapshot, &Rehearsal::Passed, at(9));
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
fn what_is_not_supported_starts_nothing_and_is_named() {
    let mut world = World::new("command: [run]\nrebootOnSuccess: true", workers(&["a"]));
    assert_eq!(world.pass(), [""; 0]);
    assert_eq!(world.status().phase, Some(Phase::Pending));
    let (_, reason, message) = world.progressing();
    assert_eq!(reason, reasons::UNSUPPORTED);
    assert!(message.contains("spec.rebootOnSuccess"), "{message}");
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
