//! Our finalizer on a NodeOp: it precedes any side effect on a node, and goes when nothing is held any more.

use api_types::nodeop::NodeOp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::nodes::Guarded;
use super::{MANAGER, Requests, refusal, within};
use crate::error::Result;

/// What identifies one version of a NodeOp.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
    /// Its resourceVersion.
    pub version: &'a str,
    /// Its finalizers.
    pub finalizers: &'a [String],
}

/// Adds a finalizer to the version that was read.
pub async fn add(requests: &Requests, of: Version<'_>, finalizer: &str) -> Result<Guarded> {
    let mut names = of.finalizers.to_vec();
    names.push(finalizer.to_owned());
    write(requests, of, &names, "add our finalizer to").await
}

/// Removes finalizers from the version that was read.
pub async fn remove(requests: &Requests, of: Version<'_>, gone: &[&str]) -> Result<Guarded> {
    let kept: Vec<String> = of
        .finalizers
        .iter()
        .filter(|name| !gone.contains(&name.as_str()))
        .cloned()
        .collect();
    if kept.len() == of.finalizers.len() {
        return Ok(Guarded::Done);
    }
    write(requests, of, &kept, "remove finalizers from").await
}

async fn write(
    requests: &Requests,
    of: Version<'_>,
    names: &[String],
    what: &str,
) -> Result<Guarded> {
    let action = format!("{what} nodeop {}/{}", of.namespace, of.name);
    requests.may_write(&action)?;
    let patch =
        json!({"metadata": {"uid": of.uid, "resourceVersion": of.version, "finalizers": names}});
    let api: Api<NodeOp> = Api::namespaced(requests.clients.api.clone(), of.namespace);
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(&patch);
    let request = api.patch_metadata(of.name, &params, &patch);
    match within(requests, &action, request).await {
        Ok(_) => Ok(Guarded::Done),
        Err(error) => match refusal(&error) {
            Some((404, _)) => Ok(Guarded::Done),
            Some((409, _)) => Ok(Guarded::Changed),
            _ => Err(error),
        },
    }
}
