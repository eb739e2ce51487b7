//! The state machine, turn by turn.

mod exporters;
mod world;

use api_types::conditions::{reasons, types};
use api_types::osartifact::ArtifactPhase;
use serde_json::{Value, json};

use self::world::{World, at};
use super::*;
use crate::build::claim::claim;
use crate::status::{condition, is_built};

const ISO: &str = "{imageName: quay.io/kairos/opensuse:v3.6.0, iso: true}";
const WITH_EXPORTERS: &str = "{imageName: a, iso: true, exporters: [
  {ttlSecondsAfterFinished: 60, template: {spec: {containers: [{name: a, image: b}]}}},
  {template: {spec: {containers: [{name: c, image: d}]}}}]}";

fn running() -> Value {
    json!({"running": {"startedAt": "2026-01-01T00:00:02Z"}})
}

#[test]
fn a_build_goes_from_pending_to_ready() {
    let mut world = World::new(ISO);
    let actions = world.pass();
    assert_eq!(world.phase(), ArtifactPhase::Pending);
    assert!(
        matches!(actions.as_slice(), [Action::StartBuild(name)] if Some(name) == world.status().builder_pod.as_ref())
    );
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Building);
    world.kubelet("Pending", 2, &running());
    world.settle();
    let status = world.status();
    assert_eq!(status.step.as_deref(), Some("3/6 convert-image"));
    assert_eq!(status.steps.len(), 3);
    assert_eq!(status.observed_generation, Some(1));
    world.kubelet("Succeeded", 99, &json!({}));
    world.pass();
    assert_eq!(world.phase(), ArtifactPhase::Exporting);
    world.settle();
    let status = world.status();
    assert_eq!(status.phase, Some(ArtifactPhase::Ready));
    assert_eq!(status.artifacts[0].file, "my.iso");
    assert_eq!(status.artifacts[0].bytes, 12);
    for name in [types::BUILT, types::EXPORTED, types::READY] {
        assert_eq!(condition(&status, name).unwrap().status, "True", "{name}");
    }
    assert_eq!(status.builder_node.as_deref(), Some("node-1"));
}

#[test]
fn a_spec_that_cannot_be_built_is_an_error_with_a_sentence_and_nothing_starts() {
    let mut world = World::new("{baseImageName: a, kairosRelease: latest}");
    assert_eq!(world.pass(), []);
    assert_eq!(world.phase(), ArtifactPhase::Error);
    assert_eq!(world.reason(), reasons::INVALID_SPEC);
    assert!(
        world.message().contains("write such as \"v3.6.0\""),
        "{}",
        world.message()
    );
    world.edit(ISO);
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Building);
}

#[test]
fn a_failed_step_is_an_error_with_its_words_and_no_loop() {
    let mut world = World::new(ISO);
    world.settle();
    world.kubelet("Failed", 0, &json!({"terminated": {"exitCode": 1, "reason": "Error", "message": "template: ocispec:3: unexpected EOF"}}));
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Error);
    assert_eq!(
        world.message(),
        "prepare exited with 1: template: ocispec:3: unexpected EOF"
    );
    assert_eq!(world.reason(), reasons::BUILD_FAILED);
    world.now += 100_000;
    assert_eq!(world.pass(), []);
    assert_eq!(world.pods.len(), 1, "the failed Pod stays, for its logs");
}

#[test]
fn an_error_is_left_by_the_annotation_or_by_an_edit_each_once() {
    let mut world = World::new(ISO);
    let fail = |world: &mut World| {
        world.settle();
        world.kubelet(
            "Failed",
            0,
            &json!({"terminated": {"exitCode": 1, "reason": "Error"}}),
        );
        world.settle();
        assert_eq!(world.phase(), ArtifactPhase::Error);
    };
    fail(&mut world);
    let first = world.status().builder_pod;
    world.retry("1");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Building);
    assert_ne!(world.status().builder_pod, first, "another Pod");
    assert_eq!(world.pods.len(), 1, "the failed one is gone");
    fail(&mut world);
    assert_eq!(world.pass(), [], "the same value asks for nothing");
    world.edit("{imageName: b, iso: true}");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Building);
}

