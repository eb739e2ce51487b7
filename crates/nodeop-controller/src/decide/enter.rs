//! From a reservation to a claimed node: obstacles, the control plane's place, preflight, claim and cordon.

use api_types::conditions::reasons;
use api_types::nodeop::{NodeStatus, NodeStep};
use k8s_openapi::jiff::SignedDuration;

use super::advance::{Advance, Flow, LOOK_AGAIN, Uncordon, note};
use super::{Act, Snapshot};
use crate::build::check_pod::Check;
use crate::claim::holds;
use crate::control_plane::Standing;
use crate::drain::{DrainState, Mode};
use crate::watched::{PodProgress, WatchedNode};

/// How long a look at a node's Pods is good enough to claim the node by.
const CHECK_AGE: SignedDuration = SignedDuration::from_secs(30);
/// How long the kubelet gets to report the end of a check after its deadline.
const REPORT_GRACE_SECONDS: i64 = 15;

/// Why a node cannot be disturbed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    /// Condition reason.
    pub(super) reason: &'static str,
    /// What is waited for.
    pub(super) message: String,
}

/// What keeps this operation from disturbing `node`, if anything does.
pub(super) fn obstacle(snapshot: &Snapshot<'_>, node: &WatchedNode) -> Option<Obstacle> {
    let claimed = |message| Obstacle {
        reason: reasons::NODES_CLAIMED,
        message,
    };
    if let Some(holder) = snapshot.claims.get(node.name()) {
        return Some(claimed(format!(
            "waiting for NodeOp {holder}, which has claimed this node"
        )));
    }
    if let Some(job) = snapshot.busy.get(node.name()) {
        return Some(claimed(format!(
            "waiting for Job {job} of another NodeOp on this node"
        )));
    }
    if !snapshot.guards_control_plane() || !node.is_control_plane() {
        return None;
    }
    let busy = |message| {
        Some(Obstacle {
            reason: reasons::CONTROL_PLANE_BUSY,
            message,
        })
    };
    if let Some(other) = snapshot.control_plane_not_ready(node.name()) {
        return busy(format!(
            "waiting for control-plane node {other} to become Ready (allowControlPlaneParallel would not wait)"
        ));
    }
    place_taken(snapshot, node).and_then(busy)
}

/// Who has the control plane's one place, where `node` needs it and somebody else has it.
fn place_taken(snapshot: &Snapshot<'_>, node: &WatchedNode) -> Option<String> {
    if !snapshot.guards_control_plane() || !node.is_control_plane() || planted!(PlaceIgnored) {
        return None;
    }
    match &snapshot.control_plane {
        Standing::Held(place) => Some(format!(
            "waiting for NodeOp {}, which works on control-plane node {}",
            place.holder.display(),
            place.node
        )),
        Standing::Ours(held) if held != node.name() => Some(format!(
            "waiting for control-plane node {held}: one at a time"
        )),
        Standing::Ours(_) | Standing::Free | Standing::Unknown => None,
    }
}

