//! What was last detected on a node, and when: one annotation on the Node. Pure.
//!
//! It is the labeller's whole memory. A node whose record is of its present state is left alone, also by a labeller that
//! has just started; a Node that is registered anew has no record and is looked at.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use operator_runtime::names::short_hash;
use serde::{Deserialize, Serialize};

use crate::facts::LABEL_BOOT_STATE;
use crate::outcome::Outcome;
use crate::watched::WatchedPod;

/// The annotation. Not known to kairos-operator.
pub const ANNOTATION_DETECTED: &str = "operator.kairos.io/detected";

/// A record from the future by more than this is no record: a clock was wrong.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_hours(1);

/// What was detected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When, in whole seconds.
    pub at: Timestamp,
    /// Of which state of the node, from [`state_of`].
    pub of: String,
    /// By which Pod, from [`mark_of`]: what a Pod told is not written twice.
    pub by: String,
    /// `Kairos`, `NotKairos`, or the reason of the Event that tells of a problem.
    pub result: String,
    /// What is known of the marker files in /run/cos; absent where they do not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub markers: Option<Markers>,
}

/// Marker files matter only where the kernel command line does not tell the boot state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Markers {
    /// The command line did not tell; a second Pod shall look at them.
    Wanted,
    /// They were looked at, and are to be looked at the next time at once.
    Read,
    /// The node has no such folder, as far as this boot is concerned.
    Missing,
}

/// What of a node's state a detection depends on, as one short text.
pub fn state_of(boot_id: &str, os_image: &str, kubelet_version: &str) -> String {
    short_hash(&[boot_id, os_image, kubelet_version])
}

/// A number from 0 to 999 that follows from the uid alone.
pub fn jitter(uid: &str) -> u16 {
    let hash = short_hash(&[uid]);
    let number = hash
        .get(..6)
        .and_then(|digits| u32::from_str_radix(digits, 16).ok());
    u16::try_from(number.unwrap_or_default() % 1000).unwrap_or_default()
}

/// A Pod's uid as a short text.
pub fn mark_of(pod: &WatchedPod) -> String {
    short_hash(&[pod.uid()])
}

impl Record {
    /// The record that an annotation holds; none where it holds something else.
    pub fn parse(annotation: &str) -> Option<Self> {
        serde_json::from_str(annotation).ok()
    }

    /// The record of what `pod` told. `before` is the node's former record.
    pub fn new(outcome: &Outcome, pod: &WatchedPod, before: Option<&Self>, now: Timestamp) -> Self {
        let known_missing = before.is_some_and(|record| {
            record.of == pod.state() && record.markers == Some(Markers::Missing)
        });
        let unknown = |labels: &std::collections::BTreeMap<String, String>| {
            labels
                .get(LABEL_BOOT_STATE)
                .is_none_or(|state| state == "unknown")
        };
        let (result, markers) = match outcome {
            Outcome::Kairos(_) if pod.with_markers() => ("Kairos", Some(Markers::Read)),
            Outcome::Kairos(facts) if unknown(&facts.labels) => {
                let markers = if known_missing {
                    Markers::Missing
                } else {
                    Markers::Wanted
                };
                ("Kairos", Some(markers))
            }
            Outcome::Kairos(_) => ("Kairos", None),
            Outcome::NotKairos => ("NotKairos", None),
            Outcome::Problem { reason, .. } => (reason.into(), None),
        };
        Self {
            at: whole_seconds(now),
            of: pod.state().to_owned(),
            by: mark_of(pod),
            result: result.to_owned(),
            markers,
        }
    }

    /// The record after `pod` could not mount /run/cos. A folder that was wanted is missing for this boot; one that was
    /// there on an earlier boot may be wanted no more, which a Pod without it finds out.
    #[must_use]
    pub fn without_markers(&self, pod: &WatchedPod) -> Self {
        let wanted = self.of == pod.state() && self.markers == Some(Markers::Wanted);
        Self {
            by: mark_of(pod),
            markers: wanted.then_some(Markers::Missing),
            ..self.clone()
        }
    }

    /// When the node is to be looked at again although nothing has changed: `period` after the last time, less the
    /// node's [`jitter`] in thousandths of a tenth of it.
    pub fn due(&self, jitter: u16, period: SignedDuration) -> Timestamp {
        let jitter = period.as_secs() / 10 * i64::from(jitter) / 1000;
        self.at
            .saturating_add(period - SignedDuration::from_secs(jitter))
            .unwrap_or(Timestamp::MAX)
    }

