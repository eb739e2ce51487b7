//! One namespace with its volumes, and what tests ask and do there. All worlds of this binary share one cluster and one
//! controller, except where a test kills its own.

use std::time::Duration;

use api_types::osartifact::{ArtifactPhase, OSArtifact, OSArtifactStatus};
use e2e::cluster::{Cluster, ControlPlane, TempNamespace};
use e2e::guard::ProcessHandle;
use e2e::operator::{self, Controller};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, PersistentVolume, PersistentVolumeClaim, Pod,
};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The longest that any expected change may take.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// Within this time, a cause has to be told.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(10);
/// How long a build of the shared controller may wait for something.
pub(crate) const DEADLINE_SECONDS: u64 = 15;

const STAGES: &str = include_str!("stages.yaml");
const NAME: &str = "artifact-controller";

struct Shared {
    cluster: Cluster,
    _running: ProcessHandle,
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();

/// A cluster with the controller's rights, without the controller.
pub(crate) async fn start_cluster() -> Cluster {
    let cluster = Cluster::builder()
        .control_plane(ControlPlane::Full)
        .simulated_nodes(1)
        .stages(STAGES)
        .start()
        .await
        .unwrap();
    operator::install_artifact_controller(&cluster)
        .await
        .unwrap();
    cluster
}

/// The controller on that cluster, not started.
pub(crate) async fn controller(cluster: &Cluster, server: Option<&str>) -> Controller {
    let controller = Controller::new(cluster, NAME, server).await.unwrap();
    controller
        .argument("--worker-image=worker")
        .argument(&format!("--progress-deadline-seconds={DEADLINE_SECONDS}"))
}

async fn shared() -> &'static Shared {
    SHARED
        .get_or_init(|| async {
            let cluster = start_cluster().await;
            let running = controller(&cluster, None).await.start(&cluster).unwrap();
            Shared {
                cluster,
                _running: running,
            }
        })
        .await
}

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) namespace: TempNamespace,
}

/// The condition of that type; panics when there is none.
pub(crate) fn condition<'a>(status: &'a OSArtifactStatus, name: &str) -> &'a Condition {
    let found = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == name);
    found.unwrap_or_else(|| panic!("no condition {name} in {status:?}"))
}

/// The reason that Ready gives.
pub(crate) fn reason(status: &OSArtifactStatus) -> String {
    condition(status, "Ready").reason.clone()
}

impl World {
    pub(crate) async fn new(prefix: &str) -> Self {
        Self::on(&shared().await.cluster, prefix).await
    }

    pub(crate) async fn on(cluster: &Cluster, prefix: &str) -> Self {
        let world = Self::without_volumes(cluster, prefix).await;
        for index in 0..3 {
            world.volume(index).await;
        }
        world
    }

    pub(crate) async fn poor(prefix: &str) -> Self {
        Self::without_volumes(&shared().await.cluster, prefix).await
    }

