//! Gives back nodes whose NodeOp is gone. A NodeOp that works holds a finalizer, so this concerns cordons that failed nodes
//! keep until somebody deletes their NodeOp, and what is left when the finalizer was removed by force.

use std::sync::{Arc, Weak};
use std::time::Duration;

use api_types::nodeop::NodeOp;
use kube::core::PartialObjectMeta;
use kube::{Api, ResourceExt as _};

use super::Context;
use crate::apply::nodes::patch_orphan;
use crate::apply::within;
use crate::claim::{Holder, claimed_by, holders, release_patch};
use crate::error::Result;

/// How often the cached nodes are looked through. A look that finds nothing asks nobody.
const INTERVAL: Duration = Duration::from_secs(5);
/// Nodes given back in one look; the next look goes on.
const MOST: usize = 50;

/// Looks through the nodes for as long as the controller runs.
pub(super) async fn sweep_for_ever(context: Weak<Context>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(context) = context.upgrade() else {
            return;
        };
        if let Err(error) = sweep(&context).await {
            tracing::warn!(%error, "nodes of deleted nodeops are not given back yet");
        }
    }
}

async fn sweep(context: &Arc<Context>) -> Result<()> {
    // What the cache of NodeOps does not show yet is asked for; its store is not waited for, see `announce`.
    let mut given_back = 0;
    for node in context.caches.nodes.state() {
        for holder in holders(&node) {
            if given_back >= MOST {
                return Ok(());
            }
            // A cordon under a living claim is that claim's to take over.
            let claimed = claimed_by(&node).is_some_and(|claim| claim != holder);
            if claimed || is_known(context, &holder) || exists(context, &holder).await? {
                continue;
            }
            if let Some(patch) = release_patch(&node, &holder, true) {
                patch_orphan(&context.requests, &holder, node.name(), &patch).await?;
                tracing::info!(
                    node = node.name(),
                    nodeop = holder.display(),
                    "gave a node of a deleted nodeop back"
                );
                given_back += 1;
            }
            break;
        }
    }
    Ok(())
}

/// Whether the cache shows the holder. What it does not show is asked for.
fn is_known(context: &Context, holder: &Holder) -> bool {
    context
        .node_ops
        .state()
        .iter()
        .any(|node_op| node_op.uid().as_deref() == Some(holder.uid.as_str()))
}

async fn exists(context: &Context, holder: &Holder) -> Result<bool> {
    let api: Api<NodeOp> = Api::namespaced(context.requests.clients.api.clone(), &holder.namespace);
    let action = format!("get nodeop {}", holder.display());
    let request = api.get_metadata_opt(&holder.name);
    let found: Option<PartialObjectMeta<NodeOp>> =
        within(&context.requests, &action, request).await?;
    Ok(found.is_some_and(|found| found.uid().as_deref() == Some(holder.uid.as_str())))
}
