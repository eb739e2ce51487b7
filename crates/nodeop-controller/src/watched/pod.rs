//! Our own Pods, cut down to what decisions read: how far each is, and what its containers say.

use api_types::names::{ANNOTATION_REBOOT_AUTHORIZED, CONTAINER_NAME, LABEL_NODE};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use serde::{Deserialize, Serialize};

use super::keep_identity;
use crate::status::cut;

/// Bytes kept of a container's words; the kubelet allows 4096 for all containers of a Pod together.
const WORDS: usize = 512;

/// A Pod of ours.
#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[resource(inherit = Pod)]
#[serde(rename_all = "camelCase", default)]
pub struct WatchedPod {
    /// Name, labels, owners and our own annotation; the rest is dropped by [`WatchedPod::trim`].
    pub metadata: ObjectMeta,
    /// How far it is.
    pub status: WatchedPodStatus,
}

/// The part of a Pod's status that is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WatchedPodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// Why the kubelet or the control plane failed the Pod as a whole, such as `Evicted`.
    pub reason: Option<String>,
    /// The same in words.
    pub message: Option<String>,
    /// Init containers, in order.
    pub init_container_statuses: Vec<WatchedContainer>,
    /// Main containers.
    pub container_statuses: Vec<WatchedContainer>,
}

/// One container of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchedContainer {
    /// Its name.
    pub name: String,
    /// What it does now.
    pub state: WatchedState,
}

/// What a container does now; at most one is there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchedState {
    /// It has not started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WatchedWaiting>,
    /// It runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<WatchedRunning>,
    /// It has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminated: Option<WatchedTerminated>,
}

/// Why a container has not started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchedWaiting {
    /// Such as `ImagePullBackOff`.
    pub reason: Option<String>,
    /// In words.
    pub message: Option<String>,
}

/// A container runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WatchedRunning {}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WatchedTerminated {
    /// 0 is success.
    pub exit_code: i32,
    /// Such as `OOMKilled`.
    pub reason: Option<String>,
    /// What it wrote to its termination log.
    pub message: Option<String>,
}

/// How far a Pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodProgress {
    /// No container of it runs yet.
    Starting,
    /// It runs.
    Running,
    /// All its containers ended well.
    Succeeded,
    /// It failed as a whole.
    Failed,
}

impl WatchedPod {
    /// Drops what no decision reads, and cuts words to a bounded length.
    pub fn trim(&mut self) {
        keep_identity(&mut self.metadata);
        self.metadata.labels = self.metadata.labels.take().map(|mut labels| {
            labels.retain(|key, _| key.starts_with("kairos.io/"));
            labels
        });
        if let Some(annotations) = &mut self.metadata.annotations {
            annotations.retain(|key, _| key.starts_with("kairos.io/"));
        }
        cut_option(&mut self.status.message);
        let status = &mut self.status;
        let containers = status
            .init_container_statuses
            .iter_mut()
            .chain(&mut status.container_statuses);
        for container in containers {
            if let Some(waiting) = &mut container.state.waiting {
                cut_option(&mut waiting.message);
            }
            if let Some(terminated) = &mut container.state.terminated {
                cut_option(&mut terminated.message);
            }
        }
    }

