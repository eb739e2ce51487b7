//! Why a Job's Pod failed, in words, from the Pod's status.

use api_types::names::CONTAINER_NAME;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use crate::status::cut;

/// Bytes of a command's last words that are shown.
const WORDS: usize = 256;

/// The cause that the newest of `pods` gives, if it gives one.
pub(super) fn cause_of(pods: &[Pod]) -> Option<String> {
    let newest = pods
        .iter()
        .max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))?;
    let status = newest.status.as_ref()?;
    // With a reboot, the command is the init container.
    let init = status.init_container_statuses.iter().flatten();
    let statuses = init.chain(status.container_statuses.iter().flatten());
    let terminated = statuses
        .filter(|container| container.name == CONTAINER_NAME)
        .find_map(|container: &ContainerStatus| container.state.as_ref()?.terminated.as_ref());
    if let Some(terminated) = terminated
        && terminated.exit_code != 0
    {
        return Some(exit(terminated));
    }
    let reason = status.reason.as_deref()?;
    match status.message.as_deref() {
        Some(message) => Some(format!("{reason}: {}", cut(message, WORDS))),
        None => Some(reason.to_owned()),
    }
}

fn exit(terminated: &ContainerStateTerminated) -> String {
    let code = terminated.exit_code;
    let what = match terminated.reason.as_deref() {
        None | Some("Error") => format!("command exited with {code}"),
        Some(reason) => format!("command exited with {code} ({reason})"),
    };
    let words = terminated.message.as_deref().unwrap_or_default().trim();
    if words.is_empty() {
        what
    } else {
        format!("{what}: {}", last(words, WORDS))
    }
}

/// The last `bytes` bytes of `text` at a character boundary: what a command says last explains its end.
fn last(text: &str, bytes: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(bytes))..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(yaml: &str) -> Pod {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn exit_code_and_last_words_are_told() {
        let pod = pod("status: {containerStatuses: [{name: nodeop, image: i, imageID: i, ready: false, restartCount: 0,
            state: {terminated: {exitCode: 3, reason: Error, message: 'no space left on device\n'}}}]}");
        assert_eq!(
            cause_of(&[pod]).unwrap(),
            "command exited with 3: no space left on device"
        );
    }

    #[test]
    fn a_command_before_a_reboot_is_the_init_container_and_speaks_too() {
        let pod = pod("status: {initContainerStatuses: [{name: nodeop, image: i, imageID: i, ready: false,
            restartCount: 0, state: {terminated: {exitCode: 3, reason: Error, message: no space left}}}],
            containerStatuses: [{name: agent, image: i, imageID: i, ready: false, restartCount: 0,
            state: {waiting: {reason: PodInitializing}}}]}");
        assert_eq!(
            cause_of(&[pod]).unwrap(),
            "command exited with 3: no space left"
        );
    }

    #[test]
    fn an_out_of_memory_kill_is_named() {
        let pod = pod("status: {containerStatuses: [{name: nodeop, image: i, imageID: i, ready: false, restartCount: 0,
            state: {terminated: {exitCode: 137, reason: OOMKilled}}}]}");
        assert_eq!(
            cause_of(&[pod]).unwrap(),
            "command exited with 137 (OOMKilled)"
        );
    }

    #[test]
    fn a_pod_that_the_kubelet_refused_tells_its_reason() {
        let pod = pod(
            "status: {phase: Failed, reason: OutOfpods, message: Node did not have enough resource}",
        );
        assert_eq!(
            cause_of(&[pod]).unwrap(),
            "OutOfpods: Node did not have enough resource"
        );
    }

    #[test]
    fn long_words_are_cut_from_the_front_without_breaking_a_character() {
        let words = "é".repeat(300);
        assert!(last(&words, 255).len() <= 255);
        assert!(words.ends_with(last(&words, 255)));
    }
}
