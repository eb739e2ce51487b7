//! A mock of the API server for this crate's tests: answers each request by a function, and remembers all of them.

pub(crate) mod lease_server;

use http::{Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// One request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Value,
    /// How many requests came before.
    pub(crate) earlier: usize,
}

/// What the server does about a request.
pub(crate) enum Answer {
    /// Answers with the code and object.
    Json(u16, Value),
    /// Never answers.
    Never,
}

impl Answer {
    /// An error with that code and reason.
    pub(crate) fn status(code: u16, reason: &str) -> Self {
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "code": code, "reason": reason, "message": format!("refused: {reason}"),
        });
        Self::Json(code, body)
    }
}

#[derive(Clone)]
pub(crate) struct ApiServer {
    client: Client,
    requests: Arc<Mutex<Vec<Seen>>>,
}

impl ApiServer {
    /// Starts a server on the current runtime.
    pub(crate) fn start(mut answer: impl FnMut(&Seen) -> Answer + Send + 'static) -> Self {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        tokio::spawn(async move {
            let mut unanswered = Vec::new();
            while let Some((request, responder)) = handle.next_request().await {
                let (parts, body) = request.into_parts();
                let bytes = body.collect().await.unwrap().to_bytes();
                let seen = Seen {
                    method: parts.method.to_string(),
                    path: parts.uri.path().to_owned(),
                    body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
                    earlier: log.lock().unwrap().len(),
                };
                let answer = answer(&seen);
                log.lock().unwrap().push(seen);
                match answer {
                    Answer::Json(code, body) => {
                        let body = Body::from(serde_json::to_vec(&body).unwrap());
                        responder
                            .send_response(Response::builder().status(code).body(body).unwrap());
                    }
                    Answer::Never => unanswered.push(responder),
                }
            }
        });
        Self {
            client: Client::new(service, "default"),
            requests,
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.requests.lock().unwrap().clone()
    }
}
