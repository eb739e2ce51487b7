//! Moves one started node along its way, as far as what is known allows:
//!
//! Reserved → Preflight → Claimed → Draining → Starting → Running → Rebooting → Verifying → its result.
//!
//! Steps that the operation does not ask for are passed over. Each step has a function in a file beside this one; it looks,
//! asks for what is missing ([`Act`]), and says whether the node has moved.

use std::collections::BTreeMap;

use api_types::nodeop::{NodePhase, NodeStatus, NodeStep};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{Act, Release, Snapshot, is_finished};
use crate::build::check_pod::Check;
use crate::build::names::{check_pod_name, reboot_pod_name};
use crate::claim::{Holder, claimed_by, release_patch};
use crate::control_plane::Standing;
use crate::status::{NODE_MESSAGE_BYTES, cut, end, fail};
use crate::watched::{WatchedJob, WatchedNode, WatchedPod};

/// More moves than a node has steps.
const MOVES: usize = 12;
/// How soon to look again where no watch tells that an obstacle is gone.
pub(super) const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// Whether a node has moved on within this pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It waits for something.
    Stay,
    /// It is in another step now; look at that one too.
    Again,
}

/// Whether a node that ends is made schedulable again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uncordon {
    /// Its work is done, or has not begun.
    Yes,
    /// Its command ran and did not succeed: as `uncordonOnFailure` says.
    AsAsked,
    /// Nobody knows its state.
    Never,
}

/// What one pass gathers while it moves the nodes.
pub(crate) struct Advance<'a> {
    pub(crate) snapshot: &'a Snapshot<'a>,
    pub(super) me: Holder,
    pub(super) now: Timestamp,
    /// What is to be done once the status is acknowledged.
    pub(super) acts: Vec<Act>,
    /// What has to be let go before the results in this status may be written.
    pub(crate) releases: Vec<Release>,
    /// When to look again.
    pub(crate) wake: Option<SignedDuration>,
}

