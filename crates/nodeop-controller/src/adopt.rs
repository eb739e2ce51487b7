//! NodeOps that kairos-operator began: a phase, but none of our conditions.
//!
//! Its Jobs are followed to their end, nothing new is started, and what it finished is never reopened.

use api_types::conditions::{reasons, types};
use api_types::names::{ANNOTATION_REBOOT_STATE, LABEL_NODE, LABEL_REBOOT, REBOOT_STATE_COMPLETED};
use api_types::nodeop::{NodeOpStatus, NodeStatus, NodeStep, Phase, RebootStatus};
use k8s_openapi::jiff::Timestamp;

use crate::decide::{
    Advance, Plan, Snapshot, Uncordon, failure_message, holds_slot, is_finished, note,
};
use crate::status::{self, Outcome};
use crate::watched::{JobOutcome, PodProgress, WatchedJob, WatchedNode, WatchedPod};

/// Whether the status was begun by kairos-operator: it has a phase and either no condition of ours or the mark that
/// [`decide`] leaves.
pub fn is_foreign(status: &NodeOpStatus) -> bool {
    let ours = [types::COMPLETE, types::FAILED, types::PROGRESSING];
    let untouched = status.phase.is_some()
        && ours
            .iter()
            .all(|name| status::condition(status, name).is_none());
    let marked = status::condition(status, types::PROGRESSING)
        .is_some_and(|found| found.reason == reasons::ADOPTED);
    untouched || marked
}

/// One pass over such a NodeOp.
pub(crate) fn decide(snapshot: &Snapshot<'_>, before: NodeOpStatus, now: Timestamp) -> Plan {
    let generation = snapshot.node_op.metadata.generation;
    if before.phase.is_some_and(Phase::is_terminal) {
        let status = status::with_verdict_of_phase(&before, generation, now);
        let write = status::write_decision(&before, &status, now);
        return Plan {
            status,
            write,
            ..Plan::rest(before)
        };
    }
    let mut entries = before.node_statuses.clone();
    for (name, entry) in &mut entries {
        entry.job_name = entry
            .job_name
            .take()
            .filter(|job| !job.is_empty())
            .or_else(|| job_of(name, snapshot));
    }
    // What has no Job was not started; it stays as kairos-operator left it.
    let (mut started, unstarted): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .partition(|(_, entry)| is_finished(entry) || entry.job_name.is_some());
    let mut advance = Advance::new(snapshot, now);
    for (name, entry) in &mut started {
        if !is_finished(entry) {
            let known = entry.clone();
            follow(&mut advance, name, entry);
            if is_finished(entry) {
                let pods = reboot_pods_of(name, snapshot);
                advance.release_adopted(name, false, pods);
            }
            if is_finished(entry)
                && let Some(problem) = snapshot.unreleased.get(name.as_str())
            {
                *entry = known;
                if !problem.is_empty() {
                    note(entry, problem);
                }
            }
        }
    }
    for (name, _) in &unstarted {
        // It was cordoned, perhaps drained, and nothing will run there.
        let pods = reboot_pods_of(name, snapshot);
        advance.release_adopted(name, true, pods);
    }
    let held = |name: &String| snapshot.unreleased.contains_key(name);
    let outcome = if started
        .iter()
        .any(|(_, entry): &(String, NodeStatus)| holds_slot(entry))
        || unstarted.iter().any(|(name, _)| held(name))
    {
        Outcome::Waiting {
            reason: reasons::ADOPTED,
            message: "begun by kairos-operator: its Jobs are followed, no further node is started"
                .to_owned(),
        }
    } else {
        Outcome::AdoptedEnded {
            not_started: unstarted.len(),
        }
    };
    let matching = started.len() + unstarted.len();
    let entries = started.into_iter().chain(unstarted).collect();
    let status = status::next(&before, entries, &outcome, matching, generation, now);
    let write = status::write_decision(&before, &status, now);
    Plan {
        status,
        write,
        releases: advance.releases,
        wake_after: advance.wake,
        ..Plan::rest(before)
    }
    .in_step_with_its_write()
}

