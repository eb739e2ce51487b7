//! The node labeller while many nodes join at once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use e2e::cluster::simulated_node;
use e2e::operator::DETECT_NAMESPACE;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::PostParams;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use serde::Serialize;
use tokio::time::sleep;

use crate::figures::{Spread, number};
use crate::requests::Requests;
use crate::site::Site;
use crate::{process, progress, report, within};

/// Nodes are Ready at once, and the labeller's Pods end at once and tell of a Kairos node.
pub(crate) const STAGES: &str = include_str!("../../../e2e/tests/sim_labeller/stages.yaml");
const CONTROLLER: &str = "node-labeller";
/// A label that only the labeller sets.
const LABEL: &str = "kairos.io/boot-state";
/// Nodes joining at once.
const IN_FLIGHT: usize = 64;
/// How long all nodes may take.
const PATIENCE: Duration = Duration::from_mins(30);

/// What one storm has come to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Storm {
    /// Nodes that joined.
    pub nodes: usize,
    /// Seconds until the last was labelled.
    pub seconds: f64,
    /// Milliseconds from Ready to labelled.
    pub ready_to_labelled: Option<Spread>,
    /// The labeller's requests.
    pub requests: Requests,
    /// The labeller's requests for each node; Events and leases are not among them.
    pub requests_per_node: f64,
    /// The most Pods that had not ended at once.
    pub pods_in_flight: usize,
    /// CPU seconds of the labeller.
    pub cpu_seconds: f64,
    /// The most memory that it had resident, in MiB.
    pub peak_mib: f64,
}

#[derive(Default)]
struct Seen {
    ready: HashMap<String, Instant>,
    labelled: HashMap<String, Instant>,
    active: HashSet<String>,
    most_active: usize,
}

/// Lets `nodes` join at once.
pub async fn run(nodes: usize) -> anyhow::Result<Storm> {
    let site = Site::start(0, Some(STAGES), &[CONTROLLER]).await?;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let _of_nodes = record_nodes(&site, &seen);
    let _of_pods = record_pods(&site, &seen);
    let running = site
        .controller(CONTROLLER, &["--detect-image=simulated"])
        .await?;
    running.settle(&site).await?;
    let before = running.requests_made(&site)?;
    let cpu = process::cpu_seconds(running.pid())?;
    progress(&format!("{nodes} nodes join"));
    let start = Instant::now();
    let api: Api<Node> = Api::all(site.client.clone());
    stream::iter(0..nodes)
        .map(|index| {
            let api = &api;
            async move {
                let mut node = simulated_node(&format!("node-{index:05}"));
                // What the labeller finds out must not be there before.
                node.labels_mut()
                    .retain(|name, _| !name.starts_with("kairos.io/"));
                within("create a node", api.create(&PostParams::default(), &node)).await
            }
        })
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    loop {
        running.check()?;
        let labelled = lock(&seen).labelled.len();
        if labelled >= nodes {
            break;
        }
        if start.elapsed() > PATIENCE {
            bail!(
                "{labelled} of {nodes} nodes labelled within {} s",
                PATIENCE.as_secs()
            );
        }
        sleep(Duration::from_millis(20)).await;
    }
    let seconds = start.elapsed().as_secs_f64();
    running.settle(&site).await?;
    let requests = running.requests(&site, before)?;
    let (delays, pods_in_flight) = {
        let seen = lock(&seen);
        let delays = seen.labelled.iter().filter_map(|(name, labelled)| {
            Some(labelled.saturating_duration_since(*seen.ready.get(name)?))
        });
        (delays.collect(), seen.most_active)
    };
    Ok(Storm {
        nodes,
        seconds,
        ready_to_labelled: Spread::of(delays),
        requests_per_node: requests.per_node(nodes),
        requests,
        pods_in_flight,
        cpu_seconds: process::cpu_seconds(running.pid())? - cpu,
        peak_mib: process::peak_mib(running.pid())?,
    })
}

