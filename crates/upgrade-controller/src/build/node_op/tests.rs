use std::collections::BTreeSet;

use api_types::nodeop::Concurrency;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

use super::*;
use crate::build::command::arguments;
use crate::testing::upgrade;

fn built(spec: &str) -> NodeOpSpec {
    node_op(&upgrade(spec), BuildSettings::default()).spec
}

/// A copy in which the script is a word, so that a snapshot shows what matters.
fn without_script(mut node_op: NodeOp) -> NodeOp {
    let spec = &mut node_op.spec;
    for command in [
        Some(&mut spec.command),
        spec.preflight.as_mut().map(|check| &mut check.command),
        spec.verify.as_mut().map(|check| &mut check.command),
    ]
    .into_iter()
    .flatten()
    {
        "SCRIPT".clone_into(&mut command[2]);
    }
    node_op
}

#[test]
fn the_canary_of_the_users_becomes_a_node_op_with_every_safety() {
    let upgrade = upgrade(
        "image: quay.io/kairos/opensuse:leap-15.6-standard-amd64-generic-v3.4.2-k3sv1.30.11-k3s1
imagePullSecrets: [{name: private-registry-secret}]
nodeSelector: {matchLabels: {kairos.io/managed: 'true'}}
concurrency: 1
stopOnFailure: true",
    );
    let node_op = without_script(node_op(&upgrade, BuildSettings::default()));
    insta::assert_yaml_snapshot!(node_op);
}

/// The table of the design, row by row: what is asked for, and preflight, cordon, drain, what runs, reboot, verify.
#[test]
fn the_active_system_is_checked_drained_upgraded_rebooted_and_verified() {
    for asked in [
        "",
        "upgradeActive: true",
        "upgradeActive: false\nupgradeRecovery: false",
    ] {
        let spec = built(&format!("image: i\n{asked}"));
        assert!(spec.preflight.is_some(), "preflight: {asked}");
        assert!(spec.cordon, "cordon: {asked}");
        assert!(spec.drain_options.unwrap().enabled, "drain: {asked}");
        assert_eq!(
            arguments(&spec.command),
            ["run", "active", "recheck", "--"],
            "{asked}"
        );
        assert!(spec.reboot_on_success, "reboot: {asked}");
        assert!(spec.verify.is_some(), "verify: {asked}");
    }
}

#[test]
fn both_systems_are_upgraded_in_one_go_the_recovery_system_first() {
    let spec = built("image: i\nupgradeRecovery: true");
    assert!(spec.preflight.is_some());
    assert!(spec.cordon);
    assert!(spec.drain_options.unwrap().enabled);
    assert_eq!(
        arguments(&spec.command),
        ["run", "recovery", "active", "recheck", "--"]
    );
    assert!(spec.reboot_on_success);
    assert!(spec.verify.is_some());
}

#[test]
fn the_recovery_system_alone_is_upgraded_under_a_running_node() {
    for force in ["", "force: true"] {
        let spec = built(&format!(
            "image: i\nupgradeActive: false\nupgradeRecovery: true\n{force}"
        ));
        assert_eq!(spec.preflight, None, "{force}");
        assert!(!spec.cordon, "{force}");
        assert_eq!(spec.drain_options, None, "{force}");
        assert_eq!(
            arguments(&spec.command),
            ["run", "recovery", "--"],
            "{force}"
        );
        assert!(!spec.reboot_on_success, "{force}");
        assert_eq!(spec.verify, None, "{force}");
    }
}

#[test]
fn force_leaves_out_the_version_checks_and_nothing_else() {
    let systems = [
        ("", &["run", "active", "--"][..]),
        (
            "upgradeRecovery: true",
            &["run", "recovery", "active", "--"],
        ),
    ];
    for (asked, command) in systems {
        let spec = built(&format!("image: i\nforce: true\n{asked}"));
        assert_eq!(spec.preflight, None, "{asked}");
        assert!(spec.cordon, "{asked}");
        assert!(spec.drain_options.unwrap().enabled, "{asked}");
        assert_eq!(arguments(&spec.command), command, "{asked}");
        assert!(spec.reboot_on_success, "{asked}");
        assert!(spec.verify.is_some(), "{asked}");
    }
}

