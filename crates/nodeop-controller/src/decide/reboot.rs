//! From a finished command to a proven reboot.
//!
//! The boot that the node is to leave is recorded in the status before the reboot Pod is told that it may; the agent in
//! that Pod reboots only while the node is still in that boot. So whatever is lost or repeated, the node reboots once.

use std::sync::Arc;

use api_types::names::AGENT_CONTAINER;
use api_types::nodeop::{NodeStatus, NodeStep, RebootStatus};
use k8s_openapi::jiff::SignedDuration;

use super::Act;
use super::advance::{Advance, Flow, LOOK_AGAIN, Uncordon, note};
use crate::build::names::reboot_pod_name;
use crate::watched::{PodProgress, WatchedNode, WatchedPod};

/// A reboot Pod that failed this long ago, on a node that is still up, is made anew.
const FAILED_POD_AGE: SignedDuration = SignedDuration::from_secs(30);

impl Advance<'_> {
    /// The Job is complete: records the boot to leave, and goes on to the reboot unless something holds it up.
    pub(super) fn may_reboot(
        &mut self,
        name: &str,
        entry: &mut NodeStatus,
        node: &WatchedNode,
    ) -> Flow {
        let told = entry
            .job_name
            .as_ref()
            .and_then(|job| told_boot(self.snapshot.pods.values(), job));
        let boot = told.or_else(|| self.snapshot.boots.get(name).cloned());
        let Some(boot) = boot.filter(|boot| !boot.is_empty()) else {
            note(
                entry,
                "the command succeeded; waiting for the node to tell its boot ID before it is rebooted",
            );
            self.look_again(LOOK_AGAIN);
            return Flow::Stay;
        };
        entry.boot_id = Some(boot);
        entry.reboot_status = Some(RebootStatus::Pending);
        let since = entry.since.clone();
        self.go(entry, NodeStep::AwaitingReboot);
        entry.since = since.or(entry.since.take());
        self.awaiting_reboot(name, entry, node)
    }

    pub(super) fn awaiting_reboot(
        &mut self,
        name: &str,
        entry: &mut NodeStatus,
        node: &WatchedNode,
    ) -> Flow {
        let claimed = self.keeps_claim(name, entry, node);
        if self.spec().paused {
            note(
                entry,
                "the command succeeded; the reboot waits until spec.paused is false",
            );
            return Flow::Stay;
        }
        if !claimed {
            return Flow::Stay;
        }
        if let Some(other) = self.unsafe_to_leave(name, node) {
            note(
                entry,
                &format!(
                    "the command succeeded; the reboot waits for control-plane node {other} to become Ready \
                     (allowControlPlaneParallel would not wait)"
                ),
            );
            self.look_again(LOOK_AGAIN);
            return Flow::Stay;
        }
        if let Some(job) = self.snapshot.busy.get(name) {
            note(
                entry,
                &format!("reboot waits for Job {job} of another NodeOp on this node"),
            );
            self.look_again(LOOK_AGAIN);
            return Flow::Stay;
        }
        self.go(entry, NodeStep::Rebooting)
    }

    /// Another control-plane node that is down: the control plane may not do without this one now. It can have gone down
    /// while the command ran.
    fn unsafe_to_leave(&self, name: &str, node: &WatchedNode) -> Option<&str> {
        if !self.snapshot.guards_control_plane() || !node.is_control_plane() {
            return None;
        }
        self.snapshot.control_plane_not_ready(name)
    }

    pub(super) fn rebooting(
        &mut self,
        name: &str,
        entry: &mut NodeStatus,
        node: &WatchedNode,
    ) -> Flow {
        let left = entry.boot_id.clone().unwrap_or_default();
        let boot = &node.status.node_info.boot_id;
        let is_back = (!boot.is_empty() && *boot != left) || planted!(ReadyProvesReboot);
        if is_back && !self.has_recorded(name, entry) {
            // The Node was read before this boot was known: it may show the one before. It is read again.
            self.look_again(SignedDuration::ZERO);
        } else if is_back && node.readiness().is_ok() {
            entry.reboot_status = Some(RebootStatus::Completed);
            if self.spec().verify.is_some() {
                self.release_reboot_pod(name);
                return self.go(entry, NodeStep::Verifying);
            }
            return self.finish(name, entry, "");
        }
        let seconds = i64::from(self.spec().reboot_timeout_seconds);
        if self.overdue(entry, seconds) {
            let what = match (is_back, node.readiness()) {
                (true, Err(cause)) => {
                    format!("the node has rebooted but is not Ready: {cause}")
                }
                (_, Ok(())) => format!("the node is still in boot {left}"),
                (_, Err(cause)) => format!("the node is not Ready: {cause}"),
            };
            let message = format!(
                "reboot was not proven within {seconds} s (rebootTimeoutSeconds): {what}; the node stays cordoned"
            );
            return self.fail(name, entry, Uncordon::Never, &message);
        }
        // Lost just now, the node may be another operation's: its reboot is not ours to permit until it is claimed again.
        let claimed = self.keeps_claim(name, entry, node);
        if claimed && planted!(PermitForPresentBoot) {
            self.permit(name, entry, node, boot);
        } else if claimed && !is_back {
            self.permit(name, entry, node, &left);
        }
        Flow::Stay
    }

    /// Whether the status named the boot to leave before this pass.
    fn has_recorded(&self, name: &str, entry: &NodeStatus) -> bool {
        let status = self.snapshot.node_op.status.as_ref();
        let written = status.and_then(|status| status.node_statuses.get(name));
        written.is_some_and(|written| written.boot_id == entry.boot_id)
    }

    /// Makes sure that the reboot Pod is there and knows that it may.
    fn permit(&mut self, name: &str, entry: &mut NodeStatus, node: &WatchedNode, boot: &str) {
        let pod_name = reboot_pod_name(self.snapshot.node_op, name);
        let Some(pod) = self.pod(&pod_name) else {
            self.acts.push(Act::CreateRebootPod {
                node: name.to_owned(),
                authorized: Some(boot.to_owned()),
            });
            return;
        };
        if pod.is_terminating() {
            return;
        }
        if pod.authorized() != Some(boot) {
            self.acts.push(Act::Authorize {
                pod: pod_name,
                node: name.to_owned(),
                boot: boot.to_owned(),
            });
            return;
        }
        if let Some(obstacle) = pod.obstacle() {
            note(entry, &format!("the reboot Pod cannot start: {obstacle}"));
        }
        let old = pod
            .created()
            .is_some_and(|created| self.now.duration_since(created.0) >= FAILED_POD_AGE);
        if pod.progress() == PodProgress::Failed && node.readiness().is_ok() {
            if old {
                self.acts.push(Act::DeletePod(pod_name));
            } else {
                self.look_again(FAILED_POD_AGE);
            }
        }
    }

    /// The reboot is proven: its Pod has nothing left to do.
    fn release_reboot_pod(&mut self, name: &str) {
        let pod_name = reboot_pod_name(self.snapshot.node_op, name);
        if self.pod(&pod_name).is_some_and(|pod| !pod.is_terminating()) {
            self.acts.push(Act::DeletePod(pod_name));
        }
    }
}

