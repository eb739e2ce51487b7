//! The steps before and after the command: preflight, claim, drain, verify.

use super::*;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

fn message_of(world: &World, node: &str) -> String {
    world.message(node).to_owned()
}

#[test]
fn a_preflight_runs_before_anything_and_its_silence_means_go() {
    let mut world = World::new(
        "command: [run]\npreflight: {command: [check]}",
        workers(&["a"]),
    );
    assert_eq!(world.pass(), [""; 0]);
    world.pass();
    assert_eq!(world.entry("a").phase, NodePhase::Preflight);
    assert!(world.jobs.is_empty() && world.check_exists("a", Check::Preflight));
    world.end_check("a", Check::Preflight, "Succeeded", "\n");
    assert_eq!(world.pass(), ["a"]);
    assert!(
        !world.check_exists("a", Check::Preflight),
        "it is not needed any more"
    );
    world.pass();
    world.end_job("a", "Complete");
    world.pass();
    assert_eq!(world.status().phase, Some(Phase::Completed));
}

#[test]
fn a_preflight_that_gives_a_reason_skips_the_node_without_cordon_claim_or_job() {
    let mut world = World::new(
        "command: [run]\ncordon: true\nrebootOnSuccess: true\npreflight: {command: [check]}",
        workers(&["a"]),
    );
    world.pass();
    world.pass();
    world.end_check("a", Check::Preflight, "Succeeded", "already at v2");
    world.pass();
    assert_eq!(world.entry("a").phase, NodePhase::Completed);
    assert_eq!(world.message("a"), "Skipped: already at v2");
    assert_eq!(world.status().summary.as_ref().unwrap().skipped, 1);
    assert!(!world.is_claimed("a") && !world.is_cordoned("a"));
    assert!(world.jobs.is_empty() && world.pods.is_empty());
    assert!(
        !world.log.iter().any(|line| line.contains("Claim")),
        "{:?}",
        world.log
    );
}

#[test]
fn a_preflight_that_fails_fails_the_node_with_its_words_and_keeps_its_pod() {
    let mut world = World::new(
        "command: [run]\ncordon: true\npreflight: {command: [check]}",
        workers(&["a"]),
    );
    world.pass();
    world.pass();
    world.end_check("a", Check::Preflight, "Failed", "no space");
    world.pass();
    assert_eq!(world.entry("a").phase, NodePhase::Failed);
    assert_eq!(world.message("a"), "preflight exited with 1: no space");
    assert!(
        world.check_exists("a", Check::Preflight),
        "its log may be read"
    );
}

