//! Carries out one step: a Pod created, a Node written to, a Pod removed. Decides nothing.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use operator_runtime::client::{CallError, Clients, deadline};
use operator_runtime::lease::Leadership;

use crate::build::BuildSettings;
use crate::build::labels::{Leftovers, apply_body, changed_labels, record_body};
use crate::build::pod::pod;
use crate::decide::Probe;
use crate::error::{Error, Result};
use crate::outcome::Facts;
use crate::record::Record;
use crate::watched::{WatchedNode, WatchedPod};

/// Field manager of our writes.
pub const MANAGER: &str = "node-labeller";

/// How requests are made.
#[derive(Clone)]
pub struct Requests {
    /// Clients for the API server.
    pub clients: Clients,
    /// The longest wait for one answer.
    pub timeout: Duration,
    /// Whether this replica may write.
    pub leadership: Leadership,
}

impl Requests {
    /// Makes one write for at most the timeout; refuses to when this replica has lost the lease, as after a long freeze.
    async fn write<T>(
        &self,
        action: String,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T> {
        if !self.leadership.is_leading() {
            return Err(Error::NotLeader { action });
        }
        Ok(deadline(self.timeout, action, request).await?)
    }
}

/// What became of a write to a Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is written; so many labels differ from before.
    Done {
        /// Labels set, changed or removed.
        labels_changed: usize,
        /// The Node's resourceVersion with the write in it; absent where nothing had to be written.
        resource_version: Option<String>,
    },
    /// The Node is gone, or another one has its name.
    NodeGone,
}

/// Creates the Pod that looks at a node.
pub async fn create_pod(
    requests: &Requests,
    settings: &BuildSettings,
    node: &WatchedNode,
    probe: Probe,
) -> Result<WatchedPod> {
    let api: Api<Pod> = Api::namespaced(requests.clients.api.clone(), &settings.namespace);
    let name = format!("{}/{}", settings.namespace, node.pod_name);
    let params = PostParams {
        dry_run: false,
        field_manager: Some(MANAGER.to_owned()),
    };
    let body = pod(node, probe, settings);
    match requests
        .write(format!("create pod {name}"), api.create(&params, &body))
        .await
    {
        Ok(created) => {
            let mut watched = WatchedPod {
                metadata: created.metadata,
                ..WatchedPod::default()
            };
            watched.trim();
            Ok(watched)
        }
        Err(Error::Request(error)) if error.is_already_exists() => Err(Error::Taken { name }),
        Err(Error::Request(error)) => match refusal(&error) {
            Some(message) => Err(Error::Refused {
                message: message.to_owned(),
                name,
            }),
            None => Err(error.into()),
        },
        Err(error) => Err(error),
    }
}

/// The API server's words, where it will not take the object as long as nobody changes something.
fn refusal(error: &CallError) -> Option<&str> {
    let status = error.status()?;
    matches!(status.code, 400 | 403 | 404 | 422).then_some(&*status.message)
}

/// Makes a Node's labels and annotations what `facts` say, and writes the record with them.
///
/// What is too much goes first: when this process ends in between, the record is not there yet, and the node is looked at
/// again.
pub async fn label(
    requests: &Requests,
    node: &WatchedNode,
    facts: &Facts,
    record: &Record,
) -> Result<Written> {
    let labels_changed = changed_labels(&node.metadata, facts);
    let before = Leftovers::of(&node.metadata, facts);
    if take_off(requests, node, &before).await? == Written::NodeGone {
        return Ok(Written::NodeGone);
    }
    let body =
        apply_body(node.name(), node.uid(), facts, record).map_err(|source| Error::Serialise {
            name: node.name().to_owned(),
            source,
        })?;
    let api: Api<Node> = Api::all(requests.clients.api.clone());
    let params = PatchParams::apply(MANAGER).force();
    let action = format!("label node {}", node.name());
    let patch = Patch::Apply(&body);
    let written = match requests
        .write(action, api.patch_metadata(node.name(), &params, &patch))
        .await
    {
        Ok(written) => written,
        Err(error) => return node_gone(error),
    };
    // What was put on meanwhile, which the watch had not shown.
    let behind = Leftovers::of(&written.metadata, facts);
    if take_off(requests, node, &behind).await? == Written::NodeGone {
        return Ok(Written::NodeGone);
    }
    Ok(Written::Done {
        labels_changed,
        resource_version: written.metadata.resource_version,
    })
}

/// Writes the record alone.
pub async fn write_record(
    requests: &Requests,
    node: &WatchedNode,
    record: &Record,
) -> Result<Written> {
    let body = record_body(node.uid(), record).map_err(|source| Error::Serialise {
        name: node.name().to_owned(),
        source,
    })?;
    let action = format!("annotate node {}", node.name());
    merge(requests, node, action, &body).await
}

async fn take_off(
    requests: &Requests,
    node: &WatchedNode,
    leftovers: &Leftovers,
) -> Result<Written> {
    if leftovers.is_empty() {
        return Ok(Written::Done {
            labels_changed: 0,
            resource_version: None,
        });
    }
    let action = format!("remove labels from node {}", node.name());
    merge(requests, node, action, &leftovers.removal_body(node.uid())).await
}

async fn merge(
    requests: &Requests,
    node: &WatchedNode,
    action: String,
    body: &serde_json::Value,
) -> Result<Written> {
    let api: Api<Node> = Api::all(requests.clients.api.clone());
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(body);
    match requests
        .write(action, api.patch_metadata(node.name(), &params, &patch))
        .await
    {
        Ok(written) => Ok(Written::Done {
            labels_changed: 0,
            resource_version: written.metadata.resource_version,
        }),
        Err(error) => node_gone(error),
    }
}

/// 404: no Node of that name. 409: another uid. A 403 for want of the right to create Nodes says the same as 404.
fn node_gone(error: Error) -> Result<Written> {
    let Error::Request(call) = &error else {
        return Err(error);
    };
    let wants_to_create = call.status().is_some_and(|status| {
        status.code == 403 && status.message.contains("cannot create resource")
    });
    if call.is_not_found() || call.is_conflict() || wants_to_create {
        return Ok(Written::NodeGone);
    }
    Err(error)
}

/// Removes a Pod at once, also from a node that does not answer: it only reads, so that one that goes on does no harm.
pub async fn remove_pod(requests: &Requests, metadata: &ObjectMeta, namespace: &str) -> Result<()> {
    let api: Api<Pod> = Api::namespaced(requests.clients.api.clone(), namespace);
    let name = metadata.name.as_deref().unwrap_or_default();
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: metadata.uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let action = format!("delete pod {namespace}/{name}");
    match requests.write(action, api.delete(name, &params)).await {
        Ok(_) => Ok(()),
        // Gone, or another one has its name.
        Err(Error::Request(error)) if error.is_not_found() || error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}
