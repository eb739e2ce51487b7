//! The whole operation on real nodes: preflight, cordon, drain, command, reboot, proof and verify, with a workload whose
//! budget is kept. And what only a kubelet can show: images that need a pull secret, a kubelet that stalls at the worst
//! moment, power that fails.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

#[path = "../sim_crash/chance.rs"]
mod chance;
mod deleted;
mod power;
mod private;
mod site;
mod stall;
mod workload;

use std::time::Duration;

use api_types::nodeop::{NodePhase, Phase, RebootStatus};
use e2e::cluster::{Cluster, ControlPlane};
use e2e::nodes::{self, End, NodeSpec, RealNodes};
use e2e::operator::{self, Controller};
use serde_json::json;
use site::Site;
use workload::Workload;

const NODES: [&str; 3] = ["control-1", "worker-1", "worker-2"];

/// One cluster for all that follows: its start is most of the time.
#[tokio::test(flavor = "multi_thread")]
async fn node_ops_drain_and_reboot_real_nodes() {
    nodes::supported().unwrap();
    let machine = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let cluster = Cluster::builder()
        .control_plane(ControlPlane::Full)
        .network_namespace()
        .start()
        .await
        .unwrap();
    let specs = [
        NodeSpec::new(NODES[0]).control_plane(),
        NodeSpec::new(NODES[1]),
        NodeSpec::new(NODES[2]),
    ];
    let nodes = RealNodes::start(&cluster.nodes_control_plane().unwrap(), &specs)
        .await
        .unwrap();
    let agent = operator::agent_image(&nodes).unwrap();
    operator::install(&cluster).await.unwrap();
    let controller = Controller::new(&cluster, "nodeop-controller", None)
        .await
        .unwrap();
    let controller = controller
        .argument("--priority-class-name=kairos-operations")
        .argument(&format!("--agent-image={agent}"));
    let _running = controller.start(&cluster).unwrap();
    let namespace = cluster.temp_namespace("reboot").await.unwrap();
    let site = Site::new(&cluster, &nodes, namespace.name());

    the_example_reboots_node_after_node_and_keeps_the_budget(&site).await;
    a_failed_command_reboots_nothing_and_a_corrected_operation_follows(&site).await;
    tokio::join!(
        power_that_fails_in_the_command_means_a_retry_and_one_reboot(&site),
        power_that_fails_in_a_command_without_retries_fails_the_node_and_reboots_nothing(&site),
    );
    // Each is busy with a node of its own, and they mostly wait.
    tokio::join!(
        deleted::a_node_that_goes_down_for_a_deleted_operation_is_kept_until_it_is_back(&site),
        stall::a_kubelet_that_stalls_before_its_report_is_given_no_permission_to_reboot(&site),
        private::a_private_image_tells_why_it_is_not_pulled_and_runs_with_its_secret(&site),
    );
    power::power_that_fails_at_any_moment_ends_in_one_reboot_or_a_clear_failure(&site).await;

    site.assert_given_back().await;

    let after = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(after, machine, "the machine itself has rebooted");
}

/// The README's example, as it is written.
async fn the_example_reboots_node_after_node_and_keeps_the_budget(site: &Site<'_>) {
    let workload = Workload::start(site, 2, 1).await;
    let example = include_str!("../../../deploy/examples/nodeop-reboot.yaml");
    let name = site.apply(example).await;
    let status = site.ended(&name, Duration::from_mins(6)).await;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:#?}");
    for node in NODES {
        assert_eq!(
            status.node_statuses[node].reboot_status,
            Some(RebootStatus::Completed)
        );
        assert_eq!(site.ends(node), [Some(End::Reboot), None], "{node}");
        assert_eq!(
            site.node(node).written_file("/var/lib/patched").as_deref(),
            Some("patched\n")
        );
    }
    let starts = NODES.map(|node| site.last_boot(node).started);
    assert!(
        starts.is_sorted(),
        "control plane first, then by name, one after the other: {starts:?}"
    );
    site.assert_given_back().await;
    site.assert_one_job_per_node(&name).await;
    let fewest = workload.fewest_ready();
    assert!(
        fewest >= 1,
        "the budget asks for one Pod at every instant, and {fewest} were there"
    );
    let evictions = site.evictions();
    assert!(
        evictions > 0,
        "the workload was never moved: nothing was shown"
    );
    workload.stop().await;
}

