//! The NodeOp: created from the example file, followed to its end, its Pods' output read back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use api_types::names::LABEL_NODEOP;
use api_types::nodeop::{NodeOp, NodeOpStatus, Phase};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams, PostParams};
use kube::{Api, Client, ResourceExt as _};

use crate::api::within;
use crate::site::{Outcome, Site};
use crate::view::{View, seconds};
use crate::{install, report};

/// The README's example.
const EXAMPLE: &str = include_str!("../../../deploy/examples/nodeop.yaml");
/// Pause between two looks at the status.
const PAUSE: Duration = Duration::from_millis(300);
/// Longest time in which nothing changes before the demo gives up: longer than the ten and a half minutes in which a Job
/// retries a failing Pod six times.
const SILENCE: Duration = Duration::from_mins(20);
/// Nodes whose output is printed.
const OUTPUTS: usize = 20;
/// Lines of output per node.
const LINES: i64 = 40;
/// Bytes of output per node.
const BYTES: i64 = 16 * 1024;

/// The example, as its file says.
pub(crate) fn example() -> anyhow::Result<NodeOp> {
    serde_saphyr::from_str(EXAMPLE).context("failed to read deploy/examples/nodeop.yaml")
}

/// Creates the example and follows it to its end.
pub(crate) async fn tell(site: &Site) -> anyhow::Result<Outcome> {
    let client = &site.target.client;
    let node_op = example()?;
    let (namespace, name) = (node_op.namespace().unwrap_or_default(), node_op.name_any());
    install::default_service_account(client, &namespace).await?;
    site.step(&format!(
        "applying deploy/examples/nodeop.yaml:\n\n{}\n",
        without_comments(EXAMPLE)
    ));
    create(client, &node_op).await?;
    let began = Instant::now();
    let status = follow(
        &format!("the NodeOp {namespace}/{name}"),
        &mut View::new(),
        async || status(client, &node_op).await,
        || site.operator.check(),
    )
    .await?;
    let took = seconds(began.elapsed());
    if site.target.runs_commands {
        println!("\nOutput of each node:\n");
        print!("{}", report::outputs(&outputs(client, &node_op).await?));
    } else {
        println!("\nSimulated nodes run no command, so there is no output.");
    }
    println!("\nFinal status:\n\n{}\n", report::table(&status));
    Ok(Outcome {
        sentence: report::summary(&format!("NodeOp {name}"), &status, &took),
        is_good: status.phase == Some(Phase::Completed),
    })
}

/// A manifest without comments, for printing.
pub(crate) fn without_comments(manifest: &str) -> String {
    manifest
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Creates the NodeOp.
pub(crate) async fn create(client: &Client, node_op: &NodeOp) -> anyhow::Result<()> {
    let (namespace, name) = (node_op.namespace().unwrap_or_default(), node_op.name_any());
    let api: Api<NodeOp> = Api::namespaced(client.clone(), &namespace);
    if within("look for the NodeOp", api.get_opt(&name))
        .await?
        .is_some()
    {
        bail!(
            "the NodeOp {namespace}/{name} exists already: delete it with `kubectl -n {namespace} delete nodeop {name}`"
        );
    }
    within(
        &format!("create the NodeOp {namespace}/{name}"),
        api.create(&PostParams::default(), node_op),
    )
    .await?;
    Ok(())
}

/// The status of the NodeOp.
pub(crate) async fn status(client: &Client, node_op: &NodeOp) -> anyhow::Result<NodeOpStatus> {
    let (namespace, name) = (node_op.namespace().unwrap_or_default(), node_op.name_any());
    let api: Api<NodeOp> = Api::namespaced(client.clone(), &namespace);
    let what = format!("get the NodeOp {namespace}/{name}");
    Ok(within(&what, api.get(&name))
        .await?
        .status
        .unwrap_or_default())
}

/// Follows an operation until it has ended; `read` gets its status, and `check` fails when nobody works on it any more.
pub(crate) async fn follow(
    what: &str,
    view: &mut View,
    read: impl AsyncFn() -> anyhow::Result<NodeOpStatus>,
    check: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<NodeOpStatus> {
    let mut last = NodeOpStatus::default();
    let mut changed = Instant::now();
    loop {
        check()?;
        let status = read().await?;
        if status != last {
            view.show(&last, &status);
            last = status;
            changed = Instant::now();
        }
        if last
            .phase
            .is_some_and(api_types::nodeop::Phase::is_terminal)
        {
            view.finish();
            return Ok(last);
        }
        if changed.elapsed() > SILENCE {
            bail!(
                "{what} has not changed for {} s: `kubectl describe` says more",
                SILENCE.as_secs()
            );
        }
        view.tick();
        tokio::time::sleep(PAUSE).await;
    }
}

/// What the Pods of the first nodes printed: pairs of node and text.
pub(crate) async fn outputs(
    client: &Client,
    node_op: &NodeOp,
) -> anyhow::Result<Vec<(String, String)>> {
    let (namespace, name) = (node_op.namespace().unwrap_or_default(), node_op.name_any());
    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let selector = ListParams::default().labels(&format!("{LABEL_NODEOP}={name}"));
    let mut pods = within("list the Pods of the operation", api.list(&selector))
        .await?
        .items;
    pods.sort_by_key(node_of);
    let mut outputs = Vec::new();
    for pod in pods.iter().take(OUTPUTS) {
        let parameters = LogParams {
            tail_lines: Some(LINES),
            limit_bytes: Some(BYTES),
            ..LogParams::default()
        };
        let what = format!("read the output of Pod {}", pod.name_any());
        let text = match within(&what, api.logs(&pod.name_any(), &parameters)).await {
            Ok(text) => text,
            Err(error) => format!("({error:#})"),
        };
        outputs.push((node_of(pod), text));
    }
    Ok(outputs)
}

fn node_of(pod: &Pod) -> String {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.node_name.clone())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_node_op_that_reads_the_release_file() {
        let example = example().unwrap();
        assert!(
            example
                .spec
                .command
                .iter()
                .any(|word| word.contains("/host/etc/kairos-release"))
        );
        assert!(!example.name_any().is_empty() && example.namespace().is_some());
    }
}
