//! `watchNamespaces`: the rights that the chart gives suffice for what the controller does, and it does nothing elsewhere.

use e2e::chart;
use serde_json::json;

use crate::site::{Site, eventually};

#[tokio::test]
async fn in_watched_namespaces_roles_suffice_and_elsewhere_nothing_is_done() {
    let site = Site::new().await;
    site.restricted_namespace().await;
    let [one, two, other] = ["one", "two", "other"].map(|name| site.cluster.temp_namespace(name));
    let (one, two, other) = (one.await.unwrap(), two.await.unwrap(), other.await.unwrap());
    let newer = chart::folder();
    let watched = format!("watchNamespaces={{{},{}}}", one.name(), two.name());
    let words = [
        "install",
        "kairos-operator",
        newer.to_str().unwrap(),
        "--set",
        &watched,
    ];
    site.helm(&words).await.well();
    let argument = format!("--watch-namespace={},{}", one.name(), two.name());
    let controller = site
        .start("nodeop-controller", &[&argument, "--agent-image=agent"])
        .await;
    for namespace in [&other, &one, &two] {
        let node_op = json!({
            "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp", "metadata": {"name": "op"},
            "spec": {
                "command": ["run"], "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": "simulated-0"}},
                "drainOptions": {"enabled": true, "force": true},
            },
        });
        site.create(namespace.name(), node_op).await;
    }
    for namespace in [&one, &two] {
        eventually("the operation is complete", async || {
            let status = site.node_op(namespace.name()).await?.status?;
            (serde_json::to_value(status.phase).unwrap() == json!("Completed")).then_some(())
        })
        .await;
    }
    let untouched = site.node_op(other.name()).await.unwrap();
    assert!(untouched.status.is_none(), "{:?}", untouched.status);
    let log = std::fs::read_to_string(controller.log()).unwrap();
    // Other tests' controllers have logged there before.
    let (_, log) = log.rsplit_once("starting controller=").unwrap();
    assert!(!log.to_lowercase().contains("forbidden"), "{log}");

    controller.kill().unwrap();
    site.helm(&["uninstall", "kairos-operator"]).await.well();
    site.delete(other.name(), "nodeop", "op").await;
    site.follow_readme().await;
    site.delete_namespace("kairos-operator").await;
    site.delete_namespace("kairos-operator-detect").await;
}
