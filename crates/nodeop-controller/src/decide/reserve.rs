//! Picks the nodes that start next, within `concurrency` and the room that the status has.

use std::collections::BTreeMap;

use api_types::nodeop::{NodePhase, NodeStatus, NodeStep};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::enter::{Obstacle, obstacle};
use super::{Snapshot, holds_slot, is_finished};
use crate::build::names::job_name;
use crate::status;
use crate::validate::ValidSpec;
use crate::watched::WatchedNode;

/// What [`pick`] chose.
#[derive(Debug, Default)]
pub(super) struct Picked {
    /// Nodes to reserve, in starting order, with their new entries.
    pub(super) reserve: Vec<(String, NodeStatus)>,
    /// Nodes whose turn it is but that are not Ready, with their new entries. They hold no slot.
    pub(super) wait: Vec<(String, NodeStatus)>,
    /// Whether the status had no room for a node that could have started.
    pub(super) too_many: bool,
    /// The first node that could have started but for an obstacle, and that obstacle.
    pub(super) obstacle: Option<(String, Obstacle)>,
}

/// Picks from `matching` (in starting order). No worker is picked before every matching control-plane node has ended, and
/// of those only one at a time where the operation disturbs nodes.
pub(super) fn pick(
    valid: &ValidSpec<'_>,
    snapshot: &Snapshot<'_>,
    matching: &[&WatchedNode],
    entries: &BTreeMap<String, NodeStatus>,
    now: Timestamp,
) -> Picked {
    let mut picked = Picked::default();
    let limit = valid.spec.concurrency.limit(matching.len());
    let active = entries.values().filter(|entry| holds_slot(entry)).count();
    let mut slots = limit.saturating_sub(active);
    let mut room = status::room_left(entries);
    let control_plane_open = matching
        .iter()
        .any(|node| node.is_control_plane() && !entries.get(node.name()).is_some_and(is_finished));
    // For one that is gone and may be rebooting, the place is still held: that is an obstacle, and is told.
    let mut one_is_disturbed = snapshot.guards_control_plane()
        && entries.iter().any(|(name, entry)| {
            !is_finished(entry)
                && entry.step != Some(NodeStep::WaitingForReady)
                && snapshot
                    .nodes
                    .get(name)
                    .is_some_and(|node| node.is_control_plane())
        });
    let candidates = matching
        .iter()
        .filter(|node| node.is_control_plane() || !control_plane_open)
        .filter(|node| !entries.contains_key(node.name()));
    for node in candidates {
        let guarded = snapshot.guards_control_plane() && node.is_control_plane();
        let entry = match node.readiness() {
            Ok(()) if slots == 0 || (guarded && one_is_disturbed) => continue,
            Ok(()) => match obstacle(snapshot, node).filter(|_| valid.spec.disrupts()) {
                None => reserved(snapshot, node, now),
                Some(obstacle) => {
                    picked
                        .obstacle
                        .get_or_insert_with(|| (node.name().to_owned(), obstacle));
                    continue;
                }
            },
            Err(cause) => waiting(&cause, now),
        };
        let cost = status::entry_size(node.name(), &entry);
        if cost > room {
            picked.too_many = true;
            break;
        }
        room -= cost;
        if entry.step == Some(NodeStep::Reserved) {
            slots -= 1;
            one_is_disturbed |= guarded;
            picked.reserve.push((node.name().to_owned(), entry));
        } else {
            picked.wait.push((node.name().to_owned(), entry));
        }
    }
    picked
}

fn reserved(snapshot: &Snapshot<'_>, node: &WatchedNode, now: Timestamp) -> NodeStatus {
    NodeStatus {
        phase: NodePhase::Pending,
        step: Some(NodeStep::Reserved),
        job_name: Some(job_name(snapshot.node_op, node.name())),
        since: Some(Time(now)),
        system_uuid: Some(node.status.node_info.system_uuid.clone())
            .filter(|uuid| !uuid.is_empty()),
        ..NodeStatus::default()
    }
}

fn waiting(cause: &str, now: Timestamp) -> NodeStatus {
    NodeStatus {
        phase: NodePhase::Pending,
        step: Some(NodeStep::WaitingForReady),
        message: Some(format!("node is not Ready: {}", status::cut(cause, 200))),
        since: Some(Time(now)),
        ..NodeStatus::default()
    }
}
