//! A node that is cut off between the end of its command and the kubelet's report of it.

use std::time::Duration;

use api_types::names::{ANNOTATION_REBOOT_AUTHORIZED, SENTINEL_FOLDER};
use api_types::nodeop::{NodeStep, Phase, RebootStatus};
use e2e::nodes::End;
use kube::ResourceExt as _;
use serde_json::json;

use crate::NODES;
use crate::site::Site;

/// How long it is watched that nothing happens.
const SILENCE: Duration = Duration::from_secs(6);

/// All that the reboot needs is on the node by then: the proof of work, and the Pod that reboots. Only nobody knows yet
/// that the Job is complete.
pub(crate) async fn a_kubelet_that_stalls_before_its_report_is_given_no_permission_to_reboot(
    site: &Site<'_>,
) {
    let name = NODES[1];
    let node = site.node(name);
    let before = site.ends(name).len();
    let boot = node.boot_id().unwrap();
    let spec = json!({
        "command": ["sh", "-c", "touch /host/var/lib/stall-begun; sleep 8"],
        "cordon": true, "rebootOnSuccess": true,
        "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": name}},
    });
    site.create("stalled", spec).await;
    site.wait_for_file(name, "/var/lib/stall-begun").await;
    let running = |entry: &api_types::nodeop::NodeStatus| entry.step == Some(NodeStep::Running);
    let entry = site.entry("stalled", name, "its Job runs", running).await;
    node.unplug().await.unwrap();
    let job = entry.job_name.unwrap();
    let sentinel = format!("{SENTINEL_FOLDER}/{job}-reboot-pending");
    site.wait_for_file(name, &sentinel).await;

    let end = tokio::time::Instant::now() + SILENCE;
    while tokio::time::Instant::now() < end {
        assert_eq!(node.boot_id().unwrap(), boot, "rebooted without permission");
        let pods = site.reboot_pods("stalled").await;
        assert_eq!(pods.len(), 1, "the Pod that would reboot waits");
        let permitted = pods[0].annotations().get(ANNOTATION_REBOOT_AUTHORIZED);
        assert_eq!(permitted, None, "the Job was not seen complete");
        let entry = site.status("stalled").await.node_statuses[name].clone();
        assert_eq!(entry.step, Some(NodeStep::Running), "{entry:#?}");
        assert_eq!(entry.boot_id, None, "no boot is to be left yet");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(node.written_file(&sentinel).is_some());

    node.plug_in().await.unwrap();
    let status = site.ended("stalled", Duration::from_mins(3)).await;
    assert_eq!(status.phase, Some(Phase::Completed), "{status:#?}");
    let entry = &status.node_statuses[name];
    assert_eq!(entry.reboot_status, Some(RebootStatus::Completed));
    let ends = &site.ends(name)[before - 1..];
    assert_eq!(ends, [Some(End::Reboot), None], "one reboot, after it");
}
