//! One namespace with its own simulated node, and what tests put there and ask. All worlds share one cluster and one
//! controller.

use std::time::Duration;

use api_types::nodeop::{NodeOp, NodePhase, NodeStatus, NodeStep, Phase};
use e2e::cluster::{Cluster, ControlPlane, TempNamespace};
use e2e::guard::ProcessHandle;
use e2e::operator::{self, Controller};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The longest that any expected change may take: on a busy machine the API server evicts some 20 Pods a second.
const PATIENCE: Duration = Duration::from_mins(3);
const STAGES: &str = include_str!("stages.yaml");

struct Shared {
    cluster: Cluster,
    _controller: ProcessHandle,
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();

async fn shared() -> &'static Shared {
    SHARED
        .get_or_init(async || {
            let cluster = Cluster::builder()
                .control_plane(ControlPlane::Full)
                .simulated_nodes(0)
                .stages(STAGES)
                .start()
                .await
                .unwrap();
            operator::install(&cluster).await.unwrap();
            let controller = Controller::new(&cluster, "nodeop-controller", None)
                .await
                .unwrap();
            let running = controller.start(&cluster).unwrap();
            Shared {
                cluster,
                _controller: running,
            }
        })
        .await
}

pub(crate) struct World {
    pub(crate) client: Client,
    namespace: TempNamespace,
    /// The node of this world.
    pub(crate) node: String,
}

impl World {
    /// A namespace with one Ready node.
    pub(crate) async fn new(prefix: &str) -> Self {
        let shared = shared().await;
        let namespace = shared.cluster.temp_namespace(prefix).await.unwrap();
        let node = format!("{}-node", namespace.name());
        let world = Self {
            client: shared.cluster.client().unwrap(),
            namespace,
            node,
        };
        let node = json!({"metadata": {
            "name": world.node, "labels": {"test-world": world.name()},
            "annotations": {"kwok.x-k8s.io/node": "fake"}}});
        let nodes: Api<Node> = Api::all(world.client.clone());
        nodes
            .create(
                &PostParams::default(),
                &serde_json::from_value(node).unwrap(),
            )
            .await
            .unwrap();
        eventually("the node is Ready", async || {
            let status = world.get_node().await.status?;
            let ready = status
                .conditions?
                .iter()
                .any(|found| found.type_ == "Ready" && found.status == "True");
            ready.then_some(())
        })
        .await;
        world
    }

    pub(crate) fn name(&self) -> &str {
        self.namespace.name()
    }

    pub(crate) async fn get_node(&self) -> Node {
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes.get(&self.node).await.unwrap()
    }

