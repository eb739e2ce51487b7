//! Gives back nodes whose NodeOp is gone or has ended. A NodeOp that works holds a finalizer, so this concerns cordons that
//! failed nodes keep until somebody deletes their NodeOp, what is left when the finalizer was removed by force, and a claim by
//! a process that believed to lead and wrote it after the end. So may a reboot Pod come late, or show late.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use api_types::names::FINALIZER_NODEOP;
use api_types::nodeop::{NodeOp, NodeOpSpec};
use kube::ResourceExt as _;

use super::release::has_failed;
use super::{Context, WatchedNodeOp};
use crate::apply::nodes::patch_orphan;
use crate::apply::pods::delete_pod;
use crate::apply::read_holder;
use crate::build::names::{REBOOT_POD_SUFFIX, reboot_pod_name};
use crate::claim::{Holder, claimed_by, holders, release_patch};
use crate::decide::is_held;
use crate::error::Result;
use crate::status::is_terminal;
use crate::watched::{WatchedNode, WatchedPod};

/// How often the caches are looked through. A look that finds nothing asks nobody.
const INTERVAL: Duration = Duration::from_secs(5);
/// Nodes given back, and Pods deleted, in one look; the next look goes on.
const MOST: usize = 50;

/// Looks through the caches for as long as the controller runs.
pub(super) async fn sweep_for_ever(context: Weak<Context>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(context) = context.upgrade() else {
            return;
        };
        if let Err(error) = sweep(&context).await {
            tracing::warn!(%error, "what nodeops that are over left is not given back yet");
        }
    }
}

async fn sweep(context: &Context) -> Result<()> {
    // A node that cannot be given back holds up no Pod.
    let nodes = sweep_nodes(context).await;
    sweep_pods(context).await.and(nodes)
}

/// Deletes reboot Pods whose NodeOp has ended. Those of a NodeOp that is gone are the garbage collector's.
async fn sweep_pods(context: &Context) -> Result<()> {
    let pods = context.caches.pods.state();
    let node_ops = by_uid(context);
    let late = pods.iter().filter(|pod| may_be_late(&node_ops, pod));
    for pod in late.take(MOST) {
        let Some(holder) = owner(pod) else {
            continue;
        };
        let Some(node_op) = read_holder(&context.requests, &holder).await? else {
            continue;
        };
        if !is_held(&node_op) && node_op.status.as_ref().is_some_and(is_terminal) {
            delete_pod(&context.requests, &node_op, pod).await?;
        }
    }
    Ok(())
}

/// Whether it is a reboot Pod of ours, and the cache shows that its NodeOp has ended.
fn may_be_late(node_ops: &HashMap<String, Arc<WatchedNodeOp>>, pod: &WatchedPod) -> bool {
    if pod.is_terminating() || !pod.name().ends_with(REBOOT_POD_SUFFIX) {
        return false;
    }
    let owner = pod.controller_owner();
    let Some(known) = owner.and_then(|owner| node_ops.get(&owner.uid)) else {
        return false;
    };
    // Its name is derived from metadata only. Any other Pod is not ours to delete.
    let named = NodeOp {
        metadata: known.metadata.clone(),
        spec: NodeOpSpec::default(),
        status: None,
    };
    !is_held(&named)
        && pod
            .node()
            .is_some_and(|node| pod.name() == reboot_pod_name(&named, node))
}

/// The NodeOps that the cache shows.
fn by_uid(context: &Context) -> HashMap<String, Arc<WatchedNodeOp>> {
    let node_ops = context.node_ops.state().into_iter();
    node_ops
        .filter_map(|node_op| Some((node_op.uid()?, node_op)))
        .collect()
}

fn owner(pod: &WatchedPod) -> Option<Holder> {
    let owner = pod.controller_owner()?;
    Some(Holder {
        namespace: pod.metadata.namespace.clone()?,
        name: owner.name.clone(),
        uid: owner.uid.clone(),
    })
}

async fn sweep_nodes(context: &Context) -> Result<()> {
    // What the cache of NodeOps does not show yet is asked for; its store is not waited for, see `announce`.
    let node_ops = by_uid(context);
    let mut given_back = 0;
    for node in context.caches.nodes.state() {
        for holder in holders(&node) {
            if given_back >= MOST {
                return Ok(());
            }
            let Some(uncordon) = is_left(context, &node_ops, &node, &holder).await? else {
                continue;
            };
            if let Some(patch) = release_patch(&node, &holder, uncordon) {
                patch_orphan(&context.requests, &holder, node.name(), &patch).await?;
                tracing::info!(
                    node = node.name(),
                    nodeop = holder.display(),
                    "gave a node of a nodeop that is over back"
                );
                given_back += 1;
            }
            break;
        }
    }
    Ok(())
}

/// Whether nobody else will give back what `holder` has of the node; if so, whether the node is to be uncordoned too.
async fn is_left(
    context: &Context,
    node_ops: &HashMap<String, Arc<WatchedNodeOp>>,
    node: &WatchedNode,
    holder: &Holder,
) -> Result<Option<bool>> {
    let claim = claimed_by(node);
    // A cordon under a living claim is that claim's to take over.
    if claim.as_ref().is_some_and(|claim| claim != holder) {
        return Ok(None);
    }
    let known = node_ops.get(&holder.uid);
    // An ended NodeOp may leave the cordon of a node that failed; a claim only one that is at work, under its finalizer.
    if known.is_some_and(|known| claim.is_none() || has_finalizer(known.finalizers())) {
        return Ok(None);
    }
    Ok(match read_holder(&context.requests, holder).await? {
        None => Some(true),
        Some(node_op) if claim.is_none() || is_held(&node_op) => None,
        Some(node_op) => {
            let ended = node_op.status.as_ref().is_some_and(is_terminal);
            ended.then(|| !has_failed(&node_op, node.name()))
        }
    })
}

fn has_finalizer(finalizers: &[String]) -> bool {
    finalizers.iter().any(|name| name == FINALIZER_NODEOP)
}
