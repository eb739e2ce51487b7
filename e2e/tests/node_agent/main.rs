//! The node agent by itself: how it writes the sentinel, and what its Pods do to real nodes. The Pods have the shape that
//! the nodeop-controller gives them; nobody but the test gives permissions here.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod pods;
mod sentinel;

use std::time::{Duration, Instant};

use e2e::cluster::{Cluster, ControlPlane};
use e2e::nodes::{self, End, Node, NodeSpec, RealNodes};
use e2e::operator;
use pods::{AgentPod, Pods};

/// Images are pulled, containers started, nodes booted.
const PATIENCE: Duration = Duration::from_mins(2);
const SENTINEL: &str = "op-node-reboot-pending";

/// One cluster for all that follows: its start is most of the time. Each node has its own story, told at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn the_agent_reboots_nodes_once_and_only_with_permission_and_proof() {
    nodes::supported().unwrap();
    let machine = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let cluster = Cluster::builder()
        .control_plane(ControlPlane::Full)
        .network_namespace()
        .start()
        .await
        .unwrap();
    let specs = ["plain", "deaf", "dark"].map(NodeSpec::new);
    let nodes = RealNodes::start(&cluster.nodes_control_plane().unwrap(), &specs)
        .await
        .unwrap();
    operator::agent_image(&nodes).unwrap();
    let pods = Pods::of(&cluster).await;
    let [plain, deaf, dark] = ["plain", "deaf", "dark"].map(|name| nodes.get(name).unwrap());
    tokio::join!(
        timed("plain", async {
            a_check_pod_sees_the_host_and_changes_nothing(&pods, plain).await;
            a_waiting_agent_ends_when_its_pod_is_deleted(&pods, plain).await;
            a_permission_for_another_boot_reboots_nothing(&pods, plain).await;
            a_node_reboots_once_when_it_has_permission_and_proof(&pods, plain).await;
        }),
        timed("deaf", async {
            a_power_cut_after_the_request_counts_as_the_reboot(&pods, deaf).await;
            a_node_whose_reboot_does_nothing_is_forced(&pods, deaf).await;
        }),
        timed("dark", async {
            a_power_cut_beside_the_permission_is_survived(&pods, dark).await;
            a_power_cut_while_the_node_comes_back_reboots_nothing_more(&pods, dark).await;
        }),
    );
    let after = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(after, machine, "the machine itself has rebooted");
}

async fn a_check_pod_sees_the_host_and_changes_nothing(pods: &Pods, node: &Node) {
    let script = "set -e; grep -q root: $HOST_DIR/etc/shadow; ! touch $HOST_DIR/etc/check 2> /dev/null; \
                  ! touch $HOST_DIR/run/check 2> /dev/null; \
                  ! (echo 1 > $HOST_DIR/proc/sys/vm/drop_caches) 2> /dev/null; \
                  echo -n all seen > /dev/termination-log";
    pods.create("check", &pods::check(node, script)).await;
    pods.ends("check", "Succeeded").await;
    assert_eq!(pods.message("check").await, "all seen");
    assert_eq!(node.written_file("/etc/check"), None);
}

async fn a_waiting_agent_ends_when_its_pod_is_deleted(pods: &Pods, node: &Node) {
    let pod = AgentPod::new(node).grace_period(3600);
    pods.create("deleted", &pod.spec()).await;
    pods.says("deleted", "waiting for the permission").await;
    // Its grace is longer than this test's patience: only an agent that ends by itself lets the Pod go.
    pods.delete("deleted").await;
    assert_eq!(ends(node), [None]);
}

async fn a_permission_for_another_boot_reboots_nothing(pods: &Pods, node: &Node) {
    leave_proof(pods, node).await;
    let pod = AgentPod::new(node);
    pods.create("stale", &pod.spec()).await;
    pods.says("stale", "waiting for the permission").await;
    pods.permit("stale", "00000000-0000-4000-8000-000000000000")
        .await;
    pods.ends("stale", "Succeeded").await;
    assert_eq!(ends(node), [None]);
    assert_eq!(node.written_file(&sentinel_path()), None);
}

async fn a_node_reboots_once_when_it_has_permission_and_proof(pods: &Pods, node: &Node) {
    let before = node.boot_id().unwrap();
    let name = "permitted";
    pods.create(name, &AgentPod::new(node).spec()).await;
    pods.says(name, "waiting for the permission").await;
    pods.permit(name, &before).await;
    pods.says(name, "has no sentinel").await;
    assert_eq!(ends(node), [None]);

    // Its end is not waited for: the node may go down before the kubelet has reported it. That a permission comes after
    // the report is up to the controller.
    pods.create("late-work", &pods::work(node)).await;
    pods.ends(name, "Succeeded").await;
    assert_eq!(ends(node), [Some(End::Reboot), None]);
    assert_ne!(node.boot_id().unwrap(), before);
    assert_eq!(node.written_file(&sentinel_path()), None);
    assert!(pods.log(name).await.contains("the host has rebooted"));
}

