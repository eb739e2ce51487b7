//! What a change of status is worth telling: each turn of the build, as an Event and in the counters.

use api_types::conditions::{reasons, types};
use api_types::osartifact::{ArtifactPhase, OSArtifact, OSArtifactStatus};
use kube::Resource as _;
use operator_runtime::events::{Notice, NoticeKind};

use super::{condition, reason};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Event reason.
    pub reason: &'static str,
    /// Whether a human should look.
    pub warning: bool,
    /// Event text.
    pub note: String,
    /// Tells this turn apart from the same one of another build.
    pub key: String,
}

impl Report {
    /// The report as an Event about `artifact`.
    pub fn into_notice(self, artifact: &OSArtifact) -> Notice {
        Notice {
            regarding: artifact.object_ref(&()),
            related: None,
            kind: if self.warning {
                NoticeKind::Warning
            } else {
                NoticeKind::Normal
            },
            reason: self.reason,
            action: "Build",
            note: self.note,
            key: self.key,
        }
    }
}

/// Reasons of trouble, as Event reasons.
const TROUBLE: [&str; 7] = [
    reasons::INVALID_SPEC,
    reasons::BUILD_FAILED,
    reasons::EXPORT_FAILED,
    reasons::STUCK,
    reasons::NAME_TAKEN,
    reasons::POD_REFUSED,
    WAITING,
];
/// Reason while a build waits for something that it may get.
pub const WAITING: &str = "Waiting";

/// What `after` says that `before` did not.
pub fn reports(before: &OSArtifactStatus, after: &OSArtifactStatus) -> Vec<Report> {
    let both = [turn(before, after), outdated_volume(before, after)];
    both.into_iter().flatten().collect()
}

/// An edit of spec.volume that comes too late.
fn outdated_volume(before: &OSArtifactStatus, after: &OSArtifactStatus) -> Option<Report> {
    let told = condition(after, types::VOLUME_OUTDATED)?;
    let known = condition(before, types::VOLUME_OUTDATED);
    known
        .is_none_or(|known| known.message != told.message)
        .then(|| Report {
            reason: types::VOLUME_OUTDATED,
            warning: true,
            note: told.message.clone(),
            key: format!("volume-{}", after.observed_generation.unwrap_or_default()),
        })
}

fn turn(before: &OSArtifactStatus, after: &OSArtifactStatus) -> Option<Report> {
    let message = after.message.clone().unwrap_or_default();
    let key = format!(
        "{}-{}",
        after.attempt.unwrap_or_default(),
        after.retry.as_deref().unwrap_or_default()
    );
    let now = reason(after);
    let turned = before.phase != after.phase;
    if let Some(trouble) = TROUBLE.into_iter().find(|trouble| *trouble == now) {
        let same = !turned && (reason(before) == now) && before.message == after.message;
        // Another cause of the same kind is worth telling too.
        let key = format!("{key}-{}", operator_runtime::names::short_hash(&[&message]));
        return (!same).then_some(Report {
            reason: trouble,
            warning: true,
            note: message,
            key,
        });
    }
    // A build may begin by waiting for something: then it is told when it goes on.
    if !turned && !TROUBLE.contains(&reason(before)) {
        return None;
    }
    let (reason, note) = match after.phase? {
        ArtifactPhase::Pending | ArtifactPhase::Error => return None,
        ArtifactPhase::Building => (
            "BuildStarted",
            format!(
                "Pod {} builds",
                after.builder_pod.as_deref().unwrap_or_default()
            ),
        ),
        ArtifactPhase::Ready if before.phase == Some(ArtifactPhase::Exporting) => {
            ("ExportCompleted", "every exporter has succeeded".to_owned())
        }
        ArtifactPhase::Exporting | ArtifactPhase::Ready => ("BuildCompleted", files(after)),
    };
    Some(Report {
        reason,
        warning: false,
        note,
        key,
    })
}

fn files(status: &OSArtifactStatus) -> String {
    let files: Vec<String> = status
        .artifacts
        .iter()
        .map(|file| format!("{} ({} bytes)", file.file, file.bytes))
        .collect();
    if files.is_empty() {
        status.message.clone().unwrap_or_default()
    } else {
        format!("built {}", files.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn building(reason: &str) -> OSArtifactStatus {
        serde_saphyr::from_str(&format!(
            "phase: Building
builderPod: my-builder
conditions: [{{type: Ready, status: 'False', reason: {reason}, message: '',
  lastTransitionTime: '2026-11-26T00:00:00Z'}}]"
        ))
        .unwrap()
    }

    #[test]
    fn a_build_that_began_by_waiting_is_told_when_it_goes_on() {
        let pending = OSArtifactStatus::default();
        let waiting = building(WAITING);
        assert_eq!(words(&pending, &waiting), [WAITING]);
        let going = building("Building");
        assert_eq!(words(&waiting, &going), ["BuildStarted"]);
        assert_eq!(reports(&going, &going), []);
    }

    #[test]
    fn a_volume_that_an_edit_cannot_change_is_told_once() {
        let going = building("Building");
        let mut outdated = going.clone();
        let now = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
        let reason = reasons::CLAIM_EXISTS;
        super::super::set(
            &mut outdated,
            types::VOLUME_OUTDATED,
            true,
            reason,
            "x",
            now,
        );
        assert_eq!(words(&going, &outdated), ["VolumeOutdated"]);
        assert_eq!(reports(&outdated, &outdated), []);
    }

    fn words(before: &OSArtifactStatus, after: &OSArtifactStatus) -> Vec<&'static str> {
        let all = reports(before, after);
        all.into_iter().map(|report| report.reason).collect()
    }
}
