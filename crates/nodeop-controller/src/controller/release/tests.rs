//! What is asked of the API server when an operation ends or is deleted, and in which order.

use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use kube::runtime::reflector;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use operator_runtime::events::EventPublisher;
use operator_runtime::metrics::Metrics as RuntimeMetrics;
use operator_runtime::shutdown::Shutdown;
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::build::BuildSettings;
use crate::build::names::reboot_pod_name;
use crate::controller::memory::Memory;
use crate::drain::Rounds;
use crate::metrics::Metrics;
use crate::observe::Caches;
use crate::watched::{WatchedJob, WatchedNode};

const ME: &str = "shop/rollout@uid-1";

/// What caches show, and what the API server answers instead.
struct World {
    node_op: Value,
    cached_nodes: Vec<Value>,
    cached_pods: Vec<Value>,
    nodes: Vec<Value>,
    /// Nodes whose patches are refused, and with which code.
    refused: Vec<(&'static str, u16)>,
    /// The node that the control plane's place is held for.
    place: Option<&'static str>,
}

impl World {
    fn new(status: &Value) -> Self {
        let node_op = json!({
            "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp",
            "metadata": {"name": "rollout", "namespace": "shop", "uid": "uid-1", "resourceVersion": "1",
                "finalizers": [FINALIZER_NODEOP]},
            "spec": {"command": ["run"], "cordon": true, "rebootOnSuccess": true}, "status": status,
        });
        Self {
            node_op,
            cached_nodes: Vec::new(),
            cached_pods: Vec::new(),
            nodes: Vec::new(),
            refused: Vec::new(),
            place: None,
        }
    }

    fn deleted(mut self) -> Self {
        self.node_op["metadata"]["deletionTimestamp"] = json!("2027-01-15T08:00:00Z");
        self
    }

