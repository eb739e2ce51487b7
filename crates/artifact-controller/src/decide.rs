//! The state machine: from a snapshot to the next status, and to what is done once that status is acknowledged. Pure.

mod building;
pub mod cause;
mod exporting;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use api_types::conditions::{reasons, types};
use api_types::names::ANNOTATION_RETRY;
use api_types::osartifact::{
    ArtifactPhase, ExporterPhase, ExporterStatus, OSArtifact, OSArtifactStatus,
};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;

use crate::build::claim::{differences, is_ours, is_retained};
use crate::build::exporter::exporter_hash;
use crate::build::names::{builder_name, claim_name};
use crate::plan::{Plan, Refusal};
use crate::status;

/// What a decision reads.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// The artifact, as the API server holds it now.
    pub artifact: &'a OSArtifact,
    /// Its plan, or why there is none.
    pub plan: &'a Result<Plan, Refusal>,
    /// The claim of its name, whoever it belongs to.
    pub claim: Option<Arc<PersistentVolumeClaim>>,
    /// Pods with the artifact's label in its namespace, those of exporters too.
    pub pods: Vec<Arc<Pod>>,
    /// Jobs that are the artifact's, by UID.
    pub jobs: Vec<Arc<Job>>,
    /// How long a build may wait for something before it is given up.
    pub patience: SignedDuration,
    /// How long one step of a build may run.
    pub step_patience: SignedDuration,
}

/// Something to do, in this order, once the status is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Delete a Pod of an earlier build, or one that is given up: its name and UID.
    DeletePod(String, String),
    /// Delete a Job of an earlier build: its name and UID.
    DeleteJob(String, String),
    /// Create the claim, the `ConfigMap` and the builder Pod of that name, as far as they do not exist.
    StartBuild(String),
    /// Create the Job of the exporter at that place, for that attempt.
    StartExporter(usize, i64),
    /// Let a recorded Job be removed after this many seconds.
    Expire(String, i32),
    /// Take the claim out of the artifact's ownership.
    Retain,
}

/// What follows from a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The status to write; unchanged when there is nothing to say.
    pub status: OSArtifactStatus,
    /// What to do after it is written.
    pub actions: Vec<Action>,
    /// When to look again although nothing happened.
    pub wake_after: Option<SignedDuration>,
}

/// Decides.
pub fn decide(snapshot: &Snapshot<'_>, now: Timestamp) -> Decision {
    let mut decision = advance(snapshot, now);
    // Last: a status without conditions of ours is one that kairos-operator left.
    note_outdated_volume(&mut decision.status, snapshot, now);
    decision
}

fn advance(snapshot: &Snapshot<'_>, now: Timestamp) -> Decision {
    let mut decision = Decision {
        status: snapshot.artifact.status.clone().unwrap_or_default(),
        actions: Vec::new(),
        wake_after: None,
    };
    if let Some(claim) = &snapshot.claim
        && is_ours(snapshot.artifact, claim)
        && is_retained(snapshot.artifact, claim)
        && claim
            .metadata
            .owner_references
            .as_ref()
            .is_some_and(|owners| !owners.is_empty())
    {
        decision.actions.push(Action::Retain);
    }
    let generation = snapshot.artifact.metadata.generation;
    let edited = decision
        .status
        .observed_generation
        .is_some_and(|known| Some(known) != generation);
    decision.status.observed_generation = generation;
    let plan = match snapshot.plan {
        Ok(plan) => plan,
        Err(refusal) => {
            refuse(&mut decision, snapshot, refusal, now);
            return decision;
        }
    };
    if status::is_foreign(&decision.status) && decision.status.phase == Some(ArtifactPhase::Ready) {
        adopt(&mut decision.status, snapshot.artifact, plan, now);
        return decision;
    }
    let asked = asked_again(&mut decision.status, snapshot.artifact) || edited;
    if must_start(&decision.status, plan, asked) {
        start(&mut decision.status, snapshot.artifact, plan, now);
    }
    if status::is_built(&decision.status) {
        exporting::follow(&mut decision, snapshot, asked, now);
    } else if decision.status.phase != Some(ArtifactPhase::Error) {
        building::follow(&mut decision, snapshot, plan, now);
    }
    decision
}

/// Says when an edit of spec.volume comes too late: a claim cannot be changed, and the files are in it.
fn note_outdated_volume(state: &mut OSArtifactStatus, snapshot: &Snapshot<'_>, now: Timestamp) {
    let artifact = snapshot.artifact;
    let claim = snapshot
        .claim
        .as_ref()
        .filter(|claim| is_ours(artifact, claim));
    let fields = claim
        .map(|claim| differences(artifact, claim))
        .unwrap_or_default();
    if fields.is_empty() {
        state
            .conditions
            .retain(|condition| condition.type_ != types::VOLUME_OUTDATED);
        return;
    }
    let message = format!(
        "spec.volume has no effect on the volume claim {}, which exists already with another {}; to get another one, \
         delete the OSArtifact and create it anew",
        claim_name(&artifact.name_any()),
        fields.join(", ")
    );
    status::set(
        state,
        types::VOLUME_OUTDATED,
        true,
        reasons::CLAIM_EXISTS,
        &message,
        now,
    );
}

