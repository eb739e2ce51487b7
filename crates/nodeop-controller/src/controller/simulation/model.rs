//! A model of the API server: objects with versions, merge patches with preconditions, evictions under a budget.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::simulation::merge;
use api_types::names::LABEL_NODE;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::history::History;

/// The kinds that the controller reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Node,
    NodeOp,
    Job,
    Pod,
    Lease,
}

/// Kind, namespace, name.
pub(super) type Key = (Kind, String, String);

/// One write, as watches tell it.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) key: Key,
    pub(super) object: Arc<Value>,
    pub(super) gone: bool,
}

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// A process of the controller.
    Controller,
    /// Anybody else.
    World,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) body: Value,
}

/// Status code and body.
pub(super) type Answer = (u16, Arc<Value>);

/// Pods of the workload that must be healthy for one more to be evicted.
pub(super) const BUDGET: usize = 2;
/// Namespace of everything namespaced.
pub(super) const NAMESPACE: &str = "shop";

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) objects: BTreeMap<Key, Arc<Value>>,
    pub(super) changes: Vec<Change>,
    pub(super) history: History,
    /// The time that new objects get.
    pub(super) time: Timestamp,
    version: u64,
    uids: u64,
}

pub(super) fn key(kind: Kind, name: &str) -> Key {
    let namespace = match kind {
        Kind::Node => "",
        Kind::Lease => "kairos-operator",
        Kind::NodeOp | Kind::Job | Kind::Pod => NAMESPACE,
    };
    (kind, namespace.to_owned(), name.to_owned())
}

