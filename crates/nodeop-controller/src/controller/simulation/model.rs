//! A model of the API server: objects with versions, merge patches with preconditions, evictions under a budget.

use std::collections::BTreeMap;

use api_types::names::LABEL_NODE;
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
    pub(super) object: Value,
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
pub(super) type Answer = (u16, Value);

/// Pods of the workload that must be healthy for one more to be evicted.
pub(super) const BUDGET: usize = 2;
/// Namespace of everything namespaced.
pub(super) const NAMESPACE: &str = "shop";

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) objects: BTreeMap<Key, Value>,
    pub(super) changes: Vec<Change>,
    pub(super) history: History,
    /// The time that new objects get.
    pub(super) time: String,
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
        self.objects.get(&key(kind, name))
    }

    pub(super) fn all(&self, kind: Kind) -> impl Iterator<Item = (&str, &Value)> {
        let objects = self.objects.iter();
        objects
            .filter(move |(key, _)| key.0 == kind)
            .map(|(key, object)| (key.2.as_str(), object))
    }

    pub(super) fn create(&mut self, kind: Kind, mut object: Value, by: By) -> Answer {
        let name = text(&object, "/metadata/name").to_owned();
        if self.get(kind, &name).is_some() {
            return refusal(409, "AlreadyExists");
        }
        self.uids += 1;
        object["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
        object["metadata"]["creationTimestamp"] = json!(self.time);
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
            let mark = json!({"metadata": {"deletionTimestamp": self.time, "deletionGracePeriodSeconds": 0}});
            self.merge(&key(kind, name), &mark, by);
        } else {
            self.remove(kind, name);
        }
    }

    fn put(&mut self, key: &Key, mut object: Value, by: By) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let before = self.objects.insert(key.clone(), object.clone());
        self.changes.push(Change {
            key: key.clone(),
            object: object.clone(),
            gone: false,
        });
        let mut history = std::mem::take(&mut self.history);
        history.written(&self.objects, key, before.as_ref(), by);
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
        let mut after = before.clone();
        merge(&mut after, patch);
        if after == *before {
            return (200, after);
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
            ("GET", Some(name), None) => match self.get(kind, name) {
                Some(object) => (200, object.clone()),
                None => refusal(404, "NotFound"),
            },
            ("GET", None, None) => self.pods_of_job(&call.query),
            ("POST", None, None) if call.query.contains("dryRun") => (201, call.body.clone()),
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
        (200, json!({"kind": "Status", "status": "Success"}))
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
            return (429, serde_json::from_str(body).unwrap());
        }
        self.delete(Kind::Pod, name, By::Controller);
        (
            201,
            json!({"kind": "Status", "status": "Success", "code": 201}),
        )
    }

    /// Metadata, as it is asked for.
    fn nodes(&self) -> Answer {
        let nodes = self.all(Kind::Node);
        let items: Vec<Value> = nodes
            .map(|(_, node)| json!({"metadata": node["metadata"]}))
            .collect();
        let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"resourceVersion": "1"}, "items": items});
        (200, list)
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
            let job = text(pod, "/metadata/labels/batch.kubernetes.io~1job-name");
            !job.is_empty() && query.contains(job)
        }))
    }
}

fn list<'a>(pods: impl Iterator<Item = &'a Value>) -> Answer {
    let items: Vec<&Value> = pods.collect();
    (
        200,
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}),
    )
}

/// A Pod of the workload that serves.
pub(super) fn is_healthy(pod: &Value) -> bool {
    pod["metadata"]["labels"]["app"].is_string()
        && text(pod, "/status/phase") == "Running"
        && pod["metadata"]["deletionTimestamp"].is_null()
}

/// The string at `pointer`, or nothing.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
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
    (code, body)
}

/// RFC 7396.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            if let Some(object) = into.as_object_mut() {
                object.remove(name);
            }
        } else {
            merge(&mut into[name.as_str()], value);
        }
    }
}

fn drop_nulls(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
}
