//! A mock of the API server that keeps one Lease.

use super::{Answer, ApiServer, Seen};
use crate::lease::{Elector, Leadership, LeaseHolder, LeaseStore, Terms};
use crate::metrics::Metrics;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/system/leases/sample";
const TERMS: Terms = Terms {
    duration: Duration::from_secs(15),
    renew_deadline: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};

/// How the server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Answers,
    /// Does what it is asked, and says nothing.
    ActsSilently,
    Deaf,
}

#[derive(Clone)]
pub(crate) struct LeaseServer {
    pub(crate) api: ApiServer,
    pub(crate) lease: Arc<Mutex<Option<Value>>>,
    mood: Arc<Mutex<Mood>>,
}

impl LeaseServer {
    pub(crate) fn start() -> Self {
        let lease = Arc::new(Mutex::new(None));
        let mood = Arc::new(Mutex::new(Mood::Answers));
        let (kept, behaviour) = (Arc::clone(&lease), Arc::clone(&mood));
        let mut version = 0_u32;
        let api = ApiServer::start(move |request| {
            let mood = *behaviour.lock().unwrap();
            if mood == Mood::Deaf {
                return Answer::Never;
            }
            version += 1;
            let answer = serve(&mut kept.lock().unwrap(), request, version);
            if mood == Mood::ActsSilently {
                Answer::Never
            } else {
                answer
            }
        });
        Self { api, lease, mood }
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(crate) fn spec(&self) -> Value {
        self.lease
            .lock()
            .unwrap()
            .as_ref()
            .map_or(Value::Null, |lease| lease["spec"].clone())
    }

    pub(crate) fn contender(&self, identity: &str) -> (LeaseHolder, Leadership, Metrics) {
        let metrics = Metrics::new("sample-controller", "1.2.3");
        let (sender, leadership) = Leadership::pair();
        let store = LeaseStore::new(
            self.api.client(),
            "system",
            "sample",
            TERMS.renew_deadline / 4,
        );
        let holder = LeaseHolder::new(
            Elector::new(identity, TERMS),
            store,
            sender,
            metrics.clone(),
        );
        (holder, leadership, metrics)
    }
}

fn serve(kept: &mut Option<Value>, request: &Seen, version: u32) -> Answer {
    match (request.method.as_str(), kept.as_mut()) {
        ("GET" | "PATCH", None) => Answer::status(404, "NotFound"),
        ("GET", Some(lease)) => Answer::Json(200, lease.clone()),
        ("POST", Some(_)) => Answer::status(409, "AlreadyExists"),
        ("POST", None) => {
            let mut lease = request.body.clone();
            lease["metadata"]["resourceVersion"] = json!(version.to_string());
            *kept = Some(lease.clone());
            Answer::Json(201, lease)
        }
        ("PATCH", Some(lease)) => {
            if request.body["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"] {
                return Answer::status(409, "Conflict");
            }
            lease["spec"] = request.body["spec"].clone();
            lease["metadata"]["resourceVersion"] = json!(version.to_string());
            Answer::Json(200, lease.clone())
        }
        _ => Answer::status(405, "MethodNotAllowed"),
    }
}
