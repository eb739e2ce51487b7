//! The end of a NodeOp's hold on the cluster: when it is deleted, and when it has ended.

use std::time::Duration;

use api_types::names::{FINALIZER_KAIROS_OPERATOR_NODEOP, FINALIZER_NODEOP};
use api_types::nodeop::{NodeOp, NodePhase};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource as _, ResourceExt as _};
use operator_runtime::events::{Notice, NoticeKind};

use super::pass::{Next, read_live};
use super::{Context, WatchedNodeOp};
use crate::apply::hold::{self, Version};
use crate::apply::nodes::{Guarded, held_by, patch_node};
use crate::apply::{place, pods};
use crate::claim::{Holder, release_patch};
use crate::decide::{Deletion, delete, is_held};
use crate::error::Result;
use crate::observe::observe;

/// How soon to look again after somebody else has written.
const AFTER_CONFLICT: Duration = Duration::from_millis(300);

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
    let observed = observe(&context.requests, context.sources(&node_op), &node_op).await?;
    let snapshot = observed.snapshot(&node_op, context.own_node.as_deref());
    let deletion = delete(&snapshot, context.requests.clock.now());
    forget_rounds(context, &node_op.uid().unwrap_or_default());
    let changed = give_back(context, &node_op, &deletion, &observed.pods).await?;
    for (node, message) in &deletion.let_go {
        context.events.publish(let_go(&node_op, node, message));
    }
    if let Some(wait) = deletion.wait {
        return Ok(Next::After(
            Duration::try_from(wait).unwrap_or(AFTER_CONFLICT),
        ));
    }
    let clean = !changed && give_back_rest(context, &node_op, |_| true).await?;
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
    known: &crate::observe::Pods,
) -> Result<bool> {
    let requests = &context.requests;
    let mut again = false;
    for name in &deletion.pods {
        if let Some(pod) = known.get(name) {
            pods::delete_pod(requests, node_op, pod).await?;
        }
    }
    for (node, patch) in &deletion.patches {
        again |= patch_node(requests, node_op, node, patch).await? == Guarded::Changed;
    }
    if deletion.place {
        again |= place::free_place(requests, node_op).await? == Guarded::Changed;
    }
    Ok(again)
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
    for node in held_by(&context.requests, &me).await? {
        let Some(patch) = release_patch(&node, &me, uncordon(node.name())) else {
            continue;
        };
        if patch_node(&context.requests, node_op, node.name(), &patch).await? == Guarded::Changed {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Lets go of an operation that has ended: claims that a lost answer may have left, then the finalizer.
pub(super) async fn conclude(context: &Context, node_op: &NodeOp) -> Result<Guarded> {
    forget_rounds(context, &node_op.uid().unwrap_or_default());
    if !is_held(node_op) {
        return Ok(Guarded::Done);
    }
    // A cordon is kept only where a node failed: its result decided on that.
    let uncordon = |node: &str| !has_failed(node_op, node);
    if !give_back_rest(context, node_op, uncordon).await? {
        return Ok(Guarded::Changed);
    }
    if may_hold_place(context, node_op)
        && place::free_place(&context.requests, node_op).await? == Guarded::Changed
    {
        return Ok(Guarded::Changed);
    }
    remove(context, node_op, &[FINALIZER_NODEOP]).await
}

fn has_failed(node_op: &NodeOp, node: &str) -> bool {
    let entry = node_op
        .status
        .as_ref()
        .and_then(|status| status.node_statuses.get(node));
    entry.is_some_and(|entry| entry.phase == NodePhase::Failed)
}

/// Whether the operation had a control-plane node, and so perhaps the control plane's place.
fn may_hold_place(context: &Context, node_op: &NodeOp) -> bool {
    let entries = node_op
        .status
        .iter()
        .flat_map(|status| &status.node_statuses);
    let nodes: std::collections::HashSet<&String> = entries.map(|(name, _)| name).collect();
    !node_op.spec.allow_control_plane_parallel
        && context.caches.nodes.state().iter().any(|node| {
            node.is_control_plane()
                && node
                    .metadata
                    .name
                    .as_ref()
                    .is_some_and(|name| nodes.contains(name))
        })
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
