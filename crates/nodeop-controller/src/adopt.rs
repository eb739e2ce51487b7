//! NodeOps that kairos-operator began: a phase, but none of our conditions.
//!
//! Its Jobs are followed to their end, nothing new is started, and what it finished is never reopened.

use api_types::conditions::{reasons, types};
use api_types::names::LABEL_NODE;
use api_types::nodeop::{NodeOpStatus, NodeStatus, Phase};
use k8s_openapi::jiff::Timestamp;

use crate::decide::{Plan, Snapshot, follow_job, holds_slot, is_finished};
use crate::status::{self, Outcome};

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
    for (name, entry) in &mut started {
        if !is_finished(entry) {
            let node = snapshot.nodes.get(name.as_str()).map(AsRef::as_ref);
            follow_job(entry, name, node, snapshot, now);
        }
    }
    let outcome = if started
        .iter()
        .any(|(_, entry): &(String, NodeStatus)| holds_slot(entry))
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
        ..Plan::rest(before)
    }
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
