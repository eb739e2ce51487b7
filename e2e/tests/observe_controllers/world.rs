//! All four controllers on one cluster of simulated nodes, and some work for each of them.

use std::path::PathBuf;
use std::time::Duration;

use api_types::names::{ANNOTATION_REBOOT_AUTHORIZED, LABEL_REBOOT, VALUE_TRUE};
use api_types::nodeop::NodeOp;
use api_types::nodeopupgrade::NodeOpUpgrade;
use api_types::osartifact::OSArtifact;
use e2e::cluster::{Cluster, ControlPlane, SIMULATED_ANNOTATION, TempNamespace};
use e2e::guard::ProcessHandle;
use e2e::operator::{self, AGENT_IMAGE, Controller};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::prometheus::http;

/// The longest that any expected change may take.
const PATIENCE: Duration = Duration::from_mins(1);
const NODES: usize = 4;

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) controllers: Vec<Running>,
    client: Client,
    namespace: TempNamespace,
}

/// A controller that runs.
pub(crate) struct Running {
    pub(crate) name: &'static str,
    /// Of its admin server.
    pub(crate) address: String,
    _process: ProcessHandle,
}

impl Running {
    async fn start(cluster: &Cluster, name: &'static str, argument: &str) -> Self {
        let mut controller = Controller::new(cluster, name, None).await.unwrap();
        if !argument.is_empty() {
            controller = controller.argument(argument);
        }
        let process = controller.start(cluster).unwrap();
        let log: PathBuf = controller.log().to_owned();
        let address = eventually("the controller tells its admin address", async || {
            let log = std::fs::read_to_string(&log).ok()?;
            let (_, after) = log.split_once("admin_address=")?;
            let address = after.split_whitespace().next()?;
            // Text for people is coloured where a terminal is.
            Some(
                address
                    .trim_matches(|letter: char| !letter.is_ascii_digit())
                    .to_owned(),
            )
        })
        .await;
        let running = Self {
            name,
            address,
            _process: process,
        };
        eventually("the controller leads", async || {
            let ready = http(&running.address, "/readyz", "*/*").await?;
            let leads = format!("leader_election_leading{{controller=\"{name}\"}} 1");
            let metrics = running.metrics(true).await;
            (ready == "ok\n" && metrics.contains(&leads)).then_some(())
        })
        .await;
        running
    }