/// A spec that cannot be built. What runs for an earlier one is stopped; files that are there stay, and count again when
/// the spec is what it was.
fn refuse(decision: &mut Decision, snapshot: &Snapshot<'_>, refusal: &Refusal, now: Timestamp) {
    let state = &mut decision.status;
    if !status::is_built(state) {
        state.builder_pod = None;
        state.plan_hash = None;
        state.steps.clear();
        for pod in builder_pods(snapshot) {
            decision.actions.extend(delete_pod(pod));
        }
    }
    status::step(state, None, now);
    status::unfinished(
        state,
        ArtifactPhase::Error,
        reasons::INVALID_SPEC,
        &refusal.0,
        now,
    );
}

/// What kairos-operator built is not built again.
fn adopt(state: &mut OSArtifactStatus, artifact: &OSArtifact, plan: &Plan, now: Timestamp) {
    state.plan_hash = Some(plan.hash().to_text());
    state.retry = retry_annotation(artifact);
    let exporters = artifact.spec.exporters.iter().flatten().enumerate();
    state.exporters = exporters
        .filter_map(|(index, exporter)| {
            Some(ExporterStatus {
                index: i32::try_from(index).ok()?,
                hash: exporter_hash(exporter, ""),
                attempt: 0,
                phase: ExporterPhase::Succeeded,
                message: None,
            })
        })
        .collect();
    status::ready(state, reasons::ADOPTED, "built by kairos-operator", now);
}

fn retry_annotation(artifact: &OSArtifact) -> Option<String> {
    artifact.annotations().get(ANNOTATION_RETRY).cloned()
}

/// Whether the annotation asks for another try; it is noted as heard.
fn asked_again(state: &mut OSArtifactStatus, artifact: &OSArtifact) -> bool {
    let wanted = retry_annotation(artifact);
    let asked = wanted.is_some() && wanted != state.retry;
    if asked {
        state.retry = wanted;
    }
    asked
}

/// Whether a build has to begin: the first one, one for another plan, or another try of one that failed.
fn must_start(state: &OSArtifactStatus, plan: &Plan, asked: bool) -> bool {
    let hash = plan.hash();
    let Some(recorded) = &state.plan_hash else {
        return true;
    };
    if status::is_built(state) {
        return !hash.same_content(recorded);
    }
    *recorded != hash.to_text() || (asked && state.phase == Some(ArtifactPhase::Error))
}

/// Reserves a build in the status: nothing is created before that is acknowledged.
fn start(state: &mut OSArtifactStatus, artifact: &OSArtifact, plan: &Plan, now: Timestamp) {
    let attempt = state.attempt.unwrap_or_default() + 1;
    let uid = artifact.metadata.uid.as_deref().unwrap_or_default();
    *state = OSArtifactStatus {
        attempt: Some(attempt),
        builder_pod: Some(builder_name(&plan.name, uid, attempt)),
        plan_hash: Some(plan.hash().to_text()),
        retry: retry_annotation(artifact),
        observed_generation: state.observed_generation,
        step_since: Some(Time(now)),
        conditions: std::mem::take(&mut state.conditions),
        ..OSArtifactStatus::default()
    };
    let message = "the builder Pod is being created";
    status::set(state, types::BUILT, false, reasons::PENDING, message, now);
    status::unfinished(
        state,
        ArtifactPhase::Pending,
        reasons::PENDING,
        message,
        now,
    );
}

/// The Pods that build, or built, for this very artifact.
fn builder_pods<'a>(snapshot: &'a Snapshot<'_>) -> impl Iterator<Item = &'a Arc<Pod>> {
    let uid = snapshot.artifact.metadata.uid.clone().unwrap_or_default();
    snapshot
        .pods
        .iter()
        .filter(move |pod| is_owned(pod.owner_references(), &uid))
}

/// Whether the controller among the owners has that UID.
pub fn is_owned(
    owners: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference],
    uid: &str,
) -> bool {
    owners
        .iter()
        .any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

fn delete_pod(pod: &Arc<Pod>) -> Option<Action> {
    pod.metadata
        .deletion_timestamp
        .is_none()
        .then(|| Action::DeletePod(pod.name_any(), pod.uid().unwrap_or_default()))
}

fn delete_job(job: &Arc<Job>) -> Option<Action> {
    job.metadata
        .deletion_timestamp
        .is_none()
        .then(|| Action::DeleteJob(job.name_any(), job.uid().unwrap_or_default()))
}

/// When the patience ends that began with the step, or at `later` if that is later; from now, nothing or less when it has
/// ended.
fn left(
    patience: SignedDuration,
    state: &OSArtifactStatus,
    later: Option<Timestamp>,
    now: Timestamp,
) -> SignedDuration {
    let since = state.step_since.as_ref().map_or(now, |since| since.0);
    let since = later.map_or(since, |later| later.max(since));
    patience - now.duration_since(since)
}

/// The patience in words.
fn in_words(patience: SignedDuration) -> String {
    let seconds = patience.as_secs();
    if seconds % 60 == 0 {
        format!("{} min", seconds / 60)
    } else {
        format!("{seconds} s")
    }
}
