//! The state machine, turn by turn.

use api_types::conditions::{reasons, types};
use api_types::osartifact::{ArtifactPhase, ExporterPhase, OSArtifact, OSArtifactStatus};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::build::exporter::{exporter_job, mark};
use crate::build::pod::builder_pod;
use crate::plan::plan;
use crate::status::{condition, is_built};
use crate::testing::{artifact, settings};

const ISO: &str = "{imageName: quay.io/kairos/opensuse:v3.6.0, iso: true}";
const WITH_EXPORTERS: &str = "{imageName: a, iso: true, exporters: [
  {ttlSecondsAfterFinished: 60, template: {spec: {containers: [{name: a, image: b}]}}},
  {template: {spec: {containers: [{name: c, image: d}]}}}]}";
/// What the collector reports for one ISO.
const REPORT: &str = "files 1\ni12 q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// A world with one artifact, in which decisions are carried out.
struct World {
    artifact: OSArtifact,
    pods: Vec<Pod>,
    jobs: Vec<Job>,
    now: i64,
}

impl World {
    fn new(spec: &str) -> Self {
        Self {
            artifact: artifact("my", spec),
            pods: Vec::new(),
            jobs: Vec::new(),
            now: 0,
        }
    }

    fn decide(&self) -> Decision {
        let plan = plan(&self.artifact);
        let snapshot = Snapshot {
            artifact: &self.artifact,
            plan: &plan,
            claim: None,
            pods: self.pods.iter().cloned().map(Arc::new).collect(),
            jobs: self.jobs.iter().cloned().map(Arc::new).collect(),
            patience: SignedDuration::from_mins(30),
        };
        decide(&snapshot, at(self.now))
    }

    /// One pass, carried out.
    fn pass(&mut self) -> Vec<Action> {
        self.now += 1;
        let decision = self.decide();
        self.artifact.status = Some(decision.status);
        for action in decision.actions.clone() {
            match action {
                Action::DeletePod(name, _) => self.pods.retain(|pod| pod.name_any() != name),
                Action::DeleteJob(name, _) => self.jobs.retain(|job| job.name_any() != name),
                Action::StartBuild(name) => {
                    let mut pod = builder_pod(
                        &self.artifact,
                        &plan(&self.artifact).unwrap(),
                        &name,
                        &settings(),
                    );
                    pod.metadata.uid = Some(format!("uid-of-{name}"));
                    pod.spec.as_mut().unwrap().node_name = Some("node-1".into());
                    self.pods.push(pod);
                }
                Action::StartExporter(index, attempt) => {
                    let exporter = &self.artifact.spec.exporters.as_ref().unwrap()[index];
                    let run = mark(
                        &exporter_hash(exporter, &self.status().builder_pod.unwrap()),
                        attempt,
                    );
                    let mut job = exporter_job(&self.artifact, index, exporter, &run, None);
                    job.metadata.uid = Some(format!("uid-of-{run}"));
                    self.jobs.push(job);
                }
                Action::Expire(..) | Action::Retain => {}
            }
        }
        decision.actions
    }

    /// Passes until nothing changes.
    fn settle(&mut self) {
        for _ in 0..10 {
            let before = (
                self.artifact.status.clone(),
                self.pods.len(),
                self.jobs.len(),
            );
            self.pass();
            if before
                == (
                    self.artifact.status.clone(),
                    self.pods.len(),
                    self.jobs.len(),
                )
            {
                return;
            }
        }
        panic!("no rest: {:#?}", self.status());
    }

    fn status(&self) -> OSArtifactStatus {
        self.artifact.status.clone().unwrap_or_default()
    }

    fn phase(&self) -> ArtifactPhase {
        self.status().phase.unwrap()
    }

    fn message(&self) -> String {
        self.status().message.unwrap_or_default()
    }

    fn reason(&self) -> String {
        status::reason(&self.status()).to_owned()
    }