    /// The Pod's name; empty only for objects that no API server sent.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The node that it is for. A name that the label had to cut stands in the annotation.
    pub fn node(&self) -> Option<&str> {
        let metadata = &self.metadata;
        let full = metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(LABEL_NODE));
        let label = metadata.labels.as_ref().and_then(|all| all.get(LABEL_NODE));
        full.or(label).map(String::as_str)
    }

    /// The owner that controls this Pod.
    pub fn controller_owner(&self) -> Option<&OwnerReference> {
        let owners = self.metadata.owner_references.as_ref()?;
        owners.iter().find(|owner| owner.controller == Some(true))
    }

    /// Whether it is being deleted.
    pub fn is_terminating(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// When it was created.
    pub fn created(&self) -> Option<&Time> {
        self.metadata.creation_timestamp.as_ref()
    }

    /// How far it is.
    pub fn progress(&self) -> PodProgress {
        match self.status.phase.as_str() {
            "Succeeded" => PodProgress::Succeeded,
            "Failed" => PodProgress::Failed,
            "Running" => PodProgress::Running,
            _ => PodProgress::Starting,
        }
    }

    /// The boot that this (reboot) Pod may end.
    pub fn authorized(&self) -> Option<&str> {
        let annotations = self.metadata.annotations.as_ref()?;
        annotations
            .get(ANNOTATION_REBOOT_AUTHORIZED)
            .map(String::as_str)
    }

    /// Why it does not start, if a container says so: reason and words. `PodInitializing` and `ContainerCreating` are
    /// how every Pod begins.
    pub fn obstacle(&self) -> Option<String> {
        let waiting = self.containers().find_map(|container| {
            container
                .state
                .waiting
                .as_ref()
                .filter(|waiting| match waiting.reason.as_deref() {
                    None | Some("PodInitializing" | "ContainerCreating") => false,
                    Some(_) => true,
                })
        })?;
        let reason = waiting.reason.as_deref()?;
        Some(match waiting.message.as_deref() {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        })
    }

    /// Whether a container of it was created and has not started, of which the kubelet says nothing at all. That takes no
    /// time, unless the power failed between the two: no kubelet starts such a container again.
    pub fn is_stalled(&self) -> bool {
        let silent = |waiting: &WatchedWaiting| waiting.reason.as_deref().is_none_or(str::is_empty);
        self.progress() == PodProgress::Starting
            && self
                .containers()
                .any(|container| container.state.waiting.as_ref().is_some_and(silent))
    }

    /// How the container of that name ended, if it has.
    pub fn terminated(&self, container: &str) -> Option<&WatchedTerminated> {
        self.containers()
            .find(|candidate| candidate.name == container)
            .and_then(|found| found.state.terminated.as_ref())
    }

    /// What the command said at its end, trimmed; empty when it said nothing.
    pub fn last_words(&self) -> &str {
        self.terminated(CONTAINER_NAME)
            .and_then(|terminated| terminated.message.as_deref())
            .unwrap_or_default()
            .trim()
    }

    /// Why the Pod failed, in words.
    pub fn failure(&self) -> String {
        let exit = self
            .terminated(CONTAINER_NAME)
            .filter(|terminated| terminated.exit_code != 0);
        if let Some(exit) = exit
            && self.status.reason.is_none()
        {
            let code = exit.exit_code;
            let reason = match exit.reason.as_deref() {
                None | Some("Error") => String::new(),
                Some(reason) => format!(" ({reason})"),
            };
            let words = self.last_words();
            let separator = if words.is_empty() { "" } else { ": " };
            return format!("exited with {code}{reason}{separator}{words}");
        }
        let reason = self.status.reason.as_deref().unwrap_or("Failed");
        match self.status.message.as_deref() {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        }
    }

    fn containers(&self) -> impl Iterator<Item = &WatchedContainer> {
        let status = &self.status;
        status
            .init_container_statuses
            .iter()
            .chain(&status.container_statuses)
    }
}

impl From<Pod> for WatchedPod {
    /// The Pod as the API server answered it; a Pod that cannot be read as one is empty, which decides nothing.
    fn from(pod: Pod) -> Self {
        let mut watched: Self = serde_json::to_value(pod)
            .and_then(serde_json::from_value)
            .unwrap_or_default();
        watched.trim();
        watched
    }
}

fn cut_option(text: &mut Option<String>) {
    if let Some(text) = text
        && text.len() > WORDS
    {
        *text = cut(text, WORDS).to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(yaml: &str) -> WatchedPod {
        let pod: Pod = serde_saphyr::from_str(yaml).unwrap();
        pod.into()
    }

    #[test]
    fn a_pod_that_cannot_pull_its_image_says_so() {
        let pod = pod("status: {phase: Pending, containerStatuses: [{name: nodeop, image: i, imageID: '', ready: false,
            restartCount: 0, state: {waiting: {reason: ImagePullBackOff, message: 'Back-off pulling image x'}}}]}");
        assert_eq!(
            pod.obstacle().as_deref(),
            Some("ImagePullBackOff: Back-off pulling image x")
        );
        assert_eq!(pod.progress(), PodProgress::Starting);
    }

    #[test]
    fn a_container_that_was_created_and_of_which_nothing_is_said_is_stalled() {
        let state = |init: &str, main: &str| {
            pod(&format!(
                "status: {{phase: Pending,
                initContainerStatuses: [{{name: nodeop, image: i, imageID: '', ready: false, restartCount: 0, state: {init}}}],
                containerStatuses: [{{name: agent, image: i, imageID: '', ready: false, restartCount: 0, state: {main}}}]}}"
            ))
        };
        let initializing = "{waiting: {reason: PodInitializing}}";
        assert!(state("{waiting: {}}", initializing).is_stalled());
        for init in [
            initializing,
            "{running: {startedAt: '2026-01-01T00:00:00Z'}}",
            "{waiting: {reason: ErrImagePull}}",
        ] {
            assert!(!state(init, initializing).is_stalled(), "{init}");
        }
        assert!(!pod("status: {phase: Pending}").is_stalled());
    }

    #[test]
    fn a_pod_that_is_being_created_has_no_obstacle() {
        let pod = pod("status: {phase: Pending, containerStatuses: [{name: nodeop, image: i, imageID: '', ready: false,
            restartCount: 0, state: {waiting: {reason: ContainerCreating}}}]}");
        assert_eq!(pod.obstacle(), None);
    }

    #[test]
    fn a_failed_pod_tells_exit_code_and_last_words_or_the_kubelets_reason() {
        let exit = pod("status: {phase: Failed, containerStatuses: [{name: nodeop, image: i, imageID: '', ready: false,
            restartCount: 0, state: {terminated: {exitCode: 4, reason: Error, message: 'still at v1\n'}}}]}");
        assert_eq!(exit.failure(), "exited with 4: still at v1");
        let deadline = pod(
            "status: {phase: Failed, reason: DeadlineExceeded, message: Pod was active too long}",
        );
        assert_eq!(
            deadline.failure(),
            "DeadlineExceeded: Pod was active too long"
        );
    }
}