#[test]
fn a_preflight_that_says_nothing_in_time_fails_the_node_and_tells_what_kept_it() {
    let mut world = World::new(
        "command: [run]\npreflight: {command: [check], activeDeadlineSeconds: 60}",
        workers(&["a"]),
    );
    world.pass();
    world.pass();
    let pod = world.pods.first_mut().unwrap();
    pod.status = serde_json::from_value(serde_json::json!({"phase": "Pending", "containerStatuses": [
        {"name": "nodeop", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]}))
    .unwrap();
    world.pass();
    assert_eq!(
        world.message("a"),
        "preflight cannot start: ImagePullBackOff: no such image"
    );
    world.second += 100;
    world.pass();
    assert_eq!(world.entry("a").phase, NodePhase::Failed);
    let message = message_of(&world, "a");
    assert!(
        message.contains("within 60 s") && message.contains("ImagePullBackOff"),
        "{message}"
    );
}

#[test]
fn a_node_that_is_given_back_at_the_second_try_keeps_the_reason_of_its_failure() {
    let mut world = World::new(
        "command: [run]\npreflight: {command: [check]}\ncordon: true",
        workers(&["a"]),
    );
    world.pass();
    world.pass();
    let waits = serde_json::json!({"phase": "Pending", "containerStatuses": [
        {"name": "nodeop", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}]});
    world.pods.first_mut().unwrap().status = serde_json::from_value(waits).unwrap();
    world.pass();
    let ended =
        serde_json::json!({"phase": "Failed", "reason": "DeadlineExceeded", "message": "too long"});
    world.pods.first_mut().unwrap().status = serde_json::from_value(ended).unwrap();
    // Somebody else has written the Node meanwhile.
    world.unreleased.insert("a".to_owned(), String::new());
    world.pass();
    world.unreleased.clear();
    world.pass();
    assert!(
        world.message("a").contains("no such image"),
        "{}",
        world.message("a")
    );
}

#[test]
fn a_preflight_that_the_kubelet_ends_by_its_deadline_tells_what_kept_it_too() {
    let mut world = World::new(
        "command: [run]\npreflight: {command: [check]}",
        workers(&["a"]),
    );
    world.pass();
    world.pass();
    let waits = serde_json::json!({"phase": "Pending", "containerStatuses": [
        {"name": "nodeop", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}]});
    let ended =
        serde_json::json!({"phase": "Failed", "reason": "DeadlineExceeded", "message": "too long"});
    for status in [waits, ended] {
        world.pods.first_mut().unwrap().status = serde_json::from_value(status).unwrap();
        world.pass();
    }
    assert_eq!(
        world.message("a"),
        "preflight DeadlineExceeded: too long: preflight cannot start: ErrImagePull: no such image"
    );
}

#[test]
fn a_node_is_cordoned_before_its_job_and_given_back_after_it() {
    let mut world = World::new("command: [run]\ncordon: true", workers(&["a"]));
    assert_eq!(world.pass(), [""; 0], "the claim comes first");
    assert!(world.is_claimed("a") && world.is_cordoned("a"));
    assert!(is_held(&world.op), "the finalizer precedes any side effect");
    assert_eq!(world.pass(), ["a"]);
    world.pass();
    world.end_job("a", "Complete");
    world.pass();
    assert!(!world.is_claimed("a") && !world.is_cordoned("a"));
    assert_eq!(world.status().phase, Some(Phase::Completed));
}

#[test]
fn the_finalizer_is_asked_for_before_the_first_reservation_of_an_operation_that_disturbs() {
    let world = World::new("command: [run]\ncordon: true", workers(&["a"]));
    let plan = world.plan(&Rehearsal::Passed);
    assert!(plan.hold && plan.acts.is_empty() && plan.write == Write::Nothing);
    let simple = World::new("command: [run]", workers(&["a"]));
    assert!(!simple.plan(&Rehearsal::Passed).hold);
}

#[test]
fn a_failed_node_keeps_its_cordon_but_not_its_claim_unless_uncordon_on_failure() {
    for uncordon in [false, true] {
        let spec = format!("command: [run]\ncordon: true\nuncordonOnFailure: {uncordon}");
        let mut world = World::new(&spec, workers(&["a"]));
        world.settle();
        world.end_job("a", "Failed");
        world.pass();
        assert_eq!(world.entry("a").phase, NodePhase::Failed);
        assert!(!world.is_claimed("a"));
        assert_eq!(world.is_cordoned("a"), !uncordon);
    }
}

#[test]
fn a_humans_cordon_is_operated_under_and_left() {
    let mut world = World::new("command: [run]\ncordon: true", workers(&["a"]));
    world.node_mut("a").spec.unschedulable = true;
    world.settle();
    world.end_job("a", "Complete");
    world.settle();
    assert_eq!(world.status().phase, Some(Phase::Completed));
    assert!(world.is_cordoned("a") && !world.is_claimed("a"));
}

#[test]
fn a_cordon_that_somebody_removes_is_set_again_while_it_is_needed() {
    let mut world = World::new("command: [run]\ncordon: true", workers(&["a"]));
    world.settle();
    assert_eq!(world.entry("a").phase, NodePhase::Running);
    world.node_mut("a").spec.unschedulable = false;
    world.pass();
    assert!(world.is_cordoned("a"));
}

#[test]
fn verify_decides_after_the_command_and_its_words_are_kept() {
    let mut world = World::new(
        "command: [run]\nverify: {command: [check]}",
        workers(&["a"]),
    );
    world.settle();
    world.end_job("a", "Complete");
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::Verifying));
    world.end_check("a", Check::Verify, "Succeeded", "boot state unknown");
    world.settle();
    assert_eq!(world.entry("a").phase, NodePhase::Completed);
    assert_eq!(world.message("a"), "boot state unknown");

    let mut world = World::new(
        "command: [run]\nverify: {command: [check]}",
        workers(&["a"]),
    );
    world.settle();
    world.end_job("a", "Complete");
    world.settle();
    world.end_check("a", Check::Verify, "Failed", "still at v1");
    world.settle();
    assert_eq!(world.entry("a").phase, NodePhase::Failed);
    assert_eq!(world.message("a"), "verify exited with 1: still at v1");
}

