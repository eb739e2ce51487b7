//! What a kubelet would report of a builder Pod.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::world::World;

/// A SHA-256 as the worker reports it, and as the status shows it.
const DIGEST: &str = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s";
pub(crate) const SHA256: &str = "abababababababababababababababababababababababababababababababab";

/// The names of the Pod's containers, in the order in which they run.
pub(crate) fn containers(pod: &Pod) -> Vec<String> {
    let spec = pod.spec.as_ref().unwrap();
    let all = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers);
    all.map(|container| container.name.clone()).collect()
}

/// What the collector says of files with these letters, each of twelve bytes.
pub(crate) fn report(letters: &str) -> String {
    let files: Vec<String> = letters
        .chars()
        .map(|letter| format!("\n{letter}12 {DIGEST}"))
        .collect();
    format!("files {}{}", letters.len(), files.concat())
}

pub(crate) fn waiting(reason: &str, message: &str) -> Value {
    json!({"waiting": {"reason": reason, "message": message}})
}

pub(crate) fn ended(code: i32, reason: &str, message: &str) -> Value {
    json!({"terminated": {"exitCode": code, "reason": reason, "message": message,
        "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:02Z"}})
}

pub(crate) fn running() -> Value {
    json!({"running": {"startedAt": "2026-01-01T00:00:02Z"}})
}

impl World {
    /// Says that the containers before `current` have ended well and that this one is in `state`.
    pub(crate) async fn at_step(&self, artifact: &str, current: &str, state: Value) {
        let pod = self.builder(artifact).await;
        let failed = state
            .pointer("/terminated/exitCode")
            .is_some_and(|code| *code != 0);
        let phase = if failed { "Failed" } else { "Pending" };
        self.report_pod(&pod, current, &state, &json!({"phase": phase}))
            .await;
    }

    /// Says that the Pod has succeeded, and what the collector found.
    pub(crate) async fn succeed(&self, artifact: &str, letters: &str) {
        let pod = self.builder(artifact).await;
        let state = ended(0, "Completed", &report(letters));
        self.report_pod(&pod, "collect", &state, &json!({"phase": "Succeeded"}))
            .await;
    }

    /// Says that the whole Pod has failed, for a reason of its own.
    pub(crate) async fn fail_pod(&self, artifact: &str, reason: &str, message: &str) {
        let pod = self.builder(artifact).await;
        let status = json!({"phase": "Failed", "reason": reason, "message": message});
        self.report_pod(&pod, "prepare", &running(), &status).await;
    }

    async fn report_pod(&self, pod: &Pod, current: &str, state: &Value, status: &Value) {
        let names = containers(pod);
        let place = names.iter().position(|name| name == current);
        let place = place.unwrap_or_else(|| panic!("{current} is none of {names:?}"));
        let container = |(index, name): (usize, &String)| {
            let state = match index.cmp(&place) {
                std::cmp::Ordering::Less => ended(0, "Completed", ""),
                std::cmp::Ordering::Equal => state.clone(),
                std::cmp::Ordering::Greater => waiting("PodInitializing", ""),
            };
            json!({"name": name, "image": "image", "imageID": "", "ready": false, "restartCount": 0, "state": state})
        };
        let mut all: Vec<Value> = names.iter().enumerate().map(container).collect();
        let main = all.pop();
        let mut status = status.clone();
        status["initContainerStatuses"] = json!(all);
        status["containerStatuses"] = json!([main]);
        let patch = json!({"status": status});
        let name = pod.name_any();
        self.pods()
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }
}
