//! The way from a finished command to a proven reboot.

use super::*;
use api_types::nodeop::RebootStatus;

const OLD: &str = "0b8e6b3c-6f0a-4d53-9f0c-2f1f6d1f1c11";
const NEW: &str = "7c7e3a52-3c2b-4a0e-8c1b-5a4f0e6b9d22";

fn world(more: &str) -> World {
    let spec = format!("command: [run]\nrebootOnSuccess: true\ncordon: true\n{more}");
    let mut world = World::new(&spec, workers(&["a"]));
    world.boot("a", OLD);
    world
}

/// Up to the moment when the reboot is permitted.
fn permitted(more: &str) -> World {
    let mut world = world(more);
    world.settle();
    world.end_job_in_boot("a", OLD);
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::Rebooting));
    world
}

#[test]
fn the_reboot_pod_runs_before_the_job_is_created() {
    let mut world = world("");
    world.pass();
    world.pass();
    assert!(world.reboot_pod("a").is_some() && world.jobs.is_empty());
    assert_eq!(world.reboot_pod("a").unwrap().authorized(), None);
    assert_eq!(world.pass(), ["a"]);
}

#[test]
fn a_reboot_pod_that_never_starts_fails_the_node_and_gives_it_back_before_anything_ran() {
    let mut world = world("");
    world.pass();
    world.pass();
    let pod = world.reboot_pod_mut("a");
    pod.status = serde_json::from_value(
        serde_json::json!({"phase": "Pending", "containerStatuses": [
        {"name": "agent", "state": {"waiting": {"reason": "ErrImagePull", "message": "denied"}}}]}),
    )
    .unwrap();
    world.settle();
    assert!(world.message("a").contains("ErrImagePull: denied"));
    world.second += 700;
    world.settle();
    assert_eq!(world.entry("a").phase, NodePhase::Failed);
    assert!(world.message("a").contains("the command was not run"));
    assert!(world.jobs.is_empty() && world.pods.is_empty() && !world.is_cordoned("a"));
}

#[test]
fn the_boot_to_leave_is_in_the_status_before_the_pod_is_told() {
    let mut world = world("");
    world.settle();
    world.end_job_in_boot("a", OLD);
    world.second += 1;
    let plan = world.plan(&Rehearsal::Passed);
    assert_eq!(plan.write, Write::Now);
    let entry = &plan.status.node_statuses["a"];
    assert_eq!(entry.boot_id.as_deref(), Some(OLD));
    assert_eq!(entry.reboot_status, Some(RebootStatus::Pending));
    assert!(
        plan.acts
            .iter()
            .any(|act| matches!(act, Act::Authorize { boot, .. } if boot == OLD)),
        "{:?}",
        plan.acts
    );
}

#[test]
fn nothing_is_permitted_before_the_job_is_complete() {
    let mut world = world("");
    world.settle();
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::Running));
    assert_eq!(world.reboot_pod("a").unwrap().authorized(), None);
}

#[test]
fn without_the_agents_word_the_nodes_own_boot_id_counts_read_live() {
    let mut world = world("");
    world.settle();
    world.end_job("a", "Complete");
    world.pass();
    assert_eq!(
        world.step("a"),
        Some(NodeStep::Running),
        "{:?}",
        world.entry("a")
    );
    world.boots.insert("a".to_owned(), OLD.to_owned());
    world.pass();
    assert_eq!(world.entry("a").boot_id.as_deref(), Some(OLD));
}

#[test]
fn a_cache_that_shows_an_earlier_boot_than_the_command_ended_in_proves_nothing() {
    let mut world = world("");
    world.settle();
    // The node was rebooted before the command ran, and the cache has not heard of it.
    world.end_job_in_boot("a", NEW);
    world.second += 1;
    let plan = world.plan(&Rehearsal::Passed);
    let entry = &plan.status.node_statuses["a"];
    assert_eq!(entry.boot_id.as_deref(), Some(NEW));
    assert_eq!(entry.reboot_status, Some(RebootStatus::Pending));
    assert_eq!(entry.step, Some(NodeStep::Rebooting));
    assert_eq!(plan.wake_after, Some(SignedDuration::ZERO));
}