    /// Whether the record can have been written before `now`.
    pub fn is_plausible(&self, now: Timestamp) -> bool {
        self.at.duration_since(now) <= CLOCK_SKEW
    }
}

/// The time without its fraction: that is how it is written.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::boot_state::BootState;
    use crate::decide::Probe;
    use crate::outcome::{Facts, Reason};
    use crate::testing::{at, ended, node, record};

    fn kairos(boot_state: BootState) -> Outcome {
        let text: &str = boot_state.into();
        Outcome::Kairos(Facts {
            labels: [(LABEL_BOOT_STATE.to_owned(), text.to_owned())].into(),
            ..Facts::default()
        })
    }

    #[test]
    fn marker_files_are_wanted_only_where_the_command_line_does_not_tell() {
        let pod = ended(&node("a"), Probe::Files, "");
        let markers = |outcome, before| Record::new(&outcome, &pod, before, at(0)).markers;
        assert_eq!(markers(kairos(BootState::Active), None), None);
        assert_eq!(
            markers(kairos(BootState::Unknown), None),
            Some(Markers::Wanted)
        );
        assert_eq!(markers(Outcome::NotKairos, None), None);
        let missing = Record {
            markers: Some(Markers::Missing),
            ..record(&node("a"), at(0))
        };
        assert_eq!(
            markers(kairos(BootState::Unknown), Some(&missing)),
            Some(Markers::Missing),
            "a folder that is missing stays missing for this boot"
        );
        let earlier = Record {
            of: "another boot".to_owned(),
            ..missing.clone()
        };
        assert_eq!(
            markers(kairos(BootState::Unknown), Some(&earlier)),
            Some(Markers::Wanted)
        );
        let pod = ended(&node("a"), Probe::FilesAndMarkers, "");
        let read = Record::new(&kairos(BootState::Unknown), &pod, None, at(0));
        assert_eq!(read.markers, Some(Markers::Read), "they do not tell either");
    }

    #[test]
    fn a_folder_that_cannot_be_mounted_is_missing_or_to_be_found_out() {
        let pod = ended(&node("a"), Probe::FilesAndMarkers, "");
        let before = |of: &str, markers| Record {
            of: of.to_owned(),
            markers: Some(markers),
            ..record(&node("a"), at(0))
        };
        let state = node("a").state;
        let after = before(&state, Markers::Wanted).without_markers(&pod);
        assert_eq!(after.markers, Some(Markers::Missing));
        assert_eq!(after.by, mark_of(&pod));
        for record in [
            before("earlier", Markers::Read),
            before(&state, Markers::Read),
        ] {
            assert_eq!(record.without_markers(&pod).markers, None);
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_and_anything_else_is_none() {
        let pod = ended(&node("a"), Probe::Files, "");
        let outcome = Outcome::Problem {
            reason: Reason::ReleaseFileBinary,
            note: String::new(),
        };
        let record = Record::new(&outcome, &pod, None, at(5));
        let text = serde_json::to_string(&record).unwrap();
        assert!(text.contains(r#""result":"ReleaseFileBinary""#), "{text}");
        assert_eq!(Record::parse(&text), Some(record));
        for text in [
            "",
            "{}",
            "null",
            r#"{"at":"yesterday","of":"","by":"","result":""}"#,
        ] {
            assert_eq!(Record::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_jitter_is_at_most_a_tenth_and_follows_from_the_uid(uid in "[0-9a-f-]{0,36}", hours in 1_i64..1000) {
            let record = record(&node("a"), at(0));
            let period = SignedDuration::from_hours(hours);
            let due = record.due(jitter(&uid), period);
            let earliest = at(0).saturating_add(period - period / 10).unwrap();
            prop_assert!(due <= at(0).saturating_add(period).unwrap() && due >= earliest, "{due}");
            prop_assert!(jitter(&uid) < 1000);
        }
    }

    #[test]
    fn two_thousand_nodes_do_not_come_back_in_one_second() {
        let record = record(&node("a"), at(0));
        let due: std::collections::BTreeSet<Timestamp> = (0..2000)
            .map(|uid| record.due(jitter(&uid.to_string()), SignedDuration::from_hours(24)))
            .collect();
        assert!(due.len() > 800, "{} moments", due.len());
    }
}
