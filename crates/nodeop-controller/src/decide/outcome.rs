//! What the operation as a whole has come to.

use std::collections::BTreeMap;

use api_types::conditions::reasons;
use api_types::nodeop::{NodeStatus, NodeStep};

use super::enter::Obstacle;
use super::{Act, Gate, Plan, Snapshot, holds_slot, is_finished};
use crate::status::{self, Outcome, Write};
use crate::watched::WatchedNode;

/// The outcome after this pass. `obstacle` is why nodes that could have been picked were not.
pub(super) fn outcome(
    gate: &Gate,
    is_valid: bool,
    matching: &[&WatchedNode],
    entries: &BTreeMap<String, NodeStatus>,
    obstacle: Option<&(String, Obstacle)>,
    snapshot: &Snapshot<'_>,
) -> Outcome {
    let active = entries.values().any(holds_slot);
    let unstarted = matching
        .iter()
        .filter(|node| match entries.get(node.name()) {
            None => true,
            Some(entry) => entry.step == Some(NodeStep::WaitingForReady),
        });
    let not_started = unstarted.count();
    let began = entries.values().any(is_finished);
    if !active && began && (*gate == Gate::Stopped || (not_started == 0 && is_valid)) {
        return Outcome::Ended { not_started };
    }
    if let Gate::Held { reason, message } = gate {
        return Outcome::Waiting {
            reason,
            message: message.clone(),
        };
    }
    if active {
        return Outcome::Running;
    }
    if matching.is_empty() {
        let message = if snapshot.nodes.is_empty() {
            "the cluster has no nodes"
        } else {
            "no node matches spec.nodeSelector; label the nodes or correct the selector"
        };
        return Outcome::Waiting {
            reason: reasons::NO_MATCHING_NODES,
            message: message.to_owned(),
        };
    }
    if let Some((node, obstacle)) = obstacle {
        return Outcome::Waiting {
            reason: obstacle.reason,
            message: format!("{node}: {}", obstacle.message),
        };
    }
    let waiting: Vec<&str> = entries
        .iter()
        .filter(|(_, entry)| entry.step == Some(NodeStep::WaitingForReady))
        .map(|(name, _)| name.as_str())
        .collect();
    if waiting.is_empty() {
        return Outcome::Running;
    }
    Outcome::Waiting {
        reason: reasons::NODES_NOT_READY,
        message: format!(
            "waiting for {} to become Ready",
            status::name_some(&waiting, waiting.len())
        ),
    }
}

impl Plan {
    /// Takes nothing away that only a status which is not written yet says to be done with: the next pass would find it
    /// missing, and make it again.
    pub(crate) fn in_step_with_its_write(mut self) -> Self {
        if matches!(self.write, Write::After(_)) {
            self.releases.clear();
            self.acts.retain(|act| !matches!(act, Act::DeletePod(_)));
        }
        self
    }
}
