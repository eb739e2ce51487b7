//! Thousands of nodes.
//!
//! `KAIROS_E2E_NODES` says how many, when not 2,000.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use e2e::cluster::{Cluster, SIMULATED_ANNOTATION};
use e2e::guard::ProcessHandle;
use e2e::operator::{self, Controller, DETECT_NAMESPACE};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

use crate::history::{History, percentile};
use crate::world::{audit, default_service_account, settle, writes};

/// As many as the labeller is to keep its promise for.
const NODES: usize = 2_000;
/// The default of the flag.
const PODS_IN_FLIGHT: usize = 20;
/// From Ready to labelled, for all but one in a hundred of the nodes that join a cluster as clusters grow: a hundred at
/// once, such as an autoscaler adds, and more at an even rate.
const PROMPT: Duration = Duration::from_secs(30);
const AT_ONCE: usize = 100;
const ONE_BY_ONE: usize = 50;
const PER_SECOND: u64 = 5;
/// How long all nodes together may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(10);

fn count() -> usize {
    let given = std::env::var("KAIROS_E2E_NODES").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(NODES)
}

async fn join(client: &Client, name: String) {
    let node = json!({"metadata": {"name": name, "annotations": {SIMULATED_ANNOTATION: "fake"}}});
    let node: Node = serde_json::from_value(node).unwrap();
    Api::<Node>::all(client.clone())
        .create(&PostParams::default(), &node)
        .await
        .unwrap();
}

async fn join_at_once(client: &Client, names: impl Iterator<Item = String>) {
    stream::iter(names)
        .map(|name| join(client, name))
        .buffer_unordered(64)
        .collect::<Vec<()>>()
        .await;
}

/// Waits, and starts the controller again when it ended, as its Deployment would: on a machine that is too busy to answer
/// for ten seconds it gives up its lease.
async fn wait_for_labelled(
    history: &History,
    wanted: usize,
    running: &mut ProcessHandle,
    restart: impl Fn() -> ProcessHandle,
) {
    let deadline = Instant::now() + PATIENCE;
    while history.labelled() < wanted {
        if running.exit().is_some() {
            eprintln!("the controller ended:\n{}", running.log_tail(80));
            *running = restart();
        }
        assert!(
            Instant::now() < deadline,
            "{} of {wanted} nodes labelled within {PATIENCE:?}\n{}",
            history.labelled(),
            running.log_tail(20)
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_nodes_that_join_at_once_are_labelled_once_each_with_few_pods_and_a_kill_in_between()
 {
    let count = count();
    let cluster = Cluster::builder()
        .simulated_nodes(0)
        .stages(include_str!("stages.yaml"))
        // The leases of thousands of kubelets are hundreds of writes a second, and would share two cores with everything else.
        .simulator_argument("--node-lease-duration-seconds=0")
        .start()
        .await
        .unwrap();
    operator::install_controllers(&cluster, &["node-labeller"])
        .await
        .unwrap();
    let client = cluster.client().unwrap();
    default_service_account(&client).await;
    let controller = Controller::new(&cluster, "node-labeller", None)
        .await
        .unwrap()
        .argument("--detect-image=simulated");
    let pods: Api<Pod> = Api::namespaced(client.clone(), DETECT_NAMESPACE);
    let history = History::record(Api::all(client.clone()), pods.clone());

    let start = || controller.start(&cluster).unwrap();
    let mut running = start();
    let begun = Instant::now();
    join_at_once(&client, (0..count).map(|index| format!("kairos-{index}"))).await;
    let joined = begun.elapsed();
    wait_for_labelled(&history, count / 4, &mut running, start).await;
    running.kill().unwrap();
    running.wait().await.unwrap();
    running = start();
    wait_for_labelled(&history, count, &mut running, start).await;
    let labelled = begun.elapsed();
    crate::world::until("no Pod is left", async || {
        let left = pods.list(&kube::api::ListParams::default()).await.unwrap();
        left.items.is_empty().then_some(())
    })
    .await;

    let seen = history.seen();
    let delays = seen.delays(|_| true);
    let requests = audit(&cluster).filter(|event| event.object_ref.resource != "leases");
    eprintln!(
        "{count} nodes joined within {:.1} s and were labelled after {:.1} s, a kill -9 included; from Ready to labelled: \
         p50 {:.1} s, p99 {:.1} s, longest {:.1} s; at most {} Pods in flight; {:.2} requests per node",
        joined.as_secs_f32(),
        labelled.as_secs_f32(),
        percentile(&delays, 50).as_secs_f32(),
        percentile(&delays, 99).as_secs_f32(),
        percentile(&delays, 100).as_secs_f32(),
        seen.most_active,
        f64::from(u32::try_from(requests.count()).unwrap())
            / f64::from(u32::try_from(count).unwrap()),
    );
    assert!(
        seen.most_active <= PODS_IN_FLIGHT,
        "{} Pods in flight",
        seen.most_active
    );
    let mut created: HashMap<String, usize> = HashMap::new();
    for event in requests
        .clone()
        .verb("create")
        .resource("pods")
        .succeeded()
        .events()
    {
        *created.entry(event.object_ref.name.clone()).or_default() += 1;
    }
    let pods_created: usize = created.values().sum();
    // A creation whose client died before the answer may be logged as failed although it was done.
    assert!(
        pods_created <= count && pods_created + PODS_IN_FLIGHT >= count,
        "{pods_created} Pods for {count} nodes"
    );
    let patches = requests.clone().verb("patch").resource("nodes").count();
    assert!(
        patches <= count + PODS_IN_FLIGHT,
        "{patches} writes for {count} nodes"
    );
    assert!(
        requests.count() <= 4 * count,
        "{} requests",
        requests.count()
    );

    let before = writes(&cluster);
    settle(&cluster).await;
    assert_eq!(
        writes(&cluster),
        before,
        "an idle labeller writes nothing but its lease"
    );

    grow(&client, &history, &mut running, start).await;
}

/// A hundred nodes more at once, and then some at an even rate: each is labelled soon.
async fn grow(
    client: &Client,
    history: &History,
    running: &mut ProcessHandle,
    start: impl Fn() -> ProcessHandle,
) {
    let before = history.labelled();
    join_at_once(client, (0..AT_ONCE).map(|index| format!("new-{index}"))).await;
    let mut turn = tokio::time::interval(Duration::from_millis(1000 / PER_SECOND));
    for index in 0..ONE_BY_ONE {
        turn.tick().await;
        join(client, format!("later-{index}")).await;
    }
    let all = before + AT_ONCE + ONE_BY_ONE;
    wait_for_labelled(history, all, running, start).await;
    let seen = history.seen();
    let delays = seen.delays(|name| !name.starts_with("kairos-"));
    eprintln!(
        "{AT_ONCE} nodes that joined {before} others at once, and {ONE_BY_ONE} more at {PER_SECOND} per second: from Ready to \
         labelled: p50 {:.1} s, p99 {:.1} s, longest {:.1} s; at most {} Pods in flight",
        percentile(&delays, 50).as_secs_f32(),
        percentile(&delays, 99).as_secs_f32(),
        percentile(&delays, 100).as_secs_f32(),
        seen.most_active,
    );
    assert_eq!(delays.len(), AT_ONCE + ONE_BY_ONE);
    assert!(percentile(&delays, 99) <= PROMPT, "{delays:?}");
    assert!(seen.most_active <= PODS_IN_FLIGHT);
}