impl Model {
    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&key(kind, name)).map(AsRef::as_ref)
    }

    pub(super) fn all(&self, kind: Kind) -> impl Iterator<Item = (&str, &Value)> {
        let objects = self.objects.iter();
        objects
            .filter(move |(key, _)| key.0 == kind)
            .map(|(key, object)| (key.2.as_str(), object.as_ref()))
    }

    pub(super) fn create(&mut self, kind: Kind, mut object: Value, by: By) -> Answer {
        self.uids += 1;
        let prefix = text(&object, "/metadata/generateName");
        if !prefix.is_empty() {
            let name = format!("{prefix}{}", self.uids);
            object["metadata"]["name"] = json!(name);
        }
        let name = text(&object, "/metadata/name").to_owned();
        if self.get(kind, &name).is_some() {
            return refusal(409, "AlreadyExists");
        }
        object["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
        object["metadata"]["creationTimestamp"] = json!(self.time.to_string());
        object["metadata"]["generation"] = json!(1);
        (201, self.put(&key(kind, &name), object, by))
    }

    /// Merges `patch` as the world, which asks for no version.
    pub(super) fn patch(&mut self, kind: Kind, name: &str, patch: &Value) {
        self.merge(&key(kind, name), patch, By::World);
    }

    /// Removes an object at once.
    pub(super) fn remove(&mut self, kind: Kind, name: &str) {
        let key = key(kind, name);
        if let Some(object) = self.objects.remove(&key) {
            self.version += 1;
            if key.0 == Kind::NodeOp {
                let uid = text(&object, "/metadata/uid");
                self.history.excuses.node_op_gone(uid);
            }
            let gone = true;
            self.changes.push(Change { key, object, gone });
        }
    }

    /// Asks for a deletion: with finalizers, or while a kubelet has it, the object is only marked.
    pub(super) fn delete(&mut self, kind: Kind, name: &str, by: By) {
        let Some(object) = self.get(kind, name) else {
            return;
        };
        let held = object
            .pointer("/metadata/finalizers")
            .and_then(Value::as_array)
            .is_some_and(|all| !all.is_empty());
        let runs = kind == Kind::Pod && text(object, "/status/phase") == "Running";
        if held || runs {
            let mark = json!({"metadata": {"deletionTimestamp": self.time.to_string(), "deletionGracePeriodSeconds": 0}});
            self.merge(&key(kind, name), &mark, by);
        } else {
            self.remove(kind, name);
        }
    }

    fn put(&mut self, key: &Key, mut object: Value, by: By) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&object));
        self.changes.push(Change {
            key: key.clone(),
            object: Arc::clone(&object),
            gone: false,
        });
        let mut history = std::mem::take(&mut self.history);
        history.written(&self.objects, key, before.as_deref(), by);
        self.history = history;
        object
    }

    fn merge(&mut self, key: &Key, patch: &Value, by: By) -> Answer {
        let Some(before) = self.objects.get(key) else {
            return refusal(404, "NotFound");
        };
        for field in ["uid", "resourceVersion"] {
            let wanted = &patch["metadata"][field];
            if !wanted.is_null() && *wanted != before["metadata"][field] {
                return refusal(409, "Conflict");
            }
        }
        let mut after = before.as_ref().clone();
        merge(&mut after, patch);
        if after == **before {
            return (200, Arc::clone(before));
        }
        let after = self.put(key, after, by);
        let let_go = after["metadata"]["deletionTimestamp"].is_string()
            && after["metadata"]["finalizers"]
                .as_array()
                .is_none_or(Vec::is_empty);
        if let_go && key.0 == Kind::NodeOp {
            self.remove(key.0, &key.2.clone());
        }
        (200, after)
    }

    /// Carries a request of a controller out.
    pub(super) fn serve(&mut self, call: &Call) -> Answer {
        let parts: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        let (kind, name, rest) = match parts.as_slice() {
            ["api", "v1", "nodes", name] => (Kind::Node, Some(*name), None),
            ["api", "v1", "nodes"] => return self.nodes(),
            ["api", "v1", "pods"] => return self.pods_of_node(&call.query),
            ["api", "v1", "namespaces", _, "pods", rest @ ..] => {
                (Kind::Pod, rest.first().copied(), rest.get(1).copied())
            }
            ["apis", "batch", "v1", "namespaces", _, "jobs", rest @ ..] => {
                (Kind::Job, rest.first().copied(), None)
            }
            [
                "apis",
                "coordination.k8s.io",
                "v1",
                "namespaces",
                _,
                "leases",
                rest @ ..,
            ] => (Kind::Lease, rest.first().copied(), None),
            [
                "apis",
                "operator.kairos.io",
                _,
                "namespaces",
                _,
                "nodeops",
                rest @ ..,
            ] => (Kind::NodeOp, rest.first().copied(), rest.get(1).copied()),
            _ => panic!("the model does not know {call:?}"),
        };
        match (call.method.as_str(), name, rest) {
            ("GET", Some(name), None) => match self.objects.get(&key(kind, name)) {
                Some(object) => (200, Arc::clone(object)),
                None => refusal(404, "NotFound"),
            },
            ("GET", None, None) => self.pods_of_job(&call.query),
            ("POST", None, None) if call.query.contains("dryRun") => {
                (201, Arc::new(call.body.clone()))
            }
            ("POST", None, None) => self.create_of_controller(kind, &call.body),
            ("POST", Some(name), Some("eviction")) => self.evict(name, &call.body),
            ("PATCH", Some(name), rest) => {
                let mut patch = call.body.clone();
                if rest == Some("status") {
                    let metadata = json!({"uid": patch["metadata"]["uid"],
                        "resourceVersion": patch["metadata"]["resourceVersion"]});
                    patch = json!({"metadata": metadata, "status": patch["status"]});
                    drop_nulls(&mut patch["metadata"]);
                }
                self.merge(&key(kind, name), &patch, By::Controller)
            }
            ("DELETE", Some(name), None) => self.delete_of_controller(kind, name, &call.body),
            _ => panic!("the model does not know {call:?}"),
        }
    }

    fn create_of_controller(&mut self, kind: Kind, object: &Value) -> Answer {
        let mut object = object.clone();
        if kind == Kind::Pod {
            object["status"] = json!({"phase": "Pending"});
        }
        self.create(kind, object, By::Controller)
    }

    fn delete_of_controller(&mut self, kind: Kind, name: &str, options: &Value) -> Answer {
        let Some(object) = self.get(kind, name) else {
            return refusal(404, "NotFound");
        };
        let uid = &options["preconditions"]["uid"];
        if !uid.is_null() && *uid != object["metadata"]["uid"] {
            return refusal(409, "Conflict");
        }
        if object["metadata"]["labels"]["app"].is_string() {
            let message = format!("pod {name} was deleted, not evicted");
            self.history.violation(message);
        }
        self.delete(kind, name, By::Controller);
        (
            200,
            Arc::new(json!({"kind": "Status", "status": "Success"})),
        )
    }

    fn evict(&mut self, name: &str, body: &Value) -> Answer {
        let Some(pod) = self.get(Kind::Pod, name) else {
            return refusal(404, "NotFound");
        };
        let uid = &body["deleteOptions"]["preconditions"]["uid"];
        if !uid.is_null() && *uid != pod["metadata"]["uid"] {
            return refusal(409, "Conflict");
        }
        let healthy = self
            .all(Kind::Pod)
            .filter(|(_, pod)| is_healthy(pod))
            .count();
        if is_healthy(pod) && healthy <= BUDGET {
            let body = include_str!("../../drain/answer/bodies/blocked.json");
            return (429, Arc::new(serde_json::from_str(body).unwrap()));
        }
        self.delete(Kind::Pod, name, By::Controller);
        let body = json!({"kind": "Status", "status": "Success", "code": 201});
        (201, Arc::new(body))
    }

    /// Metadata, as it is asked for.
    fn nodes(&self) -> Answer {
        let nodes = self.all(Kind::Node);
        let items: Vec<Value> = nodes
            .map(|(_, node)| json!({"metadata": node["metadata"]}))
            .collect();
        let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"resourceVersion": "1"}, "items": items});
        (200, Arc::new(list))
    }

    fn pods_of_node(&self, query: &str) -> Answer {
        let query = query.replace("%3D", "=");
        let node = query
            .split('&')
            .find_map(|part| part.strip_prefix("fieldSelector=spec.nodeName="))
            .unwrap();
        let pods = self.all(Kind::Pod).map(|(_, pod)| pod);
        list(pods.filter(|pod| text(pod, "/spec/nodeName") == node))
    }

    fn pods_of_job(&self, query: &str) -> Answer {
        let pods = self.all(Kind::Pod).map(|(_, pod)| pod);
        list(pods.filter(|pod| {
            let job = pod["metadata"]["labels"]["batch.kubernetes.io/job-name"].as_str();
            let job = job.unwrap_or_default();
            !job.is_empty() && query.contains(job)
        }))
    }
}

