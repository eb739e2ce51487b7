//! Runs the exporters of a build that is done, each once, and only what is missing.

use std::sync::Arc;

use api_types::conditions::reasons;
use api_types::names::ANNOTATION_EXPORT_HASH;
use api_types::osartifact::{ArtifactPhase, ExporterPhase, ExporterStatus};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use super::{Action, Decision, Snapshot, cause, delete_job, in_words, is_owned, left};
use crate::build::exporter::{exporter_hash, mark};
use crate::build::names::exporter_name;
use crate::status;
use crate::status::WAITING;

/// What an exporter waits for, and since when if that is known.
struct Wait {
    index: usize,
    cause: String,
    since: Option<Timestamp>,
}

/// From built files to the end.
pub(super) fn follow(
    decision: &mut Decision,
    snapshot: &Snapshot<'_>,
    asked: bool,
    now: Timestamp,
) {
    let exporters: Vec<&JobSpec> = snapshot.artifact.spec.exporters.iter().flatten().collect();
    let build = decision.status.builder_pod.clone().unwrap_or_default();
    let before = std::mem::take(&mut decision.status.exporters);
    let mut waits = Vec::new();
    for (index, exporter) in exporters.iter().enumerate() {
        let hash = exporter_hash(exporter, &build);
        let known = before
            .iter()
            .find(|entry| usize::try_from(entry.index) == Ok(index));
        let mut entry = reserved(index, &hash, known, asked);
        let wait = one(decision, snapshot, exporter, &mut entry);
        waits.extend(wait.map(|(cause, since)| Wait {
            index,
            cause,
            since,
        }));
        decision.status.exporters.push(entry);
    }
    remove_surplus(decision, snapshot, exporters.len());
    conclude(decision, snapshot, &waits, now);
}

/// The exporter's entry: as it is, or for a new run.
fn reserved(
    index: usize,
    hash: &str,
    known: Option<&ExporterStatus>,
    asked: bool,
) -> ExporterStatus {
    let again = |entry: &ExporterStatus| asked && entry.phase == ExporterPhase::Failed;
    match known {
        Some(entry) if entry.hash == hash && !again(entry) => entry.clone(),
        known => ExporterStatus {
            index: i32::try_from(index).unwrap_or(i32::MAX),
            hash: hash.to_owned(),
            attempt: known.map_or(0, |entry| entry.attempt) + 1,
            phase: ExporterPhase::Running,
            message: None,
        },
    }
}

/// Brings one exporter forward. What it waits for and since when, if something is in its way.
fn one(
    decision: &mut Decision,
    snapshot: &Snapshot<'_>,
    exporter: &JobSpec,
    entry: &mut ExporterStatus,
) -> Option<(String, Option<Timestamp>)> {
    let index = usize::try_from(entry.index).unwrap_or(usize::MAX);
    let name = exporter_name(&snapshot.artifact.name_any(), index);
    let job = snapshot.jobs.iter().find(|job| job.name_any() == name);
    let is_this_run = |job: &&Arc<Job>| {
        job.annotations().get(ANNOTATION_EXPORT_HASH) == Some(&mark(&entry.hash, entry.attempt))
    };
    if entry.phase != ExporterPhase::Running {
        let spent = job
            .filter(is_this_run)
            .filter(|job| job.metadata.deletion_timestamp.is_none());
        if let (Some(job), Some(seconds)) = (spent, exporter.ttl_seconds_after_finished)
            && job
                .spec
                .as_ref()
                .is_some_and(|spec| spec.ttl_seconds_after_finished.is_none())
        {
            decision
                .actions
                .push(Action::Expire(job.name_any(), seconds));
        }
        return None;
    }
    let Some(job) = job else {
        decision
            .actions
            .push(Action::StartExporter(index, entry.attempt));
        // What was in the way last time.
        return entry.message.clone().map(|cause| (cause, None));
    };
    if !is_this_run(&job) {
        decision.actions.extend(delete_job(job));
        let cause = format!("waiting for Job {name} of an earlier run to end");
        return Some((cause, None));
    }
    entry.message = None;
    let pods: Vec<&Arc<Pod>> = snapshot
        .pods
        .iter()
        .filter(|pod| is_owned(pod.owner_references(), &job.uid().unwrap_or_default()))
        .collect();
    match outcome(job) {
        None => pods
            .iter()
            .find_map(|pod| Some((cause::of_waiting(pod, None)?, cause::since(pod)))),
        Some(Ok(())) => {
            entry.phase = ExporterPhase::Succeeded;
            None
        }
        Some(Err(reason)) => {
            entry.phase = ExporterPhase::Failed;
            entry.message = Some(failure(&reason, &pods));
            None
        }
    }
}

