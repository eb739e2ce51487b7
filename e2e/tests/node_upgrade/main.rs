//! Upgrades of three real nodes, with reboots, from stand-in Kairos images.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

mod labels;
mod site;
mod stages;

use api_types::nodeop::{NodePhase, RebootStatus};
use api_types::nodeopupgrade::UpgradePhase;
use e2e::images::Upgrade;
use e2e::operator;
use serde_json::json;

use site::{CALL, NODES, Site, release};
use stages::Stages;

/// The project's own example, word for word.
const EXAMPLE: &str = include_str!("../../../deploy/examples/nodeopupgrade.yaml");
const EXAMPLE_NAME: &str = "to-v3.6.0";
const EXAMPLE_IMAGE: &str =
    "quay.io/kairos/opensuse:leap-15.6-standard-amd64-generic-v3.6.0-k3s-v1.34.1-k3s1";

/// One cluster for all that follows: its start and the reboots are most of the time. Each story begins where the one before
/// has left the nodes.
#[tokio::test(flavor = "multi_thread")]
async fn a_canary_upgrades_real_nodes_one_by_one_and_every_failure_is_caught_and_told() {
    let site = Site::start().await;
    site.image("registry.example.com/kairos:full", "v3.5.5", Upgrade::Fails);
    site.image(EXAMPLE_IMAGE, "v3.6.0", Upgrade::Works);
    site.image(
        "registry.example.com/kairos:broken",
        "v3.7.0",
        Upgrade::FallsBack,
    );
    site.image(
        "registry.example.com/kairos:v3.7.0",
        "v3.7.0",
        Upgrade::Works,
    );
    site.image(
        "registry.example.com/kairos:hangs",
        "v3.8.0",
        Upgrade::Hangs,
    );

    // The example selects by the label.
    labels::are(&site, [("v3.5.0", "active"); 3]).await;
    timed(
        "an image that cannot be pulled",
        an_image_that_cannot_be_pulled_fails_before_any_cordon(&site),
    )
    .await;
    timed(
        "a failing agent, uncordoned",
        a_failing_agent_stops_after_the_first_node(&site, true),
    )
    .await;
    timed(
        "a failing agent, cordoned",
        a_failing_agent_stops_after_the_first_node(&site, false),
    )
    .await;
    timed(
        "the example",
        the_example_upgrades_node_by_node_through_every_crash(&site),
    )
    .await;
    timed(
        "the example again",
        applied_again_it_skips_all_nodes_and_reboots_none(&site),
    )
    .await;
    timed("a fallback", a_node_that_falls_back_stops_the_canary(&site)).await;
    timed(
        "recovery only",
        the_recovery_system_alone_is_upgraded_without_a_reboot(&site),
    )
    .await;
    timed(
        "a hanging agent",
        an_agent_that_hangs_ends_by_the_deadline(&site),
    )
    .await;
    timed(
        "both systems, forced",
        both_systems_are_upgraded_with_every_option(&site),
    )
    .await;
}

async fn timed(name: &str, story: impl Future<Output = ()>) {
    let begun = std::time::Instant::now();
    story.await;
    eprintln!("{name}: {:.1} s", begun.elapsed().as_secs_f32());
}

async fn an_image_that_cannot_be_pulled_fails_before_any_cordon(site: &Site) {
    let spec = json!({"image": "registry.example.com/kairos:missing", "concurrency": 1, "stopOnFailure": true});
    site.upgrade("unpullable", spec).await;
    let status = site.ended("unpullable").await;
    assert_eq!(status.phase, Some(UpgradePhase::Failed), "{status:#?}");
    assert_eq!(
        status.node_statuses.len(),
        1,
        "the rest is untouched: {status:#?}"
    );
    let message = status.node_statuses[NODES[0]].message.as_ref().unwrap();
    assert!(
        message.contains("registry.example.com/kairos:missing"),
        "{message}"
    );
    assert!(message.starts_with("preflight"), "{message}");
    assert!(status.message.unwrap().contains(NODES[0]));
    let patches = site.cluster.audit().unwrap();
    let patches = patches.service_account(operator::NAMESPACE, "nodeop-controller");
    assert_eq!(
        patches.verb("patch").resource("nodes").count(),
        0,
        "no Node was written to"
    );
    assert_eq!(site.boots(), [1, 1, 1]);
}

