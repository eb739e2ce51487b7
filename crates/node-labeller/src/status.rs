//! What is told about a node beyond its labels: Events, and what is counted.

use k8s_openapi::api::core::v1::ObjectReference;
use operator_runtime::events::{Notice, NoticeKind};

use crate::decide::{Failure, Verdict};
use crate::metrics::DetectionResult;
use crate::outcome::Outcome;
use crate::watched::WatchedNode;

/// What was tried, in Events.
const ACTION: &str = "Detect";

/// The Event that a verdict is worth; none where all is well. One per reason and state of the node, however often it
/// happens again.
pub fn notice(node: &WatchedNode, verdict: &Verdict) -> Option<Notice> {
    match verdict {
        Verdict::Detected(Outcome::Problem { reason, note: why }) => {
            let words = format!("{why}; the node's Kairos labels stay as they are");
            Some(warning(node, reason.into(), words))
        }
        Verdict::Detected(Outcome::Kairos(_) | Outcome::NotKairos) | Verdict::MarkersMissing => {
            None
        }
        Verdict::Failed(failure, words) => Some(failed(node, *failure, words)),
    }
}

/// The Event of a detection that failed.
pub fn failed(node: &WatchedNode, failure: Failure, words: &str) -> Notice {
    let words = format!("what this node is could not be found out, and is tried again: {words}");
    warning(node, failure.into(), words)
}

fn warning(node: &WatchedNode, reason: &'static str, words: String) -> Notice {
    Notice {
        regarding: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.name().to_owned()),
            uid: Some(node.uid().to_owned()),
            ..ObjectReference::default()
        },
        related: None,
        kind: NoticeKind::Warning,
        reason,
        action: ACTION,
        note: words,
        key: node.state.clone(),
    }
}

/// How a verdict is counted.
pub fn result(verdict: &Verdict) -> DetectionResult {
    match verdict {
        Verdict::Detected(Outcome::Kairos(_)) => DetectionResult::Kairos,
        Verdict::Detected(Outcome::NotKairos) => DetectionResult::NotKairos,
        Verdict::Detected(Outcome::Problem { .. }) => DetectionResult::Problem,
        Verdict::MarkersMissing => DetectionResult::MarkersMissing,
        Verdict::Failed(..) => DetectionResult::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Reason;
    use crate::testing::node;

    #[test]
    fn only_what_needs_somebody_is_an_event() {
        let node = node("worker");
        assert!(notice(&node, &Verdict::Detected(Outcome::NotKairos)).is_none());
        assert!(notice(&node, &Verdict::MarkersMissing).is_none());
        let problem = Verdict::Detected(Outcome::Problem {
            reason: Reason::ReleaseFileTooLarge,
            note: "kairos-release is larger than 64 KiB".to_owned(),
        });
        let told = notice(&node, &problem).unwrap();
        assert_eq!(told.reason, "ReleaseFileTooLarge");
        assert!(
            told.note
                .starts_with("kairos-release is larger than 64 KiB; ")
        );
        let failed = Verdict::Failed(Failure::DetectionMessageVoid, "words".to_owned());
        assert_eq!(
            notice(&node, &failed).unwrap().reason,
            "DetectionMessageVoid"
        );
    }

    #[test]
    fn another_boot_is_told_of_anew() {
        let first = failed(&node("a"), Failure::DetectionFailed, "x");
        let mut again = node("a");
        assert_eq!(failed(&again, Failure::DetectionFailed, "y").key, first.key);
        "another".clone_into(&mut again.state);
        assert_ne!(failed(&again, Failure::DetectionFailed, "x").key, first.key);
    }
}
