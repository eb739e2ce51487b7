//! Where artifacts are built: a namespace with what builds need, and what becomes of them.

use std::fmt::Write as _;
use std::time::Duration;

use api_types::osartifact::{ArtifactPhase, OSArtifact, OSArtifactStatus};
use k8s_openapi::api::core::v1::{PersistentVolume, Pod, Secret};
use kube::api::{ListParams, LogParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::TOOLS;

/// Images are pulled, containers started, files built.
pub(crate) const PATIENCE: Duration = Duration::from_mins(4);

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

    async fn volume(&self, name: &str) {
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let volume = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "10Gi"}, "storageClassName": name,
                "hostPath": {"path": format!("/var/lib/{name}"), "type": "DirectoryOrCreate"},
            },
        }))
        .unwrap();
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
    pub(crate) async fn create(&self, name: &str, mut spec: Value) {
        self.volume(name).await;
        spec["volume"] = json!({"storageClassName": name});
        let artifact = serde_json::from_value(json!({
            "apiVersion": "build.kairos.io/v1alpha2", "kind": "OSArtifact", "metadata": {"name": name}, "spec": spec,
        }))
        .unwrap();
        self.artifacts()
            .create(&PostParams::default(), &artifact)
            .await
            .unwrap();
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
