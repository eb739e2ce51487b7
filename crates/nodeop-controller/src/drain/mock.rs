//! A mock of the API server: answers each request by a function, remembers all of them, and how many were open at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api_types::nodeop::DrainOptions;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use operator_runtime::client::Clients;
use operator_runtime::lease::Leadership;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use super::metrics::DrainMetrics;
use super::round::Flow;
use super::{Mode, Order};
use crate::apply::Requests;

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) body: Value,
}

impl Seen {
    pub(super) fn is_list(&self) -> bool {
        self.method == "GET"
    }

    /// The Pod's name in an eviction or deletion.
    pub(super) fn pod(&self) -> &str {
        self.path.split('/').nth(6).unwrap_or_default()
    }
}

/// What the server does about a request.
pub(super) enum Reply {
    /// Answers at once.
    Json(u16, Value),
    /// Answers later.
    Later(Duration, u16, Value),
    /// Never answers.
    Never,
}

/// An accepted eviction.
pub(super) fn accepted() -> Reply {
    Reply::Json(
        201,
        json!({"kind": "Status", "status": "Success", "code": 201}),
    )
}

/// A refusal because of a budget.
pub(super) fn blocked() -> Reply {
    Reply::Json(
        429,
        serde_json::from_str(include_str!("answer/bodies/blocked.json")).unwrap(),
    )
}

/// An error with that code.
pub(super) fn error(code: u16) -> Reply {
    Reply::Json(
        code,
        json!({"kind": "Status", "status": "Failure", "code": code, "message": "no luck", "reason": "Other"}),
    )
}

/// A list of Pods.
pub(super) fn list(pods: &[Value]) -> Reply {
    Reply::Json(
        200,
        json!({"kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": pods}),
    )
}

/// A Pod `shop/NAME` that a controller would create anew, changed by a merge of `change`.
pub(super) fn pod(name: &str, change: Value) -> Value {
    let mut pod = json!({
        "metadata": {"namespace": "shop", "name": name, "uid": format!("uid-of-{name}"), "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r", "controller": true}]},
        "spec": {}, "status": {"phase": "Running"},
    });
    merge(&mut pod, change);
    pod
}

fn merge(into: &mut Value, change: Value) {
    match change {
        Value::Object(fields) => {
            for (key, value) in fields {
                merge(&mut into[key], value);
            }
        }
        value => *into = value,
    }
}

/// An order to drain that forbids nothing.
pub(super) fn order(mode: Mode) -> Order {
    Order {
        options: DrainOptions {
            enabled: true,
            force: true,
            delete_empty_dir_data: true,
            ..DrainOptions::default()
        },
        own: Arc::default(),
        mode,
    }
}

#[derive(Clone)]
pub(super) struct ApiServer {
    client: Client,
    requests: Arc<Mutex<Vec<Seen>>>,
    open: Arc<AtomicUsize>,
    most_open: Arc<AtomicUsize>,
}

impl ApiServer {
    /// Starts a server on the current runtime.
    pub(super) fn start(mut reply: impl FnMut(&Seen) -> Reply + Send + 'static) -> Self {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let server = Self {
            client: Client::new(service, "default"),
            requests: Arc::default(),
            open: Arc::default(),
            most_open: Arc::default(),
        };
        let (log, open, most) = (
            Arc::clone(&server.requests),
            Arc::clone(&server.open),
            Arc::clone(&server.most_open),
        );
        tokio::spawn(async move {
            let mut unanswered = Vec::new();
            while let Some((request, responder)) = handle.next_request().await {
                let (parts, body) = request.into_parts();
                let bytes = body.collect().await.unwrap().to_bytes();
                let seen = Seen {
                    method: parts.method.to_string(),
                    path: parts.uri.path().to_owned(),
                    query: parts.uri.query().unwrap_or_default().to_owned(),
                    body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
                };
                let reply = reply(&seen);
                log.lock().unwrap().push(seen);
                let now_open = open.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now_open, Ordering::SeqCst);
                let answer = |code: u16, body: &Value| {
                    let body = Body::from(serde_json::to_vec(body).unwrap());
                    Response::builder().status(code).body(body).unwrap()
                };
                match reply {
                    Reply::Json(code, body) => {
                        open.fetch_sub(1, Ordering::SeqCst);
                        responder.send_response(answer(code, &body));
                    }
                    Reply::Later(delay, code, body) => {
                        let open = Arc::clone(&open);
                        tokio::spawn(async move {
                            tokio::time::sleep(delay).await;
                            open.fetch_sub(1, Ordering::SeqCst);
                            responder.send_response(answer(code, &body));
                        });
                    }
                    Reply::Never => unanswered.push(responder),
                }
            }
        });
        server
    }

    pub(super) fn requests(&self, leadership: Leadership) -> Requests {
        Requests {
            lease_namespace: "kairos-operator".to_owned(),
            clock: crate::clock::Clock::default(),
            clients: Clients {
                api: self.client.clone(),
                without_retry: self.client.clone(),
            },
            timeout: Duration::from_secs(30),
            leadership,
        }
    }

    pub(super) fn flow(&self) -> Flow {
        Flow::new(self.requests(Leadership::always()), metrics())
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.requests.lock().unwrap().clone()
    }

    pub(super) fn lists(&self) -> usize {
        self.seen().iter().filter(|seen| seen.is_list()).count()
    }

    /// The Pods that were asked to end, in order.
    pub(super) fn ended(&self) -> Vec<String> {
        let seen = self.seen();
        let writes = seen.iter().filter(|seen| !seen.is_list());
        writes.map(|seen| seen.pod().to_owned()).collect()
    }

    pub(super) fn most_open(&self) -> usize {
        self.most_open.load(Ordering::SeqCst)
    }
}

pub(super) fn metrics() -> DrainMetrics {
    DrainMetrics::register(&mut Registry::default())
}