fn list<'a>(pods: impl Iterator<Item = &'a Value>) -> Answer {
    let items: Vec<&Value> = pods.collect();
    let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items});
    (200, Arc::new(list))
}

/// A Pod of the workload that serves.
pub(super) fn is_healthy(pod: &Value) -> bool {
    pod["metadata"]["labels"]["app"].is_string()
        && text(pod, "/status/phase") == "Running"
        && pod["metadata"]["deletionTimestamp"].is_null()
}

/// The string at `path`, or nothing. `Value::pointer` copies each part of it, and this is asked a million times.
pub(super) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    let mut found = object;
    for part in path.split('/').skip(1) {
        let next = match found {
            Value::Array(items) => part.parse().ok().and_then(|index: usize| items.get(index)),
            fields => fields.get(part),
        };
        let Some(next) = next else {
            return "";
        };
        found = next;
    }
    found.as_str().unwrap_or_default()
}

/// The node that a Job or Pod of the controller is for.
pub(super) fn node_of(object: &Value) -> &str {
    object["metadata"]["labels"][LABEL_NODE]
        .as_str()
        .unwrap_or_default()
}

/// The UID of the first owner.
pub(super) fn owner_of(object: &Value) -> &str {
    text(object, "/metadata/ownerReferences/0/uid")
}

/// An error as the API server tells it.
pub(super) fn refusal(code: u16, reason: &str) -> Answer {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": reason, "message": reason});
    (code, Arc::new(body))
}

fn drop_nulls(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
}
