//! The status: its conditions, how it is written, and what of a change is worth an Event.

mod patch;
mod report;

use api_types::conditions::{reasons, types};
use api_types::osartifact::{ArtifactPhase, ExporterPhase, OSArtifactStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use operator_runtime::names::cut_text;

pub use patch::patch_body;
pub use report::{Report, WAITING, reports};

/// Bytes that the API server allows for a condition's message; ours are shorter.
const MESSAGE: usize = 4096;

/// The condition of that type.
pub fn condition<'a>(status: &'a OSArtifactStatus, name: &str) -> Option<&'a Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == name)
}

/// Whether the condition of that type is True.
pub fn is_true(status: &OSArtifactStatus, name: &str) -> bool {
    condition(status, name).is_some_and(|condition| condition.status == "True")
}

/// Sets a condition. The time of its transition changes only with its status.
pub fn set(
    status: &mut OSArtifactStatus,
    name: &str,
    is: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let generation = status.observed_generation;
    let value = if is { "True" } else { "False" };
    let message = cut_text(message, MESSAGE);
    let known = status
        .conditions
        .iter_mut()
        .find(|condition| condition.type_ == name);
    if let Some(known) = known {
        if known.status != value {
            value.clone_into(&mut known.status);
            known.last_transition_time = Time(now);
        }
        reason.clone_into(&mut known.reason);
        known.message = message;
        known.observed_generation = generation;
        return;
    }
    status.conditions.push(Condition {
        type_: name.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: Time(now),
        observed_generation: generation,
    });
}

/// A phase short of the good end: Ready is False, and so is Built unless the files are there.
pub fn unfinished(
    status: &mut OSArtifactStatus,
    phase: ArtifactPhase,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let built = is_true(status, types::BUILT);
    status.phase = Some(phase);
    status.message = Some(cut_text(message, MESSAGE)).filter(|message| !message.is_empty());
    if !built {
        set(status, types::BUILT, false, reason, message, now);
    }
    set(
        status,
        types::EXPORTED,
        false,
        reason,
        if built { message } else { "" },
        now,
    );
    set(status, types::READY, false, reason, message, now);
}

/// The good end.
pub fn ready(status: &mut OSArtifactStatus, reason: &str, message: &str, now: Timestamp) {
    status.phase = Some(ArtifactPhase::Ready);
    status.message = Some(message.to_owned()).filter(|message| !message.is_empty());
    status.step = None;
    status.step_since = None;
    for name in [types::BUILT, types::EXPORTED, types::READY] {
        let known = condition(status, name).filter(|condition| condition.status == "True");
        let (reason, text) = match known {
            Some(known) if name == types::BUILT => (known.reason.clone(), known.message.clone()),
            _ => (reason.to_owned(), message.to_owned()),
        };
        set(status, name, true, &reason, &text, now);
    }
}

/// What is being done, and since when.
pub fn step(status: &mut OSArtifactStatus, step: Option<String>, since: Timestamp) {
    if status.step != step || status.step_since.is_none() {
        status.step = step;
        status.step_since = Some(Time(since));
    }
}

/// Something that keeps an object from being created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Reason of the condition.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
    /// Whether trying again without a change of the spec is pointless.
    pub is_final: bool,
    /// The exporter whose Job it is, if it is one.
    pub exporter: Option<usize>,
}

/// The status with a problem that was met after it was written.
pub fn with_problem(
    before: &OSArtifactStatus,
    problem: &Problem,
    now: Timestamp,
) -> OSArtifactStatus {
    let mut status = before.clone();
    if let Some(index) = problem.exporter {
        // The next pass concludes from it.
        let entries = status.exporters.iter_mut();
        for entry in entries.filter(|entry| usize::try_from(entry.index) == Ok(index)) {
            entry.message = Some(cut_text(&problem.message, MESSAGE));
            if problem.is_final {
                entry.phase = ExporterPhase::Failed;
            }
        }
        return status;
    }
    let phase = match (problem.is_final, before.phase) {
        (true, _) => ArtifactPhase::Error,
        (false, phase) => phase.unwrap_or_default(),
    };
    unfinished(&mut status, phase, problem.reason, &problem.message, now);
    status
}

/// Whether the files are there.
pub fn is_built(status: &OSArtifactStatus) -> bool {
    is_true(status, types::BUILT)
}

/// Whether kairos-operator left this status: it has a phase, and none of our conditions.
pub fn is_foreign(status: &OSArtifactStatus) -> bool {
    status.phase.is_some() && status.conditions.is_empty()
}

/// The reason that Ready gives.
pub fn reason(status: &OSArtifactStatus) -> &str {
    condition(status, types::READY).map_or(reasons::PENDING, |condition| &condition.reason)
}
