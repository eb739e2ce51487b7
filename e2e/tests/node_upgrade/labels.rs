//! The node-labeller beside the upgrades: what each node is labelled follows what it has booted, and nobody asks it to.

use std::time::Duration;

use e2e::cluster::Cluster;
use e2e::guard::ProcessHandle;
use e2e::images::program_with_libraries;
use e2e::nodes::RealNodes;
use e2e::operator::{self, Controller};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use tokio::time::{Instant, sleep};

use crate::site::{NODES, Site};

const IMAGE: &str = "registry.example.com/kairos/node-labeller:test";
/// A Pod runs on a busy node.
const PATIENCE: Duration = Duration::from_mins(1);

/// Starts the labeller, whose rights are installed.
pub(crate) async fn start_labeller(cluster: &Cluster, nodes: &RealNodes) -> ProcessHandle {
    let detect = operator::binary("node-labeller-detect").unwrap();
    let image = program_with_libraries("/node-labeller-detect", &detect).unwrap();
    nodes.images().put(IMAGE, image).unwrap();
    Controller::new(cluster, "node-labeller", None)
        .await
        .unwrap()
        .argument(&format!("--detect-image={IMAGE}"))
        .start(cluster)
        .unwrap()
}

/// Waits until every node is labelled as managed, with the version of Kairos and the boot state; of each node in this order.
pub(crate) async fn are(site: &Site, expected: [(&str, &str); 3]) {
    let api: Api<Node> = Api::all(site.client.clone());
    let deadline = Instant::now() + PATIENCE;
    for (name, (version, boot_state)) in NODES.into_iter().zip(expected) {
        loop {
            let metadata = api.get(name).await.unwrap().metadata;
            let label = |key: &str| metadata.labels.as_ref()?.get(key).cloned();
            let annotation = metadata
                .annotations
                .as_ref()
                .and_then(|all| all.get("kairos.io/version").cloned());
            let found = (
                label("kairos.io/managed"),
                annotation,
                label("kairos.io/software-version"),
                label("kairos.io/boot-state"),
            );
            let wanted = (
                Some("true".to_owned()),
                Some(version.to_owned()),
                Some(software(version).to_owned()),
                Some(boot_state.to_owned()),
            );
            if found == wanted {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{name}: {found:?}, not {wanted:?}"
            );
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The label of the Kubernetes that a version of Kairos comes with.
fn software(version: &str) -> &'static str {
    if version == "v3.5.0" {
        "v1.33.1-k3s1"
    } else {
        "v1.34.1-k3s1"
    }
}