/// Ends a task when it is dropped.
struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn record_nodes(site: &Site, seen: &Arc<Mutex<Seen>>) -> Task {
    let nodes: Api<Node> = Api::all(site.client.clone());
    let mut nodes = watcher(nodes, watcher::Config::default())
        .default_backoff()
        .applied_objects()
        .boxed();
    let seen = Arc::clone(seen);
    Task(tokio::spawn(async move {
        // An interrupted watch is resumed.
        while let Some(node) = nodes.next().await {
            if let Ok(node) = node {
                lock(&seen).node(&node);
            }
        }
    }))
}

fn record_pods(site: &Site, seen: &Arc<Mutex<Seen>>) -> Task {
    let pods: Api<Pod> = Api::namespaced(site.client.clone(), DETECT_NAMESPACE);
    let mut pods = watcher(pods, watcher::Config::default())
        .default_backoff()
        .boxed();
    let seen = Arc::clone(seen);
    Task(tokio::spawn(async move {
        while let Some(event) = pods.next().await {
            if let Ok(event) = event {
                lock(&seen).pod(&event);
            }
        }
    }))
}

impl Seen {
    fn node(&mut self, node: &Node) {
        let now = Instant::now();
        let conditions = node
            .status
            .iter()
            .filter_map(|status| status.conditions.as_ref());
        let is_ready = conditions
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        if is_ready {
            self.ready.entry(node.name_any()).or_insert(now);
        }
        if node.labels().contains_key(LABEL) {
            self.labelled.entry(node.name_any()).or_insert(now);
        }
    }

    fn pod(&mut self, event: &Event<Pod>) {
        match event {
            Event::Apply(pod) | Event::InitApply(pod) if is_active(pod) => {
                self.active.insert(pod.name_any());
            }
            Event::Apply(pod) | Event::InitApply(pod) | Event::Delete(pod) => {
                self.active.remove(&pod.name_any());
            }
            Event::Init => self.active.clear(),
            Event::InitDone => {}
        }
        self.most_active = self.most_active.max(self.active.len());
    }
}

fn is_active(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    // Every change leaves its content whole.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As a table.
pub fn table(storms: &[Storm]) -> String {
    let header = [
        "nodes",
        "seconds",
        "Ready>label ms",
        "requests/node",
        "events/node",
        "Pods in flight",
        "CPU s",
        "peak MiB",
    ];
    let rows: Vec<Vec<String>> = storms
        .iter()
        .map(|storm| {
            vec![
                storm.nodes.to_string(),
                format!("{:.1}", storm.seconds),
                storm.ready_to_labelled.map_or_else(
                    || "-".to_owned(),
                    |spread| format!("{:.0} / {:.0}", spread.p50, spread.p99),
                ),
                format!("{:.2}", storm.requests_per_node),
                format!("{:.2}", number(storm.requests.events) / number(storm.nodes)),
                storm.pods_in_flight.to_string(),
                format!("{:.2}", storm.cpu_seconds),
                format!("{:.1}", storm.peak_mib),
            ]
        })
        .collect();
    report::table(&header, &rows) + "(two times: p50 / p99)\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name}, "status": {"phase": phase}}))
            .unwrap()
    }

    #[test]
    fn a_pod_is_in_flight_until_it_has_ended_or_is_gone() {
        let mut seen = Seen::default();
        seen.pod(&Event::Apply(pod("a", "Pending")));
        seen.pod(&Event::Apply(pod("b", "Running")));
        seen.pod(&Event::Apply(pod("a", "Succeeded")));
        seen.pod(&Event::Delete(pod("b", "Running")));
        seen.pod(&Event::Apply(pod("c", "Pending")));
        assert_eq!((seen.active.len(), seen.most_active), (1, 2));
    }

    #[test]
    fn a_node_counts_as_labelled_by_what_only_the_labeller_sets() {
        let mut seen = Seen::default();
        let mut node = simulated_node("a");
        seen.node(&node);
        assert!(seen.labelled.is_empty() && seen.ready.is_empty());
        node.labels_mut()
            .insert(LABEL.to_owned(), "active".to_owned());
        seen.node(&node);
        assert_eq!(seen.labelled.len(), 1);
    }
}