/// Follows one node to the end of what kairos-operator began there. Its cordon, which names this NodeOp, is undone then.
fn follow(advance: &mut Advance<'_>, name: &str, entry: &mut NodeStatus) {
    let Some(node) = advance.snapshot.nodes.get(name) else {
        if advance.job(entry).is_some_and(WatchedJob::is_complete) {
            advance.finish(name, entry, "");
        } else if entry.step != Some(NodeStep::NodeGone) {
            advance.go(entry, NodeStep::NodeGone);
            note(
                entry,
                "the Node was deleted; it counts again if it comes back",
            );
        }
        return;
    };
    if entry.step == Some(NodeStep::NodeGone) {
        let step = if entry.boot_id.is_some() {
            NodeStep::Rebooting
        } else {
            NodeStep::Running
        };
        advance.go(entry, step);
    }
    if entry.step == Some(NodeStep::Rebooting) {
        return follow_reboot(advance, name, entry, node);
    }
    let Some(job) = advance.job(entry) else {
        let message = "Job was deleted before its result was seen";
        advance.fail(name, entry, Uncordon::AsAsked, message);
        return;
    };
    match job.outcome() {
        JobOutcome::Active => {
            if entry.step.is_none() || entry.phase != api_types::nodeop::NodePhase::Running {
                advance.go(entry, NodeStep::Running);
            }
        }
        JobOutcome::Failed { reason, message } => {
            let cause = advance.snapshot.causes.get(job.name());
            let message = failure_message(reason, message, cause.map(String::as_str));
            advance.fail(name, entry, Uncordon::AsAsked, &message);
        }
        JobOutcome::Complete => {
            let asked = advance.spec().reboot_on_success;
            if asked && entry.reboot_status != Some(RebootStatus::Completed) {
                // Whether that boot is the one before or after its reboot is not known; the reboot Pod tells.
                entry.boot_id = Some(node.status.node_info.boot_id.clone());
                entry.reboot_status = Some(RebootStatus::Pending);
                advance.go(entry, NodeStep::Rebooting);
                follow_reboot(advance, name, entry, node);
            } else {
                advance.finish(name, entry, "");
            }
        }
    }
}

/// kairos-operator's own reboot Pod reboots the node; nothing of ours does. It is over when the node is Ready in another
/// boot, or when that Pod has ended well: it notes the reboot on itself, and ends when it runs again after it.
fn follow_reboot(
    advance: &mut Advance<'_>,
    name: &str,
    entry: &mut NodeStatus,
    node: &WatchedNode,
) {
    let pod = reboot_pod_of(name, advance.snapshot);
    let noted = pod.is_some_and(|pod| {
        let annotations = pod.metadata.annotations.as_ref();
        annotations.is_some_and(|all| {
            all.get(ANNOTATION_REBOOT_STATE)
                .is_some_and(|state| state == REBOOT_STATE_COMPLETED)
        }) && pod.progress() == PodProgress::Succeeded
    });
    let boot = &node.status.node_info.boot_id;
    let changed = !boot.is_empty() && entry.boot_id.as_ref().is_some_and(|left| left != boot);
    if (changed || noted) && node.readiness().is_ok() {
        entry.reboot_status = Some(RebootStatus::Completed);
        advance.finish(name, entry, "");
        return;
    }
    let seconds = advance.spec().reboot_timeout_seconds;
    if advance.overdue(entry, i64::from(seconds)) {
        let message = format!(
            "the reboot that kairos-operator began was not seen within {seconds} s (rebootTimeoutSeconds); the node stays cordoned"
        );
        advance.fail(name, entry, Uncordon::Never, &message);
    }
}

fn reboot_pod_of<'a>(node: &str, snapshot: &Snapshot<'a>) -> Option<&'a WatchedPod> {
    all_reboot_pods_of(node, snapshot).next()
}

/// Names of the reboot Pods on that node that have not ended: they wait for a sentinel file that will not come any more.
fn reboot_pods_of(node: &str, snapshot: &Snapshot<'_>) -> Vec<String> {
    let waiting = all_reboot_pods_of(node, snapshot).filter(|pod| {
        !pod.is_terminating()
            && matches!(pod.progress(), PodProgress::Starting | PodProgress::Running)
    });
    waiting.map(|pod| pod.name().to_owned()).collect()
}

fn all_reboot_pods_of<'a>(
    node: &str,
    snapshot: &Snapshot<'a>,
) -> impl Iterator<Item = &'a WatchedPod> {
    let pods = snapshot.pods;
    pods.values().map(AsRef::as_ref).filter(move |pod| {
        let labels = pod.metadata.labels.as_ref();
        labels.is_some_and(|labels| {
            labels.contains_key(LABEL_REBOOT)
                && labels.get(LABEL_NODE).is_some_and(|value| value == node)
        })
    })
}

/// The Job that kairos-operator made for a node, where the status does not name it.
fn job_of(node: &str, snapshot: &Snapshot<'_>) -> Option<String> {
    let job = snapshot.jobs.values().find(|job| {
        let labels = job.metadata.labels.as_ref();
        labels
            .and_then(|labels| labels.get(LABEL_NODE))
            .is_some_and(|value| value == node)
    })?;
    job.metadata.name.clone()
}
