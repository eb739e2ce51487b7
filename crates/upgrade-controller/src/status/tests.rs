use api_types::nodeop::NodePhase;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::metrics::{NodeReason, NodeResult};
use crate::testing::{at, upgrade};

fn status(yaml: &str) -> NodeOpUpgradeStatus {
    serde_saphyr::from_str(yaml).unwrap()
}

/// A status with that phase, reason of Progressing, and message.
fn at_phase(phase: &str, reason: &str, message: &str) -> NodeOpUpgradeStatus {
    let complete = if phase == "Completed" {
        "True"
    } else {
        "False"
    };
    let failed = if phase == "Failed" { "True" } else { "False" };
    status(&format!(
        "
phase: {phase}
message: {message}
conditions:
  - {{type: Complete, status: '{complete}', reason: {reason}, message: {message}, lastTransitionTime: 2026-01-01T00:00:00Z}}
  - {{type: Failed, status: '{failed}', reason: {reason}, message: {message}, lastTransitionTime: 2026-01-01T00:00:00Z}}
  - {{type: Progressing, status: 'True', reason: {reason}, message: {message}, lastTransitionTime: 2026-01-01T00:00:00Z}}
"
    ))
}

#[test]
fn the_current_nodes_are_named_with_their_step_and_counted_when_they_are_many() {
    let entries =
        |yaml: &str| serde_saphyr::from_str::<BTreeMap<String, NodeStatus>>(yaml).unwrap();
    assert_eq!(current(&entries("{}")), None);
    let quiet = "
a: {phase: Completed}
b: {phase: Pending, step: WaitingForReady}
c: {phase: Running, step: NodeGone}
d: {phase: Pending}
";
    assert_eq!(current(&entries(quiet)), None);
    let one = format!("{quiet}e: {{phase: Running, step: Rebooting}}\n");
    assert_eq!(current(&entries(&one)).unwrap(), "e (Rebooting)");
    let many = (0..5).map(|n| format!("n{n}: {{phase: Preflight, step: Preflight}}"));
    let many = many.collect::<Vec<_>>().join(
        "
",
    );
    let expected = "n0 (Preflight), n1 (Preflight), n2 (Preflight), and 2 more";
    assert_eq!(current(&entries(&many)).unwrap(), expected);
}

#[test]
fn progress_waits_for_its_turn_and_a_turn_does_not() {
    let last_updated = Some(Time(at(0)));
    let before = NodeOpUpgradeStatus {
        last_updated,
        ..at_phase("Running", "Running", "one")
    };
    let progress = NodeOpUpgradeStatus {
        message: Some("two".to_owned()),
        ..before.clone()
    };
    let soon = at(0) + SignedDuration::from_millis(400);
    assert_eq!(
        write_decision(&before, &before.clone(), soon),
        Write::Nothing
    );
    assert_eq!(
        write_decision(&before, &progress, soon),
        Write::After(SignedDuration::from_millis(600))
    );
    assert_eq!(write_decision(&before, &progress, at(1)), Write::Now);
    assert_eq!(
        write_decision(&before, &progress, at(-5)),
        Write::Now,
        "the clock went back"
    );
    for turn in [
        at_phase("Completed", "Completed", "one"),
        at_phase("Failed", "NodeFailed", "one"),
        at_phase("Running", "Paused", "one"),
        NodeOpUpgradeStatus {
            observed_generation: Some(2),
            ..before.clone()
        },
        NodeOpUpgradeStatus {
            start_time: Some(Time(at(0))),
            ..before.clone()
        },
    ] {
        assert_eq!(write_decision(&before, &turn, soon), Write::Now, "{turn:?}");
    }
}

#[test]
fn the_status_of_thousands_of_nodes_is_written_more_rarely() {
    let entry = NodeStatus {
        phase: NodePhase::Running,
        message: Some("m".repeat(200)),
        ..NodeStatus::default()
    };
    let before = NodeOpUpgradeStatus {
        last_updated: Some(Time(at(0))),
        node_statuses: (0..3000)
            .map(|n| (format!("node-{n}"), entry.clone()))
            .collect(),
        ..at_phase("Running", "Running", "one")
    };
    let progress = NodeOpUpgradeStatus {
        message: Some("two".to_owned()),
        ..before.clone()
    };
    assert!(matches!(
        write_decision(&before, &progress, at(5)),
        Write::After(_)
    ));
    assert_eq!(write_decision(&before, &progress, at(20)), Write::Now);
}

#[test]
fn a_patch_of_one_nodes_progress_is_small_and_guarded() {
    let mut upgrade = upgrade("image: i");
    upgrade.status = Some(status(
        "nodeStatuses: {a: {phase: Running}, b: {phase: Running}}",
    ));
    let after = status("nodeStatuses: {a: {phase: Completed}, b: {phase: Running}}");
    assert_eq!(
        patch_body(&upgrade, &after).unwrap(),
        json!({
            "metadata": {"uid": "uid-1", "resourceVersion": "1"},
            "status": {"nodeStatuses": {"a": {"phase": "Completed"}}},
        })
    );
}

