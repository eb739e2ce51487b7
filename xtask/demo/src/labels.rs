//! What the node labeller tells of each node, without being asked.

use std::time::{Duration, Instant};

use api_types::names::{LABEL_MANAGED, VALUE_TRUE};
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use crate::api::{until, within};
use crate::site::{Outcome, Site};
use crate::view::seconds;

/// Longest time until each node has its labels: a Pod per node, and after a reboot once more.
const PATIENCE: Duration = Duration::from_mins(3);
/// Label with the Kairos release that a node runs.
const RELEASE: &str = "kairos.io/release";
/// Label with the system that a node has booted. It is told last: where the kernel's command line does not tell, a second
/// look does.
const BOOT_STATE: (&str, &str) = ("kairos.io/boot-state", "active");
/// What begins the names of the labeller's labels.
const PREFIX: &str = "kairos.io/";

/// Waits until each node is labelled, and prints the labels.
pub(crate) async fn tell(site: &Site) -> anyhow::Result<Outcome> {
    site.step("waiting for the node labeller to look at each node");
    let began = Instant::now();
    let nodes = labelled(&site.target.client, None).await?;
    let took = seconds(began.elapsed());
    println!("\n{}", table(&nodes));
    Ok(Outcome {
        sentence: format!("{} nodes have their labels after {took}", nodes.len()),
        is_good: true,
    })
}

/// Waits until each node is known to be a Kairos, of that release where one is given.
pub(crate) async fn labelled(client: &Client, release: Option<&str>) -> anyhow::Result<Vec<Node>> {
    let api: Api<Node> = Api::all(client.clone());
    let what = release.map_or_else(
        || "each node is labelled".to_owned(),
        |release| format!("each node is labelled with the release {release}"),
    );
    until(&what, PATIENCE, async || {
        let nodes = within("list the nodes", api.list(&ListParams::default())).await?;
        let all = nodes.iter().all(|node| is_known(node, release));
        Ok((all && !nodes.items.is_empty()).then_some(nodes.items))
    })
    .await
}

fn is_known(node: &Node, release: Option<&str>) -> bool {
    let label = |name| node.labels().get(name).map(String::as_str);
    label(LABEL_MANAGED) == Some(VALUE_TRUE)
        && label(BOOT_STATE.0) == Some(BOOT_STATE.1)
        && release.is_none_or(|release| label(RELEASE) == Some(release))
}

/// One node per paragraph: its name, and the labeller's labels below it.
pub(crate) fn table(nodes: &[Node]) -> String {
    let mut text = String::new();
    for node in nodes {
        let labels: Vec<String> = node
            .labels()
            .iter()
            .filter_map(|(name, value)| Some(format!("{}={value}", name.strip_prefix(PREFIX)?)))
            .collect();
        text.push_str(&node.name_any());
        text.push_str("\n    ");
        text.push_str(&labels.join(" "));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(labels: &serde_json::Value) -> Node {
        let node = json!({"metadata": {"name": "barn", "labels": labels}});
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn a_node_is_known_once_it_has_the_label_and_the_release() {
        let node = node(&json!({LABEL_MANAGED: "true", BOOT_STATE.0: "active", RELEASE: "v1"}));
        assert!(is_known(&node, None) && is_known(&node, Some("v1")));
        assert!(!is_known(&node, Some("v2")));
        let early = json!({LABEL_MANAGED: "true", BOOT_STATE.0: "unknown"});
        assert!(!is_known(&self::node(&early), None));
        assert!(!is_known(&self::node(&json!({})), None));
    }

    #[test]
    fn only_the_labellers_labels_are_shown() {
        let node = node(&json!({RELEASE: "v1", "kubernetes.io/os": "linux"}));
        assert_eq!(table(&[node]), "barn\n    release=v1\n");
    }
}
