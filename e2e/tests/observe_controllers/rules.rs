//! The alert rules, as Prometheus' own tool judges them.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::assets::debian_program;

/// The rule files and their tests, by the same names.
const NAMES: [&str; 4] = ["nodeop", "upgrade", "artifact", "labeller"];

fn promtool(arguments: &[&str], files: impl Iterator<Item = PathBuf>) {
    let program = debian_program("prometheus", "promtool").unwrap();
    let output = Command::new(program)
        .args(arguments)
        .args(files)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/observe_controllers")
}

/// A rule file of the chart.
pub(crate) fn rule_file(name: &str) -> PathBuf {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/kairos-operator");
    chart.join(format!("alerts/{name}.yaml"))
}

/// All rule files.
pub(crate) fn rule_files() -> impl Iterator<Item = PathBuf> {
    NAMES.into_iter().map(rule_file)
}

#[test]
fn the_alert_rules_are_rules() {
    promtool(&["check", "rules", "--lint-fatal"], rule_files());
}

#[test]
fn alerts_fire_when_they_should_and_not_otherwise() {
    let tests = NAMES.map(|name| here().join(format!("rules/{name}.yaml")));
    promtool(&["test", "rules"], tests.into_iter());
}

#[test]
fn every_alert_is_seen_to_fire_and_not_to_fire() {
    for name in NAMES {
        let rules = std::fs::read_to_string(rule_file(name)).unwrap();
        let tests = std::fs::read_to_string(here().join(format!("rules/{name}.yaml"))).unwrap();
        for alert in rules
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- alert: "))
        {
            let fires = format!("alertname: {alert}\n    exp_alerts:");
            let is_silent = format!("alertname: {alert}}}");
            assert!(tests.contains(&fires), "{alert} is never seen to fire");
            assert!(
                tests.contains(&is_silent),
                "{alert} is never seen not to fire"
            );
        }
    }
}
