//! Every call that a build makes is one that the tools understand: held against the table of their flags.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at the first surprise"
)]

#[path = "tool_flags/check.rs"]
mod check;

use api_types::osartifact::OSArtifact;
use artifact_controller::plan::plan;
use artifact_controller::steps::{CallSettings, Work, steps};
use artifact_controller::tools::kairos_init::{Stage, convert};
use check::check;
use proptest::prelude::*;
use serde_json::{Value, json};

fn calls(spec: &Value, settings: CallSettings) -> Vec<Vec<String>> {
    let artifact: OSArtifact = serde_json::from_value(json!({
        "apiVersion": "build.kairos.io/v1alpha2", "kind": "OSArtifact",
        "metadata": {"name": "my", "namespace": "shop"}, "spec": spec,
    }))
    .unwrap();
    let plan = plan(&artifact).unwrap();
    steps(&plan, settings)
        .into_iter()
        .flat_map(|step| match step.work {
            Work::Calls { calls, .. } => calls,
            Work::Worker(_) => Vec::new(),
        })
        .collect()
}

/// Any combination of what a spec can ask for.
fn specs() -> impl Strategy<Value = Value> {
    let source = prop_oneof![
        Just(json!({"imageName": "quay.io/kairos/opensuse:v3.6.0"})),
        Just(json!({"baseImageName": "opensuse/leap:15.6"})),
        Just(
            json!({"baseImageDockerfile": {"name": "d"}, "imageName": "registry.example.com/out"})
        ),
    ];
    let switches = proptest::collection::vec(any::<bool>(), 14);
    (source, switches).prop_map(|(mut spec, switches)| {
        let extras = [
            ("iso", json!(true)),
            ("cloudImage", json!(true)),
            ("azureImage", json!(true)),
            ("gceImage", json!(true)),
            ("netboot", json!(true)),
            ("netbootURL", json!("http://example.com/netboot")),
            ("diskSize", json!("16Gi")),
            ("arch", json!("arm64")),
            ("cloudConfigRef", json!({"name": "c"})),
            ("grubConfig", json!("set timeout=5")),
            ("kairosRelease", json!("v3.6.0")),
            ("bundles", json!(["docker", "k3s"])),
            ("imagePullSecrets", json!([{"name": "s"}])),
            ("osRelease", json!("A=b")),
        ];
        for ((key, value), on) in extras.into_iter().zip(switches) {
            if on {
                spec[key] = value;
            }
        }
        spec
    })
}

proptest! {
    #[test]
    fn every_call_of_every_plan_is_understood(spec in specs(), insecure_registries in any::<bool>()) {
        for call in calls(&spec, CallSettings { insecure_registries }) {
            let checked = check(&call);
            prop_assert!(checked.is_ok(), "{call:?}: {}", checked.unwrap_err());
        }
    }
}

#[test]
fn both_stages_of_a_conversion_are_understood() {
    for stage in [Stage::Install, Stage::Init] {
        let call = convert(stage, "v3.6.0");
        check(&call).unwrap_or_else(|error| panic!("{call:?}: {error}"));
    }
}

/// Mistakes that kairos-operator made, or that the tools do not tell.
#[test]
fn planted_mistakes_are_found() {
    let mistakes = [
        (
            "auroraboot build-iso dir:/rootfs --output /artifacts",
            "dropped in silence",
        ),
        (
            "auroraboot build-iso --output /artifacts",
            "0 positional words",
        ),
        (
            "auroraboot build-iso --name my dir:/rootfs",
            "--name is no flag here",
        ),
        ("auroraboot build-iso --arch x86_64 dir:/rootfs", "none of"),
        (
            "auroraboot build-iso --cloud-config --output /artifacts dir:/rootfs",
            "a value is missing",
        ),
        ("auroraboot build-iso /rootfs", "no image source"),
        (
            "auroraboot build-uki --cloud-config c -t iso dir:/rootfs",
            "--cloud-config is no flag here",
        ),
        (
            "auroraboot build-uki --arch amd64 -t iso dir:/rootfs",
            "--arch is no flag here",
        ),
        ("auroraboot build-uki -t raw dir:/rootfs", "none of"),
        ("auroraboot unpack quay.io/a:v1", "1 positional words"),
        (
            "auroraboot unpack quay.io/a:v1 /rootfs --arch arm64",
            "dropped in silence",
        ),
        (
            "auroraboot unpack --insecure quay.io/a:v1 /rootfs",
            "--insecure is no flag here",
        ),
        ("auroraboot netboot my.iso /out", "2 positional words"),
        (
            "auroraboot netboot --url http://a my.iso /out my",
            "--url is no flag here",
        ),
        (
            "auroraboot --set disk.size=16G --set disk.raw=true",
            "takes it as 0",
        ),
        (
            "auroraboot --set disk.size= --set disk.raw=true",
            "takes it as 0",
        ),
        ("auroraboot --set disk.raw=yes", "neither true nor false"),
        ("auroraboot --set disk.vmdk=true", "has no key disk.vmdk"),
        ("auroraboot --set disk.raw", "no key=value"),
        (
            "auroraboot --set container_image=/rootfs",
            "no image source",
        ),
        (
            "auroraboot --cloud-config c config.yaml --set disk.raw=true",
            "dropped in silence",
        ),
        ("auroraboot build-vhd dir:/rootfs", "2 positional words"),
        ("kairos-init -s install -m generic", "-v is missing"),
        ("kairos-init -s install -v latest", "no semantic version"),
        ("kairos-init -s build -v v3.6.0", "none of"),
        (
            "kairos-init -s install -v v3.6.0 --k8sversion v1.30",
            "--k8sversion is no flag here",
        ),
        ("kairos-init -s install -m pc -v v3.6.0", "none of"),
        (
            "buildah build --isolation chroot -t a",
            "0 positional words",
        ),
        ("buildah build . --file Dockerfile", "dropped in silence"),
        ("buildah build --isolation vm .", "none of"),
        (
            "buildah push --tls-verify=maybe a b",
            "neither true nor false",
        ),
        ("kaniko --destination a", "is not in the table"),
    ];
    for (call, words) in mistakes {
        let argv: Vec<String> = call.split(' ').map(str::to_owned).collect();
        let error = check(&argv).expect_err(call);
        assert!(error.contains(words), "{call}: {error}");
    }
}

#[test]
fn values_with_a_meaning_for_shells_stay_one_word() {
    let spec = json!({"imageName": "a", "cloudImage": true, "diskSize": "10G"});
    for call in calls(&spec, CallSettings::default()) {
        assert!(
            !call
                .iter()
                .any(|word| word.contains(['\'', '"', '$', ';', '`'])),
            "{call:?}"
        );
        assert_ne!(call[0], "sh");
    }
    let disk = calls(&spec, CallSettings::default()).pop().unwrap();
    assert!(disk.contains(&"disk.size=9537".to_owned()), "{disk:?}");
}
