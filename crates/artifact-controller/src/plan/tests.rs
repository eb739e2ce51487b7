//! What a spec becomes, and what it is refused for.

use super::*;

/// An `OSArtifact` `shop/my` with that spec, which need not pass the schema.
fn artifact(spec: &str) -> OSArtifact {
    crate::testing::artifact("my", spec)
}

fn refusal(spec: &str) -> String {
    plan(&artifact(spec)).unwrap_err().to_string()
}

fn planned(spec: &str) -> Plan {
    plan(&artifact(spec)).unwrap()
}

#[test]
fn a_kairos_image_alone_becomes_the_image_itself() {
    let plan = planned("imageName: quay.io/kairos/opensuse:v3.6.0");
    assert_eq!(plan.archive.as_deref(), Some("my:latest"));
    assert!(planned("{imageName: a, iso: true}").archive.is_none());
    assert_eq!(
        planned("{baseImageName: a, iso: true}").archive.as_deref(),
        Some("my:latest")
    );
}

#[test]
fn beside_another_source_image_name_names_what_comes_out() {
    let plan = planned(
        "{baseImageName: opensuse/leap, imageName: registry.example.com/out:v1, iso: true}",
    );
    assert_eq!(plan.source, Source::Base("opensuse/leap".into()));
    assert_eq!(plan.archive.as_deref(), Some("registry.example.com/out:v1"));
    assert!(refusal("{baseImageName: a, imageName: 'b@sha256:00'}").contains("no digest yet"));
}

#[test]
fn keys_have_their_defaults() {
    let plan = planned(
        "{baseImageDockerfile: {name: d}, dockerfileTemplateValuesFrom: {name: v}, cloudConfigRef: {name: c}}",
    );
    let Source::Dockerfile(source) = plan.source else {
        panic!("{:?}", plan.source)
    };
    assert_eq!(source.file.key, "Dockerfile");
    assert_eq!(source.values_from, Some(("v".into(), None)));
    assert_eq!(plan.cloud_config.unwrap().key, "cloud-config.yaml");
}

#[test]
fn each_refusal_says_what_to_write() {
    for (spec, words) in [
        ("iso: true", "set imageName (a Kairos image)"),
        (
            "imageName: '--insecure'",
            "write one such as registry.example.com",
        ),
        (
            "{imageName: a, cloudImage: true, diskSize: 16g}",
            "write a whole number of MiB",
        ),
        (
            "{baseImageName: a, kairosRelease: latest}",
            "write such as \"v3.6.0\"",
        ),
        (
            "{baseImageName: a, kairosRelease: 'KAIROS_VERSION=main'}",
            "write such as \"v3.6.0\"",
        ),
        (
            "{imageName: a, osRelease: 'two words'}",
            "nor a single word",
        ),
        ("{imageName: a, bundles: ['a b']}", "is no image reference"),
        (
            "{imageName: a, netboot: true, netbootURL: example.com}",
            "begins with http://",
        ),
        (
            "{imageName: a, volumes: [{name: rootfs, emptyDir: {}}]}",
            "give the volume another name",
        ),
        (
            "{imageName: a, volumes: [{name: kairos-build-x, emptyDir: {}}]}",
            "give the volume another name",
        ),
        (
            "{imageName: a, volumes: [{name: x, emptyDir: {}}, {name: x, emptyDir: {}}]}",
            "a name of its own",
        ),
        (
            "{imageName: a, volumeBindings: {overlayISO: x}}",
            "add it there",
        ),
        (
            "{imageName: a, importers: [{name: build-iso, image: b}]}",
            "give the importer another name",
        ),
        (
            "{imageName: a, importers: [{name: x, image: b}, {name: x, image: b}]}",
            "a name of its own",
        ),
        ("{image: {ref: a}}", "write imageName"),
        (
            "{baseImageDockerfile: {name: ''}}",
            "set baseImageDockerfile.name",
        ),
    ] {
        let sentence = refusal(spec);
        assert!(sentence.contains(words), "{spec}: {sentence}");
    }
    let many: Vec<String> = (0..9)
        .map(|index| format!("{{name: i{index}, image: b}}"))
        .collect();
    let sentence = refusal(&format!(
        "{{imageName: a, importers: [{}]}}",
        many.join(", ")
    ));
    assert!(
        sentence.contains("let one of them do the work"),
        "{sentence}"
    );
}

#[test]
fn release_texts_are_a_file_or_a_word() {
    let plan = planned(
        "{imageName: a, osRelease: opensuse-leap-15.6, kairosRelease: \"KAIROS_NAME=x\\nKAIROS_VERSION='v3.5.1'\\n\"}",
    );
    assert_eq!(
        plan.os_release,
        Some(ReleaseText::Word("opensuse-leap-15.6".into()))
    );
    assert!(matches!(plan.kairos_release, Some(ReleaseText::File(_))));
    assert_eq!(plan.version.unwrap().as_str(), "v3.5.1");
}

#[test]
fn what_changes_no_file_changes_no_content() {
    let hash = |spec: &str| planned(spec).hash();
    let first = hash("{imageName: a, iso: true}");
    for same in [
        "{imageName: a, iso: true, cloudImage: false, osRelease: ''}",
        "{imageName: a, iso: true, diskSize: 10G}",
        "{imageName: a, iso: true, exporters: [{template: {spec: {containers: [{name: a, image: b}]}}}]}",
    ] {
        assert_eq!(hash(same), first, "{same}");
    }
    let access = hash("{imageName: a, iso: true, imagePullSecrets: [{name: s}]}");
    assert_ne!(access, first);
    assert!(access.same_content(&first.to_text()));
    for other in [
        "{imageName: b, iso: true}",
        "{imageName: a, iso: true, cloudImage: true}",
        "{imageName: a, iso: true, grubConfig: x}",
        "{imageName: a, iso: true, arch: arm64}",
    ] {
        assert!(!hash(other).same_content(&first.to_text()), "{other}");
    }
}

/// A new version of the operator must not build everything anew: a change of this hash does exactly that.
#[test]
fn the_hash_of_an_old_spec_stays() {
    let plan = planned("{imageName: a, iso: true}");
    assert_eq!(
        serde_json::to_string(&plan).unwrap(),
        r#"{"name":"my","source":{"image":"a"},"iso":true}"#
    );
}
