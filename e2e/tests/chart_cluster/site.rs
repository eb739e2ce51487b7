//! The cluster that all tests here share, one test at a time, because names of the chart are fixed; and what they do on it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use api_types::nodeop::{NodeOp, NodeStep};
use e2e::assets::{self, Tool};
use e2e::chart;
use e2e::cluster::{Cluster, ControlPlane, TempNamespace};
use e2e::guard::ProcessHandle;
use e2e::operator::{Controller, NAMESPACE};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::{DeleteParams, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// The longest that any expected change may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// Removing the operator may take this long, whatever is under way.
pub(crate) const REMOVED_WITHIN: Duration = Duration::from_mins(1);

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
/// What is there before the first test.
static CLEAN: OnceCell<BTreeSet<String>> = OnceCell::const_new();
static TURN: Mutex<()> = Mutex::const_new(());

/// The cluster, for one test.
pub(crate) struct Site {
    pub(crate) client: Client,
    pub(crate) cluster: &'static Cluster,
    _turn: MutexGuard<'static, ()>,
}

/// What a program said.
pub(crate) struct Said {
    pub(crate) good: bool,
    pub(crate) text: String,
    pub(crate) took: Duration,
}

impl Said {
    #[track_caller]
    pub(crate) fn well(self) -> Self {
        assert!(self.good, "{}", self.text);
        self
    }
}

pub(crate) async fn run(mut command: Command) -> Said {
    let begun = Instant::now();
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Said {
        good: output.status.success(),
        text: format!("{out}{err}"),
        took: begun.elapsed(),
    }
}

impl Site {
    pub(crate) async fn new() -> Self {
        let turn = TURN.lock().await;
        let cluster = CLUSTER
            .get_or_init(async || {
                let builder = Cluster::builder().control_plane(ControlPlane::Full);
                // One to work on, one for Pods that then have no other place.
                builder.simulated_nodes(2).start().await.unwrap()
            })
            .await;
        let site = Self {
            client: cluster.client().unwrap(),
            cluster,
            _turn: turn,
        };
        let clean = CLEAN.get_or_init(|| site.complete()).await;
        site.sweep(clean).await;
        site
    }

    /// What a cluster makes by itself in its first seconds would be taken for something left behind.
    async fn complete(&self) -> BTreeSet<String> {
        let mut before = BTreeSet::new();
        eventually("the cluster is complete", async || {
            let now = self.everything().await;
            let complete = now == before && now.contains("ServiceAccount default/default");
            before.clone_from(&now);
            if !complete {
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            complete.then_some(now)
        })
        .await
    }

    pub(crate) async fn helm(&self, arguments: &[&str]) -> Said {
        if arguments.first() == Some(&"install") {
            // A namespace of the chart that is on its way out takes nothing new.
            let api: Api<Namespace> = Api::all(self.client.clone());
            eventually(
                "the namespace of the last installation is gone",
                async || {
                    let found = api.get_opt("kairos-operator-detect").await.unwrap();
                    let going =
                        found.is_some_and(|found| found.metadata.deletion_timestamp.is_some());
                    (!going).then_some(())
                },
            )
            .await;
        }
        let mut helm = chart::helm(&self.cluster.folder().join("helm")).unwrap();
        helm.arg("--kubeconfig").arg(self.cluster.kubeconfig());
        helm.args(["--namespace", NAMESPACE]).args(arguments);
        run(helm).await
    }

    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Said {
        let mut kubectl = Command::new(assets::tool(Tool::Kubectl).unwrap());
        kubectl.arg("--kubeconfig").arg(self.cluster.kubeconfig());
        kubectl.current_dir(chart::root()).args(arguments);
        run(kubectl).await
    }

    /// Runs the last commands that the chart's README gives, as somebody would who copies them into a shell.
    pub(crate) async fn follow_readme(&self) {
        let readme = std::fs::read_to_string(chart::folder().join("README.md")).unwrap();
        let (_, commands) = readme.rsplit_once("```sh\n").unwrap();
        let (commands, _) = commands.split_once("```").unwrap();
        assert!(commands.contains("kubectl uncordon"), "{commands}");
        let kubectl: PathBuf = assets::tool(Tool::Kubectl).unwrap();
        let path = std::env::var("PATH").unwrap();
        let folder = kubectl.parent().unwrap().display();
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("set -e\n{commands}"));
        shell.env("PATH", format!("{folder}:{path}"));
        shell.env("KUBECONFIG", self.cluster.kubeconfig());
        run(shell).await.well();
    }

    /// The namespace of the controllers, which demands Pods that need nothing.
    pub(crate) async fn restricted_namespace(&self) {
        let yaml = include_str!("../../../deploy/default/namespace.yaml");
        self.cluster.apply_yaml(yaml).await.unwrap();
    }

    pub(crate) async fn delete_namespace(&self, name: &str) {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let gone = api.delete(name, &DeleteParams::default()).await;
        gone.ok();
        eventually("the namespace is gone", async || {
            api.get_opt(name).await.unwrap().is_none().then_some(())
        })
        .await;
    }

    /// Starts a controller as a process beside the cluster, with the rights of its ServiceAccount.
    pub(crate) async fn start(&self, name: &'static str, arguments: &[&str]) -> ProcessHandle {
        let controller = Controller::new(self.cluster, name, None).await.unwrap();
        let controller = arguments
            .iter()
            .fold(controller, |all, argument| all.argument(argument));
        controller.start(self.cluster).unwrap()
    }

    /// A NodeOp whose drain waits for a Pod that its budget holds.
    pub(crate) async fn draining_node_op(&self) -> (TempNamespace, String) {
        let namespace = self.cluster.temp_namespace("work").await.unwrap();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "held", "labels": {"app": "held"}},
            "spec": {"nodeName": "simulated-0", "containers": [{"name": "main", "image": "app"}]},
        });
        let budget = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "held"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "held"}}},
        });
        let node_op = json!({
            "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp", "metadata": {"name": "op"},
            "spec": {
                "command": ["run"], "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": "simulated-0"}},
                "drainOptions": {"enabled": true, "force": true},
            },
        });
        for object in [pod, budget, node_op] {
            self.create(namespace.name(), object).await;
        }
        eventually("the node is drained", async || {
            let found = self.node_op(namespace.name()).await?;
            let entry = found.status?.node_statuses.into_values().next()?;
            (entry.step == Some(NodeStep::Draining)).then_some(())
        })
        .await;
        assert!(self.is_cordoned().await);
        let name = namespace.name().to_owned();
        (namespace, name)
    }

    pub(crate) async fn node_op(&self, namespace: &str) -> Option<NodeOp> {
        let api: Api<NodeOp> = Api::namespaced(self.client.clone(), namespace);
        api.get_opt("op").await.ok().flatten()
    }

    pub(crate) async fn node(&self) -> Node {
        let api: Api<Node> = Api::all(self.client.clone());
        api.get("simulated-0").await.unwrap()
    }

    pub(crate) async fn is_cordoned(&self) -> bool {
        let spec = self.node().await.spec;
        spec.and_then(|spec| spec.unschedulable) == Some(true)
    }

    pub(crate) async fn create(&self, namespace: &str, manifest: Value) -> DynamicObject {
        let (group, version) = manifest["apiVersion"]
            .as_str()
            .unwrap()
            .rsplit_once('/')
            .unwrap_or(("", "v1"));
        let kind = GroupVersionKind::gvk(group, version, manifest["kind"].as_str().unwrap());
        let api: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            namespace,
            &ApiResource::from_gvk(&kind),
        );
        let object = serde_json::from_value(manifest).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap()
    }

    pub(crate) async fn delete(&self, namespace: &str, kind: &str, name: &str) {
        let said = self
            .kubectl(&["delete", kind, name, "--namespace", namespace])
            .await;
        said.well();
    }

    /// Waits until what is there beside `before` is exactly `rest`.
    pub(crate) async fn remains(&self, before: &BTreeSet<String>, rest: &[&str]) {
        let begun = Instant::now();
        let rest: BTreeSet<String> = rest.iter().map(|&line| line.to_owned()).collect();
        loop {
            let now = self.everything().await;
            let more: BTreeSet<String> = now.difference(before).cloned().collect();
            let less: Vec<&String> = before.difference(&now).collect();
            if more == rest && less.is_empty() {
                return;
            }
            assert!(
                begun.elapsed() < REMOVED_WITHIN,
                "left behind: {more:#?}, missing: {less:#?}"
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Removes the definitions, of which no object may be left.
    pub(crate) async fn delete_definitions(&self) {
        for definition in DEFINITIONS {
            let name = definition.rsplit('/').next().unwrap();
            self.kubectl(&["delete", "crd", name, "--ignore-not-found", "--timeout=60s"])
                .await
                .well();
        }
    }
}

/// What stays when the chart goes.
pub(crate) const DEFINITIONS: [&str; 3] = [
    "CustomResourceDefinition /nodeops.operator.kairos.io",
    "CustomResourceDefinition /nodeopupgrades.operator.kairos.io",
    "CustomResourceDefinition /osartifacts.build.kairos.io",
];

pub(crate) fn older_chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/older-chart")
}

pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