async fn a_failing_agent_stops_after_the_first_node(site: &Site, uncordon: bool) {
    let name = format!("full-{uncordon}");
    let spec = json!({
        "image": "registry.example.com/kairos:full", "concurrency": 1, "stopOnFailure": true,
        "uncordonOnFailure": uncordon,
    });
    site.upgrade(&name, spec).await;
    let status = site.ended(&name).await;
    assert_eq!(status.phase, Some(UpgradePhase::Failed), "{status:#?}");
    assert_eq!(status.node_statuses.len(), 1, "it stopped: {status:#?}");
    let entry = &status.node_statuses[NODES[0]];
    assert_eq!(
        (entry.phase, entry.reboot_status),
        (NodePhase::Failed, Some(RebootStatus::Cancelled))
    );
    let message = entry.message.as_ref().unwrap();
    assert!(message.contains("no space left on device"), "{message}");
    site.cordons([!uncordon, false, false]).await;
    assert_eq!(site.boots(), [1, 1, 1]);
    assert_eq!(site.release(NODES[0]), release("v3.5.0"));
}

/// The first node's upgrade sees the upgrade-controller killed in each stage, the second's the nodeop-controller.
async fn the_example_upgrades_node_by_node_through_every_crash(site: &Site) {
    let stages = Stages::watch(site, EXAMPLE_NAME).await;
    site.cluster.apply_yaml(EXAMPLE).await.unwrap();
    let seen = stages.kill_in_each(site).await;
    let status = site.ended(EXAMPLE_NAME).await;
    assert_eq!(status.phase, Some(UpgradePhase::Completed), "{status:#?}");
    assert_eq!(status.summary.unwrap().done, "3/3");
    assert_eq!(seen.order, NODES, "control plane first, then by name");
    assert_eq!(seen.most_at_once, 1);
    for node in NODES {
        let entry = &status.node_statuses[node];
        assert_eq!(entry.reboot_status, Some(RebootStatus::Completed), "{node}");
        assert_eq!(
            entry.message.as_deref(),
            Some("at v3.6.0-k3sv1.34.1+k3s1"),
            "{node}"
        );
        assert_eq!(site.release(node), release("v3.6.0"), "{node}");
        let state = |file| site.node(node).state_file(file).unwrap_or_default();
        assert_eq!(state("passive"), release("v3.5.0"), "{node} can fall back");
        assert_eq!(state("calls").lines().last(), Some(CALL), "{node}");
    }
    // The first node's calls are of the failed upgrades before, too.
    for node in &NODES[1..] {
        assert_eq!(
            site.node(node).state_file("calls").unwrap().lines().count(),
            1,
            "{node}"
        );
    }
    assert_eq!(site.boots(), [2, 2, 2], "one reboot each");
    labels::are(site, [("v3.6.0", "active"); 3]).await;
    site.cordons([false, false, false]).await;
    site.shows(EXAMPLE_NAME, "Completed").await;
}

async fn applied_again_it_skips_all_nodes_and_reboots_none(site: &Site) {
    site.delete(EXAMPLE_NAME).await;
    site.cluster.apply_yaml(EXAMPLE).await.unwrap();
    let status = site.ended(EXAMPLE_NAME).await;
    assert_eq!(status.phase, Some(UpgradePhase::Completed), "{status:#?}");
    assert_eq!(status.summary.unwrap().skipped, 3);
    for node in NODES {
        let entry = &status.node_statuses[node];
        assert_eq!(
            entry.message.as_deref(),
            Some("Skipped: already at v3.6.0-k3sv1.34.1+k3s1"),
            "{node}"
        );
    }
    assert_eq!(site.boots(), [2, 2, 2]);
    site.cordons([false, false, false]).await;
}

