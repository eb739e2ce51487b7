//! Where artifacts are built: a namespace with what builds need, and what becomes of them.

use std::fmt::Write as _;
use std::time::Duration;

use api_types::conditions::types;
use api_types::osartifact::{ArtifactPhase, OSArtifact, OSArtifactStatus};
use k8s_openapi::api::core::v1::{PersistentVolume, Pod, Secret};
use kube::api::{ListParams, LogParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::TOOLS;

/// Images are pulled, containers started, files built.
pub(crate) const PATIENCE: Duration = Duration::from_mins(6);

/// What `question` answers in the end.
pub(crate) async fn until<T>(
    what: &str,
    patience: Duration,
    mut question: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "not within {patience:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What the status says of a volume that is another one than the spec asks for.
pub(crate) fn outdated(status: &OSArtifactStatus) -> Option<String> {
    let mut conditions = status.conditions.iter();
    let found = conditions.find(|condition| condition.type_ == types::VOLUME_OUTDATED)?;
    Some(found.message.clone())
}

pub(crate) fn sha256(content: &[u8]) -> String {
    format!("{:x}", Sha256::digest(content))
}

/// A namespace in which artifacts are built.
pub(crate) struct Site {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

impl Site {
    pub(crate) fn artifacts(&self) -> Api<OSArtifact> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) async fn secret(&self, name: &str, type_: &str, entries: Value) {
        self.create_secret(
            json!({"metadata": {"name": name}, "type": type_, "stringData": entries}),
        )
        .await;
    }

    pub(crate) async fn create_secret(&self, secret: Value) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let secret = serde_json::from_value(secret).unwrap();
        secrets
            .create(&PostParams::default(), &secret)
            .await
            .unwrap();
    }

    /// A folder on the node for the claim of that artifact.
    async fn volume(&self, artifact: &str) {
        self.create_volume(json!({
            "metadata": {"name": artifact},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "50Gi"}, "storageClassName": "",
                "claimRef": {"namespace": self.namespace, "name": format!("{artifact}-artifacts")},
                "hostPath": {"path": format!("/var/lib/{artifact}"), "type": "DirectoryOrCreate"},
            },
        }))
        .await;
    }

    pub(crate) async fn create_volume(&self, volume: Value) {
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let volume = serde_json::from_value(volume).unwrap();
        volumes
            .create(&PostParams::default(), &volume)
            .await
            .unwrap();
    }

    /// Builds, and runs `script` as an exporter where the files are. What both end with.
    pub(crate) async fn build(&self, name: &str, spec: Value, script: &str) -> OSArtifactStatus {
        let mut spec = spec;
        spec["imagePullSecrets"] = json!([{"name": "registry"}]);
        spec["exporters"] = json!([{"backoffLimit": 0, "template": {"spec": {"containers": [{
            "name": "check", "image": TOOLS, "command": ["bash", "-euxc", script],
            "volumeMounts": [{"name": "artifacts", "mountPath": "/artifacts"}],
        }]}}}]);
        self.create(name, spec).await;
        self.end(name).await
    }

    /// Creates an artifact with a volume of its own.
    pub(crate) async fn create(&self, name: &str, spec: Value) {
        self.volume(name).await;
        let artifact = serde_json::from_value(json!({
            "apiVersion": "build.kairos.io/v1alpha2", "kind": "OSArtifact", "metadata": {"name": name}, "spec": spec,
        }))
        .unwrap();
        self.artifacts()
            .create(&PostParams::default(), &artifact)
            .await
            .unwrap();
    }

    /// Runs a Pod to its good end, and returns what it printed.
    pub(crate) async fn run(&self, name: &str, spec: Value) -> String {
        let pods = self.pods();
        let pod =
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
        pods.create(&PostParams::default(), &pod).await.unwrap();
        until(name, PATIENCE, async || {
            let status = pods.get(name).await.unwrap().status?;
            let phase = status.phase.as_deref().unwrap_or_default();
            assert_ne!(phase, "Failed", "{name}: {status:#?}");
            (phase == "Succeeded").then_some(())
        })
        .await;
        pods.logs(name, &LogParams::default()).await.unwrap()
    }

    /// What the artifact ends with.
    pub(crate) async fn end(&self, name: &str) -> OSArtifactStatus {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = self
                .artifacts()
                .get(name)
                .await
                .unwrap()
                .status
                .unwrap_or_default();
            if matches!(
                status.phase,
                Some(ArtifactPhase::Ready | ArtifactPhase::Error)
            ) {
                return status;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{name} has not ended within {PATIENCE:?}: {status:#?}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub(crate) async fn ready(&self, name: &str, spec: Value, script: &str) -> OSArtifactStatus {
        let status = self.build(name, spec, script).await;
        let ready = status.phase == Some(ArtifactPhase::Ready);
        let logs = if ready {
            String::new()
        } else {
            self.logs(name).await
        };
        assert!(ready, "{name}: {status:#?}\n{logs}");
        // What the API server fills in is no difference.
        assert_eq!(outdated(&status), None, "{name}");
        status
    }

    /// The ends of all logs of the artifact's Pods.
    async fn logs(&self, name: &str) -> String {
        let pods = self.pods();
        let selected = ListParams::default().labels(&format!("build.kairos.io/artifact={name}"));
        let mut text = String::new();
        for pod in pods.list(&selected).await.unwrap().items {
            let spec = pod.spec.as_ref().unwrap();
            for container in spec
                .init_containers
                .iter()
                .flatten()
                .chain(&spec.containers)
            {
                let params = LogParams {
                    container: Some(container.name.clone()),
                    tail_lines: Some(20),
                    ..LogParams::default()
                };
                let log = pods
                    .logs(&pod.name_any(), &params)
                    .await
                    .unwrap_or_else(|error| error.to_string());
                writeln!(text, "--- {} {}\n{log}", pod.name_any(), container.name).unwrap();
            }
        }
        text
    }
}