    /// The builder Pod's status as the kubelet gives it: containers in order, and the Pod's phase.
    fn kubelet(&mut self, phase: &str, done: usize, current: &Value) {
        let pod = self.pods.last_mut().unwrap();
        let spec = pod.spec.as_ref().unwrap();
        let names: Vec<String> = spec
            .init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
            .map(|container| container.name.clone())
            .collect();
        let count = spec.init_containers.as_ref().map_or(0, Vec::len);
        let container = |index: usize| {
            let ended = json!({"terminated": {"exitCode": 0, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:02Z",
                "message": if names[index] == "collect" { REPORT } else { "" }}});
            let state = match index.cmp(&done) {
                std::cmp::Ordering::Less => ended,
                std::cmp::Ordering::Equal => current.clone(),
                std::cmp::Ordering::Greater => json!({"waiting": {"reason": "PodInitializing"}}),
            };
            json!({"name": names[index], "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state})
        };
        let all: Vec<Value> = (0..names.len()).map(container).collect();
        pod.status = serde_json::from_value(json!({
            "phase": phase, "initContainerStatuses": all[..count], "containerStatuses": all[count..],
        }))
        .unwrap();
    }

    fn build(&mut self) {
        self.settle();
        self.kubelet("Succeeded", 99, &json!({}));
        self.settle();
    }

    fn end_job(&mut self, index: usize, type_: &str) {
        let job = self
            .jobs
            .iter_mut()
            .find(|job| job.name_any() == format!("my-export-{index}"))
            .unwrap();
        job.status = serde_json::from_value(json!({"conditions": [{"type": type_, "status": "True", "reason": "BackoffLimitExceeded"}]})).unwrap();
    }

    fn edit(&mut self, spec: &str) {
        self.artifact.spec = artifact("my", spec).spec;
        *self.artifact.metadata.generation.as_mut().unwrap() += 1;
    }

    fn retry(&mut self, value: &str) {
        self.artifact.metadata.annotations =
            Some([(ANNOTATION_RETRY.to_owned(), value.to_owned())].into());
    }
}

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
fn a_step_that_runs_is_never_given_up() {
    let mut world = World::new(ISO);
    world.settle();
    world.kubelet("Pending", 1, &running());
    world.settle();
    world.now += 100_000;
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Building);
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
fn exporters_run_once_each_and_ready_waits_for_all() {
    let mut world = World::new(WITH_EXPORTERS);
    world.build();
    assert_eq!(world.phase(), ArtifactPhase::Exporting);
    assert_eq!(world.jobs.len(), 2);
    world.end_job(0, "Complete");
    let actions = world.pass();
    assert_eq!(actions, [], "first the result is recorded");
    assert_eq!(world.message(), "1 of 2 exporters are done");
    assert_eq!(world.pass(), [Action::Expire("my-export-0".into(), 60)]);
    world.jobs.retain(|job| job.name_any() != "my-export-0");
    world.settle();
    assert_eq!(world.jobs.len(), 1, "what is recorded does not run again");
    world.end_job(1, "Complete");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Ready);
}

#[test]
fn a_failed_exporter_is_an_error_the_others_finish_and_a_retry_runs_only_it() {
    let mut world = World::new(WITH_EXPORTERS);
    world.build();
    world.end_job(0, "FailureTarget");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Error);
    assert!(
        world.message().starts_with("exporter 0 failed: "),
        "{}",
        world.message()
    );
    world.end_job(1, "Complete");
    world.settle();
    assert_eq!(world.status().exporters[1].phase, ExporterPhase::Succeeded);
    let builder = world.status().builder_pod;
    world.retry("1");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Exporting);
    assert_eq!(
        world.status().builder_pod,
        builder,
        "nothing is built again"
    );
    assert_eq!(world.status().exporters[0].attempt, 2);
    world.end_job(0, "Complete");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Ready);
}

#[test]
fn an_edited_exporter_runs_again_and_one_that_is_gone_is_removed() {
    let mut world = World::new(WITH_EXPORTERS);
    world.build();
    for index in [0, 1] {
        world.end_job(index, "Complete");
    }
    world.settle();
    world.edit("{imageName: a, iso: true, exporters: [{template: {spec: {containers: [{name: a, image: another}]}}}]}");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Exporting);
    assert_eq!(world.jobs.len(), 1);
    assert_eq!(world.status().exporters.len(), 1);
    world.end_job(0, "Complete");
    world.settle();
    assert_eq!(world.phase(), ArtifactPhase::Ready);
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
