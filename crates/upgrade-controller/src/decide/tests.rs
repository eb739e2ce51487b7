use api_types::conditions::types;
use api_types::nodeopupgrade::UpgradePhase;

use super::*;
use crate::status::condition;
use crate::testing::{at, made_for, node_op_status, upgrade};

mod edits;

const RUNNING: &str = "
phase: Running
startTime: 2026-01-01T00:00:00Z
message: 1 of 2 nodes completed, 1 running, 0 failed
summary: {total: 2, running: 1, completed: 1, done: 1/2}
conditions:
  - {type: Complete, status: 'False', reason: Running, message: m, lastTransitionTime: 2026-01-01T00:00:00Z}
  - {type: Failed, status: 'False', reason: Running, message: m, lastTransitionTime: 2026-01-01T00:00:00Z}
  - {type: Progressing, status: 'True', reason: Running, message: m, lastTransitionTime: 2026-01-01T00:00:00Z}
nodeStatuses:
  a: {phase: Completed, rebootStatus: completed}
  b: {phase: Running, step: Draining, message: waiting for 1 Pod}
";

fn look<'a>(upgrade: &'a NodeOpUpgrade, node_op: Option<&'a NodeOp>) -> Snapshot<'a> {
    Snapshot {
        upgrade,
        node_op,
        node_op_was_seen: false,
        settings: BuildSettings::default(),
    }
}

fn plan(upgrade: &NodeOpUpgrade, node_op: Option<&NodeOp>) -> Plan {
    decide(&look(upgrade, node_op), &Answer::NotAsked, at(10))
}

/// The upgrade with the status that a plan decided on.
fn with_status(mut upgrade: NodeOpUpgrade, status: NodeOpUpgradeStatus) -> NodeOpUpgrade {
    upgrade.status = Some(status);
    upgrade
}

fn progressing(status: &NodeOpUpgradeStatus) -> (&str, &str) {
    let found = condition(&status.conditions, types::PROGRESSING).unwrap();
    (&found.status, &found.reason)
}

