//! Gives back nodes whose NodeOp is gone or has ended. A NodeOp that works holds a finalizer, so this concerns cordons that
//! failed nodes keep until somebody deletes their NodeOp, what is left when the finalizer was removed by force, and a claim by
//! a process that believed to lead and wrote it after the end. So may a reboot Pod come late, or show late.

use std::sync::Weak;
use std::time::Duration;

use api_types::names::FINALIZER_NODEOP;
use api_types::nodeop::NodeOp;
use kube::{Api, ResourceExt as _};

use super::Context;
use super::release::has_failed;
use crate::apply::nodes::patch_orphan;
use crate::apply::pods::delete_pod;
use crate::apply::within;
use crate::build::names::{REBOOT_POD_SUFFIX, reboot_pod_name};
use crate::claim::{Holder, claimed_by, holders, release_patch};
use crate::decide::is_held;
use crate::error::Result;
use crate::status::is_terminal;
use crate::watched::{WatchedNode, WatchedPod};

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
            tracing::warn!(%error, "what nodeops that are over left is not given back yet");
        }
    }
}

async fn sweep(context: &Context) -> Result<()> {
    sweep_nodes(context).await?;
    sweep_pods(context).await
}

/// Deletes reboot Pods whose NodeOp has ended. Those of a NodeOp that is gone are the garbage collector's.
async fn sweep_pods(context: &Context) -> Result<()> {
    let pods = context.caches.pods.state();
    let late = pods.iter().filter(|pod| may_be_late(context, pod));
    for pod in late.take(MOST) {
        let Some(holder) = owner(pod) else {
            continue;
        };
        let Some(node_op) = read(context, &holder).await? else {
            continue;
        };
        let is_reboot_pod = |node| pod.name() == reboot_pod_name(&node_op, node);
        if !is_held(&node_op)
            && node_op.status.as_ref().is_some_and(is_terminal)
            && pod.node().is_some_and(is_reboot_pod)
        {
            delete_pod(&context.requests, &node_op, pod).await?;
        }
    }
    Ok(())
}

/// Whether it is named as a reboot Pod is, and the cache shows that its NodeOp has ended.
fn may_be_late(context: &Context, pod: &WatchedPod) -> bool {
    if pod.is_terminating() || !pod.name().ends_with(REBOOT_POD_SUFFIX) {
        return false;
    }
    let node_ops = context.node_ops.state();
    owner(pod).is_some_and(|owner| {
        let mut known = node_ops.iter();
        let known = known.find(|node_op| node_op.uid().as_deref() == Some(owner.uid.as_str()));
        known.is_some_and(|known| !has_finalizer(known.finalizers()))
    })
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
    let mut given_back = 0;
    for node in context.caches.nodes.state() {
        for holder in holders(&node) {
            if given_back >= MOST {
                return Ok(());
            }
            let Some(uncordon) = is_left(context, &node, &holder).await? else {
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
async fn is_left(context: &Context, node: &WatchedNode, holder: &Holder) -> Result<Option<bool>> {
    let claim = claimed_by(node);
    // A cordon under a living claim is that claim's to take over.
    if claim.as_ref().is_some_and(|claim| claim != holder) {
        return Ok(None);
    }
    let node_ops = context.node_ops.state();
    let mut known = node_ops.iter();
    let known = known.find(|node_op| node_op.uid().as_deref() == Some(holder.uid.as_str()));
    // An ended NodeOp may leave the cordon of a node that failed; a claim only one that is at work, under its finalizer.
    if known.is_some_and(|known| claim.is_none() || has_finalizer(known.finalizers())) {
        return Ok(None);
    }
    Ok(match read(context, holder).await? {
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

/// The holder, as the API server has it.
async fn read(context: &Context, holder: &Holder) -> Result<Option<NodeOp>> {
    let api: Api<NodeOp> = Api::namespaced(context.requests.clients.api.clone(), &holder.namespace);
    let action = format!("get nodeop {}", holder.display());
    let found = within(&context.requests, &action, api.get_opt(&holder.name)).await?;
    Ok(found.filter(|found| found.uid().as_deref() == Some(holder.uid.as_str())))
}
