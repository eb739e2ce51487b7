//! What one observation asks of the API server beyond its caches.

use std::collections::HashSet;

use api_types::nodeop::NodePhase;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use kube::runtime::reflector;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::*;
use crate::control_plane::Place;
use crate::testing::{node, node_op};

const BEFORE: &str = "00000000-0000-4000-8000-000000000000";
const LEFT: &str = "11111111-1111-4111-8111-111111111111";

fn store<K>(objects: Vec<K>) -> Writer<K>
where
    K: reflector::Lookup + Clone + 'static,
    K::DynamicType: Default + Eq + std::hash::Hash + Clone,
{
    let (_, mut writer) = reflector::store::<K>();
    writer.apply_watcher_event(&Event::Init);
    for object in objects {
        writer.apply_watcher_event(&Event::InitApply(object));
    }
    writer.apply_watcher_event(&Event::InitDone);
    writer
}

/// Observes with these caches and no cached Job. The API server answers every request with `answer`. Returns also the
/// paths that it was asked for.
async fn observed(
    node_op: &NodeOp,
    nodes: Vec<WatchedNode>,
    pods: Vec<WatchedPod>,
    answer: (u16, Value),
) -> (Observed, Vec<String>) {
    let caches = caches(nodes, pods);
    observed_from(sources(&caches), node_op, answer).await
}

fn caches(nodes: Vec<WatchedNode>, pods: Vec<WatchedPod>) -> Caches {
    Caches {
        nodes: store(nodes).as_reader(),
        jobs: store::<WatchedJob>(Vec::new()).as_reader(),
        pods: store(pods).as_reader(),
    }
}

fn sources(caches: &Caches) -> Sources<'_> {
    Sources {
        caches,
        created_jobs: Jobs::new(),
        ever_created: HashSet::new(),
        created_pods: Pods::new(),
        claims: HashSet::new(),
        drains: BTreeMap::new(),
        can_reboot: true,
    }
}

async fn observed_from(
    sources: Sources<'_>,
    node_op: &NodeOp,
    answer: (u16, Value),
) -> (Observed, Vec<String>) {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let client = Client::new(service, "default");
    let requests = crate::testing::requests(client);
    let server = tokio::spawn(async move {
        let mut asked = Vec::new();
        while let Some((request, responder)) = handle.next_request().await {
            asked.push(request.uri().path().to_owned());
            let body = Body::from(serde_json::to_vec(&answer.1).unwrap());
            let response = Response::builder().status(answer.0).body(body).unwrap();
            responder.send_response(response);
        }
        asked
    });
    let observed = observe(&requests, sources, node_op).await.unwrap();
    drop(requests);
    (observed, server.await.unwrap())
}

fn with_entry(step: NodeStep) -> NodeOp {
    let mut node_op = node_op("command: [run]");
    let entry = NodeStatus {
        phase: NodePhase::Running,
        step: Some(step),
        job_name: Some("rollout-a".to_owned()),
        boot_id: Some(LEFT.to_owned()),
        ..NodeStatus::default()
    };
    node_op.status = Some(NodeOpStatus {
        node_statuses: [("a".to_owned(), entry)].into(),
        ..NodeOpStatus::default()
    });
    node_op
}

#[tokio::test]
async fn a_node_that_seems_back_from_its_reboot_is_seen_as_the_api_server_holds_it() {
    let in_boot = |boot: &str| {
        let mut node = node("a", &[]);
        node.status.node_info.boot_id = boot.to_owned();
        node
    };
    let answer = (200, serde_json::to_value(in_boot(LEFT)).unwrap());
    let node_op = with_entry(NodeStep::Rebooting);
    let (observed, asked) = observed(&node_op, vec![in_boot(BEFORE)], Vec::new(), answer).await;
    assert_eq!(observed.nodes["a"].status.node_info.boot_id, LEFT);
    assert_eq!(asked, ["/api/v1/nodes/a"]);
}

#[tokio::test]
async fn a_job_that_this_process_has_created_and_that_is_gone_was_deleted() {
    let gone = json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "gone"});
    for (created, vanished) in [("rollout-a", true), ("rollout-b", false)] {
        let caches = caches(vec![node("a", &[])], Vec::new());
        let sources = Sources {
            ever_created: [created.to_owned()].into(),
            ..sources(&caches)
        };
        let node_op = with_entry(NodeStep::Reserved);
        let (observed, asked) = observed_from(sources, &node_op, (404, gone.clone())).await;
        assert_eq!(observed.vanished.contains("rollout-a"), vanished);
        assert_eq!(asked.len(), usize::from(vanished), "{asked:?}");
    }
}

