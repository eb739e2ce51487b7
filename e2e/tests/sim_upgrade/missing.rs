//! A cluster without the nodeop-controller.

use std::time::Duration;

use e2e::operator::Controller;
use serde_json::json;

use crate::{Objects, cluster, eventually};

#[tokio::test]
async fn without_a_nodeop_controller_the_upgrade_says_after_a_minute_what_is_missing() {
    let cluster = cluster().await;
    let controller = Controller::new(&cluster, "upgrade-controller", None)
        .await
        .unwrap();
    let _running = controller.start(&cluster).unwrap();
    let namespace = cluster.temp_namespace("missing").await.unwrap();
    let objects = Objects::of(&cluster.client().unwrap(), namespace.name());
    let begun = tokio::time::Instant::now();
    objects.create("to-v2").await;
    let reason = async || {
        let status = objects.upgrades.get("to-v2").await.unwrap().status?;
        let found = status
            .conditions
            .iter()
            .find(|found| found.type_ == "Progressing")?;
        Some((found.reason.clone(), status.message.unwrap_or_default()))
    };
    let (first, _) = eventually("it reports", reason).await;
    assert_eq!(first, "Initializing");
    let message = eventually("it says what is missing", async || {
        let (now, message) = reason().await?;
        (now == "NodeOpControllerMissing").then_some(message)
    })
    .await;
    assert!(
        begun.elapsed() >= Duration::from_secs(55),
        "after {:?}",
        begun.elapsed()
    );
    assert!(
        message.contains("no nodeop-controller has taken up the NodeOp to-v2"),
        "{message}"
    );
    // It is installed.
    objects
        .report(
            "to-v2",
            json!({"phase": "Pending", "message": "no node matches"}),
        )
        .await;
    eventually("the report takes its place", async || {
        let status = objects.upgrades.get("to-v2").await.unwrap().status?;
        (status.message.as_deref() == Some("no node matches")).then_some(())
    })
    .await;
}