    /// What this world's API server answers.
    fn answer(&self, method: &str, path: &str) -> (u16, Value) {
        let name = path.rsplit('/').next().unwrap_or_default();
        let node = |name: &str| {
            let mut nodes = self.nodes.iter();
            nodes.find(|node| node["metadata"]["name"] == name).cloned()
        };
        match (method, path) {
            ("GET", "/api/v1/nodes") => {
                let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                    "metadata": {"resourceVersion": "1"}, "items": self.nodes});
                (200, list)
            }
            (_, path) if path.contains("/nodeops/") => (200, self.node_op.clone()),
            (_, path) if path.contains("/api/v1/nodes/") => {
                match self.refused.iter().find(|(refused, _)| *refused == name) {
                    Some((_, code)) if method == "PATCH" => (*code, refusal(*code)),
                    _ => node(name).map_or((404, refusal(404)), |node| (200, node)),
                }
            }
            (_, path) if path.contains("/leases/") => {
                self.place.map_or((404, refusal(404)), |node| {
                    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": name, "resourceVersion": "5"},
                    "spec": {"holderIdentity": format!("{ME} {node}")}});
                    (200, lease)
                })
            }
            ("DELETE", _) => (200, json!({"kind": "Status", "status": "Success"})),
            _ => (404, refusal(404)),
        }
    }

    /// Runs `what` against this world. Returns its result, and every request but Events: method, path, body.
    async fn run<T>(self, what: impl AsyncFnOnce(&Context, &NodeOp) -> T) -> (T, Vec<String>) {
        let node_op: NodeOp = parse(&self.node_op);
        let nodes = store::<WatchedNode>(&self.cached_nodes);
        let jobs = store::<WatchedJob>(&[]);
        let pods = store::<WatchedPod>(&self.cached_pods);
        let node_ops = store::<WatchedNodeOp>(&[]);
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let log = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&log);
        let server = tokio::spawn(async move {
            while let Some((request, responder)) = handle.next_request().await {
                let (parts, body) = request.into_parts();
                let path = parts.uri.path().to_owned();
                let bytes = body.collect().await.unwrap().to_bytes();
                let (code, body) = self.answer(parts.method.as_str(), &path);
                if !path.contains("/events") {
                    let sent = String::from_utf8_lossy(&bytes).into_owned();
                    let line = format!("{} {path} {sent}", parts.method);
                    asked.lock().unwrap().push(line.trim_end().to_owned());
                }
                let body = Body::from(serde_json::to_vec(&body).unwrap());
                let response = Response::builder().status(code).body(body).unwrap();
                responder.send_response(response);
            }
        });
        let client = Client::new(service, "default");
        let requests = crate::testing::requests(client.clone());
        let metrics = Metrics::register(&mut Registry::default());
        let (rounds, _news) = Rounds::new(requests.clone(), metrics.drain.clone());
        let (_tell, filled) = watch::channel(true);
        let (_trigger, shutdown) = Shutdown::pair();
        let runtime_metrics = RuntimeMetrics::new("nodeop-controller", "0");
        let context = Context {
            requests,
            rounds,
            caches: Caches {
                nodes: nodes.as_reader(),
                jobs: jobs.as_reader(),
                pods: pods.as_reader(),
            },
            settings: BuildSettings::default(),
            own_node: None,
            events: EventPublisher::new(client, "nodeop-controller", "me", runtime_metrics),
            metrics,
            memory: Memory::default(),
            node_ops: node_ops.as_reader(),
            shutdown,
            filled,
        };
        let result = what(&context, &node_op).await;
        server.abort();
        let log = log.lock().unwrap().clone();
        (result, log)
    }

    async fn conclude(self) -> (Result<Guarded>, Vec<String>) {
        self.run(async |context, node_op| conclude(context, node_op).await)
            .await
    }

    /// The pass over the deleted operation. Whether it asks to be looked at again.
    async fn release(self) -> (Result<bool>, Vec<String>) {
        let watched = json!({"apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp",
            "metadata": self.node_op["metadata"]});
        let watched: WatchedNodeOp = parse(&watched);
        self.run(async |context, _| {
            let next = release(&watched, context).await?;
            Ok(matches!(next, Next::After(_)))
        })
        .await
    }
}

fn parse<T: DeserializeOwned>(object: &Value) -> T {
    T::deserialize(object).unwrap()
}

fn store<K>(objects: &[Value]) -> Writer<K>
where
    K: reflector::Lookup + Clone + DeserializeOwned + 'static,
    K::DynamicType: Default + Eq + std::hash::Hash + Clone,
{
    let (_, mut writer) = reflector::store::<K>();
    writer.apply_watcher_event(&Event::Init);
    for object in objects {
        writer.apply_watcher_event(&Event::InitApply(parse(object)));
    }
    writer.apply_watcher_event(&Event::InitDone);
    writer
}

fn refusal(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": "Refused", "message": "refused"})
}

fn node(name: &str, claimed: bool) -> Value {
    let mut annotations = json!({"operator.kairos.io/cordoned-by": ME});
    if claimed {
        annotations["operator.kairos.io/claimed-by"] = json!(ME);
    }
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "uid": format!("uid-of-{name}"), "resourceVersion": "7", "annotations": annotations},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"bootID": "old"}},
    })
}

fn ended(phases: &[(&str, &str)]) -> Value {
    let entries: serde_json::Map<String, Value> = phases
        .iter()
        .map(|(name, phase)| ((*name).to_owned(), json!({"phase": phase})))
        .collect();
    json!({"phase": "Failed", "nodeStatuses": entries})
}

fn positions(log: &[String], what: &str) -> Vec<usize> {
    let found = log
        .iter()
        .enumerate()
        .filter(|(_, line)| line.contains(what));
    found.map(|(index, _)| index).collect()
}