#[test]
fn what_happens_once_takes_a_status_that_was_read_live() {
    let caches = caches(vec![node("a", &[])], Vec::new());
    let is_open = |step, created: &Jobs| has_open_reservation(&caches, created, &with_entry(step));
    let none = Jobs::new();
    for step in [NodeStep::Reserved, NodeStep::Starting, NodeStep::Rebooting] {
        assert!(is_open(step, &none), "{step:?}");
    }
    for step in [NodeStep::Draining, NodeStep::Running, NodeStep::Verifying] {
        assert!(!is_open(step, &none), "{step:?}");
    }
    let job: WatchedJob = serde_json::from_value(json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "rollout-a", "namespace": "shop", "uid": "job"}}))
    .unwrap();
    let created = Jobs::from([("rollout-a".to_owned(), Arc::new(job))]);
    assert!(!is_open(NodeStep::Reserved, &created));
}

/// A Pod of the Job that is still to be created.
fn orphan() -> WatchedPod {
    serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
        "name": "rollout-a-abcde", "namespace": "shop", "uid": "pod",
        "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "rollout-a", "uid": "job", "controller": true}]}}))
    .unwrap()
}

#[tokio::test]
async fn a_job_of_which_only_a_pod_is_left_was_created_and_deleted() {
    let gone = json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "gone"});
    for step in [NodeStep::Reserved, NodeStep::Starting] {
        let node_op = with_entry(step);
        let nodes = vec![node("a", &[])];
        let (observed, asked) =
            observed(&node_op, nodes, vec![orphan()], (404, gone.clone())).await;
        assert!(observed.vanished.contains("rollout-a"), "{step:?}");
        assert_eq!(asked, ["/apis/batch/v1/namespaces/shop/jobs/rollout-a"]);
    }
}

#[tokio::test]
async fn a_job_that_only_its_cache_does_not_show_yet_is_found_by_its_pod() {
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {
        "name": "rollout-a", "namespace": "shop", "uid": "job"}});
    let node_op = with_entry(NodeStep::Reserved);
    let nodes = vec![node("a", &[])];
    let (observed, _) = observed(&node_op, nodes, vec![orphan()], (200, job)).await;
    assert!(observed.jobs.contains_key("rollout-a") && observed.vanished.is_empty());
}

#[tokio::test]
async fn a_reservation_without_a_pod_asks_nobody() {
    let node_op = with_entry(NodeStep::Reserved);
    let (observed, asked) =
        observed(&node_op, vec![node("a", &[])], Vec::new(), (500, json!({}))).await;
    assert!(
        observed.vanished.is_empty() && asked.is_empty(),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_place_that_its_operation_works_on_no_node_for_is_free_whoever_took_it() {
    let place = |uid: &str| {
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "nodeop-control-plane", "resourceVersion": "7"},
            "spec": {"holderIdentity": format!("shop/rollout@{uid} a")}});
        (200, lease)
    };
    let working = with_entry(NodeStep::Running);
    let mut idle = working.clone();
    idle.status = None;
    let me = Holder::of(&working);
    let ours = || Standing::Ours("a".to_owned());
    let held = || {
        let (holder, node) = (me.clone(), "a".to_owned());
        Standing::Held(Place { holder, node })
    };
    let other = Holder {
        uid: "another".to_owned(),
        ..me.clone()
    };
    // Who asks, what its own pass knows, what the API server has.
    let cases = [
        (&me, &working, &idle, ours()),
        (&me, &idle, &working, ours()),
        (&me, &idle, &idle, Standing::Free),
        (&other, &idle, &working, held()),
        (&other, &idle, &idle, Standing::Free),
    ];
    for (asking, known, live, expected) in cases {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let requests = crate::testing::requests(Client::new(service, "default"));
        let (live, lease) = (serde_json::to_value(live).unwrap(), place(&me.uid));
        tokio::spawn(async move {
            while let Some((request, responder)) = handle.next_request().await {
                let is_lease = request.uri().path().contains("/leases/");
                let body = if is_lease { &lease.1 } else { &live };
                let body = Body::from(serde_json::to_vec(body).unwrap());
                responder.send_response(Response::new(body));
            }
        });
        let read = read_place(&requests).await.unwrap();
        let status = known.status.clone().unwrap_or_default();
        let standing = Others::new(&requests)
            .standing(asking, &status, &read)
            .await;
        assert_eq!(standing.unwrap(), expected);
    }
}