async fn a_failed_command_reboots_nothing_and_a_corrected_operation_follows(site: &Site<'_>) {
    let before = NODES.map(|node| site.ends(node).len());
    let spec = json!({
        "command": ["sh", "-c", "echo no space left; exit 3"], "backoffLimit": 0, "concurrency": 1,
        "stopOnFailure": true, "cordon": true, "rebootOnSuccess": true,
    });
    site.create("failing", spec).await;
    let status = site.ended("failing", Duration::from_mins(2)).await;
    assert_eq!(status.phase, Some(Phase::Failed));
    let entry = &status.node_statuses[NODES[0]];
    assert_eq!(entry.phase, NodePhase::Failed);
    assert_eq!(entry.reboot_status, Some(RebootStatus::Cancelled));
    let message = entry.message.as_deref().unwrap();
    assert!(message.contains("no space left"), "{message}");
    assert_eq!(status.node_statuses.len(), 1, "the rest is untouched");
    assert!(
        site.is_cordoned(NODES[0]).await,
        "a failed node stays cordoned"
    );

    let spec = json!({
        "command": ["true"], "concurrency": 1, "stopOnFailure": true, "cordon": true,
        "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": NODES[0]}},
    });
    site.create("corrected", spec).await;
    let status = site.ended("corrected", Duration::from_mins(2)).await;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:#?}");
    site.assert_given_back().await;
    assert_eq!(
        NODES.map(|node| site.ends(node).len()),
        before,
        "no node has rebooted"
    );
}

/// Power loss inside the command is no reboot of ours: the command is tried again, and the reboot comes after it.
async fn power_that_fails_in_the_command_means_a_retry_and_one_reboot(site: &Site<'_>) {
    let node = NODES[2];
    let script = "if ! test -e /host/var/lib/first-try; then echo 1 > /host/var/lib/first-try; sleep 600; fi";
    let spec = json!({
        "command": ["sh", "-c", script], "cordon": true, "rebootOnSuccess": true, "backoffLimit": 3,
        "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": node}},
    });
    let before = site.ends(node).len();
    site.create("dark", spec).await;
    site.wait_for_file(node, "/var/lib/first-try").await;
    // A kubelet that has not noted yet that it started the command would neither start it again nor fail its Pod.
    site.wait_for_running_command("dark").await;
    site.node(node).power_cut().await.unwrap();
    site.node(node).power_on().await.unwrap();
    let status = site.ended("dark", Duration::from_mins(4)).await;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:#?}");
    let ends = &site.ends(node)[before - 1..];
    assert_eq!(ends, [Some(End::PowerCut), Some(End::Reboot), None]);
}

async fn power_that_fails_in_a_command_without_retries_fails_the_node_and_reboots_nothing(
    site: &Site<'_>,
) {
    let node = NODES[1];
    let spec = json!({
        "command": ["sh", "-c", "echo begun > /host/var/lib/only-try; sleep 600"], "cordon": true,
        "rebootOnSuccess": true, "backoffLimit": 0, "uncordonOnFailure": true,
        "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": node}},
    });
    let before = site.ends(node).len();
    site.create("dark-once", spec).await;
    site.wait_for_file(node, "/var/lib/only-try").await;
    site.wait_for_running_command("dark-once").await;
    site.node(node).power_cut().await.unwrap();
    site.node(node).power_on().await.unwrap();
    let status = site.ended("dark-once", Duration::from_mins(4)).await;
    assert_eq!(status.phase, Some(Phase::Failed), "{status:#?}");
    let entry = &status.node_statuses[node];
    assert_eq!(entry.reboot_status, Some(RebootStatus::Cancelled));
    assert!(entry.message.is_some(), "{entry:#?}");
    let ends = &site.ends(node)[before - 1..];
    assert_eq!(ends, [Some(End::PowerCut), None], "no reboot of ours");
}
