//! Moves the nodes that have an entry by what their Node and Job say now.

use std::collections::BTreeMap;

use api_types::nodeop::{NodeOpSpec, NodePhase, NodeStatus, NodeStep};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{Snapshot, is_finished};
use crate::status::{end, fail};
use crate::watched::{JobOutcome, WatchedJob, WatchedNode};

/// Moves `entries` and returns the names of the reserved nodes whose Job is not known to exist yet.
pub(super) fn follow(
    entries: &mut BTreeMap<String, NodeStatus>,
    snapshot: &Snapshot<'_>,
    matching: &[&WatchedNode],
    now: Timestamp,
) -> Vec<String> {
    let mut start = Vec::new();
    entries.retain(|name, entry| {
        if is_finished(entry) {
            return true;
        }
        let node = snapshot.nodes.get(name).map(AsRef::as_ref);
        if entry.step == Some(NodeStep::WaitingForReady) {
            let matches = matching.iter().any(|matching| matching.name() == name);
            let node = node.filter(|_| matches);
            return wait_for_ready(entry, node, &snapshot.node_op.spec, now);
        }
        let keep = follow_job(entry, name, node, snapshot, now);
        if keep && entry.step == Some(NodeStep::Reserved) {
            start.push(name.clone());
        }
        keep
    });
    start
}

/// Whether the entry stays: a node that is Ready, gone or no longer asked for is decided on anew.
fn wait_for_ready(
    entry: &mut NodeStatus,
    node: Option<&WatchedNode>,
    spec: &NodeOpSpec,
    now: Timestamp,
) -> bool {
    let Some(Err(cause)) = node.map(WatchedNode::readiness) else {
        return false;
    };
    if let Some(deadline) = ready_deadline(entry, spec)
        && now >= deadline
    {
        let seconds = spec.node_ready_timeout_seconds;
        fail(
            entry,
            now,
            &format!("node was not Ready for {seconds} s (nodeReadyTimeoutSeconds): {cause}"),
        );
    }
    true
}

/// Whether the entry stays.
pub(crate) fn follow_job(
    entry: &mut NodeStatus,
    name: &str,
    node: Option<&WatchedNode>,
    snapshot: &Snapshot<'_>,
    now: Timestamp,
) -> bool {
    let job = entry
        .job_name
        .as_ref()
        .and_then(|job| snapshot.jobs.get(job))
        .map(AsRef::as_ref);
    if let Some(job) = job
        && job.outcome() == JobOutcome::Complete
    {
        complete(entry, now);
        return true;
    }
    let Some(node) = node else {
        // A reservation without a known Job: the name of the Job is derived, so if the create went through after
        // all, a node that comes back finds that Job instead of getting a second one.
        if entry.step == Some(NodeStep::Reserved) && job.is_none() {
            return false;
        }
        if entry.step != Some(NodeStep::NodeGone) {
            set_step(entry, NodeStep::NodeGone, now);
            entry.message =
                Some("the Node was deleted; it counts again if it comes back".to_owned());
        }
        return true;
    };
    if is_other_machine(entry, node) {
        // Its Job is bound to the node's name and may act on the new machine: starting another one there under the
        // same operation could run the command twice.
        fail(
            entry,
            now,
            &format!(
                "another machine registered as {name} (systemUUID changed) while the operation ran"
            ),
        );
        return true;
    }
    match job.map(WatchedJob::outcome) {
        Some(JobOutcome::Failed { reason, message }) => {
            let cause = entry
                .job_name
                .as_ref()
                .and_then(|job| snapshot.causes.get(job));
            fail(
                entry,
                now,
                &failure_message(reason, message, cause.map(String::as_str)),
            );
        }
        Some(JobOutcome::Active | JobOutcome::Complete) => run(entry, now),
        None if entry.step == Some(NodeStep::Reserved) => {}
        None => fail(entry, now, "Job was deleted before its result was seen"),
    }
    true
}

/// The latest moment at which an entry changes by itself.
pub(super) fn next_deadline(
    entries: &BTreeMap<String, NodeStatus>,
    spec: &NodeOpSpec,
    now: Timestamp,
) -> Option<SignedDuration> {
    entries
        .values()
        .filter(|entry| entry.step == Some(NodeStep::WaitingForReady) && !is_finished(entry))
        .filter_map(|entry| ready_deadline(entry, spec))
        .map(|deadline| deadline.duration_since(now).max(SignedDuration::ZERO))
        .min()
}

fn ready_deadline(entry: &NodeStatus, spec: &NodeOpSpec) -> Option<Timestamp> {
    let since = entry.since.as_ref()?.0;
    // Past the end of representable time there is no deadline.
    since
        .checked_add(SignedDuration::from_secs(i64::from(
            spec.node_ready_timeout_seconds,
        )))
        .ok()
}

fn is_other_machine(entry: &NodeStatus, node: &WatchedNode) -> bool {
    let now = &node.status.node_info.system_uuid;
    entry
        .system_uuid
        .as_ref()
        .is_some_and(|then| !now.is_empty() && then != now)
}

fn run(entry: &mut NodeStatus, now: Timestamp) {
    if entry.phase == NodePhase::Running && entry.step.is_none() {
        return;
    }
    entry.phase = NodePhase::Running;
    entry.step = None;
    entry.since = Some(Time(now));
    entry.message = None;
}

fn set_step(entry: &mut NodeStatus, step: NodeStep, now: Timestamp) {
    entry.step = Some(step);
    entry.since = Some(Time(now));
}

fn complete(entry: &mut NodeStatus, now: Timestamp) {
    end(entry, NodePhase::Completed, now);
    entry.message = None;
}

fn failure_message(reason: &str, message: &str, cause: Option<&str>) -> String {
    match (cause, message.is_empty()) {
        (Some(cause), _) => format!("{cause} (Job failed: {reason})"),
        (None, false) => format!("Job failed: {reason}: {message}"),
        (None, true) => format!("Job failed: {reason}"),
    }
}
