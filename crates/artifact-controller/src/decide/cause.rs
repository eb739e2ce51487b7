//! Why a Pod waits or has failed, in words, from what its status says.

use k8s_openapi::api::core::v1::{
    ContainerStateTerminated, ContainerStatus, PersistentVolumeClaim, Pod,
};
use k8s_openapi::jiff::Timestamp;
use operator_runtime::names::cut_text;

/// Bytes of a container's last words that are shown. Whole errors of templates fit; floods do not.
const WORDS: usize = 1024;
/// What a container that is simply about to be created says.
const USUAL: [&str; 2] = ["ContainerCreating", "PodInitializing"];
const USUAL_WAIT: &str = "waiting for the container of step";
/// What is between the end of the last container and that of the Pod.
pub const ALL_ENDED: &str =
    "every step has ended; waiting for the end of the builder Pod to be reported";
const FULL: &str = "no space left on device";

/// Whether a wait with that message is nothing to worry about.
pub fn is_usual(message: &str) -> bool {
    message.starts_with(USUAL_WAIT)
        || message == ALL_ENDED
        || message.contains("of an earlier build to end")
}

/// Init containers, then main ones, as the kubelet reports them.
fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    status.into_iter().flat_map(|status| {
        status
            .init_container_statuses
            .iter()
            .flatten()
            .chain(status.container_statuses.iter().flatten())
    })
}

/// What a Pod that has not ended waits for, if something is in its way.
pub fn of_waiting(pod: &Pod, claim: Option<&PersistentVolumeClaim>) -> Option<String> {
    if pod.metadata.deletion_timestamp.is_some() {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        return Some(format!(
            "the Pod {name} is being deleted, and not by this controller"
        ));
    }
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let unscheduled = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let reason = condition.reason.as_deref().unwrap_or("Unschedulable");
        let message = cut_text(condition.message.as_deref().unwrap_or_default(), WORDS);
        let volume = unbound(claim)
            .map(|text| format!("; {text}"))
            .unwrap_or_default();
        return Some(format!(
            "no node takes the Pod: {reason}: {message}{volume}"
        ));
    }
    statuses(pod).find_map(|status| {
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref()?;
        if USUAL.contains(&reason) {
            return None;
        }
        let message = cut_text(waiting.message.as_deref().unwrap_or_default(), WORDS);
        Some(format!(
            "{} cannot start: {reason}: {message} (image {})",
            status.name, status.image
        ))
    })
}

/// Since when a Pod can have been waiting, at the earliest: a Pod that takes the place of another one has not waited yet.
pub fn since(pod: &Pod) -> Option<Timestamp> {
    let metadata = &pod.metadata;
    let time = metadata
        .deletion_timestamp
        .as_ref()
        .or(metadata.creation_timestamp.as_ref());
    time.map(|time| time.0)
}

fn unbound(claim: Option<&PersistentVolumeClaim>) -> Option<String> {
    let claim = claim?;
    let phase = claim.status.as_ref()?.phase.as_deref()?;
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    (phase != "Bound").then(|| format!("the volume claim {name} is {phase}"))
}

/// Why a Pod failed.
pub fn of_failed(pod: &Pod) -> String {
    let failed = statuses(pod).find_map(|status| {
        let terminated = status.state.as_ref()?.terminated.as_ref()?;
        (terminated.exit_code != 0).then(|| exit(&status.name, terminated))
    });
    let status = pod.status.as_ref();
    let reason = status.and_then(|status| status.reason.as_deref());
    let message = status
        .and_then(|status| status.message.as_deref())
        .unwrap_or_default();
    match (reason, failed) {
        // The reason of the Pod tells more than the exit code of a container that was killed for it.
        (Some(reason), Some(failed)) => format!("{reason}: {} ({failed})", cut_text(message, WORDS)),
        (Some(reason), None) => format!("{reason}: {}", cut_text(message, WORDS)),
        (None, Some(failed)) => failed,
        (None, None) => "the Pod failed, and its status does not say why; it may have been on a node that is gone".to_owned(),
    }
}

