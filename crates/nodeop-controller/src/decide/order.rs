//! Which nodes a NodeOp asks for, and in which order they are started.

use std::cmp::Reverse;

use kube::core::SelectorExt as _;

use super::Snapshot;
use crate::validate::ValidSpec;
use crate::watched::WatchedNode;

/// The nodes that match, in starting order: control plane first; within a group Ready before not Ready, the
/// controller's own node last of those that are Ready, then by name.
pub(super) fn matching<'a>(valid: &ValidSpec<'_>, snapshot: &Snapshot<'a>) -> Vec<&'a WatchedNode> {
    let no_labels = std::collections::BTreeMap::new();
    let mut nodes: Vec<&WatchedNode> = snapshot
        .nodes
        .values()
        .map(AsRef::as_ref)
        .filter(|node| {
            valid
                .selector
                .matches(node.metadata.labels.as_ref().unwrap_or(&no_labels))
        })
        .filter(|node| node.metadata.deletion_timestamp.is_none())
        .collect();
    nodes.sort_by_cached_key(|node| {
        let own = snapshot.own_node == Some(node.name());
        (
            Reverse(node.is_control_plane()),
            node.readiness().is_err(),
            own,
            node.name().to_owned(),
        )
    });
    nodes
}