#[test]
fn a_reboot_is_proven_by_another_boot_and_ready_together_whatever_became_of_the_pod() {
    let mut world = permitted("");
    world.reboot_pod_mut("a").status.phase = "Failed".to_owned();
    world.settle();
    assert_eq!(world.entry("a").phase, NodePhase::Running);
    let back = world.node("a").clone();
    *world.node_mut("a") = not_ready(back.clone());
    world.boot("a", NEW);
    world.pass();
    assert_eq!(world.step("a"), Some(NodeStep::Rebooting), "not Ready yet");
    *world.node_mut("a") = back;
    world.boot("a", NEW);
    world.pass();
    assert_eq!(world.entry("a").phase, NodePhase::Completed);
    assert_eq!(
        world.entry("a").reboot_status,
        Some(RebootStatus::Completed)
    );
    assert!(!world.is_cordoned("a") && world.reboot_pod("a").is_none());
}

#[test]
fn a_reboot_pod_that_is_lost_is_made_again_with_its_permission() {
    let mut world = permitted("");
    world.pods.retain(|pod| !pod.name().ends_with("-reboot"));
    world.pass();
    assert_eq!(world.reboot_pod("a").unwrap().authorized(), Some(OLD));
}

#[test]
fn a_node_that_is_in_another_boot_already_is_never_permitted_to_leave_it() {
    let mut world = permitted("");
    world.pods.retain(|pod| !pod.name().ends_with("-reboot"));
    *world.node_mut("a") = not_ready(world.node("a").clone());
    world.boot("a", NEW);
    world.settle();
    assert!(world.reboot_pod("a").is_none(), "{:?}", world.log);
}

#[test]
fn a_reboot_that_never_returns_fails_with_the_reason_and_keeps_the_cordon_in_any_case() {
    let mut world = permitted("rebootTimeoutSeconds: 600\nuncordonOnFailure: true");
    *world.node_mut("a") = not_ready(world.node("a").clone());
    world.second += 601;
    world.pass();
    assert_eq!(world.entry("a").phase, NodePhase::Failed);
    let message = world.message("a").to_owned();
    assert!(
        message.contains("600 s") && message.contains("kubelet stopped"),
        "{message}"
    );
    assert!(world.is_cordoned("a") && !world.is_claimed("a"));
    assert!(world.reboot_pod("a").is_none());
}

#[test]
fn a_failed_command_cancels_the_reboot() {
    let mut world = world("");
    world.settle();
    world.end_job("a", "Failed");
    world.pass();
    assert_eq!(
        world.entry("a").reboot_status,
        Some(RebootStatus::Cancelled)
    );
    assert!(world.reboot_pod("a").is_none());
    assert!(world.log.iter().all(|line| !line.contains("Authorize")));
}

#[test]
fn a_paused_operation_permits_no_reboot_until_it_goes_on() {
    let mut world = world("");
    world.settle();
    world.op.spec.paused = true;
    world.end_job_in_boot("a", OLD);
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::AwaitingReboot));
    assert_eq!(world.reboot_pod("a").unwrap().authorized(), None);
    // The Job may be collected meanwhile: its success is recorded.
    world.jobs.clear();
    world.second += 90_000;
    world.settle();
    world.op.spec.paused = false;
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::Rebooting));
    assert_eq!(world.reboot_pod("a").unwrap().authorized(), Some(OLD));
    world.boot("a", NEW);
    world.settle();
    assert_eq!(world.entry("a").phase, NodePhase::Completed);
}

#[test]
fn a_reboot_waits_for_the_job_of_another_operation() {
    let mut world = world("");
    world.settle();
    world
        .busy
        .insert("a".to_owned(), "shop/other-job".to_owned());
    world.end_job_in_boot("a", OLD);
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::AwaitingReboot));
    assert!(world.message("a").contains("shop/other-job"));
    world.busy.clear();
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::Rebooting));
}

#[test]
fn a_node_that_another_operation_has_claimed_meanwhile_is_not_rebooted_under_it() {
    let mut world = world("");
    world.settle();
    // The Node object was made anew, and another operation was faster.
    let other = "operator.kairos.io/claimed-by".to_owned();
    world.node_mut("a").metadata.annotations = Some([(other, "shop/other@uid-2".into())].into());
    world.claims.insert("a".to_owned(), "shop/other".to_owned());
    world.end_job_in_boot("a", OLD);
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::AwaitingReboot));
    assert!(world.message("a").contains("shop/other"));
    assert_eq!(world.reboot_pod("a").unwrap().authorized(), None);
    world.claims.clear();
    world.node_mut("a").metadata.annotations = None;
    world.settle();
    assert!(world.is_claimed("a") && world.is_cordoned("a"));
    assert_eq!(world.reboot_pod("a").unwrap().authorized(), Some(OLD));
}

