//! The end of a NodeOp's hold on the cluster: when it is deleted, and when it has ended.

use std::future::Future;
use std::time::Duration;

use api_types::names::{FINALIZER_KAIROS_OPERATOR_NODEOP, FINALIZER_NODEOP};
use api_types::nodeop::{NodeOp, NodePhase};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource as _, ResourceExt as _};
use operator_runtime::events::{Notice, NoticeKind};

use super::pass::{Next, read_live};
use super::{Context, WatchedNodeOp};
use crate::apply::hold::{self, Version};
use crate::apply::nodes::{Guarded, held_by, patch_node};
use crate::apply::{place, pods};
use crate::build::check_pod::Check;
use crate::build::names::{check_pod_name, reboot_pod_name};
use crate::build::reboot_pod::PERMITTED_GRACE_SECONDS;
use crate::claim::{Holder, release_patch};
use crate::decide::{Deletion, delete, is_held};
use crate::error::Result;
use crate::observe::{Pods, confirm_up, observe};
use crate::watched::{PodProgress, WatchedPod};

/// How soon to look again after somebody else has written.
const AFTER_CONFLICT: Duration = Duration::from_millis(300);

/// Requests in flight at once, within one pass.
const REQUESTS_IN_FLIGHT: usize = 16;

/// One pass over a NodeOp that is being deleted: gives back what it holds, then lets it go. kairos-operator's finalizer
/// goes too: the `ClusterRoleBinding` it stood for is not ours to need.
pub(super) async fn release(watched: &WatchedNodeOp, context: &Context) -> Result<Next> {
    let finalizers = watched.finalizers();
    let ours = finalizers.iter().any(|name| name == FINALIZER_NODEOP);
    let theirs = finalizers
        .iter()
        .any(|name| name == FINALIZER_KAIROS_OPERATOR_NODEOP);
    if !ours && !theirs {
        return Ok(Next::OnChange);
    }
    super::pass::caches_filled(context).await?;
    let Some(node_op) = read_live(watched, context).await? else {
        return Ok(Next::OnChange);
    };
    let mut observed = observe(&context.requests, context.sources(&node_op), &node_op).await?;
    confirm_up(
        &context.requests,
        &node_op,
        &observed.pods,
        &mut observed.nodes,
    )
    .await?;
    let snapshot = observed.snapshot(&node_op, context.own_node.as_deref());
    let deletion = delete(&snapshot, context.requests.clock.now());
    forget_rounds(context, &node_op.uid().unwrap_or_default());
    let changed = give_back(context, &node_op, &deletion, &observed.pods).await?;
    for (node, message) in &deletion.let_go {
        context.events.publish(let_go(&node_op, node, message));
    }
    let place = deletion.place.as_deref();
    if let Some(wait) = deletion.wait {
        if !changed && let Some(node) = place {
            free_place_early(context, &node_op, node).await?;
        }
        return Ok(Next::After(
            Duration::try_from(wait).unwrap_or(AFTER_CONFLICT),
        ));
    }
    let mut clean = !changed && give_back_rest(context, &node_op, |_| true).await?;
    if clean && place.is_some() {
        clean = place::free_place(&context.requests, &node_op, place).await? == Guarded::Done;
    }
    if !clean {
        return Ok(Next::After(AFTER_CONFLICT));
    }
    let gone = [FINALIZER_NODEOP, FINALIZER_KAIROS_OPERATOR_NODEOP];
    let removed = remove(context, &node_op, &gone).await?;
    Ok(match removed {
        Guarded::Done => Next::OnChange,
        Guarded::Changed => Next::After(AFTER_CONFLICT),
    })
}

/// Carries a deletion out. Whether something has to be looked at again before the object may vanish.
async fn give_back(
    context: &Context,
    node_op: &NodeOp,
    deletion: &Deletion,
    known: &Pods,
) -> Result<bool> {
    let requests = &context.requests;
    let plain = deletion.pods.iter().map(|pod| (pod, None));
    let permitted = deletion.permitted_pods.iter();
    let permitted = permitted.map(|pod| (pod, Some(PERMITTED_GRACE_SECONDS)));
    let pods: Vec<_> = plain
        .chain(permitted)
        .filter_map(|(name, grace)| Some((known.get(name)?, grace)))
        .map(|(pod, grace)| async move {
            pods::delete_pod_within(requests, node_op, pod, grace).await?;
            Ok(Guarded::Done)
        })
        .collect();
    let nodes: Vec<_> = deletion
        .patches
        .iter()
        .map(|(node, patch)| patch_node(requests, node_op, node, patch))
        .collect();
    // One that is refused holds up no other.
    let (pods, nodes) = futures::join!(together(pods), together(nodes));
    Ok([pods?, nodes?].contains(&Guarded::Changed))
}

/// Frees the control plane's place while other nodes are still waited for, so that the control plane need not wait for them.
/// Not before its node is given back, whatever caches show: the next operation would disturb a second one.
async fn free_place_early(context: &Context, node_op: &NodeOp, node: &str) -> Result<()> {
    let held = held_by(&context.requests, &Holder::of(node_op)).await?;
    if held.iter().all(|held| held.name() != node) {
        // What is refused is tried again: the operation is looked at again soon.
        place::free_place(&context.requests, node_op, Some(node)).await?;
    }
    Ok(())
}

