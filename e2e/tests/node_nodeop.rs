//! A NodeOp on three real nodes: kubelet, containerd, privileged Pods that see the node's own files.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

use std::time::Duration;

use api_types::nodeop::{NodeOp, NodeOpStatus, NodePhase, Phase};
use e2e::cluster::{Cluster, ControlPlane};
use e2e::nodes::{self, NodeSpec, RealNodes};
use e2e::operator::{self, Controller};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

const NODES: [&str; 3] = ["control-1", "worker-1", "worker-2"];
/// Images are pulled and containers started.
const PATIENCE: Duration = Duration::from_mins(2);

fn release(node: &str) -> String {
    format!("KAIROS_ID=kairos\nKAIROS_VERSION=v3.5.0\nKAIROS_NOTE=\"this is {node}\"\n")
}

struct Site {
    client: Client,
    namespace: String,
}

impl Site {
    async fn operate(&self, name: &str, spec: Value) -> NodeOpStatus {
        let api: Api<NodeOp> = Api::namespaced(self.client.clone(), &self.namespace);
        let node_op = json!({
            "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp", "metadata": {"name": name}, "spec": spec,
        });
        let node_op = serde_json::from_value(node_op).unwrap();
        api.create(&PostParams::default(), &node_op).await.unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = api.get(name).await.unwrap().status.unwrap_or_default();
            if status.phase.is_some_and(Phase::is_terminal) {
                return status;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{name} has not ended within {PATIENCE:?}: {status:#?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The Pods of a NodeOp: node, name, time of the container's start and end.
    async fn pods(&self, name: &str) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let selector = ListParams::default().labels(&format!("kairos.io/nodeop={name}"));
        api.list(&selector).await.unwrap().items
    }

    async fn log(&self, pod: &Pod) -> String {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        api.logs(pod.metadata.name.as_deref().unwrap(), &LogParams::default())
            .await
            .unwrap()
    }
}

fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().unwrap().node_name.as_deref().unwrap()
}

/// One cluster for all that follows: its start is most of the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_op_runs_its_command_on_real_nodes() {
    nodes::supported().unwrap();
    let cluster = Cluster::builder()
        .control_plane(ControlPlane::Full)
        .network_namespace()
        .start()
        .await
        .unwrap();
    let [control, first, second] = NODES;
    let specs = [
        NodeSpec::new(control)
            .control_plane()
            .kairos_release(release(control)),
        NodeSpec::new(first).kairos_release(release(first)),
        NodeSpec::new(second).kairos_release(release(second)),
    ];
    let _nodes = RealNodes::start(&cluster.nodes_control_plane().unwrap(), &specs)
        .await
        .unwrap();
    operator::install(&cluster).await.unwrap();
    let controller = Controller::new(&cluster, "nodeop-controller", None)
        .await
        .unwrap();
    let controller = controller.argument("--priority-class-name=kairos-operations");
    let _running = controller.start(&cluster).unwrap();
    let namespace = cluster.temp_namespace("real").await.unwrap();
    let site = Site {
        client: cluster.client().unwrap(),
        namespace: namespace.name().to_owned(),
    };

    reads_each_nodes_own_release_file(&site).await;
    runs_one_after_the_other_control_plane_first(&site).await;
    tells_the_last_words_of_a_failing_command(&site).await;
    reports_an_operation_whose_command_cannot_be_started(&site).await;
}

/// The walking skeleton's own example: a shell command reads the host's file, and its output is read back from the log.
async fn reads_each_nodes_own_release_file(site: &Site) {
    let script = "cat $HOST_DIR/etc/kairos-release && test /host = $HOST_DIR";
    let status = site
        .operate("read", json!({"command": ["sh", "-c", script]}))
        .await;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:#?}");
    let pods = site.pods("read").await;
    assert_eq!(pods.len(), NODES.len(), "one Pod per node");
    for pod in &pods {
        assert_eq!(site.log(pod).await, release(node_of(pod)));
        assert_eq!(
            pod.spec.as_ref().unwrap().automount_service_account_token,
            Some(false)
        );
    }
}

async fn runs_one_after_the_other_control_plane_first(site: &Site) {
    let spec = json!({"command": ["sh", "-c", "sleep 1"], "concurrency": 1});
    let status = site.operate("serial", spec).await;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:#?}");
    let mut spans: Vec<_> = site.pods("serial").await.iter().map(span).collect();
    spans.sort();
    let order: Vec<&str> = spans.iter().map(|(_, _, node)| node.as_str()).collect();
    assert_eq!(order, NODES);
    for pair in spans.windows(2) {
        assert!(
            pair[0].1 <= pair[1].0,
            "two nodes at once, by the kubelets' own times: {spans:?}"
        );
    }
}

async fn tells_the_last_words_of_a_failing_command(site: &Site) {
    let script = "echo all is lost; exit 7";
    let spec = json!({
        "command": ["sh", "-c", script], "concurrency": 1, "stopOnFailure": true, "backoffLimit": 0,
    });
    let status = site.operate("failing", spec).await;
    assert_eq!(status.phase, Some(Phase::Failed));
    assert_eq!(
        status.node_statuses.len(),
        1,
        "the rest is untouched: {:?}",
        status.node_statuses
    );
    let entry = &status.node_statuses[NODES[0]];
    assert_eq!(entry.phase, NodePhase::Failed);
    let message = entry.message.as_ref().unwrap();
    assert!(
        message.starts_with("command exited with 7: all is lost"),
        "{message}"
    );
    assert_eq!(site.pods("failing").await.len(), 1);
}

async fn reports_an_operation_whose_command_cannot_be_started(site: &Site) {
    let spec = json!({"command": ["/no/such/program"], "backoffLimit": 0, "concurrency": 1, "stopOnFailure": true});
    let status = site.operate("unstartable", spec).await;
    let message = status.node_statuses[NODES[0]].message.as_ref().unwrap();
    assert!(message.contains("/no/such/program"), "{message}");
}

/// When the command ran, in seconds of the node's clock, and where.
fn span(pod: &Pod) -> (i64, i64, String) {
    let statuses = pod
        .status
        .as_ref()
        .unwrap()
        .container_statuses
        .as_ref()
        .unwrap();
    let ended = statuses[0]
        .state
        .as_ref()
        .unwrap()
        .terminated
        .as_ref()
        .unwrap();
    let second = |time: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
        time.as_ref().unwrap().0.as_second()
    };
    (
        second(&ended.started_at),
        second(&ended.finished_at),
        node_of(pod).to_owned(),
    )
}