#[tokio::test]
async fn an_ended_operation_gives_back_what_no_cache_shows_before_its_finalizer_goes() {
    let mut world = World::new(&ended(&[("good", "Completed"), ("bad", "Failed")]));
    world.nodes = vec![node("good", true), node("bad", false), node("late", true)];
    let (result, log) = world.conclude().await;
    assert_eq!(result.unwrap(), Guarded::Done);
    let finalizer = positions(&log, "PATCH /apis/operator.kairos.io");
    for name in ["good", "late"] {
        let patched = positions(&log, &format!("PATCH /api/v1/nodes/{name} "));
        assert_eq!(patched.len(), 1, "{log:#?}");
        assert!(patched[0] < finalizer[0], "{log:#?}");
        assert!(
            log[patched[0]].contains(r#""unschedulable":null"#),
            "{log:#?}"
        );
    }
    assert!(
        positions(&log, "nodes/bad").is_empty(),
        "its cordon is kept: {log:#?}"
    );
    assert!(positions(&log, "GET /api/v1/nodes/").is_empty(), "{log:#?}");
}

#[tokio::test]
async fn a_claim_that_changes_while_it_is_let_go_keeps_the_finalizer() {
    let mut world = World::new(&ended(&[("good", "Completed")]));
    world.nodes = vec![node("good", true)];
    world.refused = vec![("good", 409)];
    let (result, log) = world.conclude().await;
    assert_eq!(result.unwrap(), Guarded::Changed);
    assert!(
        positions(&log, "operator.kairos.io/v1alpha1").is_empty(),
        "{log:#?}"
    );
}

#[tokio::test]
async fn a_deleted_operation_gives_back_what_no_cache_shows_before_it_goes() {
    let mut world = World::new(&json!({})).deleted();
    world.nodes = vec![node("late", true)];
    let (again, log) = world.release().await;
    assert!(!again.unwrap());
    let patched = positions(&log, "PATCH /api/v1/nodes/late ");
    let finalizer = positions(&log, "PATCH /apis/operator.kairos.io");
    assert_eq!((patched.len(), finalizer.len()), (1, 1), "{log:#?}");
    assert!(patched[0] < finalizer[0], "{log:#?}");
}

#[tokio::test]
async fn a_node_that_cannot_be_given_back_holds_up_no_other_and_keeps_the_finalizer() {
    let mut world = World::new(&json!({"nodeStatuses": {}})).deleted();
    let names: Vec<String> = (0..40).map(|index| format!("node-{index:02}")).collect();
    world.nodes = names.iter().map(|name| node(name, true)).collect();
    world.cached_nodes = world.nodes.clone();
    world.refused = vec![("node-00", 403)];
    let (again, log) = world.release().await;
    assert!(again.is_err(), "{again:?}");
    for name in &names {
        let patched = positions(&log, &format!("PATCH /api/v1/nodes/{name} "));
        assert_eq!(patched.len(), 1, "{name}: {log:#?}");
    }
    assert!(positions(&log, "PATCH /apis/operator.kairos.io").is_empty());
}

#[tokio::test]
async fn the_control_planes_place_of_a_deleted_operation_is_freed_only_after_its_node() {
    let control_plane = || {
        let mut control_plane = node("a", true);
        control_plane["metadata"]["labels"] = json!({"node-role.kubernetes.io/control-plane": ""});
        control_plane
    };
    for (is_cached, refused) in [(true, true), (true, false), (false, true), (false, false)] {
        let status = json!({"nodeStatuses": {"a": {"phase": "Running", "step": "Claimed"}}});
        let mut world = World::new(&status).deleted();
        world.nodes = vec![control_plane()];
        world.cached_nodes = world.nodes.clone();
        if !is_cached {
            world.cached_nodes[0]["metadata"]["annotations"] = json!({});
        }
        world.place = Some("a");
        world.refused.extend(refused.then_some(("a", 409)));
        let (again, log) = world.release().await;
        assert_eq!(again.unwrap(), refused, "{log:#?}");
        let node = positions(&log, "PATCH /api/v1/nodes/a ");
        let place = positions(&log, "PATCH /apis/coordination.k8s.io");
        assert!(!node.is_empty(), "{log:#?}");
        assert_eq!(place.len(), usize::from(!refused), "{log:#?}");
        assert!(
            place.iter().all(|place| place > &node[node.len() - 1]),
            "{log:#?}"
        );
    }
}

/// The operation deleted while its node may reboot.
fn rebooting() -> World {
    let mut world = World::new(&json!({"nodeStatuses": {"a": {
        "phase": "Running", "step": "Rebooting", "since": k8s_openapi::jiff::Timestamp::now().to_string(),
        "bootID": "old", "rebootStatus": "pending"}}}))
    .deleted();
    world.nodes = vec![node("a", true)];
    world.cached_nodes = world.nodes.clone();
    world
}

#[tokio::test]
async fn a_reboot_pod_with_its_permission_is_given_the_time_to_go_down_with_its_host() {
    let mut world = rebooting();
    let node_op: NodeOp = parse(&world.node_op);
    world.cached_pods = vec![json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": reboot_pod_name(&node_op, "a"), "namespace": "shop", "uid": "pod-uid", "ownerReferences": [
            {"apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp", "name": "rollout", "uid": "uid-1",
             "controller": true}]},
        "status": {"phase": "Running"},
    })];
    let (again, log) = world.release().await;
    assert!(again.unwrap());
    let deleted = positions(&log, "DELETE /api/v1/namespaces/shop/pods/");
    assert_eq!(deleted.len(), 1, "{log:#?}");
    assert!(
        log[deleted[0]].contains(r#""gracePeriodSeconds":330"#),
        "{log:#?}"
    );
    assert!(
        positions(&log, "PATCH").is_empty(),
        "the node is still ours: {log:#?}"
    );
}