/// The boot in which the Job's last container ran, as it says itself. A Pod that succeeded without saying it (its message
/// got lost) does not count: then the Node is asked.
pub(crate) fn told_boot<'p>(
    pods: impl Iterator<Item = &'p Arc<WatchedPod>>,
    job: &str,
) -> Option<String> {
    let of_job = pods.filter(|pod| {
        pod.controller_owner()
            .is_some_and(|owner| owner.kind == "Job" && owner.name == job)
            && pod.progress() == PodProgress::Succeeded
    });
    let pod = of_job.max_by_key(|pod| pod.created().map(|time| time.0))?;
    let words = pod.terminated(AGENT_CONTAINER)?.message.as_deref()?.trim();
    is_boot_id(words).then(|| words.to_owned())
}

/// Whether a container's words are a boot ID and nothing else: a UUID as the kernel prints it.
fn is_boot_id(words: &str) -> bool {
    words.len() == 36
        && words
            .chars()
            .all(|character| character.is_ascii_hexdigit() || character == '-')
}

#[cfg(test)]
mod tests {
    use super::is_boot_id;

    #[test]
    fn a_boot_id_is_a_uuid() {
        assert!(is_boot_id("0b8e6b3c-6f0a-4d53-9f0c-2f1f6d1f1c11"));
        assert!(!is_boot_id(""));
        assert!(!is_boot_id("failed to read the boot ID of this node"));
    }
}