#[test]
fn a_claim_lost_before_the_permission_is_given_is_taken_back_first() {
    let mut world = world("");
    world.settle();
    world.end_job_in_boot("a", OLD);
    // The status is written, and the controller dies before it gives the permission.
    world.second += 2;
    let plan = world.plan(&Rehearsal::Passed);
    world.op.status = Some(plan.status);
    assert_eq!(world.step("a"), Some(NodeStep::Rebooting));
    world.node_mut("a").metadata.annotations = None;
    world.claims.insert("a".to_owned(), "shop/other".to_owned());
    world.settle();
    assert_eq!(world.reboot_pod("a").unwrap().authorized(), None);
    world.claims.clear();
    world.settle();
    assert_eq!(world.reboot_pod("a").unwrap().authorized(), Some(OLD));
}

#[test]
fn verify_runs_after_the_proof_and_under_the_cordon() {
    let mut world = permitted("verify: {command: [check]}");
    world.boot("a", NEW);
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::Verifying));
    assert!(world.is_cordoned("a") && world.reboot_pod("a").is_none());
    world.end_check(
        "a",
        Check::Verify,
        "Failed",
        "node booted passive: the upgrade fell back",
    );
    world.settle();
    assert_eq!(world.entry("a").phase, NodePhase::Failed);
    assert!(world.message("a").contains("the upgrade fell back"));
    assert!(world.is_cordoned("a"));
}

#[test]
fn a_node_whose_object_goes_and_comes_back_while_it_reboots_is_proven_and_not_rebooted_again() {
    let mut world = permitted("");
    let mut node = world.nodes.remove(0);
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::NodeGone));
    node.status.node_info.boot_id = NEW.to_owned();
    node.metadata.annotations = None;
    node.spec.unschedulable = false;
    world.nodes.push(node);
    world.settle();
    assert_eq!(world.entry("a").phase, NodePhase::Completed);
    assert_eq!(
        world.entry("a").reboot_status,
        Some(RebootStatus::Completed)
    );
}

#[test]
fn a_pod_that_ended_without_a_word_does_not_tell_the_boot() {
    let mut world = world("");
    world.settle();
    world.end_job_in_boot("a", "");
    let pods: Vec<_> = world.pods.iter().cloned().map(Arc::new).collect();
    let name = job_name(&world.op, "a");
    assert_eq!(super::super::told_boot(pods.iter(), &name), None);
    world
        .pods
        .last_mut()
        .unwrap()
        .status
        .container_statuses
        .clear();
    let pods: Vec<_> = world.pods.iter().cloned().map(Arc::new).collect();
    assert_eq!(super::super::told_boot(pods.iter(), &name), None);
    world.end_job_in_boot("a", OLD);
    world
        .pods
        .retain(|pod| !pod.status.container_statuses.is_empty());
    let pods: Vec<_> = world.pods.iter().cloned().map(Arc::new).collect();
    assert_eq!(
        super::super::told_boot(pods.iter(), &name).as_deref(),
        Some(OLD)
    );
}

#[test]
fn a_control_plane_node_does_not_reboot_while_another_one_is_down() {
    const CONTROL_PLANE: (&str, &str) = ("node-role.kubernetes.io/control-plane", "");
    let nodes = vec![
        node("a", &[CONTROL_PLANE]),
        node("z", &[CONTROL_PLANE, ("skip", "")]),
    ];
    let spec = "command: [run]\nrebootOnSuccess: true\n\
                nodeSelector: {matchExpressions: [{key: skip, operator: DoesNotExist}]}";
    let mut world = World::new(spec, nodes);
    world.boot("a", OLD);
    world.settle();
    *world.node_mut("z") = not_ready(node("z", &[CONTROL_PLANE, ("skip", "")]));
    world.end_job_in_boot("a", OLD);
    world.settle();
    assert_eq!(world.step("a"), Some(NodeStep::AwaitingReboot));
    assert!(world.message("a").contains("control-plane node z"));
    assert_eq!(world.reboot_pod("a").unwrap().authorized(), None);
    *world.node_mut("z") = node("z", &[CONTROL_PLANE, ("skip", "")]);
    world.settle();
    assert_eq!(world.reboot_pod("a").unwrap().authorized(), Some(OLD));
}

#[test]
fn a_node_that_is_drained_asks_for_its_reboot_pod_once() {
    let mut world = world("drainOptions: {enabled: true}");
    for _ in 0..6 {
        let plan = world.plan(&Rehearsal::Passed);
        let asked = plan.acts.iter();
        let asked = asked.filter(|act| matches!(act, Act::CreateRebootPod { .. }));
        assert!(asked.count() <= 1, "{:?}", plan.acts);
        world.pass();
    }
    assert!(world.reboot_pod("a").is_some());
}