/// The node's own `reboot` does nothing from here on, so the power cut comes first for certain.
async fn a_power_cut_after_the_request_counts_as_the_reboot(pods: &Pods, node: &Node) {
    let script = "cd /host/usr/sbin && ln -sf /bin/true reboot";
    pods.create("deafen", &pods::on_host(node, script)).await;
    pods.ends("deafen", "Succeeded").await;
    leave_proof(pods, node).await;
    let name = "cut";
    pods.create(name, &AgentPod::new(node).spec()).await;
    pods.permit(name, &node.boot_id().unwrap()).await;
    pods.says(name, "the host's /sbin/reboot has taken the request")
        .await;
    node.power_cut().await.unwrap();
    node.power_on().await.unwrap();
    pods.ends(name, "Succeeded").await;
    assert_eq!(ends(node), [Some(End::PowerCut), None]);
    assert_eq!(node.written_file(&sentinel_path()), None);
}

async fn a_node_whose_reboot_does_nothing_is_forced(pods: &Pods, node: &Node) {
    leave_proof(pods, node).await;
    let name = "forced";
    let pod = AgentPod::new(node).argument("--grace-seconds=4");
    pods.create(name, &pod.spec()).await;
    pods.says(name, "waiting for the permission").await;
    pods.permit(name, &node.boot_id().unwrap()).await;
    let permitted = Instant::now();
    pods.ends(name, "Succeeded").await;
    assert_eq!(ends(node), [Some(End::PowerCut), Some(End::Reboot), None]);
    let boot = node.boots().unwrap()[2].started.elapsed().unwrap();
    let waited = permitted.elapsed().saturating_sub(boot);
    // Boots are noted to the second.
    assert!(waited >= Duration::from_secs(3), "forced after {waited:?}");
}

/// Whichever comes first: the node is not rebooted once more after it has come back.
async fn a_power_cut_beside_the_permission_is_survived(pods: &Pods, node: &Node) {
    leave_proof(pods, node).await;
    let name = "dark";
    pods.create(name, &AgentPod::new(node).spec()).await;
    pods.says(name, "waiting for the permission").await;
    pods.permit(name, &node.boot_id().unwrap()).await;
    node.power_cut().await.unwrap();
    node.power_on().await.unwrap();
    node.wait_ready(PATIENCE).await.unwrap();
    pods.ends(name, "Succeeded").await;
    let ends = ends(node);
    let reboots = ends.iter().filter(|end| **end == Some(End::Reboot));
    assert!(reboots.count() <= 1, "{ends:?}");
    assert_eq!(ends.last(), Some(&None), "{ends:?}");
    assert_eq!(node.written_file(&sentinel_path()), None);
}

async fn a_power_cut_while_the_node_comes_back_reboots_nothing_more(pods: &Pods, node: &Node) {
    let earlier = ends(node).len() - 1;
    leave_proof(pods, node).await;
    let name = "dark-again";
    pods.create(name, &AgentPod::new(node).spec()).await;
    pods.permit(name, &node.boot_id().unwrap()).await;
    let deadline = Instant::now() + PATIENCE;
    while ends(node).len() == earlier + 1 {
        assert!(Instant::now() < deadline, "{:?}", ends(node));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    node.power_cut().await.unwrap();
    node.power_on().await.unwrap();
    pods.ends(name, "Succeeded").await;
    assert_eq!(
        ends(node)[earlier..],
        [Some(End::Reboot), Some(End::PowerCut), None]
    );
    assert_eq!(node.written_file(&sentinel_path()), None);
}

/// What the Job's Pod does after its command: here with a command that does nothing.
async fn leave_proof(pods: &Pods, node: &Node) {
    let boot_id = node.boot_id().unwrap();
    let name = format!("work-{}", node.name());
    pods.create(&name, &pods::work(node)).await;
    pods.ends(&name, "Succeeded").await;
    assert_eq!(pods.message(&name).await, boot_id);
    pods.delete(&name).await;
}

fn sentinel_path() -> String {
    format!("{}/{SENTINEL}", api_types::names::SENTINEL_FOLDER)
}

/// How the node's boots ended so far.
fn ends(node: &Node) -> Vec<Option<End>> {
    let boots = node.boots().unwrap();
    boots.iter().map(|boot| boot.end).collect()
}

/// Says how long a story took, so that a slow one is found.
async fn timed(story: &str, future: impl Future<Output = ()>) {
    let start = Instant::now();
    future.await;
    eprintln!("{story}: {:.1} s", start.elapsed().as_secs_f32());
}
