//! From a claimed node to the end of its command: the reboot Pod, the drain, the Job.

use api_types::nodeop::{NodeStatus, NodeStep, RebootStatus};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::Act;
use super::advance::{Advance, Flow, LOOK_AGAIN, Uncordon, note};
use super::enter::cause_of;
use crate::build::names::reboot_pod_name;
use crate::drain::{DrainState, Mode};
use crate::status::STALLED;
use crate::watched::{JobOutcome, PodProgress, WatchedNode, WatchedPod};

/// How long a container may stand between its creation and its start before that is told.
const STALLED_SECONDS: i64 = 60;
/// How long the reboot Pod may take to start. Nothing has run by then, so the node is given back.
const REBOOT_POD_SECONDS: i64 = 600;

impl<'a> Advance<'a> {
    pub(super) fn claimed(
        &mut self,
        name: &str,
        entry: &mut NodeStatus,
        node: &WatchedNode,
    ) -> Flow {
        if !self.keeps_claim(name, entry, node) {
            return Flow::Stay;
        }
        let waits = self.reboot_pod_runs(name, entry);
        if self.spec().drains() && waits != Ready::Never {
            return self.go(entry, NodeStep::Draining);
        }
        match waits {
            Ready::Yes => self.go(entry, NodeStep::Starting),
            Ready::No | Ready::Never => Flow::Stay,
        }
    }

    pub(super) fn draining(
        &mut self,
        name: &str,
        entry: &mut NodeStatus,
        node: &WatchedNode,
    ) -> Flow {
        let Some(options) = self
            .spec()
            .drain_options
            .as_ref()
            .filter(|options| options.enabled)
        else {
            // drainOptions may be edited while the operation runs.
            return match self.reboot_pod_runs(name, entry) {
                Ready::Yes => self.go(entry, NodeStep::Starting),
                Ready::No | Ready::Never => Flow::Stay,
            };
        };
        let seconds = i64::from(options.timeout_seconds);
        let claim = self.keeps_claim(name, entry, node);
        let ready = self.reboot_pod_runs(name, entry);
        if ready == Ready::Never {
            return Flow::Stay;
        }
        let busy = self.snapshot.busy.get(name);
        if let Some(job) = busy {
            note(
                entry,
                &format!("drain waits for Job {job} of another NodeOp on this node"),
            );
            self.look_again(LOOK_AGAIN);
        } else if claim {
            let since = entry.since.as_ref().map_or(Timestamp::MIN, |since| since.0);
            match self.drain_report(name, Mode::Drain, since) {
                Some(DrainState::Drained) => match ready {
                    Ready::Yes => return self.go(entry, NodeStep::Starting),
                    Ready::No | Ready::Never => {}
                },
                Some(DrainState::Forbidden(message)) => {
                    let message = message.clone();
                    return self.fail(name, entry, Uncordon::Yes, &message);
                }
                Some(DrainState::Waiting { message, .. }) => {
                    note(entry, message);
                    self.ask_drain(name);
                }
                Some(DrainState::Unknown(message)) => {
                    note(entry, &format!("draining: {message}"));
                    self.ask_drain(name);
                }
                None => self.ask_drain(name),
            }
        }
        if seconds > 0 && self.overdue(entry, seconds) {
            let cause = cause_of(entry);
            let message = format!(
                "drain did not end within {seconds} s (drainOptions.timeoutSeconds){cause}"
            );
            return self.fail(name, entry, Uncordon::Yes, &message);
        }
        Flow::Stay
    }

    fn ask_drain(&mut self, name: &str) {
        self.acts.push(Act::AskDrain(name.to_owned(), Mode::Drain));
        if let Some(report) = self.snapshot.drains.get(name) {
            let next = report.next_after;
            self.look_again(next);
        }
    }