impl<'a> Advance<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot<'a>, now: Timestamp) -> Self {
        Self {
            snapshot,
            me: Holder::of(snapshot.node_op),
            now,
            acts: Vec::new(),
            releases: Vec::new(),
            wake: None,
        }
    }

    /// Moves every entry that has started and has no result.
    pub(super) fn all(&mut self, entries: &mut BTreeMap<String, NodeStatus>) {
        entries.retain(|name, entry| {
            if planted!(ResultForgotten) && !self.snapshot.nodes.contains_key(name) {
                return !is_finished(entry);
            }
            if is_finished(entry) || entry.step == Some(NodeStep::WaitingForReady) {
                return true;
            }
            self.one(name, entry)
        });
    }

    /// Moves one entry. Returns whether it stays.
    fn one(&mut self, name: &str, entry: &mut NodeStatus) -> bool {
        let before = entry.clone();
        let asked_before = self.acts.len();
        self.has_begun(entry);
        let Some(node) = self.snapshot.nodes.get(name) else {
            return self.gone(name, entry);
        };
        let node = node.as_ref();
        if is_other_machine(entry, node) {
            // Its Job is bound to the node's name and may act on the new machine: starting another one there under the
            // same operation could run the command twice.
            let message = format!(
                "another machine registered as {name} (systemUUID changed) while the operation ran"
            );
            self.fail(name, entry, Uncordon::Yes, &message);
        } else if let Some(problem) = self.snapshot.problems.get(name) {
            self.fail(name, entry, Uncordon::Yes, problem);
        }
        for _ in 0..MOVES {
            if is_finished(entry) || self.step(name, entry, node) == Flow::Stay {
                break;
            }
        }
        if is_finished(entry) {
            // Acts follow the releases: what was asked for on the way here (a claim that somebody removed) would be
            // taken again after it was let go.
            self.acts.retain(|act| act.node() != Some(name));
        }
        if is_finished(entry)
            && let Some(problem) = self.snapshot.unreleased.get(name)
        {
            // Its result is written once the node is given back; what only the result is done with stays until then.
            *entry = before;
            self.acts.truncate(asked_before);
            if !problem.is_empty() {
                note(entry, problem);
            }
            self.look_again(LOOK_AGAIN);
        }
        true
    }

    /// A step that begins in the future began under a clock that was put back since: its time runs from now on. Otherwise
    /// it would have until then on top, and a drain that is over would look older than its step.
    fn has_begun(&self, entry: &mut NodeStatus) {
        if entry.since.as_ref().is_some_and(|since| since.0 > self.now) {
            entry.since = Some(Time(self.now));
        }
    }

    /// Asks for what comes first on a node that is being reserved in this pass. The entry stays reserved: it moves once
    /// that is acknowledged.
    pub(super) fn first(&mut self, name: &str, entry: &mut NodeStatus, node: &WatchedNode) {
        let mut ahead = entry.clone();
        for _ in 0..MOVES {
            if self.step(name, &mut ahead, node) == Flow::Stay {
                break;
            }
        }
    }

    /// Takes back the reservations of nodes that were only waited for, after another node has failed and stopOnFailure
    /// says that none is started any more.
    pub(super) fn withdraw(&mut self, entries: &mut BTreeMap<String, NodeStatus>) {
        let disrupts = self.spec().disrupts();
        entries.retain(|name, entry| {
            let untouched = match entry.step {
                Some(NodeStep::WaitingForReady) => true,
                Some(NodeStep::Reserved | NodeStep::Preflight) if disrupts => {
                    let node = self.snapshot.nodes.get(name);
                    let claimed =
                        node.is_some_and(|node| claimed_by(node).as_ref() == Some(&self.me));
                    !claimed && self.job(entry).is_none()
                }
                _ => false,
            };
            if !untouched || is_finished(entry) || self.snapshot.unreleased.contains_key(name) {
                return true;
            }
            self.acts.retain(|act| act.node() != Some(name.as_str()));
            self.release(name, Uncordon::Yes, &[Check::Preflight]);
            false
        });
    }

    fn step(&mut self, name: &str, entry: &mut NodeStatus, node: &WatchedNode) -> Flow {
        match entry.step {
            Some(NodeStep::Reserved) => self.reserved(name, entry, node),
            Some(NodeStep::Preflight) => self.preflight(name, entry, node),
            Some(NodeStep::Claimed) => self.claimed(name, entry, node),
            Some(NodeStep::Draining) => self.draining(name, entry, node),
            Some(NodeStep::Starting) => self.starting(name, entry, node),
            None | Some(NodeStep::Running) if !is_finished(entry) => {
                self.running(name, entry, node)
            }
            Some(NodeStep::AwaitingReboot) => self.awaiting_reboot(name, entry, node),
            Some(NodeStep::Rebooting) => self.rebooting(name, entry, node),
            Some(NodeStep::Verifying) => self.verifying(name, entry, node),
            Some(NodeStep::NodeGone) => self.back(name, entry),
            None | Some(NodeStep::Running | NodeStep::WaitingForReady) => Flow::Stay,
        }
    }

    /// Enters a step.
    pub(crate) fn go(&mut self, entry: &mut NodeStatus, step: NodeStep) -> Flow {
        entry.phase = match step {
            NodeStep::Reserved | NodeStep::WaitingForReady => NodePhase::Pending,
            NodeStep::NodeGone => entry.phase,
            NodeStep::Preflight => NodePhase::Preflight,
            _ => NodePhase::Running,
        };
        entry.step = Some(step);
        entry.since = Some(Time(self.now));
        entry.message = None;
        Flow::Again
    }

    /// Ends a node well. `note` becomes its message, when there is one.
    pub(crate) fn finish(&mut self, name: &str, entry: &mut NodeStatus, note: &str) -> Flow {
        end(entry, NodePhase::Completed, self.now);
        entry.message = (!note.is_empty()).then(|| cut(note, NODE_MESSAGE_BYTES).to_owned());
        self.release(name, Uncordon::Yes, &[]);
        // After the result is written, not before: without their Pods the checks would run once more if it is refused.
        self.forget_check(name, Check::Preflight);
        self.forget_check(name, Check::Verify);
        Flow::Stay
    }

    /// Ends a node badly. The Pod of a check that failed stays for its logs.
    pub(crate) fn fail(
        &mut self,
        name: &str,
        entry: &mut NodeStatus,
        uncordon: Uncordon,
        message: &str,
    ) -> Flow {
        fail(entry, self.now, message);
        self.release(name, uncordon, &[]);
        Flow::Stay
    }

    /// Lets go of what kairos-operator left on a node for this operation: the cordon in its name and its reboot Pods, besides
    /// what [`Self::release`] lets go of.
    pub(crate) fn release_adopted(&mut self, name: &str, uncordon: bool, reboot_pods: Vec<String>) {
        let node = self.snapshot.nodes.get(name);
        let patch = node.and_then(|node| release_patch(node, &self.me, uncordon));
        match self.releases.iter_mut().find(|known| known.node == name) {
            Some(known) => known.pods.extend(reboot_pods),
            None if patch.is_some() || !reboot_pods.is_empty() => self.releases.push(Release {
                node: name.to_owned(),
                patch,
                place: false,
                pods: reboot_pods,
            }),
            None => {}
        }
    }

    /// Lets go of whatever this operation holds on the node: claim, cordon, the control plane's place, its reboot Pod,
    /// and the Pods of `checks`.
    pub(super) fn release(&mut self, name: &str, uncordon: Uncordon, checks: &[Check]) {
        let node_op = self.snapshot.node_op;
        let uncordon = match uncordon {
            Uncordon::Yes => true,
            Uncordon::AsAsked => node_op.spec.uncordon_on_failure,
            Uncordon::Never => false,
        };
        let node = self.snapshot.nodes.get(name);
        let patch = node.and_then(|node| release_patch(node, &self.me, uncordon));
        let place = matches!(&self.snapshot.control_plane, Standing::Ours(held) if held == name);
        let reboot = std::iter::once(reboot_pod_name(node_op, name));
        let checks = checks
            .iter()
            .map(|check| check_pod_name(node_op, name, *check));
        let pods: Vec<String> = reboot
            .chain(checks)
            .filter(|pod| self.pod(pod).is_some_and(|pod| !pod.is_terminating()))
            .collect();
        if patch.is_some() || place || !pods.is_empty() {
            self.releases.push(Release {
                node: name.to_owned(),
                patch,
                place,
                pods,
            });
        }
    }

    /// Looks again after `delay`, if not sooner.
    pub(super) fn look_again(&mut self, delay: SignedDuration) {
        let delay = delay.max(SignedDuration::ZERO);
        self.wake = Some(self.wake.map_or(delay, |known| known.min(delay)));
    }

    /// Whether `seconds` have passed since the entry's step began; looks again when they have.
    pub(crate) fn overdue(&mut self, entry: &NodeStatus, seconds: i64) -> bool {
        let Some(deadline) = deadline(entry, seconds) else {
            return false;
        };
        if self.now >= deadline {
            return true;
        }
        self.look_again(deadline.duration_since(self.now));
        false
    }

    /// The entry's Job, if it is known.
    pub(crate) fn job(&self, entry: &NodeStatus) -> Option<&'a WatchedJob> {
        let jobs = self.snapshot.jobs;
        entry
            .job_name
            .as_ref()
            .and_then(|job| jobs.get(job))
            .map(AsRef::as_ref)
    }

    /// Whether the entry's Job was created and deleted before the status could say that it ran.
    pub(super) fn has_vanished(&self, entry: &NodeStatus) -> bool {
        let vanished = self.snapshot.vanished;
        entry
            .job_name
            .as_ref()
            .is_some_and(|job| vanished.contains(job))
    }

    /// One of the operation's Pods, if it is known.
    pub(super) fn pod(&self, name: &str) -> Option<&'a WatchedPod> {
        let pods = self.snapshot.pods;
        pods.get(name).map(AsRef::as_ref)
    }

    pub(super) fn check_pod(&self, node: &str, check: Check) -> Option<&'a WatchedPod> {
        self.pod(&check_pod_name(self.snapshot.node_op, node, check))
    }

    pub(crate) fn spec(&self) -> &'a api_types::nodeop::NodeOpSpec {
        &self.snapshot.node_op.spec
    }
}

/// When `seconds` have passed since the entry's step began. Past the end of representable time there is no deadline.
pub(super) fn deadline(entry: &NodeStatus, seconds: i64) -> Option<Timestamp> {
    let since = entry.since.as_ref()?.0;
    since.checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// Notes what a node waits for. A message that says the same again is no change.
pub(crate) fn note(entry: &mut NodeStatus, message: &str) {
    let message = cut(message, NODE_MESSAGE_BYTES);
    if entry.message.as_deref() != Some(message) {
        entry.message = Some(message.to_owned());
    }
}

pub(super) fn is_other_machine(entry: &NodeStatus, node: &WatchedNode) -> bool {
    let now = &node.status.node_info.system_uuid;
    entry
        .system_uuid
        .as_ref()
        .is_some_and(|then| !now.is_empty() && then != now)
}
