//! What a node's message says while its command cannot run.

use super::*;
use crate::status::reports;
use crate::watched::WatchedPod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// A Job whose Pod is in that state.
fn waiting(state: &serde_json::Value) -> World {
    let mut world = World::new("command: [run]", workers(&["a"]));
    world.settle();
    let name = job_name(&world.op, "a");
    let mut pod = WatchedPod::default();
    pod.metadata.name = Some(format!("{name}-abcde"));
    pod.metadata.owner_references = Some(vec![OwnerReference {
        kind: "Job".to_owned(),
        name,
        controller: Some(true),
        ..OwnerReference::default()
    }]);
    pod.status = serde_json::from_value(serde_json::json!({"phase": "Pending",
        "containerStatuses": [{"name": "nodeop", "state": state}]}))
    .unwrap();
    world.pods.push(pod);
    world
}

#[test]
fn a_container_that_was_created_and_never_starts_is_told_of_after_a_minute_and_once_by_an_event() {
    let mut world = waiting(&serde_json::json!({"waiting": {}}));
    world.pass();
    assert!(
        world.message("a").contains("has not started yet"),
        "{}",
        world.message("a")
    );
    let plan = world.plan(&Rehearsal::Passed);
    let wake = plan.wake_after.unwrap();
    assert!(wake <= SignedDuration::from_secs(60), "{wake:?}");
    let told = |world: &mut World| {
        let before = world.status_or_default();
        world.pass();
        let reports = reports(&before, world.status());
        reports
            .into_iter()
            .filter(|report| report.reason == "PodStalled")
            .count()
    };
    assert_eq!(told(&mut world), 0);
    world.second += 60;
    assert_eq!(told(&mut world), 1);
    let message = world.message("a").to_owned();
    for words in ["-abcde", "gives no reason", "delete that Pod"] {
        assert!(message.contains(words), "{message}");
    }
    world.second += 600;
    assert_eq!(told(&mut world), 0);
    assert_eq!(world.message("a"), message);
    assert_eq!(
        world.step("a"),
        Some(NodeStep::Running),
        "nothing is done to it"
    );
}

#[test]
fn a_container_that_starts_after_all_leaves_no_words() {
    let mut world = waiting(&serde_json::json!({"waiting": {}}));
    world.pass();
    world.pods[0].status = serde_json::from_value(serde_json::json!({"phase": "Running",
        "containerStatuses": [{"name": "nodeop", "state": {"running": {}}}]}))
    .unwrap();
    world.second += 600;
    world.pass();
    assert_eq!(world.message("a"), "");
}

#[test]
fn a_node_that_is_down_while_its_command_should_run_is_named() {
    let mut world = waiting(&serde_json::json!({"running": {}}));
    *world.node_mut("a") = not_ready(world.node("a").clone());
    world.pass();
    let message = world.message("a").to_owned();
    assert!(message.contains("the node is not Ready"), "{message}");
    assert!(message.contains("kubelet stopped"), "{message}");
    *world.node_mut("a") = node("a", &[]);
    world.pass();
    assert_eq!(world.message("a"), "");
}

#[test]
fn whatever_keeps_the_pod_from_starting_is_in_the_message_while_it_waits() {
    for (reason, words) in [
        ("ImagePullBackOff", "Back-off pulling image"),
        ("ErrImagePull", "no basic auth credentials"),
        ("CreateContainerError", "no space left on device"),
        ("CreateContainerConfigError", "secret not found"),
    ] {
        let state = serde_json::json!({"waiting": {"reason": reason, "message": words}});
        let mut world = waiting(&state);
        world.pass();
        let message = world.message("a");
        assert_eq!(message, format!("the Pod cannot start: {reason}: {words}"));
    }
}

#[test]
fn a_pod_that_a_full_node_refuses_is_told_of_between_the_tries() {
    let mut world = waiting(&serde_json::json!({}));
    world.pods[0].status =
        serde_json::from_value(serde_json::json!({"phase": "Failed", "reason": "Evicted",
        "message": "The node had condition: [DiskPressure]."}))
        .unwrap();
    world.pass();
    assert_eq!(
        world.message("a"),
        "a Pod of the Job failed: Evicted: The node had condition: [DiskPressure]."
    );
}
