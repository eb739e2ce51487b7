//! Other operations on the same nodes, and the control plane's one place.

use super::*;
use crate::claim::Holder;
use crate::control_plane::Place;

fn control_plane(names: &[&str]) -> Vec<WatchedNode> {
    names
        .iter()
        .map(|name| node(name, &[CONTROL_PLANE]))
        .collect()
}

#[test]
fn a_node_that_a_living_operation_claims_is_passed_over_and_named() {
    let mut world = World::new(
        "command: [run]\ncordon: true\nconcurrency: 1",
        workers(&["a", "b"]),
    );
    world.claims.insert("a".to_owned(), "shop/other".to_owned());
    world.settle();
    assert!(
        !world.status().node_statuses.contains_key("a"),
        "it takes no slot"
    );
    assert!(world.is_claimed("b"));
    world.end_job("b", "Complete");
    world.settle();
    let (_, reason, message) = world.progressing();
    assert_eq!(reason, reasons::NODES_CLAIMED);
    assert!(message.contains("shop/other"), "{message}");
    world.claims.clear();
    world.settle();
    assert!(world.is_claimed("a"));
}

#[test]
fn a_claim_that_comes_between_preflight_and_claim_sends_the_node_back_and_the_preflight_runs_again()
{
    let mut world = World::new(
        "command: [run]\ncordon: true\npreflight: {command: [check]}",
        workers(&["a"]),
    );
    world.pass();
    world.pass();
    world.end_check("a", Check::Preflight, "Succeeded", "");
    world.claims.insert("a".to_owned(), "shop/other".to_owned());
    world.pass();
    assert_eq!(world.step("a"), Some(NodeStep::Reserved));
    assert!(world.message("a").contains("shop/other"));
    assert!(!world.check_exists("a", Check::Preflight));
    world.claims.clear();
    world.settle();
    assert!(world.check_exists("a", Check::Preflight), "it looks again");
    assert!(!world.is_claimed("a"));
}

#[test]
fn a_paused_operation_takes_no_node_that_it_has_only_waited_for() {
    for preflight in ["", "\npreflight: {command: [check]}"] {
        let spec = format!("command: [run]\ncordon: true{preflight}");
        let mut world = World::new(&spec, workers(&["a"]));
        // It is reserved; before it is claimed, another operation takes the node.
        world.pass();
        if !preflight.is_empty() {
            world.end_check("a", Check::Preflight, "Succeeded", "");
        }
        world.node_mut("a").metadata.annotations = None;
        world.node_mut("a").spec.unschedulable = false;
        world.claims.insert("a".to_owned(), "shop/other".to_owned());
        world.settle();
        assert_eq!(world.step("a"), Some(NodeStep::Reserved));
        let old = world.check_exists("a", Check::Preflight);
        assert!(!old, "what it saw may be out of date after the wait");
        world.op.spec.paused = true;
        world.claims.clear();
        world.settle();
        assert!(!world.is_claimed("a") && !world.is_cordoned("a"));
        assert!(world.jobs.is_empty() && !world.check_exists("a", Check::Preflight));
        assert!(world.message("a").contains("spec.paused"));
        world.op.spec.paused = false;
        world.settle();
        let goes_on = world.is_claimed("a") || world.check_exists("a", Check::Preflight);
        assert!(goes_on, "{:?}", world.entry("a"));
    }
}

#[test]
fn a_pause_during_the_preflight_is_kept_before_anything_is_touched() {
    let spec = "command: [run]\ncordon: true\npreflight: {command: [check]}";
    let mut world = World::new(spec, workers(&["a"]));
    world.settle();
    world.op.spec.paused = true;
    world.end_check("a", Check::Preflight, "Succeeded", "");
    world.settle();
    assert!(!world.is_claimed("a"));
    world.op.spec.paused = false;
    world.settle();
    assert!(world.check_exists("a", Check::Preflight), "it looks again");
    world.end_check("a", Check::Preflight, "Succeeded", "");
    world.settle();
    assert!(world.is_claimed("a"));
}

