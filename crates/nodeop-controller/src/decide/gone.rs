//! Nodes whose object goes while they are worked on, and comes back.

use api_types::nodeop::{NodePhase, NodeStatus, NodeStep, RebootStatus};

use super::advance::{Advance, Flow, Uncordon};
use crate::build::check_pod::Check;
use crate::watched::WatchedJob;

impl Advance<'_> {
    /// The Node object is not there. Returns whether the entry stays.
    pub(super) fn gone(&mut self, name: &str, entry: &mut NodeStatus) -> bool {
        let job = self.job(entry);
        let last = !self.spec().reboot_on_success && self.spec().verify.is_none();
        if last && job.is_some_and(WatchedJob::is_complete) {
            self.finish(name, entry, "");
            return true;
        }
        // A reservation without a known Job: the name of the Job is derived, so if the create went through after all,
        // a node that comes back finds that Job instead of getting a second one.
        let vanished = self.has_vanished(entry);
        if entry.step == Some(NodeStep::Reserved) && job.is_none() && !vanished {
            self.let_go(name);
            // Else the place that could not be freed would be nobody's.
            return self.snapshot.unreleased.contains_key(name);
        }
        if entry.step != Some(NodeStep::NodeGone) {
            let started = job.is_some() || vanished || has_started(entry);
            self.go(entry, NodeStep::NodeGone);
            // Whether its Job was ever seen: if so and it is gone when the node comes back, it was deleted.
            entry.phase = if started {
                NodePhase::Running
            } else {
                NodePhase::Pending
            };
            entry.message =
                Some("the Node was deleted; it counts again if it comes back".to_owned());
        }
        // A node that was to reboot may be doing so. After the time that this may take, the operation goes on without it.
        let timeout = i64::from(self.spec().reboot_timeout_seconds);
        if entry.phase == NodePhase::Pending || self.overdue(entry, timeout) {
            self.let_go(name);
        }
        true
    }

    /// Lets go of what is held for a node whose object is gone: the control plane's place, and its Pods.
    fn let_go(&mut self, name: &str) {
        self.release(name, Uncordon::Yes, &[Check::Preflight]);
    }

    /// The Node object is there again: what it had come to is read from what is left of it.
    pub(super) fn back(&mut self, name: &str, entry: &mut NodeStatus) -> Flow {
        let checked = self.check_pod(name, Check::Verify).is_some();
        let rebooted = entry.reboot_status == Some(RebootStatus::Completed);
        let step = if checked || rebooted {
            NodeStep::Verifying
        } else if entry.boot_id.is_some() {
            NodeStep::Rebooting
        } else if self.job(entry).is_some() || entry.phase == NodePhase::Running {
            NodeStep::Running
        } else {
            // Its claim went with the Node object, and another node may have its slot; nothing has run yet.
            NodeStep::WaitingForReady
        };
        self.go(entry, step)
    }
}

/// Whether the entry's Job was seen.
fn has_started(entry: &NodeStatus) -> bool {
    match entry.step {
        None
        | Some(
            NodeStep::Running
            | NodeStep::AwaitingReboot
            | NodeStep::Rebooting
            | NodeStep::Verifying,
        ) => true,
        Some(
            NodeStep::WaitingForReady
            | NodeStep::Reserved
            | NodeStep::Preflight
            | NodeStep::Claimed
            | NodeStep::Draining
            | NodeStep::Starting
            | NodeStep::NodeGone,
        ) => false,
    }
}
