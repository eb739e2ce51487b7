//! Power that fails at random moments of an operation that reboots.

use std::time::Duration;

use api_types::nodeop::{NodePhase, RebootStatus};
use e2e::nodes::{Boot, End};
use serde_json::json;

use crate::NODES;
use crate::chance::{Moments, from_environment};
use crate::site::Site;

/// How often each node loses its power, unless `KAIROS_E2E_POWER_CUTS` says otherwise.
const CUTS: usize = 1;
/// An operation that is not disturbed takes about this long.
const WITHIN_MILLISECONDS: u64 = 20_000;
/// How long a node may be without a process that could lose its power: it is about to boot.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn power_that_fails_at_any_moment_ends_in_one_reboot_or_a_clear_failure(
    site: &Site<'_>,
) {
    let mut moments = Moments::new();
    let cuts = from_environment("KAIROS_E2E_POWER_CUTS", CUTS);
    for round in 0..cuts {
        let all = NODES.map(|node| {
            let moment = moments.next(WITHIN_MILLISECONDS);
            eprintln!(
                "seed {}, cut {round}: {node} after {moment:?}",
                moments.seed
            );
            one(site, node, format!("cut-{round}-{node}"), moment)
        });
        futures::future::join_all(all).await;
    }
}

/// An operation on one node, which loses its power at that moment and gets it back at once.
async fn one(site: &Site<'_>, name: &str, operation: String, moment: Duration) {
    let node = site.node(name);
    let file = format!("/var/lib/{operation}");
    let boot = "$(cat /host/proc/sys/kernel/random/boot_id)";
    let script =
        format!("echo began {boot} >> /host{file}; sleep 2; echo ended {boot} >> /host{file}");
    let spec = json!({
        "command": ["sh", "-c", script], "cordon": true, "rebootOnSuccess": true, "backoffLimit": 3,
        // A container that was created and not started when the power failed stays so: no kubelet starts it again.
        "activeDeadlineSeconds": 120,
        "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": name}},
    });
    let first = node.boots().unwrap().len() - 1;
    site.create(&operation, spec).await;
    tokio::time::sleep(moment).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while let Err(error) = node.power_cut().await {
        // It is between two boots.
        assert!(tokio::time::Instant::now() < deadline, "{error:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.power_on().await.unwrap();
    let status = site.ended(&operation, Duration::from_mins(4)).await;
    node.wait_ready(Duration::from_mins(1)).await.unwrap();

    let boots = node.boots().unwrap();
    let log = node.written_file(&file).unwrap_or_default();
    let what = format!("{operation}, power lost after {moment:?}: {boots:#?}\n{log}\n{status:#?}");
    let entry = &status.node_statuses[name];
    let rebooted: Vec<usize> = (first..boots.len())
        .filter(|index| boots[*index].end == Some(End::Reboot))
        .collect();
    match entry.phase {
        NodePhase::Completed => {
            eprintln!(
                "{operation}: completed; boots ended by {:?}",
                ends(&boots[first..])
            );
            assert_eq!(entry.reboot_status, Some(RebootStatus::Completed), "{what}");
            assert_left_once(&boots, &rebooted, &log, &what);
        }
        NodePhase::Failed => {
            eprintln!("{operation}: failed: {:?}", entry.message);
            assert!(entry.message.is_some(), "{what}");
            assert_eq!(entry.reboot_status, Some(RebootStatus::Cancelled), "{what}");
            assert!(rebooted.is_empty(), "{what}");
        }
        _ => panic!("{what}"),
    }
}

fn ends(boots: &[Boot]) -> Vec<Option<End>> {
    boots.iter().map(|boot| boot.end).collect()
}

/// The boot in which the command succeeded was left, by our reboot or by the power cut; no other one was rebooted, and no
/// command ran later.
fn assert_left_once(boots: &[Boot], rebooted: &[usize], log: &str, what: &str) {
    let boot_of = |line: &str| {
        let boot = line.split_once(' ').unwrap().1;
        let position = boots.iter().position(|known| known.boot_id == boot);
        position.unwrap_or_else(|| panic!("{line}: no boot of the node: {what}"))
    };
    let ended = log.lines().filter(|line| line.starts_with("ended"));
    let left = ended.map(boot_of).max();
    let left = left.unwrap_or_else(|| panic!("no command succeeded: {what}"));
    assert!(boots[left].end.is_some(), "never left: {what}");
    assert!(
        rebooted.iter().all(|index| *index == left),
        "another boot than that of the work was rebooted: {what}"
    );
    assert!(
        log.lines().all(|line| boot_of(line) <= left),
        "the command ran after the reboot: {what}"
    );
}
