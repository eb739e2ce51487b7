//! Nodes whose turn it is and that are not Ready: they hold no slot, and fail when they stay away for too long.

use std::collections::BTreeMap;

use api_types::nodeop::{NodeStatus, NodeStep};

use super::advance::Advance;
use super::is_finished;
use crate::status::fail;
use crate::watched::WatchedNode;

/// Drops the entries of nodes that are Ready, gone or no longer asked for (they are decided on anew), and fails those that
/// were waited for long enough.
pub(super) fn wait_for_ready(
    entries: &mut BTreeMap<String, NodeStatus>,
    advance: &mut Advance<'_>,
    matching: &[&WatchedNode],
) {
    let seconds = advance.spec().node_ready_timeout_seconds;
    entries.retain(|name, entry| {
        if entry.step != Some(NodeStep::WaitingForReady) || is_finished(entry) {
            return true;
        }
        let node = matching.iter().find(|node| node.name() == name);
        let Some(Err(cause)) = node.map(|node| node.readiness()) else {
            return false;
        };
        if advance.overdue(entry, i64::from(seconds)) {
            let now = advance.now;
            fail(
                entry,
                now,
                &format!("node was not Ready for {seconds} s (nodeReadyTimeoutSeconds): {cause}"),
            );
        }
        true
    });
}
