//! From the manifest to the last report.

use api_types::nodeop::NodeOpStatus;
use api_types::nodeopupgrade::{NodeOpUpgradeStatus, UpgradePhase};
use http::Request;
use serde_json::Value;

use crate::world::{COMPLETED, RUNNING, World, without_controller};

/// What both statuses have in common, as JSON.
fn common(status: &Value) -> Value {
    let mut status = status.clone();
    let object = status.as_object_mut().unwrap();
    for own in ["lastUpdated", "nodeOpName", "current", "observedGeneration"] {
        object.remove(own);
    }
    for condition in object["conditions"].as_array_mut().unwrap() {
        condition
            .as_object_mut()
            .unwrap()
            .remove("observedGeneration");
    }
    status
}

fn assert_same(mirrored: &NodeOpUpgradeStatus, reported: &NodeOpStatus) {
    assert_eq!(
        common(&serde_json::to_value(mirrored).unwrap()),
        common(&serde_json::to_value(reported).unwrap())
    );
}

#[tokio::test]
async fn an_upgrade_shows_what_its_node_op_reports_from_beginning_to_end() {
    let world = World::new("story").await;
    let upgrade = world
        .upgrade("to-v2", "image: quay.example/kairos:v2\nconcurrency: 1")
        .await;
    let made = world.made("to-v2").await;
    let owner = &made.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!(Some(&owner.uid), upgrade.metadata.uid.as_ref());
    assert_eq!(
        (owner.controller, owner.block_owner_deletion),
        (Some(true), Some(true))
    );
    assert_eq!(
        made.metadata.labels.unwrap()["nodeopupgrade.kairos.io/name"],
        "to-v2"
    );
    let status = world.because("to-v2", "Progressing", "Initializing").await;
    assert_eq!(status.phase, Some(UpgradePhase::Initializing));
    assert_eq!(status.node_op_name.as_deref(), Some("to-v2"));

    let reported = world.report("to-v2", RUNNING).await;
    let status = world.because("to-v2", "Progressing", "Running").await;
    assert_same(&status, &reported);
    assert_eq!(status.current.as_deref(), Some("b (Draining)"));
    assert_eq!(status.observed_generation, Some(1));
    world.event("to-v2", "UpgradeStarted", "m").await;
    world.event("to-v2", "NodeUpgraded", "a upgraded").await;

    let reported = world.report("to-v2", COMPLETED).await;
    let status = world.because("to-v2", "Complete", "Completed").await;
    assert_same(&status, &reported);
    assert_eq!(status.phase, Some(UpgradePhase::Completed));
    world
        .event("to-v2", "NodeSkipped", "c: Skipped: already at v2")
        .await;
    world.event("to-v2", "UpgradeCompleted", "m").await;
    assert_eq!(world.node_ops_created().await, 1);
}

#[tokio::test]
async fn a_list_shows_phase_image_done_failed_current_nodes_and_age() {
    let world = World::new("columns").await;
    world
        .upgrade("to-v2", "image: quay.example/kairos:v2")
        .await;
    world.made("to-v2").await;
    world.report("to-v2", RUNNING).await;
    world.because("to-v2", "Progressing", "Running").await;
    let path = format!(
        "/apis/operator.kairos.io/v1alpha1/namespaces/{}/nodeopupgrades",
        world.namespace.name()
    );
    let request = Request::get(path)
        .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())
        .unwrap();
    let table: Value = world.client.request(request).await.unwrap();
    let columns: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|column| column["priority"] == 0)
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        columns,
        ["Name", "Phase", "Image", "Done", "Failed", "Current", "Age"]
    );
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    let expected = ["to-v2", "Running", "quay.example/kairos:v2", "1/3"];
    assert_eq!(cells[..4], expected);
    assert_eq!(cells[4], 0);
    assert_eq!(cells[5], "b (Draining)");
}

#[tokio::test]
async fn progress_is_written_at_most_once_a_second_and_the_end_at_once() {
    let world = World::new("throttle").await;
    world.upgrade("to-v2", "image: i").await;
    world.made("to-v2").await;
    world.report("to-v2", RUNNING).await;
    world.because("to-v2", "Progressing", "Running").await;
    let begun = std::time::Instant::now();
    for number in 0..60 {
        world
            .report("to-v2", &format!("message: 'step {number}'"))
            .await;
    }
    world.report("to-v2", COMPLETED).await;
    let status = world.because("to-v2", "Complete", "Completed").await;
    assert_eq!(
        status.message.as_deref(),
        Some("all 3 nodes completed (1 skipped)")
    );
    let seconds = begun.elapsed().as_secs();
    let audit = crate::world::cluster().await.audit().unwrap();
    let writes = audit
        .service_account(e2e::operator::NAMESPACE, "upgrade-controller")
        .namespace(world.namespace.name())
        .verb("patch")
        .resource("nodeopupgrades/status")
        .succeeded()
        .count();
    // Initializing, running, the end; and one for each second in between.
    let most = 3 + usize::try_from(seconds).unwrap() + 1;
    assert!(writes <= most, "{writes} writes in {seconds} s");
}

#[tokio::test]
async fn a_controller_that_comes_late_finds_everything_and_repeats_nothing() {
    let world = World::new("late").await;
    world.upgrade("to-v2", "image: i").await;
    world.made("to-v2").await;
    world.report("to-v2", RUNNING).await;
    world.because("to-v2", "Progressing", "Running").await;
    let version = {
        let _paused = without_controller().await;
        world.report("to-v2", COMPLETED).await;
        world
            .upgrades()
            .get("to-v2")
            .await
            .unwrap()
            .metadata
            .resource_version
    };
    world.because("to-v2", "Complete", "Completed").await;
    let after = world
        .upgrades()
        .get("to-v2")
        .await
        .unwrap()
        .metadata
        .resource_version;
    assert_ne!(after, version);
    drop(without_controller().await);
    // Another pass over a third upgrade shows that the new process has looked at all of them.
    world.upgrade("other", "image: i").await;
    world.made("other").await;
    assert_eq!(
        world
            .upgrades()
            .get("to-v2")
            .await
            .unwrap()
            .metadata
            .resource_version,
        after
    );
    assert_eq!(world.node_ops_created().await, 2);
}
