//! Two controllers of which the leader is frozen for longer than its lease, in the middle of its work, and thawed while the
//! other one works: nothing is done twice, and the thawed one writes nothing more.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

use std::time::Duration;

use api_types::nodeop::{NodeOp, NodePhase, NodeStep, Phase};
use e2e::cluster::{Cluster, ControlPlane};
use e2e::guard::{ProcessHandle, Signal};
use e2e::operator::{self, AGENT_IMAGE, Controller};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

const NODES: usize = 6;
const CONCURRENCY: usize = 2;
/// Nodes that have a result when the leader is frozen, in each round.
const FREEZES: [usize; 3] = [0, 1, 3];
const PATIENCE: Duration = Duration::from_mins(2);
const STAGES: &str = include_str!("../sim_disturb/stages.yaml");

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{what}: not in time"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn leader(client: &Client) -> Option<String> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), operator::NAMESPACE);
    let lease = leases.get_opt("nodeop-controller").await.unwrap()?;
    lease.spec?.holder_identity
}

async fn leads(client: &Client, who: &str) {
    eventually(&format!("{who} leads"), async || {
        (leader(client).await.as_deref() == Some(who)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_frozen_leader_that_thaws_while_another_one_works_does_nothing_twice() {
    let cluster = Cluster::builder()
        .control_plane(ControlPlane::Full)
        .simulated_nodes(NODES)
        .stages(STAGES)
        .controller_manager_argument("--node-monitor-grace-period=30m")
        .start()
        .await
        .unwrap();
    operator::install(&cluster).await.unwrap();
    let client = cluster.client().unwrap();
    let mut controllers = Vec::new();
    for name in ["a", "b"] {
        let controller = Controller::new(&cluster, "nodeop-controller", None)
            .await
            .unwrap()
            .identity(name)
            .argument(&format!("--agent-image={AGENT_IMAGE}"))
            .argument("--lease-duration-seconds=6")
            .argument("--lease-renew-deadline-seconds=4")
            .argument("--lease-retry-seconds=1");
        controllers.push((name, controller));
    }
    let mut first = controllers[0].1.start(&cluster).unwrap();
    leads(&client, "a").await;
    let mut second = controllers[1].1.start(&cluster).unwrap();
    for (round, done) in FREEZES.into_iter().enumerate() {
        let next = controllers[(round + 1) % 2].0;
        run(&cluster, &client, &first, done, next).await;
        // The frozen one has ended; it comes back as the standby.
        let again = controllers[round % 2].1.start(&cluster).unwrap();
        first = std::mem::replace(&mut second, again);
    }
}

/// One operation, whose leader is frozen once `done` nodes have a result.
async fn run(cluster: &Cluster, client: &Client, frozen: &ProcessHandle, done: usize, next: &str) {
    let namespace = cluster.temp_namespace("leaders").await.unwrap();
    let node_ops: Api<NodeOp> = Api::namespaced(client.clone(), namespace.name());
    let nodes: Api<Node> = Api::all(client.clone());
    let before = patches(cluster);
    let node_op = json!({
        "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp", "metadata": {"name": "op"},
        "spec": {"command": ["run"], "image": "slow", "cordon": true, "concurrency": CONCURRENCY,
            "preflight": {"command": ["look"]}},
    });
    let node_op = serde_json::from_value(node_op).unwrap();
    node_ops
        .create(&PostParams::default(), &node_op)
        .await
        .unwrap();
    eventually("the leader is in the middle of it", async || {
        let status = node_ops.get("op").await.unwrap().status?;
        let ended = |phase: NodePhase| phase == NodePhase::Completed;
        let entries = || status.node_statuses.values();
        let at_work = entries().any(|entry| {
            !ended(entry.phase) && entry.step.is_some_and(|step| step != NodeStep::Reserved)
        });
        (entries().filter(|entry| ended(entry.phase)).count() >= done && at_work).then_some(())
    })
    .await;
    frozen.signal(Signal::Stop).unwrap();
    leads(client, next).await;
    // The other one is at work now, and its predecessor wakes in the middle of a step.
    frozen.signal(Signal::Continue).unwrap();
    let status = eventually("the operation has ended", async || {
        let status = node_ops.get("op").await.unwrap().status?;
        status
            .phase
            .is_some_and(Phase::is_terminal)
            .then_some(status)
    })
    .await;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:#?}");
    let exit = frozen.wait().await.unwrap();
    assert!(
        !exit.success(),
        "it lost its lease: {}",
        frozen.log_tail(10)
    );
    assert_eq!(leader(client).await.as_deref(), Some(next));

    let jobs: Api<Job> = Api::namespaced(client.clone(), namespace.name());
    assert_eq!(
        jobs.list(&ListParams::default()).await.unwrap().items.len(),
        NODES
    );
    let audit = cluster.audit().unwrap().namespace(namespace.name());
    let created = audit.verb("create").resource("jobs").succeeded().count();
    assert_eq!(created, NODES, "Jobs created, by the audit log");
    eventually("nothing is left on any node", async || {
        let listed = nodes.list(&ListParams::default()).await.unwrap();
        let clean = |node: &Node| {
            let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable);
            let marked = |key: &String| key.starts_with("operator.kairos.io/");
            cordoned != Some(true) && !node.annotations().keys().any(marked)
        };
        let held = node_ops.get("op").await.unwrap();
        (listed.items.iter().all(clean) && held.finalizers().is_empty()).then_some(())
    })
    .await;
    assert_eq!(
        patches(cluster) - before,
        2 * NODES,
        "a claim and its end for each node, by both together"
    );
}

/// Writes to Nodes that got through, by either controller.
fn patches(cluster: &Cluster) -> usize {
    let audit = cluster.audit().unwrap();
    let audit = audit.service_account(operator::NAMESPACE, "nodeop-controller");
    audit.writes().resource("nodes").succeeded().count()
}
