//! Three nodes, the operator on them, and what the stories ask and do there.

use std::sync::Mutex;
use std::time::Duration;

use api_types::nodeop::NodeOp;
use api_types::nodeopupgrade::{NodeOpUpgrade, NodeOpUpgradeStatus};
use e2e::cluster::{Cluster, ControlPlane};
use e2e::guard::ProcessHandle;
use e2e::images::{self, Upgrade};
use e2e::nodes::{self, NodeSpec, RealNodes};
use e2e::operator::{self, Controller};
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::labels;

pub(crate) const NODES: [&str; 3] = ["control-1", "worker-1", "worker-2"];
/// The agent's command line for an ordinary upgrade, as its stand-in notes it.
pub(crate) const CALL: &str =
    "upgrade|--source|dir:/|--exclude-path|/etc/hostname|--exclude-path|/etc/hosts|";
/// Three nodes are drained and rebooted.
const PATIENCE: Duration = Duration::from_mins(5);

/// A release file of that version.
pub(crate) fn release(version: &str) -> String {
    let kubernetes = if version == "v3.5.0" {
        "v1.33.1+k3s1"
    } else {
        "v1.34.1+k3s1"
    };
    format!(
        "KAIROS_ID=\"kairos\"\nKAIROS_VERSION=\"{version}\"\nKAIROS_SOFTWARE_VERSION=\"{kubernetes}\"\n\
         KAIROS_SOFTWARE_VERSION_PREFIX=\"k3s\"\n"
    )
}

pub(crate) struct Running {
    controller: Controller,
    process: Mutex<ProcessHandle>,
}

pub(crate) struct Site {
    pub(crate) client: Client,
    nodes: RealNodes,
    pub(crate) upgrade_controller: Running,
    pub(crate) nodeop_controller: Running,
    _labeller: ProcessHandle,
    // Last, so that it ends last.
    pub(crate) cluster: Cluster,
}

impl Site {
    pub(crate) async fn start() -> Self {
        nodes::supported().unwrap();
        let cluster = Cluster::builder()
            .control_plane(ControlPlane::Full)
            .network_namespace()
            .start()
            .await
            .unwrap();
        let spec = |name: &str| NodeSpec::new(name).kairos_release(release("v3.5.0"));
        let [control, first, second] = NODES;
        let specs = [spec(control).control_plane(), spec(first), spec(second)];
        let nodes = RealNodes::start(&cluster.nodes_control_plane().unwrap(), &specs)
            .await
            .unwrap();
        let controllers = ["nodeop-controller", "upgrade-controller", "node-labeller"];
        operator::install_controllers(&cluster, &controllers)
            .await
            .unwrap();
        let agent = operator::agent_image(&nodes).unwrap();
        let nodeop = Controller::new(&cluster, "nodeop-controller", None)
            .await
            .unwrap();
        let nodeop = nodeop
            .argument("--priority-class-name=kairos-operations")
            .argument(&format!("--agent-image={agent}"));
        let upgrade = Controller::new(&cluster, "upgrade-controller", None)
            .await
            .unwrap();
        let upgrade = upgrade
            .argument("--preflight-deadline-seconds=20")
            .argument("--upgrade-deadline-seconds=75");
        let start = |controller: Controller| {
            let process = Mutex::new(controller.start(&cluster).unwrap());
            Running {
                controller,
                process,
            }
        };
        let labeller = labels::start_labeller(&cluster, &nodes).await;
        Self {
            client: cluster.client().unwrap(),
            _labeller: labeller,
            nodes,
            upgrade_controller: start(upgrade),
            nodeop_controller: start(nodeop),
            cluster,
        }
    }

    pub(crate) fn image(&self, name: &str, version: &str, upgrade: Upgrade) {
        let busybox = self.nodes.busybox().unwrap();
        let image = images::kairos(busybox, &release(version), upgrade).unwrap();
        self.nodes.images().put(name, image).unwrap();
    }

    pub(crate) fn upgrades(&self) -> Api<NodeOpUpgrade> {
        Api::namespaced(self.client.clone(), "default")
    }

    pub(crate) async fn upgrade(&self, name: &str, spec: Value) {
        let upgrade = serde_json::from_value(json!({
            "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOpUpgrade", "metadata": {"name": name}, "spec": spec,
        }))
        .unwrap();
        self.upgrades()
            .create(&PostParams::default(), &upgrade)
            .await
            .unwrap();
    }

    /// Deletes an upgrade, and waits until it and its NodeOp are gone.
    pub(crate) async fn delete(&self, name: &str) {
        self.upgrades()
            .delete(name, &DeleteParams::foreground())
            .await
            .unwrap();
        let node_ops: Api<NodeOp> = Api::namespaced(self.client.clone(), "default");
        let deadline = Instant::now() + PATIENCE;
        while self.upgrades().get_opt(name).await.unwrap().is_some() {
            assert!(Instant::now() < deadline, "{name} is still there");
            sleep(Duration::from_millis(100)).await;
        }
        assert!(
            node_ops.get_opt(name).await.unwrap().is_none(),
            "the NodeOp goes first"
        );
    }

    pub(crate) async fn ended(&self, name: &str) -> NodeOpUpgradeStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self
                .upgrades()
                .get(name)
                .await
                .unwrap()
                .status
                .unwrap_or_default();
            let ended = status
                .conditions
                .iter()
                .any(|found| found.type_ != "Progressing" && found.status == "True");
            if ended {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{name} has not ended within {PATIENCE:?}: {status:#?}\n{}\n{}",
                self.upgrade_controller.log(),
                self.nodeop_controller.log(),
            );
            sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) fn node(&self, name: &str) -> &nodes::Node {
        self.nodes.get(name).unwrap()
    }

    /// The release file of the system that runs.
    pub(crate) fn release(&self, node: &str) -> String {
        self.node(node).written_file("etc/kairos-release").unwrap()
    }

    /// How often each node has booted.
    pub(crate) fn boots(&self) -> [usize; 3] {
        NODES.map(|name| self.node(name).boots().unwrap().len())
    }

    /// Checks which nodes are cordoned, and that nobody has a claim on one that is not.
    pub(crate) async fn cordons(&self, expected: [bool; 3]) {
        let api: Api<Node> = Api::all(self.client.clone());
        for (name, expected) in NODES.into_iter().zip(expected) {
            let node = api.get(name).await.unwrap();
            let cordoned = node.spec.as_ref().unwrap().unschedulable.unwrap_or(false);
            assert_eq!(cordoned, expected, "{name} is cordoned");
            let annotations = node.metadata.annotations.unwrap_or_default();
            let claimed = annotations.contains_key("operator.kairos.io/claimed-by");
            assert!(expected || !claimed, "{name} is claimed: {annotations:?}");
        }
    }

    /// Checks that the phase of an upgrade and its NodeOp are the same at the end.
    pub(crate) async fn shows(&self, name: &str, phase: &str) {
        let api: Api<NodeOp> = Api::namespaced(self.client.clone(), "default");
        let of_node_op = api.get(name).await.unwrap().status.unwrap().phase.unwrap();
        assert_eq!(format!("{of_node_op:?}"), phase);
    }
}

impl Running {
    /// Kills it and starts it again.
    pub(crate) async fn crash(&self, cluster: &Cluster) {
        let process = self.process.lock().unwrap().clone();
        process.kill().unwrap();
        process.wait().await.unwrap();
        *self.process.lock().unwrap() = self.controller.start(cluster).unwrap();
    }

    fn log(&self) -> String {
        self.process.lock().unwrap().log_tail(20)
    }
}