fn exit(container: &str, terminated: &ContainerStateTerminated) -> String {
    let code = terminated.exit_code;
    let what = match terminated.reason.as_deref() {
        Some("OOMKilled") => format!(
            "{container} was killed for using more memory than it may (OOMKilled); raise its limit"
        ),
        None | Some("Error") => format!("{container} exited with {code}"),
        Some(reason) => format!("{container} exited with {code} ({reason})"),
    };
    let words = terminated.message.as_deref().unwrap_or_default().trim();
    let hint = if words.to_lowercase().contains(FULL) {
        "; the node's disk or the volume is full: ask for a larger spec.volume, or builders on nodes with more room"
    } else {
        ""
    };
    if words.is_empty() {
        format!("{what}{hint}")
    } else {
        format!("{what}: {}{hint}", last(words, WORDS))
    }
}

/// The last `bytes` bytes of `text` at a character boundary: what a tool says last explains its end.
fn last(text: &str, bytes: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(bytes))..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: &str) -> Pod {
        let status: serde_json::Value = serde_saphyr::from_str(status).unwrap();
        serde_json::from_value(serde_json::json!({"metadata": {"name": "p"}, "status": status}))
            .unwrap()
    }

    #[test]
    fn each_kind_of_failure_is_named() {
        for (status, words) in [
            (
                "{phase: Failed, reason: Evicted, message: 'The node was low on resource: ephemeral-storage.'}",
                "Evicted: The node was low on resource: ephemeral-storage.",
            ),
            (
                "{phase: Failed, initContainerStatuses: [{name: build-iso, image: i, imageID: i, ready: false, restartCount: 0, state: {terminated: {exitCode: 137, reason: OOMKilled}}}]}",
                "build-iso was killed for using more memory",
            ),
            (
                "{phase: Failed, initContainerStatuses: [{name: build-iso, image: i, imageID: i, ready: false, restartCount: 0, state: {terminated: {exitCode: 1, reason: Error, message: 'write: No space left on device'}}}]}",
                "the node's disk or the volume is full",
            ),
            (
                "{phase: Failed, initContainerStatuses: [{name: prepare, image: i, imageID: i, ready: false, restartCount: 0, state: {terminated: {exitCode: 1, reason: Error, message: 'template: ocispec:2:9: x'}}}]}",
                "prepare exited with 1: template: ocispec:2:9: x",
            ),
            ("{phase: Failed}", "does not say why"),
        ] {
            let message = of_failed(&pod(status));
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn each_kind_of_wait_is_named_and_the_usual_one_is_not() {
        for (status, words) in [
            (
                "{conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: '0/1 nodes are available'}]}",
                "0/1 nodes are available",
            ),
            (
                "{initContainerStatuses: [{name: build-iso, image: tools, imageID: '', ready: false, restartCount: 0, state: {waiting: {reason: ImagePullBackOff, message: 'Back-off pulling'}}}]}",
                "build-iso cannot start: ImagePullBackOff: Back-off pulling (image tools)",
            ),
        ] {
            let message = of_waiting(&pod(status), None).unwrap();
            assert!(message.contains(words), "{message}");
        }
        let usual = "{initContainerStatuses: [{name: a, image: i, imageID: '', ready: false, restartCount: 0, state: {waiting: {reason: PodInitializing}}}]}";
        assert_eq!(of_waiting(&pod(usual), None), None);
    }

    #[test]
    fn a_claim_that_is_not_bound_is_named() {
        let claim =
            serde_saphyr::from_str("{metadata: {name: my-artifacts}, status: {phase: Pending}}")
                .unwrap();
        let pod = pod(
            "{conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: 'unbound'}]}",
        );
        assert!(
            of_waiting(&pod, Some(&claim))
                .unwrap()
                .ends_with("the volume claim my-artifacts is Pending")
        );
    }
}