    pub(crate) async fn is_cordoned(&self) -> bool {
        let spec = self.get_node().await.spec;
        spec.and_then(|spec| spec.unschedulable) == Some(true)
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), self.name())
    }

    /// Creates an object of any kind in this namespace.
    pub(crate) async fn create(&self, manifest: Value) {
        self.create_in(self.name(), manifest).await;
    }

    pub(crate) async fn create_in(&self, namespace: &str, manifest: Value) {
        let (group, version) = match manifest["apiVersion"].as_str().unwrap().split_once('/') {
            Some((group, version)) => (group, version),
            None => ("", "v1"),
        };
        let kind = GroupVersionKind::gvk(group, version, manifest["kind"].as_str().unwrap());
        let api: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            namespace,
            &ApiResource::from_gvk(&kind),
        );
        let object = serde_json::from_value(manifest).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    /// A Pod on the node that no controller owns, changed by a merge of `change`; waits until it runs.
    pub(crate) async fn pod(&self, name: &str, change: Value) {
        self.create(self.bare_pod(name, change)).await;
        self.runs(self.name(), name).await;
    }

    pub(crate) fn bare_pod(&self, name: &str, change: Value) -> Value {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"nodeName": self.node, "terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": "hangs"}]},
        });
        merge(&mut pod, change);
        pod
    }

    pub(crate) async fn runs(&self, namespace: &str, name: &str) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        eventually(&format!("Pod {name} runs"), async || {
            let status = pods.get_opt(name).await.unwrap()?.status?;
            (status.phase? == "Running").then_some(())
        })
        .await;
    }

    /// A Deployment whose Pods must run on this world's node; waits until all run, and returns their names.
    pub(crate) async fn deployment(
        &self,
        name: &str,
        replicas: usize,
        change: Value,
    ) -> Vec<String> {
        let mut spec = json!({
            "nodeSelector": {"test-world": self.name()}, "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "hangs"}],
        });
        merge(&mut spec, change);
        self.create(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}}, "spec": spec}},
        }))
        .await;
        eventually("the Deployment runs", async || {
            let listed = self
                .pods()
                .list(&ListParams::default().labels(&format!("app={name}")))
                .await
                .unwrap();
            let running: Vec<String> = listed
                .iter()
                .filter(|pod| {
                    let phase = pod
                        .status
                        .as_ref()
                        .and_then(|status| status.phase.as_deref());
                    phase == Some("Running")
                })
                .map(ResourceExt::name_any)
                .collect();
            (running.len() == replicas).then_some(running)
        })
        .await
    }

    /// A budget over `app`; waits until the controller manager has computed that it allows `allowed` disruptions.
    pub(crate) async fn budget(&self, name: &str, app: &str, min_available: usize, allowed: i32) {
        self.create(json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
            "spec": {"minAvailable": min_available, "selector": {"matchLabels": {"app": app}}},
        }))
        .await;
        let api: Api<k8s_openapi::api::policy::v1::PodDisruptionBudget> =
            Api::namespaced(self.client.clone(), self.name());
        eventually("the budget is computed", async || {
            let status = api.get(name).await.unwrap().status?;
            let seen = status.observed_generation == Some(1) && status.expected_pods > Some(0);
            (seen && status.disruptions_allowed == Some(allowed)).then_some(())
        })
        .await;
    }

    /// Starts a NodeOp over this world's node with those drain options besides `enabled`.
    pub(crate) async fn drain(&self, options: Value) {
        let mut all = json!({"enabled": true, "timeoutSeconds": 120});
        merge(&mut all, options);
        self.create(json!({
            "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp", "metadata": {"name": "op"},
            "spec": {"command": ["run"], "image": "works", "drainOptions": all,
                "nodeSelector": {"matchLabels": {"test-world": self.name()}}},
        }))
        .await;
    }

    async fn node_op(&self) -> NodeOp {
        let api: Api<NodeOp> = Api::namespaced(self.client.clone(), self.name());
        api.get("op").await.unwrap()
    }

    /// Waits for an entry of the node that `holds`.
    pub(crate) async fn until(
        &self,
        what: &str,
        holds: impl Fn(&NodeStatus) -> bool,
    ) -> NodeStatus {
        let mut last = None;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            let status = self.node_op().await.status.unwrap_or_default();
            last = status.node_statuses.get(&self.node).cloned();
            if let Some(entry) = &last
                && holds(entry)
            {
                return entry.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{what}: not within {PATIENCE:?}; the node's entry is {last:#?}")
    }

    /// Waits until the node drains and its message has those words.
    pub(crate) async fn says(&self, words: &str) -> NodeStatus {
        self.until(&format!("a message with \"{words}\""), |entry| {
            let message = entry.message.as_deref().unwrap_or_default();
            entry.step == Some(NodeStep::Draining) && message.contains(words)
        })
        .await
    }

    /// Waits for the end of the NodeOp; it must be a success that leaves no cordon.
    pub(crate) async fn completes(&self) {
        self.until("the node is done", |entry| entry.phase.is_terminal())
            .await;
        let status = self.node_op().await.status.unwrap_or_default();
        assert_eq!(
            status.node_statuses[&self.node].phase,
            NodePhase::Completed,
            "{status:#?}"
        );
        eventually("the NodeOp is done", async || {
            let phase = self.node_op().await.status?.phase?;
            (phase == Phase::Completed).then_some(())
        })
        .await;
        eventually("the cordon is undone", async || {
            (!self.is_cordoned().await).then_some(())
        })
        .await;
    }

    /// Waits for the failure of the node and returns its message.
    pub(crate) async fn fails(&self) -> String {
        let entry = self
            .until("the node has failed", |entry| entry.phase.is_terminal())
            .await;
        assert_eq!(entry.phase, NodePhase::Failed, "{entry:#?}");
        entry.message.unwrap()
    }

    /// Waits for an Event about the NodeOp with those words.
    pub(crate) async fn event(&self, words: &str) {
        let events: Api<Event> = Api::namespaced(self.client.clone(), self.name());
        eventually(&format!("an Event with \"{words}\""), async || {
            let listed = events.list(&ListParams::default()).await.ok()?;
            let tells = |event: &Event| {
                event
                    .regarding
                    .as_ref()
                    .and_then(|object| object.kind.as_deref())
                    == Some("NodeOp")
                    && event.note.as_ref().is_some_and(|note| note.contains(words))
            };
            listed.items.iter().any(tells).then_some(())
        })
        .await;
    }

    pub(crate) async fn delete_pod(&self, name: &str) {
        self.pods()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    pub(crate) async fn remove_finalizers(&self, namespace: &str, name: &str) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let patch = json!({"metadata": {"finalizers": null}});
        pods.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    /// Whether that Pod is there and not being deleted.
    pub(crate) async fn is_untouched(&self, name: &str) -> bool {
        let pod = self.pods().get_opt(name).await.unwrap();
        pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_none())
    }

    /// Requests by the controller in this namespace on `resource`, as `(object, code)`.
    pub(crate) fn asked(&self, verb: &str, resource: &str) -> Vec<(String, u16)> {
        let audit = SHARED.get().unwrap().cluster.audit().unwrap();
        let asked = audit
            .service_account(operator::NAMESPACE, "nodeop-controller")
            .namespace(self.name())
            .verb(verb)
            .resource(resource);
        asked
            .events()
            .iter()
            .map(|event| (event.object_ref.name.clone(), event.code()))
            .collect()
    }

    /// Evictions that the API server accepted, by Pod.
    pub(crate) fn evicted(&self) -> Vec<String> {
        let asked = self.asked("create", "pods/eviction");
        let mut names: Vec<String> = asked
            .into_iter()
            .filter(|(_, code)| *code == 201)
            .map(|(name, _)| name)
            .collect();
        names.sort_unstable();
        names
    }
}

pub(crate) fn merge(into: &mut Value, change: Value) {
    match change {
        Value::Object(fields) => {
            for (key, value) in fields {
                merge(&mut into[key], value);
            }
        }
        value => *into = value,
    }
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