impl Advance<'_> {
    pub(super) fn reserved(
        &mut self,
        name: &str,
        entry: &mut NodeStatus,
        node: &WatchedNode,
    ) -> Flow {
        if self.job(entry).is_some() {
            return self.go(entry, NodeStep::Running);
        }
        if self.has_vanished(entry) {
            return self.deleted_job(name, entry);
        }
        let spec = self.spec();
        if !spec.disrupts() {
            if spec.preflight.is_some() {
                return self.go(entry, NodeStep::Preflight);
            }
            self.acts.push(Act::CreateJob(name.to_owned()));
            return Flow::Stay;
        }
        if self.waits(entry, node) {
            self.forget_check(name, Check::Preflight);
            return Flow::Stay;
        }
        if !self.has_place(name, node) {
            return Flow::Stay;
        }
        if spec.preflight.is_some() {
            return self.go(entry, NodeStep::Preflight);
        }
        self.claim(name, entry, node)
    }

    /// Whether an obstacle holds the node up, or nothing new may be started; it is noted.
    fn waits(&mut self, entry: &mut NodeStatus, node: &WatchedNode) -> bool {
        if self.spec().paused && !holds(node, &self.me, self.spec().cordons()) {
            note(
                entry,
                "nothing was done on this node yet; it waits until spec.paused is false",
            );
            return true;
        }
        let Some(obstacle) = obstacle(self.snapshot, node) else {
            return false;
        };
        note(entry, &obstacle.message);
        self.look_again(LOOK_AGAIN);
        true
    }

    /// Whether a control-plane node has the control plane's one place; asks for it where it has not. It comes before the
    /// claim, so that nobody who waits for the place holds a node that another one waits for.
    fn has_place(&mut self, name: &str, node: &WatchedNode) -> bool {
        if !self.snapshot.guards_control_plane() || !node.is_control_plane() {
            return true;
        }
        if planted!(PlaceIgnored) {
            return true;
        }
        if matches!(&self.snapshot.control_plane, Standing::Ours(held) if held == name) {
            return true;
        }
        self.acts.push(Act::TakePlace(name.to_owned()));
        false
    }

    pub(super) fn preflight(
        &mut self,
        name: &str,
        entry: &mut NodeStatus,
        node: &WatchedNode,
    ) -> Flow {
        let Some(check) = &self.spec().preflight else {
            return self.go(entry, NodeStep::Reserved);
        };
        let pod = self.check_pod(name, Check::Preflight);
        match pod.map(|pod| (pod, pod.progress())) {
            // That of an earlier try, or somebody took it away: another one comes when it is gone.
            Some((pod, _)) if pod.is_terminating() => {}
            Some((pod, PodProgress::Succeeded)) if pod.last_words().is_empty() => {
                if self.spec().disrupts() {
                    return self.claim(name, entry, node);
                }
                self.acts.push(Act::DeletePod(pod.name().to_owned()));
                return self.go(entry, NodeStep::Starting);
            }
            Some((pod, PodProgress::Succeeded)) => {
                let message = format!("Skipped: {}", pod.last_words());
                return self.finish(name, entry, &message);
            }
            Some((pod, PodProgress::Failed)) => {
                // The kubelet ends a Pod that cannot start by its deadline, and forgets why it could not.
                let message = format!("preflight {}{}", pod.failure(), cause_of(entry));
                return self.fail(name, entry, Uncordon::Yes, &message);
            }
            Some((pod, PodProgress::Starting | PodProgress::Running)) => {
                if let Some(obstacle) = pod.obstacle() {
                    note(entry, &format!("preflight cannot start: {obstacle}"));
                }
            }
            None => self
                .acts
                .push(Act::CreateCheck(name.to_owned(), Check::Preflight)),
        }
        let seconds = i64::from(check.active_deadline_seconds);
        if self.overdue(entry, seconds + REPORT_GRACE_SECONDS) {
            let cause = cause_of(entry);
            let message = format!("preflight gave no result within {seconds} s{cause}");
            return self.fail(name, entry, Uncordon::Yes, &message);
        }
        Flow::Stay
    }

    /// Takes the Pod of a check away. After a wait, what a preflight saw may be out of date: it runs again then.
    pub(super) fn forget_check(&mut self, name: &str, check: Check) {
        let pod = self.check_pod(name, check);
        if let Some(pod) = pod.filter(|pod| !pod.is_terminating()) {
            self.acts.push(Act::DeletePod(pod.name().to_owned()));
        }
    }

    /// Takes the node: looks at its Pods first where it is to be drained, so that a Pod which must not be evicted fails
    /// the node before anything is touched.
    fn claim(&mut self, name: &str, entry: &mut NodeStatus, node: &WatchedNode) -> Flow {
        let spec = self.spec();
        if holds(node, &self.me, spec.cordons()) {
            self.forget_check(name, Check::Preflight);
            return self.go(entry, NodeStep::Claimed);
        }
        if self.waits(entry, node) {
            self.forget_check(name, Check::Preflight);
            let message = entry.message.take();
            self.go(entry, NodeStep::Reserved);
            entry.message = message;
            return Flow::Stay;
        }
        // It may have been freed before a result that could not be written.
        if !self.has_place(name, node) {
            return Flow::Stay;
        }
        if spec.drains() {
            match self.drain_report(name, Mode::Check, self.now - CHECK_AGE) {
                None => {
                    self.acts.push(Act::AskDrain(name.to_owned(), Mode::Check));
                    return Flow::Stay;
                }
                Some(DrainState::Unknown(message)) => {
                    note(entry, &format!("looking at the node's Pods: {message}"));
                    self.acts.push(Act::AskDrain(name.to_owned(), Mode::Check));
                    self.look_again(LOOK_AGAIN);
                    return Flow::Stay;
                }
                Some(DrainState::Forbidden(message)) => {
                    let message = message.clone();
                    return self.fail(name, entry, Uncordon::Yes, &message);
                }
                Some(DrainState::Drained | DrainState::Waiting { .. }) => {}
            }
        }
        self.acts.push(Act::Claim(name.to_owned()));
        Flow::Stay
    }

    /// Whether the claim, the cordon and the control plane's place are ours; asks for what somebody removed.
    pub(super) fn keeps_claim(
        &mut self,
        name: &str,
        entry: &mut NodeStatus,
        node: &WatchedNode,
    ) -> bool {
        if holds(node, &self.me, self.spec().cordons()) {
            // Where nobody could be asked who has the place, nothing is known against it.
            if self.snapshot.control_plane == Standing::Unknown {
                return true;
            }
            if let Some(message) = place_taken(self.snapshot, node) {
                note(entry, &message);
                self.look_again(LOOK_AGAIN);
                return false;
            }
            return self.has_place(name, node);
        }
        if let Some(holder) = self.snapshot.claims.get(name) {
            note(
                entry,
                &format!("waiting for NodeOp {holder}, which has taken this node's claim"),
            );
            self.look_again(LOOK_AGAIN);
        } else if let Some(message) = place_taken(self.snapshot, node) {
            // It was given back, and its result could not be written; the next control-plane node is being worked on.
            note(entry, &message);
            self.look_again(LOOK_AGAIN);
        } else if self.has_place(name, node) {
            self.acts.push(Act::Claim(name.to_owned()));
        }
        false
    }

    pub(super) fn verifying(
        &mut self,
        name: &str,
        entry: &mut NodeStatus,
        node: &WatchedNode,
    ) -> Flow {
        let Some(check) = &self.spec().verify else {
            return self.finish(name, entry, "");
        };
        if self.spec().disrupts() {
            // A node that is not verified yet is not for use.
            self.keeps_claim(name, entry, node);
        }
        let pod = self.check_pod(name, Check::Verify);
        match pod.map(|pod| (pod, pod.progress())) {
            Some((pod, PodProgress::Succeeded)) => {
                let words = pod.last_words().to_owned();
                return self.finish(name, entry, &words);
            }
            Some((pod, PodProgress::Failed)) => {
                // The kubelet ends a Pod that cannot start by its deadline, and forgets why it could not.
                let message = format!("verify {}{}", pod.failure(), cause_of(entry));
                return self.fail(name, entry, Uncordon::AsAsked, &message);
            }
            Some((pod, PodProgress::Starting | PodProgress::Running)) => {
                if let Some(obstacle) = pod.obstacle() {
                    note(entry, &format!("verify cannot start: {obstacle}"));
                }
            }
            None => self
                .acts
                .push(Act::CreateCheck(name.to_owned(), Check::Verify)),
        }
        let seconds = i64::from(check.active_deadline_seconds);
        if self.overdue(entry, seconds + REPORT_GRACE_SECONDS) {
            let cause = cause_of(entry);
            let message = format!("verify gave no result within {seconds} s{cause}");
            return self.fail(name, entry, Uncordon::AsAsked, &message);
        }
        Flow::Stay
    }
}

/// What the entry says it waits for, as the end of a sentence.
pub(super) fn cause_of(entry: &NodeStatus) -> String {
    entry
        .message
        .as_ref()
        .map(|message| format!(": {message}"))
        .unwrap_or_default()
}
