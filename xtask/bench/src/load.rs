//! Pods that run on the nodes: what a cluster is full of, and what a drain evicts.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::sleep;

use crate::{progress, within};

/// Pods being created at once.
const IN_FLIGHT: usize = 32;
/// How long all Pods may take until they run.
const RUNNING: Duration = Duration::from_mins(15);

/// Creates `per_node` Pods on each of `nodes`, and waits until all run. Their owner is an object that makes no others in
/// their place, so that evictions are all that a drain costs.
pub async fn fill(
    client: &Client,
    namespace: &str,
    nodes: &[String],
    per_node: usize,
) -> anyhow::Result<()> {
    let count = nodes.len() * per_node;
    if count == 0 {
        return Ok(());
    }
    progress(&format!("creating {count} Pods"));
    let owners: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let owner = serde_json::from_value(json!({"metadata": {"name": "owner"}}))
        .context("failed to write the owner of Pods")?;
    let owner = within(
        "create the owner of Pods",
        owners.create(&PostParams::default(), &owner),
    )
    .await?;
    let uid = owner.metadata.uid.unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let creates = nodes.iter().flat_map(|node| {
        let (pods, uid) = (&pods, &uid);
        (0..per_node).map(move |index| async move {
            let pod = pod(node, index, uid)?;
            within("create a Pod", pods.create(&PostParams::default(), &pod)).await
        })
    });
    stream::iter(creates)
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    let deadline = Instant::now() + RUNNING;
    let waiting = ListParams::default()
        .fields("status.phase!=Running")
        .limit(1);
    loop {
        let listed = within("list Pods that do not run", pods.list_metadata(&waiting)).await?;
        if listed.items.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the Pods do not all run within {} s", RUNNING.as_secs());
        }
        sleep(Duration::from_secs(1)).await;
    }
}

fn pod(node: &str, index: usize, owner: &str) -> anyhow::Result<Pod> {
    let environment: Vec<_> = (0..10)
        .map(|number| json!({"name": format!("SETTING_{number}"), "value": "a value as workloads have them"}))
        .collect();
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("{node}-{index}"), "labels": {"app": "load"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner, "controller": true}],
        },
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "load", "env": environment}],
        },
    }))
    .context("failed to write a Pod")
}
