//! Simulated nodes: Node objects whose Pods kwok moves through their phases without running anything.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Node, NodeStatus, NodeSystemInfo};
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{sleep, timeout};

use super::REQUEST;
use super::identities::random_text;

/// Marks a Node as simulated, with the value `fake`.
pub const SIMULATED_ANNOTATION: &str = "kwok.x-k8s.io/node";

/// How long all simulated nodes together may take to become Ready.
const READY: Duration = Duration::from_mins(2);

/// A simulated worker of this name with the labels a kubelet would set and a boot ID of its own. Change it as needed.
pub fn simulated_node(name: &str) -> Node {
    let labels = [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", "amd64"),
        ("kairos.io/managed", "true"),
    ];
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(
            labels
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        ),
        annotations: Some([(SIMULATED_ANNOTATION.to_owned(), "fake".to_owned())].into()),
        ..ObjectMeta::default()
    };
    // What is left empty here, kwok fills in.
    let node_info = NodeSystemInfo {
        boot_id: random_text().unwrap_or_else(|_| format!("boot-of-{name}")),
        system_uuid: format!("system-of-{name}"),
        machine_id: format!("machine-of-{name}"),
        ..NodeSystemInfo::default()
    };
    let status = NodeStatus {
        node_info: Some(node_info),
        ..NodeStatus::default()
    };
    Node {
        metadata,
        status: Some(status),
        ..Node::default()
    }
}

/// Creates the nodes and waits until all are Ready.
pub(super) async fn create(
    client: &Client,
    nodes: impl Iterator<Item = Node>,
) -> anyhow::Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    let nodes: Vec<Node> = nodes.collect();
    let count = nodes.len();
    futures::stream::iter(nodes)
        .map(|node| {
            let api = api.clone();
            async move {
                let name = node.metadata.name.clone().unwrap_or_default();
                let failed = || format!("failed to create the simulated node {name}");
                timeout(REQUEST, api.create(&PostParams::default(), &node))
                    .await
                    .with_context(failed)?
                    .with_context(failed)
            }
        })
        .buffer_unordered(32)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    let deadline = Instant::now() + READY;
    loop {
        let listed = timeout(REQUEST, api.list(&ListParams::default().match_any())).await;
        let listed = listed
            .context("failed to list nodes")?
            .context("failed to list nodes")?;
        let ready = listed
            .iter()
            .filter(|node| simulated(node) && is_ready(node))
            .count();
        if ready >= count {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "only {ready} of {count} simulated nodes were Ready within {} s: see kwok.log in the cluster's folder",
                READY.as_secs()
            );
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn simulated(node: &Node) -> bool {
    node.metadata
        .annotations
        .as_ref()
        .is_some_and(|annotations| annotations.contains_key(SIMULATED_ANNOTATION))
}

fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| {
        conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}
