//! A world with one artifact, in which decisions are carried out.

use std::sync::Arc;

use api_types::names::ANNOTATION_RETRY;
use api_types::osartifact::{ArtifactPhase, OSArtifact, OSArtifactStatus};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::build::exporter::{exporter_hash, exporter_job, mark};
use crate::build::pod::builder_pod;
use crate::decide::{Action, Decision, Snapshot, decide};
use crate::plan::plan;
use crate::status;
use crate::testing::{artifact, settings};

/// What the collector reports for one ISO.
pub(super) const REPORT: &str = "files 1\ni12 q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s";

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// A world with one artifact, in which decisions are carried out.
pub(super) struct World {
    pub(super) artifact: OSArtifact,
    pub(super) claim: Option<PersistentVolumeClaim>,
    pub(super) pods: Vec<Pod>,
    pub(super) jobs: Vec<Job>,
    pub(super) now: i64,
}

impl World {
    pub(super) fn new(spec: &str) -> Self {
        Self {
            artifact: artifact("my", spec),
            claim: None,
            pods: Vec::new(),
            jobs: Vec::new(),
            now: 0,
        }
    }

    pub(super) fn decide(&self) -> Decision {
        let plan = plan(&self.artifact);
        let snapshot = Snapshot {
            artifact: &self.artifact,
            plan: &plan,
            claim: self.claim.clone().map(Arc::new),
            pods: self.pods.iter().cloned().map(Arc::new).collect(),
            jobs: self.jobs.iter().cloned().map(Arc::new).collect(),
            patience: SignedDuration::from_mins(30),
            step_patience: SignedDuration::from_mins(240),
        };
        decide(&snapshot, at(self.now))
    }

    /// One pass, carried out.
    pub(super) fn pass(&mut self) -> Vec<Action> {
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
    pub(super) fn settle(&mut self) {
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

    pub(super) fn status(&self) -> OSArtifactStatus {
        self.artifact.status.clone().unwrap_or_default()
    }

    pub(super) fn phase(&self) -> ArtifactPhase {
        self.status().phase.unwrap()
    }

    pub(super) fn message(&self) -> String {
        self.status().message.unwrap_or_default()
    }

    pub(super) fn reason(&self) -> String {
        status::reason(&self.status()).to_owned()
    }

    /// The builder Pod's status as the kubelet gives it: containers in order, and the Pod's phase.
    pub(super) fn kubelet(&mut self, phase: &str, done: usize, current: &Value) {
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

    pub(super) fn build(&mut self) {
        self.settle();
        self.kubelet("Succeeded", 99, &json!({}));
        self.settle();
    }

    pub(super) fn end_job(&mut self, index: usize, type_: &str) {
        let job = self
            .jobs
            .iter_mut()
            .find(|job| job.name_any() == format!("my-export-{index}"))
            .unwrap();
        job.status = serde_json::from_value(json!({"conditions": [{"type": type_, "status": "True", "reason": "BackoffLimitExceeded"}]})).unwrap();
    }

    /// A Pod of the exporter that was created at that second and does not start for that reason.
    pub(super) fn exporter_pod_waits(&mut self, index: usize, created: i64, reason: &str) {
        let name = format!("my-export-{index}");
        let job = self.jobs.iter().find(|job| job.name_any() == name).unwrap();
        let pod = json!({
            "metadata": {
                "name": format!("{name}-2"), "creationTimestamp": at(created).to_string(),
                "ownerReferences": [{
                    "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job.uid(), "controller": true,
                }],
            },
            "status": {"phase": "Pending", "containerStatuses": [{
                "name": "copy", "image": "b", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": reason}},
            }]},
        });
        self.pods.push(serde_json::from_value(pod).unwrap());
    }

    pub(super) fn edit(&mut self, spec: &str) {
        self.artifact.spec = artifact("my", spec).spec;
        *self.artifact.metadata.generation.as_mut().unwrap() += 1;
    }

    pub(super) fn retry(&mut self, value: &str) {
        self.artifact.metadata.annotations =
            Some([(ANNOTATION_RETRY.to_owned(), value.to_owned())].into());
    }
}