/// Complete, or failed for a reason. `FailureTarget` already counts as failed.
fn outcome(job: &Job) -> Option<Result<(), String>> {
    let conditions = job
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .filter(|condition| condition.status == "True")
        .find_map(|condition| match condition.type_.as_str() {
            "Complete" => Some(Ok(())),
            "Failed" | "FailureTarget" => Some(Err(condition.reason.clone().unwrap_or_default())),
            _ => None,
        })
}

/// The Job's reason, and that of its newest failed Pod.
fn failure(reason: &str, pods: &[&Arc<Pod>]) -> String {
    let failed = pods.iter().filter(|pod| {
        pod.status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            == Some("Failed")
    });
    let newest =
        failed.max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
    match newest {
        Some(pod) => format!("{} ({reason})", cause::of_failed(pod)),
        None => format!("the Job failed: {reason}"),
    }
}

/// Jobs of exporters that the spec has no more.
fn remove_surplus(decision: &mut Decision, snapshot: &Snapshot<'_>, count: usize) {
    let artifact = snapshot.artifact.name_any();
    let is_wanted =
        |job: &&Arc<Job>| (0..count).any(|index| job.name_any() == exporter_name(&artifact, index));
    decision.actions.extend(
        snapshot
            .jobs
            .iter()
            .filter(|job| !is_wanted(job))
            .filter_map(delete_job),
    );
}

fn conclude(decision: &mut Decision, snapshot: &Snapshot<'_>, waits: &[Wait], now: Timestamp) {
    let total = decision.status.exporters.len();
    let count = |phase: ExporterPhase| {
        decision
            .status
            .exporters
            .iter()
            .filter(|entry| entry.phase == phase)
            .count()
    };
    let (done, failed) = (
        count(ExporterPhase::Succeeded),
        count(ExporterPhase::Failed),
    );
    if done == total {
        let note = status::condition(&decision.status, api_types::conditions::types::BUILT)
            .map(|built| built.message.clone());
        let reason = match status::reason(&decision.status) {
            reasons::ADOPTED => reasons::ADOPTED,
            _ => reasons::COMPLETED,
        };
        status::ready(&mut decision.status, reason, &note.unwrap_or_default(), now);
        return;
    }
    let ended = format!("{}/{total} export", (done + failed + 1).min(total));
    status::step(&mut decision.status, Some(ended), now);
    let rest = |wait: &Wait| left(snapshot.patience, &decision.status, wait.since, now);
    let (waits, over): (Vec<&Wait>, Vec<&Wait>) =
        waits.iter().partition(|wait| rest(wait).is_positive());
    let wake_after = waits.iter().map(|wait| rest(wait)).min();
    decision.wake_after = wake_after;
    give_up(decision, snapshot, &over);
    let failures: Vec<String> = decision
        .status
        .exporters
        .iter()
        .filter_map(|entry| {
            Some(format!(
                "exporter {} failed: {}",
                entry.index,
                entry.message.as_ref()?
            ))
        })
        .collect();
    if !failures.is_empty() {
        let message = failures.join("; ");
        status::unfinished(
            &mut decision.status,
            ArtifactPhase::Error,
            reasons::EXPORT_FAILED,
            &message,
            now,
        );
        return;
    }
    let waits: Vec<String> = waits
        .iter()
        .map(|wait| format!("exporter {}: {}", wait.index, wait.cause))
        .collect();
    let usual = waits
        .iter()
        .all(|wait| cause::is_usual(wait) || wait.contains("of an earlier run"));
    let (reason, message) = if usual {
        (
            reasons::RUNNING,
            format!("{done} of {total} exporters are done"),
        )
    } else {
        (WAITING, waits.join("; "))
    };
    status::unfinished(
        &mut decision.status,
        ArtifactPhase::Exporting,
        reason,
        &message,
        now,
    );
}

/// Exporters whose Pods cannot start count as failed, and no longer try.
fn give_up(decision: &mut Decision, snapshot: &Snapshot<'_>, over: &[&Wait]) {
    for Wait { index, cause, .. } in over {
        let name = exporter_name(&snapshot.artifact.name_any(), *index);
        decision.actions.extend(
            snapshot
                .jobs
                .iter()
                .filter(|job| job.name_any() == name)
                .filter_map(delete_job),
        );
        let entry = decision
            .status
            .exporters
            .iter_mut()
            .find(|entry| usize::try_from(entry.index) == Ok(*index));
        if let Some(entry) = entry {
            entry.phase = ExporterPhase::Failed;
            entry.message = Some(format!(
                "given up after {} without progress: {cause}",
                in_words(snapshot.patience)
            ));
        }
    }
}