    async fn without_volumes(cluster: &Cluster, prefix: &str) -> Self {
        let namespace = cluster.temp_namespace(prefix).await.unwrap();
        Self {
            client: cluster.client().unwrap(),
            namespace,
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.namespace.name()
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), self.name())
    }

    pub(crate) fn artifacts(&self) -> Api<OSArtifact> {
        self.api()
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        self.api()
    }

    pub(crate) fn jobs(&self) -> Api<Job> {
        self.api()
    }

    pub(crate) fn claims(&self) -> Api<PersistentVolumeClaim> {
        self.api()
    }

    pub(crate) fn config_maps(&self) -> Api<ConfigMap> {
        self.api()
    }

    /// A volume that only claims of this world get.
    async fn volume(&self, index: usize) {
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let volume = serde_json::from_value(json!({
            "metadata": {"name": format!("{}-{index}", self.name())},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "100Gi"}, "storageClassName": self.name(),
                "hostPath": {"path": "/nowhere"}, "persistentVolumeReclaimPolicy": "Retain",
            },
        }))
        .unwrap();
        volumes
            .create(&PostParams::default(), &volume)
            .await
            .unwrap();
    }

    /// Creates an artifact whose claim gets one of this world's volumes.
    pub(crate) async fn create(&self, name: &str, spec: &str) {
        let mut spec: Value = serde_saphyr::from_str(spec).unwrap();
        if spec.get("volume").is_none() {
            spec["volume"] = json!({});
        }
        spec["volume"]["storageClassName"] = json!(self.name());
        self.create_as_is(name, json!({}), &spec).await.unwrap();
    }

    pub(crate) async fn create_as_is(
        &self,
        name: &str,
        metadata: Value,
        spec: &Value,
    ) -> Result<OSArtifact, String> {
        let mut metadata = metadata;
        metadata["name"] = json!(name);
        let artifact = serde_json::from_value(json!({
            "apiVersion": "build.kairos.io/v1alpha2", "kind": "OSArtifact", "metadata": metadata, "spec": spec,
        }))
        .unwrap();
        let created = self
            .artifacts()
            .create(&PostParams::default(), &artifact)
            .await;
        created.map_err(|error| error.to_string())
    }

    pub(crate) async fn patch(&self, name: &str, patch: Value) {
        let patch = Patch::Merge(&patch);
        self.artifacts()
            .patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    pub(crate) async fn retry(&self, name: &str, value: &str) {
        self.patch(
            name,
            json!({"metadata": {"annotations": {"build.kairos.io/retry": value}}}),
        )
        .await;
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.artifacts()
            .delete(name, &DeleteParams::background())
            .await
            .unwrap();
    }

    pub(crate) async fn status(&self, name: &str) -> OSArtifactStatus {
        self.artifacts()
            .get(name)
            .await
            .unwrap()
            .status
            .unwrap_or_default()
    }

    /// Waits for a status that `holds`, and returns it.
    pub(crate) async fn until(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&OSArtifactStatus) -> bool,
    ) -> OSArtifactStatus {
        self.within(PATIENCE, name, what, holds).await
    }

    pub(crate) async fn within(
        &self,
        patience: Duration,
        name: &str,
        what: &str,
        holds: impl Fn(&OSArtifactStatus) -> bool,
    ) -> OSArtifactStatus {
        let mut last = OSArtifactStatus::default();
        let deadline = tokio::time::Instant::now() + patience;
        while tokio::time::Instant::now() < deadline {
            last = self.status(name).await;
            if holds(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{what}: not within {patience:?}; the status is {last:#?}")
    }

    pub(crate) async fn phase(&self, name: &str, phase: ArtifactPhase) -> OSArtifactStatus {
        self.until(name, &format!("{phase:?}"), |status| {
            status.phase == Some(phase)
        })
        .await
    }

    /// The builder Pod of the artifact's current build, once it is there.
    pub(crate) async fn builder(&self, name: &str) -> Pod {
        eventually("there is a builder Pod", async || {
            let pod = self.status(name).await.builder_pod?;
            self.pods().get_opt(&pod).await.unwrap()
        })
        .await
    }

    pub(crate) async fn pod_names(&self) -> Vec<String> {
        let pods = self.pods().list(&ListParams::default()).await.unwrap();
        pods.items.iter().map(kube::ResourceExt::name_any).collect()
    }

    pub(crate) async fn pod_security(&self, level: &str) {
        let patch = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces
            .patch(self.name(), &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    /// Waits for an Event about that artifact, with that reason and those words.
    pub(crate) async fn event(&self, name: &str, reason: &str, words: &str) {
        let events: Api<Event> = self.api();
        eventually(&format!("an Event {reason} with \"{words}\""), async || {
            let listed = events.list(&ListParams::default()).await.ok()?;
            let matches = |event: &Event| {
                let about = event
                    .regarding
                    .as_ref()
                    .and_then(|object| object.name.as_deref())
                    == Some(name);
                about
                    && event.reason.as_deref() == Some(reason)
                    && event.note.as_ref().is_some_and(|note| note.contains(words))
            };
            listed.items.iter().any(matches).then_some(())
        })
        .await;
    }
}

/// Builder Pods, claims, Jobs or other objects that the controller created in a namespace, by the audit log.
pub(crate) fn created(cluster: &Cluster, namespace: &str, resource: &str) -> usize {
    let audit = cluster.audit().unwrap();
    audit
        .service_account(operator::NAMESPACE, NAME)
        .namespace(namespace)
        .verb("create")
        .resource(resource)
        .succeeded()
        .count()
}

/// What the controller asked of Secrets, in every namespace.
pub(crate) async fn requests_for_secrets() -> usize {
    let audit = shared().await.cluster.audit().unwrap();
    audit
        .service_account(operator::NAMESPACE, NAME)
        .resource("secrets")
        .count()
}

/// Polls until there is something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{what}: not within {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
