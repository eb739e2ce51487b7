//! What a Pod's end means.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use operator_runtime::names::cut_text;

use super::Limits;
use crate::outcome::{Outcome, decode};
use crate::watched::{WatchedPod, WatchedWaiting};

/// How long after its deadline a Pod is waited for: the kubelet ends it, and its word has to arrive.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);
/// Longest text of a container that is repeated.
const LONGEST_WORDS: usize = 512;

/// What a Pod told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What the node is.
    Detected(Outcome),
    /// It could not start, as it happens where the host has no folder of marker files.
    MarkersMissing,
    /// Nothing that can be used.
    Failed(Failure, String),
}

/// How a detection can fail; the name is the reason of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
pub enum Failure {
    /// The detection did not end well.
    DetectionFailed,
    /// The Pod did not end in time.
    DetectionTimedOut,
    /// Its message is not one that a detection leaves.
    DetectionMessageVoid,
    /// The API server does not take the Pod.
    DetectionRefused,
}

/// The verdict on a Pod, or when one that has not ended is given up.
pub(super) fn judge(
    pod: &WatchedPod,
    limits: &Limits,
    now: Timestamp,
) -> Result<Verdict, Timestamp> {
    let seconds = limits.deadline.as_secs();
    if pod.has_ended() {
        return Ok(judge_ended(pod, seconds));
    }
    // One without a time of creation was sent by no API server.
    let created = pod.created().unwrap_or(now);
    let overdue_at = created
        .saturating_add(limits.deadline + PATIENCE)
        .unwrap_or(Timestamp::MAX);
    if now < overdue_at {
        return Err(overdue_at);
    }
    if pod.with_markers() && never_started(pod) {
        return Ok(Verdict::MarkersMissing);
    }
    Ok(timed_out(pod, seconds))
}

fn judge_ended(pod: &WatchedPod, deadline_seconds: i64) -> Verdict {
    let terminated = pod
        .container()
        .and_then(|container| container.terminated.as_ref());
    if pod.status.phase == "Succeeded" {
        let message = terminated.and_then(|end| end.message.as_deref());
        return match decode(message.unwrap_or_default()) {
            Ok(outcome) => Verdict::Detected(outcome),
            Err(void) => Verdict::Failed(Failure::DetectionMessageVoid, void.to_string()),
        };
    }
    if pod.status.reason.as_deref() == Some("DeadlineExceeded") {
        if pod.with_markers() && never_started(pod) {
            return Verdict::MarkersMissing;
        }
        return timed_out(pod, deadline_seconds);
    }
    let mut words = match terminated {
        Some(end) => format!(
            "the detection ended with exit code {} ({})",
            end.exit_code,
            end.reason.as_deref().unwrap_or("no reason given")
        ),
        None => "the kubelet ended the Pod".to_owned(),
    };
    let causes = [
        terminated.and_then(|end| end.message.as_deref()),
        pod.status.reason.as_deref(),
        pod.status.message.as_deref(),
    ];
    for cause in causes.into_iter().flatten().map(str::trim) {
        if !cause.is_empty() {
            words.push_str(": ");
            words.push_str(cause);
        }
    }
    Verdict::Failed(Failure::DetectionFailed, printable(&words))
}

fn timed_out(pod: &WatchedPod, deadline_seconds: i64) -> Verdict {
    let waiting = pod
        .container()
        .and_then(|container| container.waiting.as_ref());
    let cause = waiting.map_or_else(String::new, describe);
    let words = format!(
        "the Pod did not end within {deadline_seconds} s{cause}; look at the Events of Pod {} and at the node's kubelet",
        pod.name()
    );
    Verdict::Failed(Failure::DetectionTimedOut, printable(&words))
}

fn describe(waiting: &WatchedWaiting) -> String {
    let reason = waiting.reason.as_deref().unwrap_or("waiting");
    match waiting.message.as_deref().filter(|text| !text.is_empty()) {
        Some(message) => format!(": {reason}: {message}"),
        None => format!(": {reason}"),
    }
}

/// Whether the container was never created: its volumes could not be mounted. The kubelet says at the end that it does not
/// know of such a container.
fn never_started(pod: &WatchedPod) -> bool {
    let Some(container) = pod.container() else {
        return true;
    };
    let is = |reason: &Option<String>, wanted: &str| reason.as_deref() == Some(wanted);
    match (&container.waiting, &container.terminated) {
        (Some(waiting), None) => is(&waiting.reason, "ContainerCreating"),
        (_, Some(end)) => is(&end.reason, "ContainerStatusUnknown"),
        (None, None) => false,
    }
}

fn printable(words: &str) -> String {
    cut_text(&words.replace(char::is_control, " "), LONGEST_WORDS)
}
