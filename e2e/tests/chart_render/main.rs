//! What the chart renders, without a cluster: golden files, helm's own lint, refused values, and the kustomize components.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

use std::fs;
use std::path::PathBuf;

use e2e::chart::{self, CONTROLLERS};
use serde_json::Value;

/// Values of which each differs from the chart's own.
fn all_options() -> String {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/chart_render/all-options.yaml");
    format!("--values={}", path.display())
}

/// Everything but the custom resource definitions, which are generated files of their own.
fn render(arguments: &[&str]) -> String {
    let arguments = [arguments, &["--set=crds.install=false"]].concat();
    chart::template(&arguments).unwrap()
}

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

#[test]
fn by_default_everything_runs() {
    insta::assert_snapshot!("default", render(&[]));
}

#[test]
fn each_controller_alone_is_whole() {
    for (key, name) in CONTROLLERS {
        let only = chart::only(key);
        let only: Vec<&str> = only.iter().map(String::as_str).collect();
        insta::assert_snapshot!(name, render(&only));
    }
}

#[test]
fn every_option_has_its_effect() {
    insta::assert_snapshot!("all-options", render(&[&all_options()]));
}

#[test]
fn helm_finds_nothing_to_complain_about() {
    let home = tempfile::tempdir().unwrap();
    for values in [None, Some(all_options())] {
        let mut helm = chart::helm(home.path()).unwrap();
        helm.args(["lint", "--strict"])
            .arg(chart::folder())
            .args(values);
        let output = helm.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert!(!text.contains("[WARNING]"), "{text}");
    }
}

#[test]
fn a_misspelt_or_wrong_value_is_refused_by_its_name() {
    for (wrong, named) in [
        ("nodeOp.enabled=false", "nodeOp"),
        ("nodeop.enable=false", "enable"),
        ("nodeop.image.name=x", "name"),
        ("defaults.replica=2", "replica"),
        ("defaults.resources.request.cpu=1", "request"),
        ("defaults.tolerations[0].keys=x", "keys"),
        ("upgrade.podDisruptionBudgets=true", "podDisruptionBudgets"),
        ("artifact.tools.kairosinit=x", "kairosinit"),
        ("artifact.builder.pullSecret[0]=x", "pullSecret"),
        ("labeller.detect.nameSpace=x", "nameSpace"),
        ("serviceMonitor.intervall=1m", "intervall"),
        ("crds.instal=true", "instal"),
        ("defaults.logFormat=xml", "logFormat"),
        ("nodeop.image.digest=sha256:abc", "digest"),
        ("nodeop.replicas=two", "replicas"),
        ("watchNamespaces=one", "watchNamespaces"),
        (
            "labeller.detect.namespace=kairos-operator",
            "detect.namespace",
        ),
    ] {
        let refusal = chart::template(&["--set", wrong]).unwrap_err().to_string();
        assert!(refusal.contains(named), "{wrong}: {refusal}");
    }
    assert!(chart::template(&["--set", "global.parent=x"]).is_ok());
}

#[test]
fn definitions_are_rendered_as_they_are_and_kept() {
    let rendered = chart::template(&[]).unwrap();
    let mut found = 0;
    for entry in fs::read_dir(chart::folder().join("files/crds")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(rendered.contains(text.trim_end()));
        let definition = &documents(&text)[0];
        let annotations = &definition["metadata"]["annotations"];
        assert_eq!(annotations["helm.sh/resource-policy"], "keep");
        found += 1;
    }
    assert_eq!(found, 3);
}

#[test]
fn with_watched_namespaces_no_right_to_make_pods_or_jobs_is_cluster_wide() {
    let mut roles = 0;
    for document in documents(&render(&[&all_options()])) {
        let kind = document["kind"].as_str().unwrap_or_default();
        roles += usize::from(kind == "Role");
        if kind != "ClusterRole" {
            continue;
        }
        for rule in document["rules"].as_array().unwrap() {
            let has = |field: &str, word: &str| {
                rule[field]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|found| found == word)
            };
            for resource in ["pods", "jobs", "persistentvolumeclaims", "configmaps"] {
                let makes =
                    has("verbs", "create") || has("verbs", "patch") || has("verbs", "update");
                assert!(!(has("resources", resource) && makes), "{rule}");
            }
        }
    }
    // Four Leases, the detection Pods, and two controllers in two namespaces.
    assert_eq!(roles, 9);
}

#[test]
fn the_kustomize_components_are_what_the_chart_renders() {
    let components = chart::components().unwrap();
    for (path, content) in &components {
        let committed = fs::read_to_string(chart::root().join(path)).unwrap_or_default();
        assert!(
            committed == *content,
            "{path} differs: run `cargo xtask generate`"
        );
    }
    for (_, component) in CONTROLLERS {
        for entry in fs::read_dir(chart::root().join("deploy").join(component)).unwrap() {
            let path = format!(
                "deploy/{component}/{}",
                entry.unwrap().file_name().display()
            );
            assert!(
                components.contains_key(&path),
                "nothing makes {path}: run `cargo xtask generate`"
            );
        }
    }
}
