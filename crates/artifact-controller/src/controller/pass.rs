//! One pass over one artifact, as the list of its steps.

use std::time::Duration;

use api_types::osartifact::{ArtifactPhase, ExporterPhase, OSArtifact, OSArtifactStatus};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use super::Context;
use crate::apply::{self, delete};
use crate::decide::{Action, Snapshot, decide};
use crate::error::{Error, Result};
use crate::metrics::{EXPORTER, FailureLabel, NO_STEP, reason_label, step_label};
use crate::observe::{self, observe};
use crate::plan::{Plan, Refusal, plan};
use crate::status::{self, Problem, is_built, reports, with_problem};

/// An unfinished artifact is looked at this often even when nothing happens.
const RESYNC: Duration = Duration::from_mins(5);
/// How long to wait after a write met a newer object; its watch event usually comes first.
const AFTER_CONFLICT: Duration = Duration::from_millis(200);
/// How long to wait before a time has come, at least.
const SHORTEST: Duration = Duration::from_millis(100);

/// When to look at an artifact again, if no event comes first.
pub(super) enum Next {
    /// Not at all.
    OnChange,
    /// After this long.
    After(Duration),
    /// After a growing delay: something is in the way that only others can remove.
    Refused,
}

/// Decisions on half a cache would be wrong: no Pod and no Job exists.
async fn caches_filled(context: &Context) -> Result<()> {
    let patience = context.requests.timeout;
    let mut filled = context.filled.clone();
    match tokio::time::timeout(patience, filled.wait_for(|filled| *filled)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Error::Caches(patience)),
    }
}

/// One pass: observe → plan → decide → write → act → report.
pub(super) async fn pass(watched: &OSArtifact, context: &Context) -> Result<Next> {
    let requests = &context.requests;
    let namespace = watched.namespace().unwrap_or_default();
    let uid = watched.uid().unwrap_or_default();
    caches_filled(context).await?;
    let Some(artifact) = observe::artifact(requests, &namespace, &watched.name_any(), &uid).await?
    else {
        return Ok(Next::OnChange);
    };
    if artifact.metadata.deletion_timestamp.is_some() {
        apply::release(requests, &artifact).await?;
        return Ok(Next::OnChange);
    }
    let plan = plan(&artifact);
    let observed = observe(requests, &context.caches, &artifact).await?;
    let snapshot = Snapshot {
        artifact: &artifact,
        plan: &plan,
        claim: observed.claim,
        pods: observed.pods,
        jobs: observed.jobs,
        patience: context.patience,
        step_patience: context.step_patience,
    };
    let now = Timestamp::now();
    let decision = decide(&snapshot, now);
    let before = artifact.status.clone().unwrap_or_default();
    let mut current = artifact.clone();
    if decision.status != before {
        match write(context, &artifact, decision.status, now).await? {
            Some(written) => current = written,
            None => return Ok(Next::After(AFTER_CONFLICT)),
        }
    }
    let mut problem = None;
    for action in &decision.actions {
        let met = act(context, &snapshot, &plan, &current, action).await?;
        problem = problem.or(met);
    }
    if let Some(problem) = problem {
        return report_problem(context, &current, &problem).await;
    }
    let delay = decision
        .wake_after
        .and_then(|delay| Duration::try_from(delay).ok());
    let is_over = matches!(
        current.status.as_ref().and_then(|status| status.phase),
        Some(ArtifactPhase::Ready | ArtifactPhase::Error)
    );
    Ok(match delay {
        Some(delay) => Next::After(delay.clamp(SHORTEST, RESYNC)),
        None if is_over => Next::OnChange,
        None => Next::After(RESYNC),
    })
}

async fn act(
    context: &Context,
    snapshot: &Snapshot<'_>,
    plan: &Result<Plan, Refusal>,
    current: &OSArtifact,
    action: &Action,
) -> Result<Option<Problem>> {
    let requests = &context.requests;
    let namespace = current.namespace().unwrap_or_default();
    match action {
        Action::DeletePod(name, uid) => delete::<Pod>(requests, &namespace, name, uid).await?,
        Action::DeleteJob(name, uid) => delete::<Job>(requests, &namespace, name, uid).await?,
        Action::Expire(name, seconds) => {
            apply::expire(requests, &namespace, name, *seconds).await?;
        }
        Action::Retain => {
            if let Some(claim) = &snapshot.claim {
                apply::retain(requests, current, claim).await?;
            }
        }
        Action::StartBuild(build) => {
            if let Ok(plan) = plan {
                return apply::start_build(requests, &context.settings, current, plan, build).await;
            }
        }
        Action::StartExporter(index, attempt) => {
            let status = current.status.clone().unwrap_or_default();
            return apply::start_exporter(requests, current, &status, *index, *attempt).await;
        }
    }
    Ok(None)
}

/// Says what is in the way, once, and tries again later.
async fn report_problem(
    context: &Context,
    current: &OSArtifact,
    problem: &Problem,
) -> Result<Next> {
    let now = Timestamp::now();
    let before = current.status.clone().unwrap_or_default();
    let after = with_problem(&before, problem, now);
    if after != before {
        write(context, current, after, now).await?;
    }
    Ok(if problem.is_final {
        Next::OnChange
    } else {
        Next::Refused
    })
}

/// Writes the status and reports what it says anew. `None`: somebody else has written since.
async fn write(
    context: &Context,
    artifact: &OSArtifact,
    status: OSArtifactStatus,
    now: Timestamp,
) -> Result<Option<OSArtifact>> {
    let status = OSArtifactStatus {
        last_updated: Some(Time(now)),
        ..status
    };
    let Some(written) = apply::write_status(&context.requests, artifact, &status).await? else {
        context.metrics.status_conflicts.inc();
        return Ok(None);
    };
    context.metrics.status_writes.inc();
    let before = artifact.status.clone().unwrap_or_default();
    count(context, &before, &status);
    for report in reports(&before, &status) {
        context.events.publish(report.into_notice(artifact));
    }
    Ok(Some(written))
}

/// Counts what the written status says anew.
fn count(context: &Context, before: &OSArtifactStatus, after: &OSArtifactStatus) {
    if is_built(after) && !is_built(before) && !after.artifacts.is_empty() {
        context.metrics.built(after);
    }
    for entry in &after.exporters {
        let known = before
            .exporters
            .iter()
            .find(|known| known.index == entry.index);
        let ended = entry.phase == ExporterPhase::Succeeded
            && known.is_some_and(|known| known.phase == ExporterPhase::Running);
        if let (true, Some(since)) = (ended, &before.step_since) {
            let seconds = Timestamp::now().duration_since(since.0).as_secs_f64();
            context.metrics.exporter_seconds.observe(seconds);
        }
    }
    let failed = after.phase == Some(ArtifactPhase::Error);
    if failed && before.phase != Some(ArtifactPhase::Error) {
        let reason = reason_label(status::reason(after));
        let step = if is_built(after) {
            EXPORTER
        } else {
            let name = after
                .step
                .as_deref()
                .and_then(|step| step.split(' ').nth(1));
            name.map_or(NO_STEP, step_label)
        };
        context
            .metrics
            .failures
            .get_or_create(&FailureLabel { step, reason })
            .inc();
    }
}