    /// What it shows, as `OpenMetrics` or as the older text.
    pub(crate) async fn metrics(&self, open: bool) -> String {
        let accept = if open {
            "application/openmetrics-text; version=1.0.0"
        } else {
            "text/plain"
        };
        http(&self.address, "/metrics", accept).await.unwrap()
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        let cluster = Cluster::builder()
            .control_plane(ControlPlane::Full)
            .simulated_nodes(0)
            .stages(include_str!("stages.yaml"))
            .start()
            .await
            .unwrap();
        let names = ["nodeop-controller", "node-labeller", "upgrade-controller"];
        operator::install_controllers(&cluster, &names)
            .await
            .unwrap();
        operator::install_artifact_controller(&cluster)
            .await
            .unwrap();
        let agent = format!("--agent-image={AGENT_IMAGE}");
        let mut controllers = Vec::new();
        for (name, argument) in [
            ("nodeop-controller", &*agent),
            ("upgrade-controller", ""),
            ("artifact-controller", "--worker-image=worker"),
            ("node-labeller", "--detect-image=detect"),
        ] {
            controllers.push(Running::start(&cluster, name, argument).await);
        }
        Self {
            controllers,
            client: cluster.client().unwrap(),
            namespace: cluster.temp_namespace("observe").await.unwrap(),
            cluster,
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), self.namespace.name())
    }

    async fn create<K>(api: Api<K>, object: Value)
    where
        K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
    {
        let object = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    /// Something of everything: nodes are labelled, drained, rebooted and upgraded, one fails, and an image is built.
    pub(crate) async fn work(&self) {
        for index in 0..NODES {
            self.join(&format!("worker-{index}")).await;
        }
        eventually("every node is labelled", async || {
            let labels = ListParams::default().labels("kairos.io/managed=true");
            let nodes = Api::<Node>::all(self.client.clone())
                .list(&labels)
                .await
                .unwrap();
            (nodes.items.len() == NODES).then_some(())
        })
        .await;
        tokio::select! {
            () = self.reboot_for_ever() => {}
            () = async { tokio::join!(self.operate(), self.build()); } => {}
        }
    }

    async fn join(&self, name: &str) {
        let node =
            json!({"metadata": {"name": name, "annotations": {SIMULATED_ANNOTATION: "fake"}}});
        Self::create(Api::<Node>::all(self.client.clone()), node).await;
        let pod = json!({
            "metadata": {"name": format!("on-{name}")},
            "spec": {"nodeName": name, "containers": [{"name": "work", "image": "work"}]},
        });
        eventually("the namespace has its service account", async || {
            let pod = serde_json::from_value(pod.clone()).unwrap();
            self.api::<Pod>()
                .create(&PostParams::default(), &pod)
                .await
                .ok()
        })
        .await;
    }

    /// Plays the machines: a node that may reboot is in another boot at once.
    async fn reboot_for_ever(&self) {
        let reboots = ListParams::default().labels(&format!("{LABEL_REBOOT}={VALUE_TRUE}"));
        let nodes = Api::<Node>::all(self.client.clone());
        loop {
            for pod in self.api::<Pod>().list(&reboots).await.unwrap() {
                let node = pod.spec.as_ref().unwrap().node_name.clone().unwrap();
                let found = nodes.get(&node).await.unwrap();
                let boot = found.status.unwrap().node_info.unwrap().boot_id;
                if pod.annotations().get(ANNOTATION_REBOOT_AUTHORIZED) == Some(&boot) {
                    let info = json!({"status": {"nodeInfo": {"bootID": format!("after-{boot}")}}});
                    let params = PatchParams::default();
                    nodes
                        .patch_status(&node, &params, &Patch::Strategic(&info))
                        .await
                        .unwrap();
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn operate(&self) {
        let one = |number: usize| json!({"matchLabels": {"kubernetes.io/hostname": format!("worker-{number}")}});
        for index in 0..NODES {
            let name = format!("worker-{index}");
            let labels = json!({"metadata": {"labels": {"kubernetes.io/hostname": name}}});
            let nodes = Api::<Node>::all(self.client.clone());
            nodes
                .patch(&name, &PatchParams::default(), &Patch::Merge(&labels))
                .await
                .unwrap();
        }
        self.node_op("restart", json!({
            "command": ["true"], "nodeSelector": one(0), "cordon": true, "rebootOnSuccess": true,
            "drainOptions": {"enabled": true, "force": true, "gracePeriodSeconds": 0},
        }))
        .await;
        self.node_op("broken", json!({"command": ["false"], "image": "fails", "backoffLimit": 0, "nodeSelector": one(1)}))
            .await;
        let upgrade = json!({
            "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOpUpgrade", "metadata": {"name": "to-v360"},
            "spec": {"image": "registry.example.com/kairos:v3.6.0", "concurrency": 2},
        });
        Self::create(self.api::<NodeOpUpgrade>(), upgrade).await;
        for name in ["restart", "broken", "to-v360"] {
            self.ended::<NodeOp>(name, &["Completed", "Failed"]).await;
        }
        self.ended::<NodeOpUpgrade>("to-v360", &["Completed"]).await;
    }

    async fn node_op(&self, name: &str, spec: Value) {
        let node_op = json!({
            "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp", "metadata": {"name": name}, "spec": spec,
        });
        Self::create(self.api::<NodeOp>(), node_op).await;
    }

    async fn build(&self) {
        let volume = json!({
            "metadata": {"name": "observe"},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "100Gi"}, "storageClassName": "observe",
                "hostPath": {"path": "/nowhere"},
            },
        });
        Self::create(Api::<PersistentVolume>::all(self.client.clone()), volume).await;
        let artifact = json!({
            "apiVersion": "build.kairos.io/v1alpha2", "kind": "OSArtifact", "metadata": {"name": "image"},
            "spec": {
                "imageName": "quay.io/kairos/opensuse:v3.6.0", "iso": true, "volume": {"storageClassName": "observe"},
                "exporters": [{"template": {"spec": {"containers": [{"name": "copy", "image": "copy"}]}}}],
            },
        });
        Self::create(self.api::<OSArtifact>(), artifact).await;
        self.ended::<OSArtifact>("image", &["Ready"]).await;
    }

    /// Waits until the object is in one of these phases.
    async fn ended<K>(&self, name: &str, phases: &[&str])
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let what = format!("{name} is {phases:?}");
        eventually(&what, async || {
            let object = self.api::<K>().get_opt(name).await.unwrap()?;
            let object = serde_json::to_value(object).unwrap();
            let phase = object["status"]["phase"].as_str()?;
            phases.contains(&phase).then_some(())
        })
        .await;
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
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
