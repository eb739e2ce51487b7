//! One process of the controller: its caches, which the schedule fills late, and its passes, which run as tasks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use operator_runtime::client::Clients;
use operator_runtime::lease::Leadership;
use operator_runtime::metrics::Metrics as RuntimeMetrics;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tower_test::mock::SendResponse;

use super::cluster::Cluster;
use super::model::{Answer, Call, Change, Kind};
use crate::clock::Clock;
use crate::controller::pass::pass;
use crate::controller::sweep::sweep_for_ever;
use crate::controller::*;

/// A request that waits for the schedule to answer it.
pub(super) struct Pending {
    pub(super) process: u32,
    pub(super) call: Call,
    responder: SendResponse<Response<Body>>,
}

/// What processes and schedule share.
pub(super) struct Shared {
    pub(super) cluster: Mutex<Cluster>,
    pub(super) pending: Mutex<Vec<Pending>>,
}

pub(super) struct Process {
    pub(super) id: u32,
    context: Arc<Context>,
    nodes: Writer<WatchedNode>,
    jobs: Writer<WatchedJob>,
    pods: Writer<WatchedPod>,
    node_ops: Writer<WatchedNodeOp>,
    /// How far each watch has come in the model's changes.
    seen: [usize; 4],
    passes: BTreeMap<String, JoinHandle<()>>,
    sweeper: JoinHandle<()>,
    server: JoinHandle<()>,
}

const WATCHED: [Kind; 4] = [Kind::Node, Kind::Job, Kind::Pod, Kind::NodeOp];

impl Process {
    /// Starts with caches as they were at the change `listed`.
    pub(super) fn start(id: u32, shared: &Arc<Shared>, clock: &Clock, listed: usize) -> Self {
        let (client, server) = client(id, shared);
        let requests = Requests {
            clients: Clients {
                api: client.clone(),
                without_retry: client.clone(),
            },
            timeout: Duration::from_secs(30),
            leadership: Leadership::always(),
            lease_namespace: "kairos-operator".to_owned(),
            clock: clock.clone(),
        };
        let (node_store, nodes) = reflector::store::<WatchedNode>();
        let (job_store, jobs) = reflector::store::<WatchedJob>();
        let (pod_store, pods) = reflector::store::<WatchedPod>();
        let (op_store, node_ops) = reflector::store::<WatchedNodeOp>();
        let metrics = Metrics::register(&mut Registry::default());
        let (rounds, _news) = Rounds::new(requests.clone(), metrics.drain.clone());
        let (tell, filled) = watch::channel(true);
        drop(tell);
        let (_, shutdown) = Shutdown::pair();
        let context = Arc::new(Context {
            requests,
            rounds,
            caches: Caches {
                nodes: node_store,
                jobs: job_store,
                pods: pod_store,
            },
            settings: BuildSettings {
                agent_image: "agent".to_owned(),
                ..BuildSettings::default()
            },
            own_node: None,
            events: EventPublisher::new(
                client,
                "nodeop-controller",
                "me",
                RuntimeMetrics::new("nodeop-controller", "0"),
            ),
            metrics,
            memory: Memory::default(),
            node_ops: op_store,
            shutdown,
            filled,
        });
        let sweeper = tokio::spawn(sweep_for_ever(Arc::downgrade(&context)));
        let mut process = Self {
            id,
            context,
            nodes,
            jobs,
            pods,
            node_ops,
            seen: [0; 4],
            passes: BTreeMap::new(),
            sweeper,
            server,
        };
        process.list(shared, listed);
        process
    }

    /// Fills every cache with what there was at that change.
    fn list(&mut self, shared: &Shared, listed: usize) {
        let cluster = shared.cluster.lock().unwrap();
        apply(&mut self.nodes, &Event::Init);
        apply(&mut self.jobs, &Event::Init);
        apply(&mut self.pods, &Event::Init);
        apply(&mut self.node_ops, &Event::Init);
        let mut there: BTreeMap<_, &Value> = BTreeMap::new();
        for change in &cluster.model.changes[..listed] {
            if change.gone {
                there.remove(&change.key);
            } else {
                there.insert(change.key.clone(), &change.object);
            }
        }
        for (key, object) in there {
            self.tell(
                key.0,
                object,
                Event::InitApply,
                Event::InitApply,
                Event::InitApply,
                Event::InitApply,
            );
        }
        apply(&mut self.nodes, &Event::InitDone);
        apply(&mut self.jobs, &Event::InitDone);
        apply(&mut self.pods, &Event::InitDone);
        apply(&mut self.node_ops, &Event::InitDone);
        self.seen = [listed; 4];
    }

