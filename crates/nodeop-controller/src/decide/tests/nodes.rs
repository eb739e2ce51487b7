//! Nodes and Jobs that come, go and change under a running operation.

use super::*;

#[test]
fn a_node_that_goes_leaves_the_plan_and_one_that_comes_back_goes_on() {
    let mut world = World::new("command: [run]\nconcurrency: 1", workers(&["a", "b"]));
    world.pass();
    world.pass();
    let gone = world.nodes.remove(0);
    assert_eq!(world.pass(), ["b"], "the slot is free");
    assert_eq!(world.entry("a").step, Some(NodeStep::NodeGone));
    world.nodes.push(gone);
    world.pass();
    assert_eq!(
        (world.entry("a").phase, world.entry("a").step),
        (NodePhase::Running, Some(NodeStep::Running))
    );
    world.end_job("a", "Complete");
    world.end_job("b", "Complete");
    world.pass();
    assert_eq!(world.status().summary.as_ref().unwrap().done, "2/2");
}

#[test]
fn a_node_that_stays_away_does_not_hold_the_operation_up() {
    let mut world = World::new("command: [run]", workers(&["a", "b"]));
    world.pass();
    world.pass();
    world.nodes.remove(0);
    world.end_job("b", "Complete");
    world.pass();
    assert_eq!(world.status().phase, Some(Phase::Completed));
    assert!(!world.status().node_statuses.contains_key("a"));
}

#[test]
fn another_machine_under_the_same_name_is_not_operated_on_again() {
    let mut world = World::new("command: [run]", workers(&["a"]));
    world.pass();
    world.pass();
    world.nodes[0].status.node_info.system_uuid = "another".to_owned();
    assert_eq!(world.pass(), [""; 0]);
    assert!(
        world
            .entry("a")
            .message
            .as_ref()
            .unwrap()
            .contains("another machine"),
        "{:?}",
        world.entry("a")
    );
}

#[test]
fn a_node_that_is_not_ready_holds_no_slot_comes_last_and_is_named() {
    let nodes = vec![not_ready(node("a", &[])), node("b", &[])];
    let mut world = World::new("command: [run]\nconcurrency: 1", nodes);
    assert_eq!(world.pass(), ["b"]);
    assert_eq!(
        world.entry("a").message.as_deref(),
        Some("node is not Ready: kubelet stopped")
    );
    world.end_job("b", "Complete");
    world.pass();
    let (status, reason, message) = world.progressing();
    assert_eq!((status, reason), ("False", reasons::NODES_NOT_READY));
    assert_eq!(message, "waiting for a to become Ready");
    world.nodes[0] = node("a", &[]);
    assert_eq!(world.pass(), ["a"]);
}

#[test]
fn a_node_that_never_becomes_ready_fails_by_its_timeout_which_a_restart_does_not_reset() {
    let mut world = World::new(
        "command: [run]\nnodeReadyTimeoutSeconds: 60",
        vec![not_ready(node("a", &[]))],
    );
    world.pass();
    assert_eq!(
        world.plan(&Rehearsal::Passed).wake_after,
        Some(SignedDuration::from_secs(60))
    );
    world.second += 57;
    world.pass();
    assert_eq!(world.entry("a").step, Some(NodeStep::WaitingForReady));
    world.pass();
    assert_eq!(world.entry("a").phase, NodePhase::Failed);
    assert!(
        world
            .entry("a")
            .message
            .as_ref()
            .unwrap()
            .contains("nodeReadyTimeoutSeconds")
    );
}

#[test]
fn nodes_that_join_are_taken_up_until_the_end_but_not_after() {
    let mut world = World::new("command: [run]", workers(&["a"]));
    world.pass();
    world.nodes.push(node("b", &[]));
    assert_eq!(world.pass(), ["b"]);
    world.end_job("a", "Complete");
    world.end_job("b", "Complete");
    world.pass();
    world.nodes.push(node("c", &[]));
    assert_eq!(world.pass(), [""; 0]);
    assert_eq!(world.status().summary.as_ref().unwrap().total, 2);
}

#[test]
fn a_job_that_vanished_after_it_was_seen_is_failed_and_never_made_again() {
    let mut world = World::new("command: [run]", workers(&["a"]));
    world.pass();
    world.pass();
    world.jobs.clear();
    assert_eq!(world.pass(), [""; 0]);
    assert_eq!(
        world.entry("a").message.as_deref(),
        Some("Job was deleted before its result was seen")
    );
    assert_eq!(world.status().phase, Some(Phase::Failed));
}

#[test]
fn a_reserved_node_whose_job_was_never_made_gets_it_after_a_crash() {
    let mut world = World::new("command: [run]", workers(&["a"]));
    world.pass();
    world.jobs.clear();
    assert_eq!(world.pass(), ["a"]);
}

