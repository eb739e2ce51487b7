//! The end of a NodeOp that is deleted while it works: reboot Pods go, cordons and claims are undone, and then the object
//! may vanish. Its Jobs go with their owner reference.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use api_types::nodeop::{NodeStatus, NodeStep};

use super::advance::{LOOK_AGAIN, deadline};
use super::{Snapshot, is_finished};
use crate::build::names::reboot_pod_name;
use crate::claim::{Holder, holders, release_patch};
use crate::control_plane::Standing;
use crate::watched::{WatchedNode, WatchedPod};

/// How long a kubelet may take beyond the grace period of a Pod that has no permission to reboot.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// What to do for a NodeOp that is being deleted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deletion {
    /// Reboot Pods to delete, by name.
    pub pods: Vec<String>,
    /// Those of them that may have been permitted to reboot: each is given the time to go down with its host.
    pub permitted_pods: Vec<String>,
    /// Nodes to give back: name and patch.
    pub patches: Vec<(String, Value)>,
    /// The node that the control plane's place is to be freed of, once it is given back.
    pub place: Option<String>,
    /// Nodes that are not Ready and are not waited for, with what may be left there.
    pub let_go: Vec<(String, String)>,
    /// When to look again; nothing when the object may vanish once the above is done.
    pub wait: Option<SignedDuration>,
}

/// One pass over a NodeOp that is being deleted.
pub fn delete(snapshot: &Snapshot<'_>, now: Timestamp) -> Deletion {
    let node_op = snapshot.node_op;
    let me = Holder::of(node_op);
    let mut deletion = Deletion::default();
    let mut awaited = Vec::new();
    let entries = node_op
        .status
        .iter()
        .flat_map(|status| &status.node_statuses);
    for (name, entry) in entries {
        let pod_name = reboot_pod_name(node_op, name);
        let pod = snapshot.pods.get(&pod_name).map(AsRef::as_ref);
        if pod.is_some_and(|pod| !pod.is_terminating()) {
            if may_reboot(entry) {
                deletion.permitted_pods.push(pod_name);
            } else {
                deletion.pods.push(pod_name);
            }
        }
        let node = snapshot.nodes.get(name).map(AsRef::as_ref);
        let timeout = i64::from(node_op.spec.reboot_timeout_seconds);
        match follow(entry, node, pod, timeout, now) {
            Follow::Over => {}
            Follow::Wait => awaited.push(name.as_str()),
            Follow::LetGo(message) => deletion.let_go.push((name.clone(), message)),
        }
    }
    for node in snapshot.nodes.values() {
        if awaited.contains(&node.name()) || holders(node).all(|holder| holder != me) {
            continue;
        }
        if let Some(patch) = release_patch(node, &me, true) {
            deletion.patches.push((node.name().to_owned(), patch));
        }
    }
    if let Standing::Ours(node) = &snapshot.control_plane
        && !awaited.contains(&node.as_str())
    {
        deletion.place = Some(node.clone());
    }
    deletion.wait = (!awaited.is_empty()).then_some(LOOK_AGAIN);
    deletion
}

enum Follow {
    /// Nothing is under way on the node.
    Over,
    /// Its reboot Pod is ending, or it is rebooting.
    Wait,
    /// It cannot be waited for.
    LetGo(String),
}

/// Whether the node's reboot may have been permitted, and is not proven.
pub(crate) fn may_reboot(entry: &NodeStatus) -> bool {
    entry.step == Some(NodeStep::Rebooting) && !is_finished(entry)
}

fn follow(
    entry: &NodeStatus,
    node: Option<&WatchedNode>,
    pod: Option<&WatchedPod>,
    timeout: i64,
    now: Timestamp,
) -> Follow {
    let Some(node) = node else {
        return Follow::Over;
    };
    let in_time = deadline(entry, timeout).is_none_or(|deadline| now < deadline);
    match (node.readiness(), pod) {
        // An agent ends at once unless it has asked the host to reboot: a Pod that stays goes down with its node. And a
        // node that is not Ready may be on its way down or up.
        (Ok(()), Some(_)) | (Err(_), _) if may_reboot(entry) && in_time => Follow::Wait,
        (Ok(()), Some(pod)) if !may_reboot(entry) && is_ending(pod, now) => Follow::Wait,
        (Ok(()), Some(_)) => Follow::LetGo(
            "its reboot Pod does not end, and is not waited for any longer".to_owned(),
        ),
        (Err(cause), Some(_)) => Follow::LetGo(format!(
            "the node is not Ready ({cause}), so the end of its reboot Pod is not waited for"
        )),
        (Ok(()) | Err(_), None) => Follow::Over,
    }
}

/// Whether a Pod still has time to end. Its deletion timestamp lies a grace period after the request.
fn is_ending(pod: &WatchedPod, now: Timestamp) -> bool {
    let asked = pod.metadata.deletion_timestamp.as_ref();
    asked.is_none_or(|until| now.duration_since(until.0) < PATIENCE)
}
