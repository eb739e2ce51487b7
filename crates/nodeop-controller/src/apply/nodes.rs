//! Writes to Nodes: claims, cordons, and their end.

use api_types::nodeop::NodeOp;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::Value;

use super::{MANAGER, Requests, display, refusal, within};
use crate::claim::{Holder, holders};
use crate::error::Result;
use crate::watched::WatchedNode;

/// Nodes per answer when all are asked for.
const PAGE: u32 = 500;

/// What became of a guarded write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// It happened, or the object is gone.
    Done,
    /// Somebody else has written since; look again and decide anew.
    Changed,
}

/// Applies a patch that carries the uid and resourceVersion which were read.
pub async fn patch_node(
    requests: &Requests,
    node_op: &NodeOp,
    name: &str,
    patch: &Value,
) -> Result<Guarded> {
    write(requests, &display(node_op), name, patch).await
}

/// The same for a node whose NodeOp is gone.
pub async fn patch_orphan(
    requests: &Requests,
    holder: &Holder,
    name: &str,
    patch: &Value,
) -> Result<Guarded> {
    write(requests, &holder.display(), name, patch).await
}

/// The nodes that name `me`, as the API server holds them now: a cache may not show a claim yet that was just taken. Of each
/// only the metadata is known, and it counts as unschedulable.
pub async fn held_by(requests: &Requests, me: &Holder) -> Result<Vec<WatchedNode>> {
    let api: Api<WatchedNode> = Api::all(requests.clients.api.clone());
    let action = format!("look for nodes of nodeop {}", me.display());
    let mut held = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = within(requests, &action, api.list_metadata(&params)).await?;
        for found in page.items {
            let mut found = WatchedNode {
                metadata: found.metadata,
                ..WatchedNode::default()
            };
            found.spec.unschedulable = true;
            if holders(&found).any(|holder| holder == *me) {
                held.push(found);
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(held),
        }
    }
}

async fn write(requests: &Requests, whose: &str, name: &str, patch: &Value) -> Result<Guarded> {
    let action = format!("patch node {name} for nodeop {whose}");
    requests.may_write(&action)?;
    let api: Api<Node> = Api::all(requests.clients.api.clone());
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    // Asks for the metadata in answer: a Node is some 10 KiB, and its watch brings the rest.
    let patch = Patch::Merge(patch);
    let request = api.patch_metadata(name, &params, &patch);
    match within(requests, &action, request).await {
        Ok(_) => Ok(Guarded::Done),
        Err(error) => match refusal(&error) {
            Some((404, _)) => Ok(Guarded::Done),
            Some((409, _)) => Ok(Guarded::Changed),
            _ => Err(error),
        },
    }
}
