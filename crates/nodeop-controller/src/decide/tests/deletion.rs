//! A NodeOp that is deleted while it works.

use super::*;

const OLD: &str = "0b8e6b3c-6f0a-4d53-9f0c-2f1f6d1f1c11";

fn working(spec: &str) -> World {
    let mut world = World::new(spec, workers(&["a"]));
    world.boot("a", OLD);
    world.settle();
    world
}

#[test]
fn cordons_and_claims_are_undone_and_the_object_may_go() {
    let world = working("command: [run]\ncordon: true");
    let deletion = world.deletion();
    assert_eq!(deletion.patches.len(), 1);
    assert_eq!(
        deletion.patches[0].1["spec"]["unschedulable"],
        serde_json::Value::Null
    );
    assert_eq!(deletion.wait, None);
}

#[test]
fn a_reboot_pod_is_deleted_and_waited_for_before_the_node_is_given_back() {
    let mut world = working("command: [run]\ncordon: true\nrebootOnSuccess: true");
    let deletion = world.deletion();
    assert_eq!(deletion.pods.len(), 1);
    assert!(deletion.patches.is_empty() && deletion.wait.is_some());
    world.pods.clear();
    let deletion = world.deletion();
    assert_eq!((deletion.patches.len(), deletion.wait), (1, None));
}

#[test]
fn a_reboot_under_way_is_followed_until_the_node_is_ready_or_its_time_is_over() {
    let mut world =
        working("command: [run]\ncordon: true\nrebootOnSuccess: true\nrebootTimeoutSeconds: 600");
    world.end_job_in_boot("a", OLD);
    world.settle();
    *world.node_mut("a") = not_ready(world.node("a").clone());
    assert!(world.deletion().wait.is_some());
    world.second += 700;
    let deletion = world.deletion();
    assert_eq!(deletion.wait, None);
    assert_eq!(deletion.let_go.len(), 1, "{deletion:?}");
}

#[test]
fn a_dead_node_does_not_hold_the_deletion_up_and_is_told_of() {
    let mut world = working("command: [run]\ncordon: true\nrebootOnSuccess: true");
    *world.node_mut("a") = not_ready(world.node("a").clone());
    let deletion = world.deletion();
    assert_eq!(deletion.wait, None);
    assert_eq!((deletion.let_go.len(), deletion.patches.len()), (1, 1));
}

#[test]
fn cordons_of_others_are_left() {
    let mut world = working("command: [run]\ncordon: true");
    let node = world.node_mut("a");
    node.metadata.annotations = Some(
        [(
            "operator.kairos.io/cordoned-by".to_owned(),
            "shop/other@uid-9".to_owned(),
        )]
        .into(),
    );
    assert!(world.deletion().patches.is_empty());
}

/// Deleted when the reboot was permitted and the node still seems to be up.
fn permitted() -> World {
    let mut world =
        working("command: [run]\ncordon: true\nrebootOnSuccess: true\nrebootTimeoutSeconds: 600");
    world.end_job_in_boot("a", OLD);
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::Rebooting));
    world
}

#[test]
fn a_pod_that_may_have_asked_for_the_reboot_is_followed_as_long_as_it_stays_within_the_timeout() {
    let mut world = permitted();
    let deletion = world.deletion();
    assert_eq!((deletion.pods.len(), deletion.permitted_pods.len()), (0, 1));
    // Its grace period lies before it: only the host going down ends it, or an agent that was not asked to wait.
    world.reboot_pod_mut("a").metadata.deletion_timestamp = Some(time(world.second + 330));
    for _ in 0..5 {
        world.second += 100;
        let deletion = world.deletion();
        assert!(deletion.wait.is_some() && deletion.patches.is_empty());
        assert!(deletion.permitted_pods.is_empty(), "asked for once");
    }
    world.second += 100;
    let deletion = world.deletion();
    assert_eq!((deletion.wait, deletion.patches.len()), (None, 1));
    assert_eq!(deletion.let_go.len(), 1, "{deletion:?}");
}

#[test]
fn a_node_that_is_back_from_its_reboot_is_given_back_when_its_pod_is_gone() {
    let mut world = permitted();
    world.boot("a", "7c7e3a52-3c2b-4a0e-8c1b-5a4f0e6b9d22");
    assert!(world.deletion().wait.is_some());
    world.pods.clear();
    let deletion = world.deletion();
    assert_eq!((deletion.wait, deletion.patches.len()), (None, 1));
    assert!(deletion.let_go.is_empty());
}

#[test]
fn a_pod_without_permission_that_does_not_end_holds_the_deletion_up_for_a_minute_at_most() {
    let mut world = working("command: [run]\ncordon: true\nrebootOnSuccess: true");
    world.reboot_pod_mut("a").metadata.deletion_timestamp = Some(time(world.second + 5));
    assert!(world.deletion().wait.is_some());
    world.second += 66;
    let deletion = world.deletion();
    assert_eq!((deletion.wait, deletion.patches.len()), (None, 1));
    assert_eq!(deletion.let_go.len(), 1, "{deletion:?}");
}