#[test]
fn a_job_removed_after_its_result_changes_nothing() {
    let mut world = World::new("command: [run]\nconcurrency: 1", workers(&["a", "b"]));
    world.pass();
    world.end_job("a", "Complete");
    world.pass();
    world
        .jobs
        .retain(|job| job.outcome() == crate::watched::JobOutcome::Active);
    world.pass();
    assert_eq!(world.entry("a").phase, NodePhase::Completed);
}

#[test]
fn a_node_op_that_is_being_deleted_starts_nothing() {
    let mut world = World::new("command: [run]\nconcurrency: 1", workers(&["a", "b"]));
    world.op.metadata.deletion_timestamp = Some(time(0));
    assert_eq!(world.plan(&Rehearsal::NotYet).rehearse, None);
    assert_eq!(world.pass(), [""; 0]);
    assert_eq!(world.op.status, None);
}

#[test]
fn another_machine_under_the_name_keeps_its_entry_open_until_it_is_given_back() {
    let mut world = World::new("command: [run]\ncordon: true", workers(&["a"]));
    world.settle();
    world.nodes[0].status.node_info.system_uuid = "another".to_owned();
    world
        .unreleased
        .insert("a".to_owned(), "giving the node back".to_owned());
    let plan = world.plan(&Rehearsal::Passed);
    assert_eq!(plan.status.node_statuses["a"].phase, NodePhase::Running);
    world.unreleased.clear();
    world.pass();
    assert_eq!(world.entry("a").phase, NodePhase::Failed);
    assert!(!world.is_cordoned("a") && !world.is_claimed("a"));
}

#[test]
fn a_job_deleted_while_its_node_is_gone_is_not_made_again_when_the_node_comes_back() {
    let mut world = World::new("command: [run]\ncordon: true", workers(&["a"]));
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::Running));
    let mut node = world.nodes.remove(0);
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::NodeGone));
    world.jobs.clear();
    node.metadata.annotations = None;
    node.spec.unschedulable = false;
    world.nodes.push(node);
    world.settle();
    assert!(world.jobs.is_empty(), "{:?}", world.log);
    assert_eq!(
        world.message("a"),
        "Job was deleted before its result was seen"
    );
}

#[test]
fn a_node_that_goes_before_its_command_and_comes_back_is_taken_up_again() {
    for spec in [
        "command: [run]\npreflight: {command: [check]}",
        "command: [run]\ncordon: true\nrebootOnSuccess: true\ndrainOptions: {enabled: true}",
    ] {
        let mut world = World::new(spec, workers(&["a", "b"]));
        world.drain_state = DrainState::Waiting {
            message: "waiting for 1 Pod".to_owned(),
            blocked: 0,
            remaining: 1,
        };
        world.settle();
        let mut node = world.nodes.remove(0);
        world.settle();
        world.pods.clear();
        node.metadata.annotations = None;
        node.spec.unschedulable = false;
        world.nodes.push(node);
        world.drain_state = DrainState::Drained;
        world.settle();
        if world.check_exists("a", Check::Preflight) {
            world.end_check("a", Check::Preflight, "Succeeded", "");
            world.settle();
        }
        assert_eq!(world.step("a"), Some(NodeStep::Running), "{spec}");
        let log = world.log.iter().filter(|line| *line == "job a");
        assert_eq!(log.count(), 1, "{spec}");
    }
}

#[test]
fn a_node_that_goes_before_its_command_and_comes_back_waits_for_a_slot() {
    let mut world = World::new(
        "command: [run]\nconcurrency: 1\npreflight: {command: [look]}",
        workers(&["a", "b"]),
    );
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::Preflight));
    let gone = world.nodes.remove(0);
    world.settle();
    assert_eq!(world.step("b"), Some(NodeStep::Preflight));
    world.nodes.insert(0, gone);
    world.settle();
    let statuses = &world.op.status.as_ref().unwrap().node_statuses;
    let at_work = statuses.values().filter(|entry| holds_slot(entry));
    assert_eq!(at_work.count(), 1, "{statuses:#?}");
    world.end_check("b", Check::Preflight, "Succeeded", "nothing to do");
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::Preflight));
}

#[test]
fn a_job_deleted_before_it_was_noted_as_running_is_not_made_again_where_a_pod_of_it_is_left() {
    for spec in ["command: [run]", "command: [run]\ncordon: true"] {
        let mut world = World::new(spec, workers(&["a"]));
        while world.jobs.is_empty() {
            world.pass();
        }
        // The controller dies before it notes the Job, and somebody deletes it.
        world.jobs.clear();
        let mut entry = world.entry("a").clone();
        assert!(matches!(
            entry.step,
            Some(NodeStep::Reserved | NodeStep::Starting)
        ));
        world.vanished.extend(entry.job_name.take());
        world.settle();
        assert!(world.jobs.is_empty(), "{spec}");
        assert_eq!(
            world.message("a"),
            "Job was deleted before its result was seen"
        );
    }
}