#[test]
fn each_result_of_a_node_has_its_event_and_its_reason() {
    for (before, after, event, result, reason) in [
        (
            "{phase: Running, step: Verifying}",
            "{phase: Completed}",
            "NodeUpgraded",
            NodeResult::Upgraded,
            NodeReason::Done,
        ),
        (
            "{phase: Preflight, step: Preflight}",
            "{phase: Completed, message: 'Skipped: already at v2'}",
            "NodeSkipped",
            NodeResult::Skipped,
            NodeReason::UpToDate,
        ),
        (
            "{phase: Preflight, step: Preflight}",
            "{phase: Completed, message: 'Skipped: not a Kairos node'}",
            "NodeSkipped",
            NodeResult::Skipped,
            NodeReason::NotKairos,
        ),
        (
            "{phase: Pending, step: WaitingForReady}",
            "{phase: Failed, message: x}",
            "NodeFailed",
            NodeResult::Failed,
            NodeReason::NotReady,
        ),
        (
            "{phase: Preflight, step: Preflight}",
            "{phase: Failed, message: ImagePullBackOff}",
            "NodeFailed",
            NodeResult::Failed,
            NodeReason::Preflight,
        ),
        (
            "{phase: Running, step: Draining}",
            "{phase: Failed, message: x}",
            "NodeFailed",
            NodeResult::Failed,
            NodeReason::Drain,
        ),
        (
            "{phase: Running, step: Running, rebootStatus: pending}",
            "{phase: Failed, message: x, rebootStatus: cancelled}",
            "NodeFailed",
            NodeResult::Failed,
            NodeReason::Upgrade,
        ),
        (
            "{phase: Running, step: Rebooting, rebootStatus: pending}",
            "{phase: Failed, message: x, rebootStatus: pending}",
            "NodeFailed",
            NodeResult::Failed,
            NodeReason::Reboot,
        ),
        (
            "{phase: Running, step: Verifying}",
            "{phase: Failed, message: 'verify: node booted passive: the upgrade fell back (at v1, expected v2)', rebootStatus: completed}",
            "NodeFailed",
            NodeResult::Failed,
            NodeReason::FellBack,
        ),
        (
            "{phase: Running, step: Verifying}",
            "{phase: Failed, message: 'still at v1, expected v2', rebootStatus: completed}",
            "NodeFailed",
            NodeResult::Failed,
            NodeReason::WrongVersion,
        ),
        (
            "{phase: Running, step: Verifying}",
            "{phase: Failed, message: x, rebootStatus: completed}",
            "NodeFailed",
            NodeResult::Failed,
            NodeReason::Verify,
        ),
        (
            "{phase: Running}",
            "{phase: Failed, message: x}",
            "NodeFailed",
            NodeResult::Failed,
            NodeReason::Other,
        ),
    ] {
        let of = |entry: &str| status(&format!("nodeStatuses: {{a: {entry}}}"));
        let found = reports(&of(before), &of(after), None);
        assert_eq!(found.len(), 1, "{after}");
        assert_eq!(
            (found[0].reason, found[0].result),
            (event, Some((result, reason))),
            "{before} {after}"
        );
        assert_eq!(found[0].warning, result == NodeResult::Failed);
        assert_eq!(reports(&of(after), &of(after), None), [], "it is told once");
    }
}

#[test]
fn each_turn_of_the_upgrade_has_its_event() {
    let nothing = NodeOpUpgradeStatus::default();
    let running = at_phase("Running", "Running", "m");
    for (before, after, event, warning) in [
        (
            &nothing,
            at_phase("Running", "Running", "m"),
            Some("UpgradeStarted"),
            false,
        ),
        (
            &running,
            at_phase("Completed", "Completed", "m"),
            Some("UpgradeCompleted"),
            false,
        ),
        (
            &running,
            at_phase("Failed", "NodeFailed", "m"),
            Some("UpgradeFailed"),
            true,
        ),
        (
            &nothing,
            at_phase("Failed", "NodeOpNameTaken", "m"),
            Some("UpgradeFailed"),
            true,
        ),
        (
            &nothing,
            at_phase("Initializing", "Initializing", "m"),
            None,
            false,
        ),
        (
            &nothing,
            at_phase("Initializing", "NodeOpControllerMissing", "m"),
            Some("NodeOpControllerMissing"),
            true,
        ),
        (
            &running,
            at_phase("Running", "Paused", "m"),
            Some("Paused"),
            false,
        ),
        (
            &running,
            at_phase("Running", "DrainBlocked", "m"),
            None,
            false,
        ),
        (
            &running,
            at_phase("Running", "Running", "other"),
            None,
            false,
        ),
    ] {
        let found = reports(before, &after, None);
        let told = found.first().map(|report| (report.reason, report.warning));
        assert_eq!(told, event.map(|event| (event, warning)), "{after:?}");
    }
}

#[test]
fn a_refused_edit_is_told_once_per_generation() {
    let before = at_phase("Running", "Running", "m");
    let words = "the change of image came after the upgrade had started";
    let after = NodeOpUpgradeStatus {
        message: Some(format!("{words}. m")),
        observed_generation: Some(3),
        ..before.clone()
    };
    let told = reports(&before, &after, Some(words));
    assert_eq!((told[0].reason, &*told[0].key), ("EditRefused", "3"));
    assert_eq!(reports(&after, &after, Some(words)), []);
}