    /// What the latest look at the node's Pods found, if it was for that purpose and not before `since`.
    pub(super) fn drain_report(
        &self,
        name: &str,
        mode: Mode,
        since: Timestamp,
    ) -> Option<&'a DrainState> {
        let drains = self.snapshot.drains;
        let report = drains.get(name)?;
        (report.mode == mode && report.at >= since).then_some(&report.state)
    }

    /// Whether the Pod that will reboot the node runs: it must be there before the Job, so that the drain and full nodes
    /// cannot keep it away. Where no reboot is asked for, nothing is missing.
    fn reboot_pod_runs(&mut self, name: &str, entry: &mut NodeStatus) -> Ready {
        if !self.spec().reboot_on_success {
            return Ready::Yes;
        }
        let pod_name = reboot_pod_name(self.snapshot.node_op, name);
        let Some(pod) = self.pod(&pod_name) else {
            let create = Act::CreateRebootPod {
                node: name.to_owned(),
                authorized: planted!(RebootBeforeComplete)
                    .then(|| self.snapshot.nodes[name].status.node_info.boot_id.clone()),
            };
            // A node that enters its drain in this pass asks twice.
            if !self.acts.contains(&create) {
                self.acts.push(create);
            }
            return Ready::No;
        };
        if pod.is_terminating() {
            return Ready::No;
        }
        match pod.progress() {
            PodProgress::Running => return Ready::Yes,
            PodProgress::Starting => {
                if let Some(obstacle) = pod.obstacle() {
                    note(entry, &format!("the reboot Pod cannot start: {obstacle}"));
                }
            }
            // It was evicted or refused by the kubelet; a new one may fare better.
            PodProgress::Failed | PodProgress::Succeeded => {
                note(entry, &format!("the reboot Pod ended: {}", pod.failure()));
                self.acts.push(Act::DeletePod(pod_name));
            }
        }
        if self.overdue(entry, REBOOT_POD_SECONDS) {
            let cause = cause_of(entry);
            let message = format!(
                "the reboot Pod did not start within {REBOOT_POD_SECONDS} s, so the command was not run{cause}"
            );
            self.fail(name, entry, Uncordon::Yes, &message);
            return Ready::Never;
        }
        Ready::No
    }

    pub(super) fn starting(
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
        if self.spec().disrupts() && !self.keeps_claim(name, entry, node) {
            return Flow::Stay;
        }
        // It may have gone since it was seen to run.
        if self.reboot_pod_runs(name, entry) == Ready::Yes {
            self.acts.push(Act::CreateJob(name.to_owned()));
        }
        Flow::Stay
    }

    pub(super) fn running(
        &mut self,
        name: &str,
        entry: &mut NodeStatus,
        node: &WatchedNode,
    ) -> Flow {
        let Some(job) = self.job(entry) else {
            return self.deleted_job(name, entry);
        };
        match job.outcome() {
            JobOutcome::Complete => self.succeeded(name, entry, node),
            JobOutcome::Failed { reason, message } => {
                let cause = self.snapshot.causes.get(job.name());
                let mut message = failure_message(reason, message, cause.map(String::as_str));
                if cause.is_none() {
                    // Its Pods may be gone; what kept them from starting was noted while they waited.
                    message.push_str(&cause_of(entry));
                }
                self.failed_job(name, entry, &message)
            }
            JobOutcome::Active => {
                if entry.step.is_none() || entry.phase != api_types::nodeop::NodePhase::Running {
                    self.go(entry, NodeStep::Running);
                }
                // A deadline takes the Pod away before the Job says that it has failed: what kept the Pod from starting
                // is then the cause, so it stays.
                self.note_pod(entry, node, job.name());
                if self.spec().disrupts() {
                    self.keeps_claim(name, entry, node);
                }
                Flow::Stay
            }
        }
    }

    fn succeeded(&mut self, name: &str, entry: &mut NodeStatus, node: &WatchedNode) -> Flow {
        if self.spec().reboot_on_success {
            return self.may_reboot(name, entry, node);
        }
        if self.spec().verify.is_some() {
            return self.go(entry, NodeStep::Verifying);
        }
        self.finish(name, entry, "")
    }

    pub(super) fn deleted_job(&mut self, name: &str, entry: &mut NodeStatus) -> Flow {
        self.failed_job(name, entry, "Job was deleted before its result was seen")
    }

    fn failed_job(&mut self, name: &str, entry: &mut NodeStatus, message: &str) -> Flow {
        if self.spec().reboot_on_success {
            entry.reboot_status = Some(RebootStatus::Cancelled);
        }
        self.fail(name, entry, Uncordon::AsAsked, message)
    }

    /// Notes why the Job's Pod does not run. A deadline takes the Pod away before the Job says that it has failed: what was
    /// noted last is then the cause, so it stays.
    fn note_pod(&mut self, entry: &mut NodeStatus, node: &WatchedNode, job: &str) {
        let Some(pod) = self.pod_of_job(job).filter(|pod| !pod.is_terminating()) else {
            return;
        };
        match (pod.obstacle(), node.readiness()) {
            _ if pod.progress() == PodProgress::Failed => note(
                entry,
                &format!("a Pod of the Job failed: {}", pod.failure()),
            ),
            (Some(obstacle), _) => note(entry, &format!("the Pod cannot start: {obstacle}")),
            (None, Err(cause)) => note(
                entry,
                &format!(
                    "the node is not Ready, and the command is not known to have ended: {cause}"
                ),
            ),
            (None, Ok(())) if pod.is_stalled() => {
                let name = pod.name().to_owned();
                self.note_stalled(entry, &name);
            }
            (None, Ok(())) => entry.message = None,
        }
    }

    /// Nobody but the kubelet knows whether such a container runs after all, so it is left to a human to take it away.
    fn note_stalled(&mut self, entry: &mut NodeStatus, pod: &str) {
        const FIRST: &str = "the Pod's container was created and has not started yet";
        let known = entry.message.as_deref();
        if known.is_some_and(|message| message.starts_with(STALLED)) {
            return;
        }
        if known != Some(FIRST) {
            note(entry, FIRST);
            self.look_again(SignedDuration::from_secs(STALLED_SECONDS));
            return;
        }
        let since = entry.last_updated.as_ref().map_or(self.now, |time| time.0);
        let left = SignedDuration::from_secs(STALLED_SECONDS) - self.now.duration_since(since);
        if left.is_positive() {
            self.look_again(left);
            return;
        }
        note(
            entry,
            &format!(
                "{STALLED} {pod}, and the kubelet gives no reason, as after a power cut at that moment; look at the \
                 node, and where the command does not run there, delete that Pod: the Job tries again within backoffLimit"
            ),
        );
    }

    /// The Job's newest Pod.
    fn pod_of_job(&self, job: &str) -> Option<&WatchedPod> {
        let pods = self.snapshot.pods.values().filter(|pod| {
            pod.controller_owner()
                .is_some_and(|owner| owner.kind == "Job" && owner.name == job)
        });
        let newest = pods.max_by_key(|pod| pod.created().map(|time| time.0));
        newest.map(AsRef::as_ref)
    }
}

/// Whether the reboot Pod is there to do its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ready {
    Yes,
    No,
    /// The node has failed over it.
    Never,
}

pub(crate) fn failure_message(reason: &str, message: &str, cause: Option<&str>) -> String {
    match (cause, message.is_empty()) {
        (Some(cause), _) => format!("{cause} (Job failed: {reason})"),
        (None, false) => format!("Job failed: {reason}: {message}"),
        (None, true) => format!("Job failed: {reason}"),
    }
}