#[test]
fn only_an_edit_that_changes_the_plan_builds_anew() {
    let mut world = World::new(ISO);
    world.build();
    let first = world.status().builder_pod;
    world.edit("{imageName: quay.io/kairos/opensuse:v3.6.0, iso: true, imagePullSecrets: [{name: s}], diskSize: 10G}");
    world.settle();
    assert_eq!(
        (world.phase(), world.status().builder_pod),
        (ArtifactPhase::Ready, first.clone())
    );
    assert_eq!(world.status().observed_generation, Some(2));
    world.edit("{imageName: quay.io/kairos/opensuse:v3.7.0, iso: true}");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Building);
    assert_ne!(world.status().builder_pod, first);
    assert!(!is_built(&world.status()));
}

#[test]
fn a_running_build_is_stopped_before_the_next_one_starts() {
    let mut world = World::new(ISO);
    world.settle();
    let first = world.pods[0].name_any();
    world.pods[0].metadata.deletion_timestamp = None;
    world.edit("{imageName: b, iso: true}");
    world.now += 1;
    let decision = world.decide();
    assert!(
        matches!(decision.actions.as_slice(), [Action::DeletePod(name, _)] if *name == first),
        "{:?}",
        decision.actions
    );
    world.artifact.status = Some(decision.status);
    world.pods[0].metadata.deletion_timestamp = Some(Time(at(0)));
    assert_eq!(world.decide().actions, [], "it is ending");
    world.pods.clear();
    assert!(matches!(world.pass().as_slice(), [Action::StartBuild(name)] if *name != first));
}

#[test]
fn what_a_build_waits_for_is_told_at_once_and_given_up_after_the_deadline() {
    let mut world = World::new(ISO);
    world.settle();
    world.kubelet(
        "Pending",
        1,
        &json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}),
    );
    let decision = world.decide();
    assert_eq!(decision.status.phase, Some(ArtifactPhase::Building));
    let message = decision.status.message.clone().unwrap();
    assert!(
        message.contains("ImagePullBackOff: Back-off pulling image"),
        "{message}"
    );
    assert!(decision.wake_after.is_some());
    world.settle();
    world.now += 30 * 60 + 60;
    let actions = world.pass();
    assert!(
        matches!(actions.as_slice(), [Action::DeletePod(..)]),
        "{actions:?}"
    );
    assert_eq!(world.phase(), ArtifactPhase::Error);
    assert_eq!(world.reason(), reasons::STUCK);
    assert!(
        world
            .message()
            .starts_with("given up after 30 min without progress: "),
        "{}",
        world.message()
    );
}

#[test]
fn a_step_that_runs_has_longer_than_one_that_waits_and_is_given_up_in_the_end() {
    let mut world = World::new(ISO);
    world.settle();
    world.kubelet("Pending", 1, &running());
    world.settle();
    world.now += 30 * 60 + 60;
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Building);
    assert!(
        world.decide().wake_after.is_some(),
        "nothing else would wake it"
    );
    world.now += 210 * 60;
    let actions = world.pass();
    assert!(
        matches!(actions.as_slice(), [Action::DeletePod(..)]),
        "{actions:?}"
    );
    assert_eq!(world.phase(), ArtifactPhase::Error);
    assert_eq!(world.reason(), reasons::STUCK);
    assert_eq!(
        world.message(),
        "given up: step 2/6 unpack-image has been running for more than 240 min (--step-deadline-seconds)"
    );
}

#[test]
fn a_pod_whose_steps_have_all_ended_is_waited_for_without_naming_a_step() {
    let mut world = World::new(ISO);
    world.settle();
    world.kubelet("Running", 5, &running());
    world.settle();
    // Longer than a wait may take: what the last step took does not count against the Pod's end.
    world.now += 30 * 60 + 60;
    world.kubelet("Running", 99, &json!({}));
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Building);
    assert_eq!(world.reason(), reasons::RUNNING);
    assert_eq!(
        world.message(),
        "every step has ended; waiting for the end of the builder Pod to be reported"
    );
    world.kubelet("Succeeded", 99, &json!({}));
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Ready);
}