/// A field of the upgrade with a value that is not its default, and where it arrives in the NodeOp.
const FIELDS: &str = "
- [/image, 'quay.example/kairos:v9', /image, 'quay.example/kairos:v9']
- [/imagePullSecrets, [{name: key}], /imagePullSecrets, [{name: key}]]
- [/nodeSelector, {matchLabels: {a: b}}, /nodeSelector, {matchLabels: {a: b}}]
- [/concurrency, 3, /concurrency, 3]
- [/concurrency, 25%, /concurrency, 25%]
- [/stopOnFailure, true, /stopOnFailure, true]
- [/upgradeActive, false, /command/6, --]
- [/upgradeRecovery, false, /command/5, active]
- [/force, true, /preflight, null]
- [/debug, true, /command/7, debug]
- [/excludePaths, [/a b, /c], /command/9, /a b]
- [/uncordonOnFailure, true, /uncordonOnFailure, true]
- [/drainOptions/enabled, false, /drainOptions/enabled, false]
- [/drainOptions/force, false, /drainOptions/force, false]
- [/drainOptions/gracePeriodSeconds, 7, /drainOptions/gracePeriodSeconds, 7]
- [/drainOptions/ignoreDaemonSets, false, /drainOptions/ignoreDaemonSets, false]
- [/drainOptions/deleteEmptyDirData, false, /drainOptions/deleteEmptyDirData, false]
- [/drainOptions/timeoutSeconds, 11, /drainOptions/timeoutSeconds, 11]
- [/paused, true, /paused, true]
- [/rebootTimeoutSeconds, 13, /rebootTimeoutSeconds, 13]
";

/// Every field has a value here, so that none is missing in its JSON.
fn upgrade_of_both_systems() -> Value {
    serde_json::to_value(NodeOpUpgradeSpec {
        image: "i".to_owned(),
        image_pull_secrets: Some(vec![]),
        node_selector: Some(LabelSelector::default()),
        exclude_paths: Some(vec![]),
        upgrade_recovery: true,
        drain_options: UpgradeDrainOptions {
            grace_period_seconds: Some(0),
            ..UpgradeDrainOptions::default()
        },
        ..NodeOpUpgradeSpec::default()
    })
    .unwrap()
}

fn spec_of(asked: &Value) -> Value {
    let asked: NodeOpUpgradeSpec = serde_json::from_value(asked.clone()).unwrap();
    serde_json::to_value(spec(&asked, BuildSettings::default())).unwrap()
}

#[test]
fn every_field_of_the_spec_reaches_the_node_op() {
    let table: Vec<(String, Value, String, Value)> = serde_saphyr::from_str(FIELDS).unwrap();
    let plain = upgrade_of_both_systems();
    for (field, value, arrival, expected) in &table {
        let mut asked = plain.clone();
        *asked
            .pointer_mut(field)
            .unwrap_or_else(|| panic!("no field {field}")) = value.clone();
        let built = spec_of(&asked);
        let arrived = built.pointer(arrival).cloned().unwrap_or_default();
        assert_eq!(&arrived, expected, "{field} at {arrival}");
        assert_ne!(built, spec_of(&plain), "{field} changes nothing");
    }
    let named: BTreeSet<&str> = table
        .iter()
        .filter_map(|(field, ..)| field.split('/').nth(1))
        .collect();
    let fields: BTreeSet<&str> = plain
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(named, fields, "a field is missing in the table");
}

#[test]
fn the_controllers_settings_bound_the_pull_and_the_upgrade() {
    let settings = BuildSettings {
        preflight_deadline_seconds: 60,
        upgrade_deadline_seconds: 90,
    };
    let spec = node_op(&upgrade("image: i"), settings).spec;
    assert_eq!(spec.preflight.unwrap().active_deadline_seconds, 60);
    assert_eq!(spec.active_deadline_seconds, Some(90));
}

#[test]
fn concurrency_keeps_its_default_all_at_once() {
    assert_eq!(built("image: i").concurrency, Concurrency::nodes(0));
}

#[test]
fn a_long_name_stands_in_full_in_an_annotation() {
    let mut upgrade = upgrade("image: i");
    upgrade.metadata.name = Some("u".repeat(253));
    let node_op = node_op(&upgrade, BuildSettings::default());
    assert_eq!(node_op.metadata.name, upgrade.metadata.name);
    assert!(node_op.metadata.labels.unwrap()[LABEL_NODEOPUPGRADE].len() <= 63);
    assert_eq!(
        node_op
            .metadata
            .annotations
            .unwrap()
            .get(LABEL_NODEOPUPGRADE),
        upgrade.metadata.name.as_ref()
    );
}