#[test]
fn a_node_with_an_active_job_of_another_operation_is_not_disturbed_but_plain_commands_are_not_held_up()
 {
    let mut world = World::new("command: [run]\nrebootOnSuccess: true", workers(&["a"]));
    world
        .busy
        .insert("a".to_owned(), "shop/other-job".to_owned());
    world.settle();
    assert!(!world.is_claimed("a"));
    assert!(world.progressing().2.contains("shop/other-job"));
    let mut plain = World::new("command: [run]", workers(&["a"]));
    plain
        .busy
        .insert("a".to_owned(), "shop/other-job".to_owned());
    plain.claims.insert("a".to_owned(), "shop/other".to_owned());
    assert_eq!(plain.pass(), ["a"]);
}

#[test]
fn a_dead_claim_is_taken_over_with_its_cordon() {
    let mut world = World::new("command: [run]\ncordon: true", workers(&["a"]));
    let node = world.node_mut("a");
    node.spec.unschedulable = true;
    node.metadata.annotations = Some(
        [(
            "operator.kairos.io/cordoned-by".to_owned(),
            "shop/failed@uid-0".to_owned(),
        )]
        .into(),
    );
    world.settle();
    world.end_job("a", "Complete");
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Completed));
    assert!(
        !world.is_cordoned("a"),
        "a corrected operation follows a failed one"
    );
}

#[test]
fn control_plane_nodes_are_disturbed_one_at_a_time_whatever_concurrency_says() {
    let mut world = World::new(
        "command: [run]\ncordon: true",
        control_plane(&["a", "b", "c"]),
    );
    for (name, left) in [("a", 2), ("b", 1), ("c", 0)] {
        world.settle();
        assert!(world.is_claimed(name));
        assert_eq!(world.standing, Standing::Ours(name.to_owned()));
        let claimed = ["a", "b", "c"]
            .iter()
            .filter(|name| world.is_claimed(name))
            .count();
        assert_eq!(claimed, 1);
        world.end_job(name, "Complete");
        world.pass();
        assert_eq!(world.status().summary.as_ref().unwrap().completed, 3 - left);
    }
    world.settle();
    assert_eq!(world.standing, Standing::Free);
    assert_eq!(world.status().phase, Some(Phase::Completed));
}

#[test]
fn allow_control_plane_parallel_disturbs_them_together_and_plain_commands_never_wait() {
    let mut world = World::new(
        "command: [run]\ncordon: true\nallowControlPlaneParallel: true",
        control_plane(&["a", "b"]),
    );
    world.settle();
    assert!(world.is_claimed("a") && world.is_claimed("b"));
    let mut plain = World::new("command: [run]", control_plane(&["a", "b"]));
    assert_eq!(plain.pass(), ["a", "b"]);
}

#[test]
fn no_control_plane_node_is_started_while_another_one_is_not_ready() {
    let mut nodes = control_plane(&["a"]);
    nodes.push(not_ready(node("z", &[CONTROL_PLANE, ("skip", "")])));
    let spec = "command: [run]\ncordon: true\nnodeSelector: {matchExpressions: [{key: skip, operator: DoesNotExist}]}";
    let mut world = World::new(spec, nodes);
    world.settle();
    let (_, reason, message) = world.progressing();
    assert_eq!(reason, reasons::CONTROL_PLANE_BUSY);
    assert!(message.contains("control-plane node z"), "{message}");
    assert!(!world.is_claimed("a"));
    *world.node_mut("z") = node("z", &[CONTROL_PLANE, ("skip", "")]);
    world.settle();
    assert!(world.is_claimed("a"));
}