#[test]
fn a_new_upgrade_gets_its_node_op() {
    let upgrade = upgrade("image: i");
    match plan(&upgrade, None).action {
        Some(Action::Create(made)) => {
            assert_eq!(*made, node_op(&upgrade, BuildSettings::default()));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_is_initializing_until_the_node_op_reports() {
    let upgrade = upgrade("image: i");
    let made = made_for(&upgrade, "{}");
    let plan = plan(&upgrade, Some(&made));
    assert_eq!(plan.action, None);
    assert_eq!(plan.write, Write::Now);
    assert_eq!(plan.status.phase, Some(UpgradePhase::Initializing));
    assert_eq!(plan.status.node_op_name.as_deref(), Some("to-v2"));
    assert_eq!(plan.status.observed_generation, Some(1));
    assert_eq!(progressing(&plan.status), ("True", reasons::INITIALIZING));
    assert_eq!(plan.wake_after, Some(SignedDuration::from_secs(50)));
}

#[test]
fn a_node_op_that_nobody_takes_up_for_a_minute_names_what_is_missing() {
    let upgrade = upgrade("image: i");
    let made = made_for(&upgrade, "{}");
    let before = decide(&look(&upgrade, Some(&made)), &Answer::NotAsked, at(59));
    assert_eq!(progressing(&before.status).1, reasons::INITIALIZING);
    let upgrade = with_status(upgrade, before.status);
    let after = decide(&look(&upgrade, Some(&made)), &Answer::NotAsked, at(60));
    assert_eq!(
        progressing(&after.status),
        ("False", reasons::NODE_OP_CONTROLLER_MISSING)
    );
    assert_eq!(after.status.phase, Some(UpgradePhase::Initializing));
    assert_eq!(after.write, Write::Now);
    let message = after.status.message.as_deref().unwrap();
    assert!(message.contains("no nodeop-controller"), "{message}");
    // It is installed: the first report takes its place.
    let upgrade = with_status(upgrade, after.status);
    let made = made_for(&upgrade, RUNNING);
    assert_eq!(
        progressing(&plan(&upgrade, Some(&made)).status),
        ("True", reasons::RUNNING)
    );
}

#[test]
fn what_the_node_op_reports_is_shown() {
    let upgrade = upgrade("image: i");
    let made = made_for(&upgrade, RUNNING);
    let reported = made.status.clone().unwrap();
    let status = plan(&upgrade, Some(&made)).status;
    assert_eq!(status.phase, Some(UpgradePhase::Running));
    assert_eq!(status.node_statuses, reported.node_statuses);
    assert_eq!(status.summary, reported.summary);
    assert_eq!(status.message, reported.message);
    assert_eq!(status.start_time, reported.start_time);
    assert_eq!(status.conditions.len(), 3);
    assert_eq!(status.current.as_deref(), Some("b (Draining)"));
}

#[test]
fn a_creation_that_the_api_server_refuses_is_told() {
    let upgrade = upgrade("image: i");
    let answer = Answer::Refused("quota".to_owned());
    let plan = decide(&look(&upgrade, None), &answer, at(10));
    assert_eq!(plan.action, None);
    assert_eq!(plan.write, Write::Now);
    assert_eq!(
        progressing(&plan.status),
        ("False", reasons::NODE_OP_REFUSED)
    );
    assert_eq!(plan.status.node_op_name, None);
    assert!(plan.status.message.unwrap().ends_with("quota"));
}

#[test]
fn a_node_op_of_somebody_else_is_a_clear_failure() {
    let upgrade = upgrade("image: i");
    let mut foreign = made_for(&upgrade, RUNNING);
    foreign.metadata.owner_references = None;
    let first = plan(&upgrade, Some(&foreign));
    assert_eq!(first.status.phase, Some(UpgradePhase::Failed));
    let failed = condition(&first.status.conditions, types::FAILED).unwrap();
    assert_eq!(
        (&*failed.status, &*failed.reason),
        ("True", reasons::NODE_OP_NAME_TAKEN)
    );
    assert_eq!(
        first.status.node_statuses.len(),
        0,
        "its nodes are not this upgrade's"
    );
    // For good: it must not begin one night because somebody tidied up.
    let upgrade = with_status(upgrade, first.status);
    assert_eq!(plan(&upgrade, None).action, None);
    assert_eq!(plan(&upgrade, None).write, Write::Nothing);
}

#[test]
fn the_node_op_of_a_former_upgrade_of_this_name_is_waited_for() {
    let now = upgrade("image: i");
    let mut former = now.clone();
    former.metadata.uid = Some("uid-of-the-former".to_owned());
    let mut going = made_for(&now, RUNNING);
    going.metadata.owner_references = None;
    going.metadata.deletion_timestamp = going.metadata.creation_timestamp.clone();
    for old in [made_for(&former, RUNNING), going] {
        let plan = plan(&now, Some(&old));
        assert_eq!(plan.action, None);
        assert_eq!(plan.status.phase, Some(UpgradePhase::Initializing));
        assert_eq!(plan.status.node_op_name, None, "its own is still to come");
        assert_eq!(plan.wake_after, Some(GONE_POLL));
        let waiting = with_status(now.clone(), plan.status);
        assert!(matches!(
            self::plan(&waiting, None).action,
            Some(Action::Create(_))
        ));
    }
}

#[test]
fn a_node_op_that_was_deleted_is_never_made_again() {
    let upgrade = upgrade("image: i");
    let made = made_for(&upgrade, RUNNING);
    let upgrade = with_status(upgrade.clone(), plan(&upgrade, Some(&made)).status);
    let mut foreign = made.clone();
    foreign.metadata.owner_references = None;
    for there in [None, Some(&foreign)] {
        let plan = plan(&upgrade, there);
        assert_eq!(plan.action, None);
        assert_eq!(plan.status.phase, Some(UpgradePhase::Failed));
        let failed = condition(&plan.status.conditions, types::FAILED).unwrap();
        assert_eq!(
            (&*failed.status, &*failed.reason),
            ("True", reasons::NODE_OP_DELETED)
        );
        assert_eq!(
            plan.status.node_statuses.len(),
            2,
            "what was reported stays"
        );
        assert_eq!(plan.status.current, None);
    }
}

#[test]
fn an_upgrade_that_is_being_deleted_is_left_alone() {
    let mut upgrade = upgrade("image: i");
    upgrade.metadata.deletion_timestamp = made_for(&upgrade, "{}").metadata.creation_timestamp;
    let plan = plan(&upgrade, None);
    assert_eq!((plan.action, plan.write), (None, Write::Nothing));
}

#[test]
fn what_kairos_operator_made_is_followed_and_never_edited() {
    let mut old = upgrade("image: i");
    old.metadata.generation = Some(4);
    old.status = Some(NodeOpUpgradeStatus {
        phase: Some(UpgradePhase::Running),
        node_op_name: Some("to-v2".to_owned()),
        ..NodeOpUpgradeStatus::default()
    });
    let mut made = made_for(&old, "phase: Running\nnodeStatuses: {a: {phase: Running}}");
    made.metadata.annotations = None;
    let plan = plan(&old, Some(&made));
    assert_eq!((plan.action, plan.refused_edit), (None, None));
    assert_eq!(plan.status.node_statuses.len(), 1);
}

#[test]
fn what_kairos_operator_ended_stays_ended_without_its_node_op() {
    for (phase, complete) in [
        (UpgradePhase::Completed, "True"),
        (UpgradePhase::Failed, "False"),
    ] {
        let mut old = upgrade("image: i");
        old.status = Some(NodeOpUpgradeStatus {
            phase: Some(phase),
            node_op_name: Some("to-v2".to_owned()),
            ..NodeOpUpgradeStatus::default()
        });
        let plan = plan(&old, None);
        assert_eq!(plan.action, None);
        assert_eq!(plan.status.phase, Some(phase));
        assert!(status::is_terminal(&plan.status));
        assert_eq!(
            condition(&plan.status.conditions, types::COMPLETE)
                .unwrap()
                .status,
            complete
        );
    }
}

#[test]
fn an_ended_upgrade_does_nothing_whatever_becomes_of_its_node_op() {
    let ended = RUNNING.replace("Complete, status: 'False'", "Complete, status: 'True'");
    let upgrade = upgrade("image: i");
    let made = made_for(&upgrade, &ended);
    let upgrade = with_status(upgrade.clone(), plan(&upgrade, Some(&made)).status);
    for there in [None, Some(&made)] {
        let plan = plan(&upgrade, there);
        assert_eq!((plan.action, plan.write), (None, Write::Nothing));
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn reported() -> impl Strategy<Value = Option<NodeOpStatus>> {
        let ended = RUNNING.replace("Failed, status: 'False'", "Failed, status: 'True'");
        prop_oneof![
            Just(None),
            Just(Some(node_op_status("{}"))),
            Just(Some(node_op_status("phase: Pending"))),
            Just(Some(node_op_status(RUNNING))),
            Just(Some(node_op_status(&ended))),
        ]
    }

    /// What a pass may find: no NodeOp, its own, a former one's, a foreign one.
    fn world() -> impl Strategy<Value = (Option<usize>, Option<NodeOpStatus>, i64, i64, bool)> {
        (
            proptest::option::of(0..3_usize),
            reported(),
            0..200_i64,
            1..4_i64,
            any::<bool>(),
        )
    }

    proptest! {
        /// However the world turns between passes: after a NodeOp was seen none is created, an end is final, and each
        /// pass settles after at most one request.
        #[test]
        fn no_second_node_op_and_no_second_end(worlds in proptest::collection::vec(world(), 1..12)) {
            let mut upgrade = upgrade("image: i");
            let mut had_one = false;
            let mut end: Option<NodeOpUpgradeStatus> = None;
            for (owner, status, second, generation, refused) in worlds {
                upgrade.metadata.generation = Some(generation);
                let node_op = owner.map(|owner| {
                    let mut made = made_for(&upgrade, "{}");
                    made.status = status.clone();
                    match owner {
                        0 => {}
                        1 => made.metadata.owner_references.as_mut().unwrap()[0].uid = "former".to_owned(),
                        _ => made.metadata.owner_references = None,
                    }
                    made
                });
                let answer = if refused { Answer::Refused("no".to_owned()) } else { Answer::NotAsked };
                let plan = decide(&look(&upgrade, node_op.as_ref()), &answer, at(second));
                if matches!(plan.action, Some(Action::Create(_))) {
                    prop_assert!(!had_one && node_op.is_none() && end.is_none());
                    continue;
                }
                if plan.action.is_some() {
                    prop_assert_eq!(owner, Some(0));
                    continue;
                }
                if let Some(end) = &end {
                    prop_assert_eq!(end, &plan.status);
                    prop_assert_eq!(plan.write, Write::Nothing);
                }
                let (write, status) = (plan.write, plan.status);
                if write != Write::Nothing {
                    had_one |= owner == Some(0);
                    upgrade.status = Some(status.clone());
                    // What is written says nothing new in the next pass.
                    let again = decide(&look(&upgrade, node_op.as_ref()), &answer, at(second));
                    prop_assert_eq!(again.write, Write::Nothing);
                }
                if status::is_terminal(&status) {
                    end = Some(status);
                }
            }
        }
    }
}

/// An edit of the upgrade kept the status from being written between the creation of its NodeOp and its deletion by hand.
#[test]
fn a_node_op_that_was_seen_and_is_gone_is_not_made_again_though_the_status_does_not_name_it() {
    let upgrade = upgrade("image: i");
    let seen = Snapshot {
        node_op_was_seen: true,
        ..look(&upgrade, None)
    };
    let plan = decide(&seen, &Answer::NotAsked, at(10));
    assert_eq!(plan.action, None);
    assert_eq!(plan.status.phase, Some(UpgradePhase::Failed));
    assert_eq!(progressing(&plan.status).1, reasons::NODE_OP_DELETED);
}