    fn tell(
        &mut self,
        kind: Kind,
        object: &Value,
        node: fn(WatchedNode) -> Event<WatchedNode>,
        job: fn(WatchedJob) -> Event<WatchedJob>,
        pod: fn(WatchedPod) -> Event<WatchedPod>,
        node_op: fn(WatchedNodeOp) -> Event<WatchedNodeOp>,
    ) {
        match kind {
            Kind::Node => {
                let mut object: WatchedNode = parse(object);
                object.trim();
                apply(&mut self.nodes, &node(object));
            }
            Kind::Job if is_ours(object) => {
                let mut object: WatchedJob = parse(object);
                object.trim();
                apply(&mut self.jobs, &job(object));
            }
            Kind::Pod if is_ours(object) => {
                let mut object: WatchedPod = parse(object);
                object.trim();
                apply(&mut self.pods, &pod(object));
            }
            Kind::NodeOp => {
                let metadata = json!({"apiVersion": object["apiVersion"], "kind": "NodeOp", "metadata": object["metadata"]});
                apply(&mut self.node_ops, &node_op(parse(&metadata)));
            }
            Kind::Job | Kind::Pod | Kind::Lease => {}
        }
    }

    /// Tells one watch about the next changes of its kind, at most `most`.
    pub(super) fn deliver(&mut self, shared: &Shared, watch: usize, most: usize) {
        let changes: Vec<Change> = {
            let cluster = shared.cluster.lock().unwrap();
            let mut next = self.seen[watch];
            let mut changes = Vec::new();
            while next < cluster.model.changes.len() && changes.len() < most {
                let change = &cluster.model.changes[next];
                if change.key.0 == WATCHED[watch] {
                    changes.push(change.clone());
                }
                next += 1;
            }
            self.seen[watch] = next;
            changes
        };
        for change in changes {
            if change.gone {
                self.tell(
                    WATCHED[watch],
                    &change.object,
                    Event::Delete,
                    Event::Delete,
                    Event::Delete,
                    Event::Delete,
                );
            } else {
                self.tell(
                    WATCHED[watch],
                    &change.object,
                    Event::Apply,
                    Event::Apply,
                    Event::Apply,
                    Event::Apply,
                );
            }
        }
    }

    /// The NodeOps that this process knows and that no pass of it works on.
    pub(super) fn idle(&mut self, shared: &Shared) -> Vec<Arc<WatchedNodeOp>> {
        self.passes.retain(|name, pass| {
            if !pass.is_finished() {
                return true;
            }
            let ended = pass.now_or_never();
            if ended.is_some_and(|ended| ended.is_err_and(|error| error.is_panic())) {
                let mut cluster = shared.cluster.lock().unwrap();
                let message = format!("a pass over {name} panicked");
                cluster.model.history.violation(message);
            }
            false
        });
        let mut known = self.context.node_ops.state();
        known.retain(|node_op| !self.passes.contains_key(&node_op.name_any()));
        known.sort_by_key(|node_op| node_op.name_any());
        known
    }

    /// Starts a pass. What it comes to is seen in the model.
    pub(super) fn begin(&mut self, watched: Arc<WatchedNodeOp>) {
        let context = Arc::clone(&self.context);
        let name = watched.name_any();
        let task = tokio::spawn(async move {
            // A pass that fails is tried again, as any other is.
            drop(pass(&watched, &context).await);
        });
        self.passes.insert(name, task);
    }

    /// The process dies.
    pub(super) fn kill(self) {
        for pass in self.passes.values() {
            pass.abort();
        }
        self.sweeper.abort();
        self.server.abort();
        self.context.rounds.retain(|_| false);
    }
}

fn is_ours(object: &Value) -> bool {
    object["metadata"]["labels"][LABEL_NODEOP].is_string()
}

fn parse<T: serde::de::DeserializeOwned>(object: &Value) -> T {
    T::deserialize(object).unwrap()
}

fn apply<K>(writer: &mut Writer<K>, event: &Event<K>)
where
    K: kube::runtime::reflector::Lookup + Clone + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    writer.apply_watcher_event(event);
}

fn client(process: u32, shared: &Arc<Shared>) -> (Client, JoinHandle<()>) {
    let shared = Arc::clone(shared);
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let server = tokio::spawn(async move {
        while let Some((request, responder)) = handle.next_request().await {
            let (parts, body) = request.into_parts();
            // What is told of an operation decides nothing.
            if parts.uri.path().contains("/events") {
                responder.send_response(Response::new(body));
                continue;
            }
            let bytes = body.collect().await.unwrap().to_bytes();
            let call = Call {
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            };
            shared.pending.lock().unwrap().push(Pending {
                process,
                call,
                responder,
            });
        }
    });
    (Client::new(service, "default"), server)
}

impl Pending {
    /// Who asks for what.
    pub(super) fn name(&self) -> String {
        let Call { method, path, .. } = &self.call;
        format!("{} {method} {path}", self.process)
    }

    /// Answers; with nothing, as a connection that breaks.
    pub(super) fn answer(self, answer: Option<Answer>) {
        match answer {
            Some(answer) => self.responder.send_response(response(answer)),
            None => self.responder.send_error("the connection broke"),
        }
    }
}

fn response((code, body): Answer) -> Response<Body> {
    let body = Body::from(serde_json::to_vec(&*body).unwrap());
    Response::builder().status(code).body(body).unwrap()
}