#[test]
fn a_result_waits_until_the_node_is_given_back() {
    let mut world = World::new("command: [run]\ncordon: true", workers(&["a"]));
    world.settle();
    world.end_job("a", "Complete");
    world
        .unreleased
        .insert("a".to_owned(), "giving the node back: no answer".to_owned());
    let plan = world.plan(&Rehearsal::Passed);
    let entry = &plan.status.node_statuses["a"];
    assert_eq!(entry.phase, NodePhase::Running);
    assert_eq!(
        entry.message.as_deref(),
        Some("giving the node back: no answer")
    );
    world.unreleased.clear();
    world.pass();
    assert_eq!(world.entry("a").phase, NodePhase::Completed);
}

#[test]
fn what_can_never_be_created_fails_the_node_and_gives_it_back() {
    let mut world = World::new("command: [run]\ncordon: true", workers(&["a"]));
    world.settle();
    world.jobs.clear();
    world
        .problems
        .insert("a".to_owned(), "Job refused: too long".to_owned());
    world.pass();
    assert_eq!(world.message("a"), "Job refused: too long");
    assert!(!world.is_cordoned("a") && !world.is_claimed("a"));
}

#[test]
fn a_cordon_that_somebody_removes_is_set_again_while_the_node_is_verified() {
    let spec = "command: [run]\ncordon: true\nverify: {command: [check]}";
    let mut world = World::new(spec, workers(&["a"]));
    world.settle();
    world.end_job("a", "Complete");
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::Verifying));
    world.node_mut("a").spec.unschedulable = false;
    world.pass();
    assert!(world.is_cordoned("a"));
    world.end_check("a", Check::Verify, "Succeeded", "");
    world.settle();
    assert!(!world.is_cordoned("a") && !world.is_claimed("a"));
}

#[test]
fn a_job_that_ends_by_its_deadline_tells_what_kept_its_pod_from_starting() {
    let mut world = World::new("command: [run]\nactiveDeadlineSeconds: 5", workers(&["a"]));
    world.settle();
    let name = job_name(&world.op, "a");
    let mut pod = crate::watched::WatchedPod::default();
    pod.metadata.name = Some(format!("{name}-abcde"));
    pod.metadata.owner_references = Some(vec![OwnerReference {
        kind: "Job".to_owned(),
        name,
        controller: Some(true),
        ..OwnerReference::default()
    }]);
    pod.status = serde_json::from_value(serde_json::json!({"phase": "Pending", "containerStatuses": [
        {"name": "nodeop", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "denied"}}}]}))
    .unwrap();
    world.pods.push(pod);
    world.settle();
    assert!(world.message("a").contains("ImagePullBackOff"));
    // The Job's controller takes the Pod away first, and says later that the Job has failed.
    let pod = world.pods.last_mut().unwrap();
    pod.metadata.deletion_timestamp = Some(time(world.second));
    pod.status = serde_json::from_value(serde_json::json!({"phase": "Failed"})).unwrap();
    world.settle();
    world.pods.clear();
    world.settle();
    world.end_job("a", "Failed");
    world.settle();
    assert!(
        world.message("a").starts_with("Job failed")
            && world.message("a").contains("ImagePullBackOff: denied"),
        "{}",
        world.message("a")
    );
}

#[test]
fn nothing_is_taken_away_before_the_status_that_is_done_with_it_is_written() {
    let spec =
        "command: [run]\ncordon: true\npreflight: {command: [look]}\nverify: {command: [check]}";
    let mut world = World::new(spec, workers(&["a"]));
    world.settle();
    let just_written = |world: &mut World| {
        let now = time(world.second);
        world.op.status.as_mut().unwrap().last_updated = Some(now);
        world.plan(&Rehearsal::Passed)
    };
    let takes_away = |plan: &Plan| {
        !plan.releases.is_empty() || plan.acts.iter().any(|act| matches!(act, Act::DeletePod(_)))
    };
    world.end_check("a", Check::Preflight, "Succeeded", "");
    world.pass();
    let plan = just_written(&mut world);
    assert!(matches!(plan.write, Write::After(_)), "{:?}", plan.write);
    assert!(!takes_away(&plan), "{plan:?}");
    world.settle();
    world.end_job("a", "Complete");
    world.settle();
    world.end_check("a", Check::Verify, "Succeeded", "");
    // Another node is still at work, so that this result does not end the operation.
    world.nodes.push(node("b", &[]));
    world.settle();
    assert_eq!(world.entry("a").phase, NodePhase::Completed);
    assert!(!world.is_claimed("a") && !world.check_exists("a", Check::Verify));
    let made = world
        .log
        .iter()
        .filter(|line| line.contains("CreateCheck(\"a\", Verify)"));
    assert_eq!(made.count(), 1);
}
