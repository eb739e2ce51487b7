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
use crate::watched::WatchedNode;

/// What to do for a NodeOp that is being deleted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deletion {
    /// Reboot Pods to delete, by name.
    pub pods: Vec<String>,
    /// Nodes to give back: name and patch.
    pub patches: Vec<(String, Value)>,
    /// Whether the control plane's place is to be freed.
    pub place: bool,
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
        let pod = snapshot.pods.get(&pod_name);
        if pod.is_some_and(|pod| !pod.is_terminating()) {
            deletion.pods.push(pod_name);
        }
        let node = snapshot.nodes.get(name).map(AsRef::as_ref);
        match follow(
            entry,
            node,
            pod.is_some(),
            i64::from(node_op.spec.reboot_timeout_seconds),
            now,
        ) {
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
    deletion.place = matches!(&snapshot.control_plane, Standing::Ours(node) if !awaited.contains(&node.as_str()));
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

fn follow(
    entry: &NodeStatus,
    node: Option<&WatchedNode>,
    pod: bool,
    timeout: i64,
    now: Timestamp,
) -> Follow {
    let Some(node) = node else {
        return Follow::Over;
    };
    let may_reboot = entry.step == Some(NodeStep::Rebooting) && !is_finished(entry);
    let in_time = deadline(entry, timeout).is_none_or(|deadline| now < deadline);
    match node.readiness() {
        // The agent ends within its grace period.
        Ok(()) if pod => Follow::Wait,
        // The node may be on its way down or up: it was permitted to reboot.
        Err(_) if may_reboot && in_time => Follow::Wait,
        Err(cause) if pod => Follow::LetGo(format!(
            "the node is not Ready ({cause}), so the end of its reboot Pod is not waited for"
        )),
        Ok(()) | Err(_) => Follow::Over,
    }
}