/// Makes all these requests, several at once, also where some fail.
async fn together(requests: Vec<impl Future<Output = Result<Guarded>>>) -> Result<Guarded> {
    let mut results = stream::iter(requests).buffer_unordered(REQUESTS_IN_FLIGHT);
    let mut all = Ok(Guarded::Done);
    while let Some(result) = results.next().await {
        all = match (all, result) {
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            (Ok(Guarded::Done), Ok(Guarded::Done)) => Ok(Guarded::Done),
            (Ok(_), Ok(_)) => Ok(Guarded::Changed),
        };
    }
    all
}

/// Gives back what no cache has shown yet, such as a claim whose answer came a moment ago, or was lost. Whether nothing is
/// left now.
async fn give_back_rest(
    context: &Context,
    node_op: &NodeOp,
    uncordon: impl Fn(&str) -> bool,
) -> Result<bool> {
    if planted!(FinalizerDroppedEarly) {
        return Ok(true);
    }
    let me = Holder::of(node_op);
    let held = held_by(&context.requests, &me).await?;
    let patches: Vec<_> =
        held.iter()
            .filter_map(|node| {
                let patch = release_patch(node, &me, uncordon(node.name()))?;
                Some((node.name(), patch))
            })
            .map(|(node, patch)| async move {
                patch_node(&context.requests, node_op, node, &patch).await
            })
            .collect();
    Ok(together(patches).await? == Guarded::Done)
}

/// Takes away Pods that an ended operation needs no more: those of checks that ended well, where a crash came after their
/// result, and the reboot Pods of nodes that were gone at the end. Checks that failed stay for their logs.
async fn tidy_up(context: &Context, node_op: &NodeOp) -> Result<()> {
    let pods = context.caches.pods.state();
    let over: Vec<_> = pods
        .iter()
        .filter(|pod| {
            let owner = pod.controller_owner();
            owner.is_some_and(|owner| Some(&owner.uid) == node_op.metadata.uid.as_ref())
        })
        .filter(|pod| !pod.is_terminating() && is_over(node_op, pod))
        .map(|pod| async move {
            pods::delete_pod(&context.requests, node_op, pod).await?;
            Ok(Guarded::Done)
        })
        .collect();
    together(over).await?;
    Ok(())
}

fn is_over(node_op: &NodeOp, pod: &WatchedPod) -> bool {
    let Some(node) = pod.node() else {
        return false;
    };
    if pod.name() == reboot_pod_name(node_op, node) {
        return true;
    }
    let statuses = node_op.status.as_ref().map(|status| &status.node_statuses);
    let entry = statuses.and_then(|entries| entries.get(node));
    let is_check = [Check::Preflight, Check::Verify]
        .iter()
        .any(|check| pod.name() == check_pod_name(node_op, node, *check));
    is_check
        && pod.progress() == PodProgress::Succeeded
        && entry.is_some_and(|entry| entry.phase == NodePhase::Completed)
}

/// Lets go of an operation that has ended: claims that a lost answer may have left, then the finalizer.
pub(super) async fn conclude(context: &Context, node_op: &NodeOp) -> Result<Guarded> {
    forget_rounds(context, &node_op.uid().unwrap_or_default());
    tidy_up(context, node_op).await?;
    if !is_held(node_op) {
        return Ok(Guarded::Done);
    }
    // A cordon is kept only where a node failed: its result decided on that.
    let uncordon = |node: &str| !has_failed(node_op, node);
    if !give_back_rest(context, node_op, uncordon).await? {
        return Ok(Guarded::Changed);
    }
    if may_hold_place(context, node_op)
        && place::free_place(&context.requests, node_op, None).await? == Guarded::Changed
    {
        return Ok(Guarded::Changed);
    }
    remove(context, node_op, &[FINALIZER_NODEOP]).await
}

/// Whether the operation's result for the node is that it failed.
pub(super) fn has_failed(node_op: &NodeOp, node: &str) -> bool {
    let entry = node_op
        .status
        .as_ref()
        .and_then(|status| status.node_statuses.get(node));
    entry.is_some_and(|entry| entry.phase == NodePhase::Failed)
}

/// Whether the operation may have the control plane's place. The node it was taken for may have left the operation, and the
/// cluster.
fn may_hold_place(context: &Context, node_op: &NodeOp) -> bool {
    node_op.spec.disrupts()
        && !node_op.spec.allow_control_plane_parallel
        && (context.caches.nodes.state().iter()).any(|node| node.is_control_plane())
}

async fn remove(context: &Context, node_op: &NodeOp, gone: &[&str]) -> Result<Guarded> {
    let version = Version {
        namespace: node_op.metadata.namespace.as_deref().unwrap_or_default(),
        name: node_op.metadata.name.as_deref().unwrap_or_default(),
        uid: node_op.metadata.uid.as_deref().unwrap_or_default(),
        version: node_op
            .metadata
            .resource_version
            .as_deref()
            .unwrap_or_default(),
        finalizers: node_op.finalizers(),
    };
    hold::remove(&context.requests, version, gone).await
}

/// Ends what still evicts Pods for this NodeOp.
fn forget_rounds(context: &Context, uid: &str) {
    context.rounds.retain(|key| key.uid != uid);
}

fn let_go(node_op: &NodeOp, node: &str, message: &str) -> Notice {
    Notice {
        regarding: node_op.object_ref(&()),
        related: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            ..ObjectReference::default()
        }),
        kind: NoticeKind::Warning,
        reason: "NodeLetGo",
        action: "Delete",
        note: format!("{node}: {message}"),
        key: node.to_owned(),
    }
}

#[cfg(test)]
mod tests;