#[test]
fn the_place_of_a_living_operation_is_waited_for() {
    let mut world = World::new(
        "command: [run]\nrebootOnSuccess: true",
        control_plane(&["a"]),
    );
    world.standing = Standing::Held(crate::control_plane::Place {
        holder: crate::claim::Holder::parse("shop/other@uid-2").unwrap(),
        node: "b".to_owned(),
    });
    world.settle();
    assert_eq!(world.progressing().1, reasons::CONTROL_PLANE_BUSY);
    assert!(world.progressing().2.contains("shop/other"));
    world.standing = Standing::Free;
    world.settle();
    assert!(world.is_claimed("a"));
}

#[test]
fn stop_on_failure_takes_back_a_reservation_that_only_waits() {
    let mut world = World::new(
        "command: [run]\ncordon: true\nstopOnFailure: true\nconcurrency: 2",
        workers(&["a", "b"]),
    );
    world.pass();
    // Before b's claim is seen, another operation has taken the node, and a fails.
    world.node_mut("b").metadata.annotations = None;
    world.node_mut("b").spec.unschedulable = false;
    world.claims.insert("b".to_owned(), "shop/other".to_owned());
    world.pass();
    assert_eq!(world.step("b"), Some(NodeStep::Reserved));
    world.settle();
    world.end_job("a", "Failed");
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Failed));
    assert!(!world.status().node_statuses.contains_key("b"));
}

#[test]
fn a_control_plane_node_that_was_given_back_is_not_claimed_again_beside_the_next_one() {
    let mut world = World::new(
        "command: [run]\ncordon: true\nverify: {command: [check]}",
        control_plane(&["a"]),
    );
    world.settle();
    world.end_job("a", "Complete");
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::Verifying));
    // Another leader gave the node and the place back, and its write of the result was refused.
    let annotations = &mut world.node_mut("a").metadata.annotations;
    *annotations = None;
    world.node_mut("a").spec.unschedulable = false;
    let other = Holder::parse("shop/other@uid-2").unwrap();
    let place = Place {
        holder: other,
        node: "b".to_owned(),
    };
    world.standing = Standing::Held(place);
    world.pass();
    assert!(!world.is_claimed("a"));
    // The place is free again: first the place, then the claim.
    world.standing = Standing::Free;
    world.pass();
    assert!(!world.is_claimed("a"));
    world.pass();
    assert!(world.is_claimed("a"));
}

const REBOOTING_CONTROL_PLANE: &str = "command: [run]\nrebootOnSuccess: true\ncordon: true\nrebootTimeoutSeconds: 600\nconcurrency: 0";

#[test]
fn a_control_plane_node_that_goes_for_good_holds_the_next_one_up_no_longer_than_a_reboot_may_take()
{
    let nodes = vec![node("c1", &[CONTROL_PLANE]), node("c2", &[CONTROL_PLANE])];
    let mut world = World::new(REBOOTING_CONTROL_PLANE, nodes);
    world.settle();
    assert_eq!(world.step("c1"), Some(NodeStep::Running));
    world.nodes.remove(0);
    world.settle();
    // It may be rebooting.
    assert!(!world.is_claimed("c2"));
    let (_, reason, message) = world.progressing();
    assert_eq!(reason, "ControlPlaneBusy");
    assert!(message.contains("c1"), "{message}");
    world.second += 600;
    world.settle();
    assert_eq!(world.step("c2"), Some(NodeStep::Running));
    assert_eq!(world.standing, Standing::Ours("c2".to_owned()));
}

#[test]
fn a_control_plane_node_that_goes_before_its_command_frees_the_place_at_once() {
    for preflight in ["", "\npreflight: {command: [check]}"] {
        let nodes = vec![node("c1", &[CONTROL_PLANE]), node("c2", &[CONTROL_PLANE])];
        let mut world = World::new(&format!("{REBOOTING_CONTROL_PLANE}{preflight}"), nodes);
        while world.standing == Standing::Free {
            world.pass();
        }
        assert!(world.jobs.is_empty());
        world.nodes.remove(0);
        world.settle();
        assert_eq!(
            world.standing,
            Standing::Ours("c2".to_owned()),
            "{preflight}"
        );
    }
}
