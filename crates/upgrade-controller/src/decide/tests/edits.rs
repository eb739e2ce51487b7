//! Edits of the upgrade's spec.

use api_types::nodeop::Concurrency;
use serde_json::{Value, json};

use super::*;

fn patch(plan: &Plan) -> &Value {
    match &plan.action {
        Some(Action::Edit(edit)) => &edit.patch,
        other => panic!("no edit but {other:?}"),
    }
}

#[test]
fn an_edit_before_the_start_is_taken_over_whole() {
    let made = made_for(&upgrade("image: i"), "phase: Pending");
    let mut edited = upgrade("image: other\nupgradeRecovery: true\nconcurrency: 2\npaused: true");
    edited.metadata.generation = Some(2);
    let plan = plan(&edited, Some(&made));
    let patch = patch(&plan);
    assert_eq!(patch["spec"]["image"], "other");
    assert_eq!(patch["spec"]["paused"], true);
    assert_eq!(patch["spec"]["concurrency"], 2);
    assert_eq!(patch["spec"]["command"][5], "recovery");
    assert_eq!(
        patch["metadata"]["annotations"],
        json!({"nodeopupgrade.kairos.io/generation": "2"})
    );
    assert_eq!(patch["metadata"]["uid"], "uid-of-node-op");
    assert_eq!(patch["metadata"]["resourceVersion"], "7");
    assert_eq!(patch["spec"].get("cordon"), None, "only what changed");
}

/// Every field that may be edited later, and none that may not.
#[test]
fn an_edit_after_the_start_goes_through_where_it_may() {
    let before = upgrade("image: i");
    let made = made_for(&before, RUNNING);
    let fields = [
        ("paused: true", json!({"paused": true})),
        ("concurrency: 50%", json!({"concurrency": "50%"})),
        ("stopOnFailure: true", json!({"stopOnFailure": true})),
        (
            "uncordonOnFailure: true",
            json!({"uncordonOnFailure": true}),
        ),
        (
            "drainOptions: {timeoutSeconds: 5}",
            json!({"drainOptions": {"timeoutSeconds": 5}}),
        ),
        (
            "rebootTimeoutSeconds: 5",
            json!({"rebootTimeoutSeconds": 5}),
        ),
    ];
    for (field, expected) in fields {
        let mut edited = upgrade(&format!("image: i\n{field}"));
        edited.metadata.generation = Some(2);
        let plan = plan(&edited, Some(&made));
        assert_eq!(patch(&plan)["spec"], expected, "{field}");
        assert!(
            patch(&plan)["metadata"]["annotations"].is_object(),
            "{field}"
        );
    }
    for field in [
        "imagePullSecrets: [{name: x}]",
        "nodeSelector: {matchLabels: {a: b}}",
        "upgradeActive: false\nupgradeRecovery: true",
        "upgradeRecovery: true",
        "force: true",
        "debug: true",
        "excludePaths: [/a]",
    ] {
        let mut edited = upgrade(&format!("image: i\n{field}"));
        edited.metadata.generation = Some(2);
        let plan = plan(&edited, Some(&made));
        assert_eq!(plan.action, None, "{field}");
        let refused = plan.refused_edit.unwrap();
        assert!(
            refused.contains(field.split(':').next().unwrap()),
            "{field}: {refused}"
        );
        assert!(
            plan.status.message.unwrap().starts_with(&refused),
            "{field}"
        );
    }
}

#[test]
fn of_a_late_edit_the_part_that_may_go_through_does() {
    let made = made_for(&upgrade("image: i"), RUNNING);
    let mut edited = upgrade("image: other\npaused: true");
    edited.metadata.generation = Some(2);
    let first = plan(&edited, Some(&made));
    assert_eq!(patch(&first)["spec"], json!({"paused": true}));
    assert_eq!(
        patch(&first)["metadata"].get("annotations"),
        None,
        "it is not carried over in full"
    );
    // Once that is done, what is left is said and nothing more is sent.
    let mut paused = made.clone();
    paused.spec.paused = true;
    let second = plan(&edited, Some(&paused));
    assert_eq!(second.action, None);
    assert!(second.refused_edit.unwrap().contains("image"));
    // Taken back, the annotation catches up.
    let mut back = upgrade("image: i\npaused: true");
    back.metadata.generation = Some(3);
    let third = plan(&back, Some(&paused));
    assert_eq!(patch(&third).get("spec"), None);
    assert_eq!(
        patch(&third)["metadata"]["annotations"],
        json!({"nodeopupgrade.kairos.io/generation": "3"})
    );
}

#[test]
fn what_somebody_changes_in_the_node_op_itself_stays() {
    let upgrade = upgrade("image: i");
    let mut made = made_for(&upgrade, RUNNING);
    made.spec.paused = true;
    made.spec.concurrency = Concurrency::nodes(7);
    assert_eq!(plan(&upgrade, Some(&made)).action, None);
}

#[test]
fn another_version_of_the_script_changes_nothing_under_way_and_counts_as_no_edit() {
    let mut made = made_for(&upgrade("image: i"), RUNNING);
    for command in [
        &mut made.spec.command,
        &mut made.spec.preflight.as_mut().unwrap().command,
    ] {
        "an older script".clone_into(&mut command[2]);
    }
    assert_eq!(plan(&upgrade("image: i"), Some(&made)).action, None);
    let mut edited = upgrade("image: i\npaused: true");
    edited.metadata.generation = Some(2);
    let plan = plan(&edited, Some(&made));
    assert_eq!(patch(&plan)["spec"], json!({"paused": true}));
    assert_eq!(plan.refused_edit, None);
}

#[test]
fn a_node_op_that_has_ended_is_edited_no_more() {
    let ended = RUNNING.replace("Complete, status: 'False'", "Complete, status: 'True'");
    let made = made_for(&upgrade("image: i"), &ended);
    let mut edited = upgrade("image: i\npaused: true");
    edited.metadata.generation = Some(2);
    let plan = plan(&edited, Some(&made));
    assert_eq!((plan.action, plan.refused_edit), (None, None));
}

#[test]
fn an_edit_that_the_api_server_refuses_is_told_and_the_progress_too() {
    let made = made_for(&upgrade("image: i"), "phase: Pending\nmessage: waiting");
    let mut edited = upgrade("image: other");
    edited.metadata.generation = Some(2);
    let answer = Answer::Refused("started a moment ago".to_owned());
    let plan = decide(&look(&edited, Some(&made)), &answer, at(10));
    assert_eq!(plan.action, None);
    let message = plan.status.message.unwrap();
    assert!(
        message.contains("started a moment ago") && message.ends_with("waiting"),
        "{message}"
    );
}