async fn a_node_that_falls_back_stops_the_canary(site: &Site) {
    let spec = json!({"image": "registry.example.com/kairos:broken", "concurrency": 1, "stopOnFailure": true});
    site.upgrade("broken", spec).await;
    let status = site.ended("broken").await;
    assert_eq!(status.phase, Some(UpgradePhase::Failed), "{status:#?}");
    assert_eq!(status.node_statuses.len(), 1, "it stopped: {status:#?}");
    let message = status.node_statuses[NODES[0]].message.as_ref().unwrap();
    assert!(
        message.contains("node booted passive: the upgrade fell back"),
        "{message}"
    );
    assert_eq!(site.boots(), [3, 2, 2]);
    assert_eq!(
        site.release(NODES[0]),
        release("v3.6.0"),
        "the node runs its old system"
    );
    site.cordons([true, false, false]).await;
    let [fallen, other] = [("v3.6.0", "passive"), ("v3.6.0", "active")];
    labels::are(site, [fallen, other, other]).await;
}

async fn the_recovery_system_alone_is_upgraded_without_a_reboot(site: &Site) {
    let spec = json!({
        "image": "registry.example.com/kairos:v3.7.0", "upgradeActive": false, "upgradeRecovery": true, "concurrency": 2,
    });
    site.upgrade("recovery", spec).await;
    let status = site.ended("recovery").await;
    assert_eq!(status.phase, Some(UpgradePhase::Completed), "{status:#?}");
    for node in NODES {
        assert_eq!(
            site.node(node).state_file("recovery"),
            Some(release("v3.7.0")),
            "{node}"
        );
        assert_eq!(site.release(node), release("v3.6.0"), "{node}");
    }
    assert_eq!(site.boots(), [3, 2, 2]);
    site.cordons([true, false, false]).await;
}

async fn an_agent_that_hangs_ends_by_the_deadline(site: &Site) {
    let spec = json!({
        "image": "registry.example.com/kairos:hangs",
        "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": NODES[2]}},
    });
    site.upgrade("hangs", spec).await;
    let status = site.ended("hangs").await;
    assert_eq!(status.phase, Some(UpgradePhase::Failed), "{status:#?}");
    let entry = &status.node_statuses[NODES[2]];
    assert_eq!(
        (entry.phase, entry.reboot_status),
        (NodePhase::Failed, Some(RebootStatus::Cancelled))
    );
    let message = entry.message.as_ref().unwrap();
    assert!(message.contains("DeadlineExceeded"), "{message}");
    assert_eq!(site.boots(), [3, 2, 2]);
}

/// After a failed operation on the same node: its cordon is taken over and undone.
async fn both_systems_are_upgraded_with_every_option(site: &Site) {
    let spec = json!({
        "image": EXAMPLE_IMAGE, "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": NODES[2]}},
        "upgradeRecovery": true, "force": true, "debug": true, "excludePaths": ["/it's a \"path\"", "-n", "/$HOME"],
    });
    site.upgrade("both", spec).await;
    let status = site.ended("both").await;
    assert_eq!(status.phase, Some(UpgradePhase::Completed), "{status:#?}");
    let calls = site.node(NODES[2]).state_file("calls").unwrap();
    let options = "--source|dir:/|--exclude-path|/etc/hostname|--exclude-path|/etc/hosts|--exclude-path|/it's a \"path\"|\
                   --exclude-path|-n|--exclude-path|/$HOME|";
    let last: Vec<&str> = calls.lines().rev().take(2).collect();
    let expected = [
        format!("--debug|upgrade|{options}"),
        format!("--debug|upgrade|--recovery|{options}"),
    ];
    assert_eq!(last, expected, "the recovery system first");
    assert_eq!(site.boots(), [3, 2, 3]);
    site.cordons([true, false, false]).await;
}