#[tokio::test]
async fn a_node_whose_reboot_pod_is_gone_is_given_back_only_when_the_api_server_says_that_it_is_up()
{
    let mut world = rebooting();
    world.nodes[0]["status"]["conditions"][0]["status"] = json!("False");
    let (again, log) = world.release().await;
    assert!(again.unwrap());
    assert!(
        positions(&log, "PATCH").is_empty(),
        "it goes down: {log:#?}"
    );

    let (again, log) = rebooting().release().await;
    assert!(!again.unwrap());
    assert!(
        !positions(&log, "PATCH /api/v1/nodes/a ").is_empty(),
        "{log:#?}"
    );
}

#[tokio::test]
async fn pods_that_an_ended_operation_needs_no_more_are_taken_away() {
    let mut world = World::new(&ended(&[("good", "Completed"), ("bad", "Failed")]));
    let node_op: NodeOp = parse(&world.node_op);
    let pod = |name: String, node: &str, phase: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": {"kairos.io/node": node},
                "ownerReferences": [{"apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp", "name": "rollout",
                    "uid": "uid-1", "controller": true}]},
            "status": {"phase": phase},
        })
    };
    let verify = |node: &str| check_pod_name(&node_op, node, Check::Verify);
    let gone = reboot_pod_name(&node_op, "gone");
    world.cached_pods = vec![
        pod(verify("good"), "good", "Succeeded"),
        pod(verify("bad"), "bad", "Failed"),
        pod(gone.clone(), "gone", "Running"),
        pod("of-kairos-operator".to_owned(), "good", "Running"),
    ];
    let (result, log) = world.conclude().await;
    assert_eq!(result.unwrap(), Guarded::Done);
    let mut deleted: Vec<&str> = log
        .iter()
        .filter_map(|line| line.strip_prefix("DELETE /api/v1/namespaces/shop/pods/"))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    deleted.sort_unstable();
    let mut wanted = [verify("good"), gone];
    wanted.sort_unstable();
    assert_eq!(deleted, wanted, "the log of the failed one stays: {log:#?}");
}
