//! Deletion: what has to be let go before a NodeOp may vanish.

use api_types::names::FINALIZER_KAIROS_OPERATOR_NODEOP;
use api_types::nodeop::NodeOp;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};

use super::WatchedNodeOp;
use crate::apply::{self, Requests, within};
use crate::error::Result;

/// Lets a NodeOp go that kairos-operator held: the `ClusterRoleBinding` its finalizer stood for is not ours to need. Our
/// own objects go with their owner reference.
pub(super) async fn release(watched: &WatchedNodeOp, requests: &Requests) -> Result<()> {
    let finalizers = watched.finalizers();
    if !finalizers
        .iter()
        .any(|finalizer| finalizer == FINALIZER_KAIROS_OPERATOR_NODEOP)
    {
        return Ok(());
    }
    let kept: Vec<&String> = finalizers
        .iter()
        .filter(|name| *name != FINALIZER_KAIROS_OPERATOR_NODEOP)
        .collect();
    let patch = serde_json::json!({"metadata": {
        "uid": watched.uid(), "resourceVersion": watched.resource_version(), "finalizers": kept,
    }});
    let namespace = watched.namespace().unwrap_or_default();
    let api: Api<NodeOp> = Api::namespaced(requests.clients.api.clone(), &namespace);
    let action = format!(
        "remove kairos-operator's finalizer from nodeop {namespace}/{}",
        watched.name_any()
    );
    let name = watched.name_any();
    let params = PatchParams::default();
    let patch = Patch::Merge(&patch);
    match within(
        requests,
        &action,
        api.patch_metadata(&name, &params, &patch),
    )
    .await
    {
        Ok(_) => Ok(()),
        // 404: gone. 409: changed; the watch event of that change comes here again.
        Err(error) if matches!(apply::refusal(&error), Some((404 | 409, _))) => Ok(()),
        Err(error) => Err(error),
    }
}