#[test]
fn a_builder_pod_that_vanished_is_an_error() {
    let mut world = World::new(ISO);
    world.settle();
    world.pods.clear();
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Error);
    assert!(
        world
            .message()
            .contains("was deleted before the build was done"),
        "{}",
        world.message()
    );
}

#[test]
fn a_success_without_the_list_of_files_is_an_error() {
    for message in [
        "",
        "files 1\ni0 q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s",
        "files 2\ni12 q6u",
    ] {
        let mut world = World::new(ISO);
        world.settle();
        world.kubelet("Succeeded", 99, &json!({}));
        let collector = &mut world.pods[0]
            .status
            .as_mut()
            .unwrap()
            .container_statuses
            .as_mut()
            .unwrap()[0];
        collector
            .state
            .as_mut()
            .unwrap()
            .terminated
            .as_mut()
            .unwrap()
            .message = Some(message.to_owned());
        world.settle();
        assert_eq!(world.phase(), ArtifactPhase::Error, "{message}");
        assert!(
            world.message().contains("list of files is missing"),
            "{}",
            world.message()
        );
    }
}

#[test]
fn what_kairos_operator_left_ready_is_not_built_again() {
    let mut world = World::new(WITH_EXPORTERS);
    world.artifact.status = Some(crate::testing::status("{phase: Ready}"));
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Ready);
    assert_eq!((world.pods.len(), world.jobs.len()), (0, 0));
    assert_eq!(world.reason(), reasons::ADOPTED);
    world.edit("{imageName: b, iso: true}");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Building);
}

#[test]
fn a_pod_of_another_artifact_of_the_same_name_is_not_ours() {
    let mut world = World::new(ISO);
    world.settle();
    let mut other = world.pods[0].clone();
    other.metadata.name = Some("theirs".into());
    other.metadata.owner_references.as_mut().unwrap()[0].uid = "another".into();
    world.pods.insert(0, other);
    world.kubelet("Succeeded", 99, &json!({}));
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Ready);
    assert_eq!(world.pods.len(), 2);
}

#[test]
fn a_spec_that_becomes_invalid_stops_the_build_and_keeps_what_is_built() {
    let mut world = World::new(ISO);
    world.settle();
    world.edit("{imageName: a, netboot: true, netbootURL: nowhere}");
    world.settle();
    assert_eq!((world.phase(), world.pods.len()), (ArtifactPhase::Error, 0));
    world.edit(ISO);
    world.build();
    assert_eq!(world.phase(), ArtifactPhase::Ready);
    world.edit("{imageName: a, netboot: true, netbootURL: nowhere}");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Error);
    let built = world.status().artifacts;
    world.edit(ISO);
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Ready);
    assert_eq!(world.status().artifacts, built);
}

#[test]
fn an_edit_of_the_volume_that_cannot_have_an_effect_is_told_and_not_when_it_has_one() {
    let mut world = World::new("{imageName: a, iso: true, volume: {storageClassName: slow}}");
    world.build();
    world.claim = Some(claim(&world.artifact));
    world.settle();
    assert_eq!(condition(&world.status(), types::VOLUME_OUTDATED), None);
    world.edit("{imageName: a, iso: true, volume: {storageClassName: fast, resources: {requests: {storage: 20Gi}}}}");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Ready, "the files are there");
    let told = condition(&world.status(), types::VOLUME_OUTDATED)
        .unwrap()
        .clone();
    assert_eq!(
        (&*told.status, &*told.reason),
        ("True", reasons::CLAIM_EXISTS)
    );
    assert_eq!(
        told.message,
        "spec.volume has no effect on the volume claim my-artifacts, which exists already with another storageClassName, \
         resources.requests.storage; to get another one, delete the OSArtifact and create it anew"
    );
    world.edit("{imageName: a, iso: true, volume: {storageClassName: slow}}");
    world.settle();
    assert_eq!(condition(&world.status(), types::VOLUME_OUTDATED), None);
}
