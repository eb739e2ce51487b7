//! What a detection found, and its compact form in a Pod's termination message. Pure.
//!
//! The message comes from a node, so the reading side believes nothing: names outside the table and values that are not
//! valid make the whole message void.

use std::collections::BTreeMap;

use api_types::names::{LABEL_MANAGED, VALUE_TRUE};
use operator_runtime::names::cut_text;
use serde::{Deserialize, Serialize};

use crate::boot_state::BootState;
use crate::facts::{ANNOTATIONS, LABEL_BOOT_STATE, LABELS, annotation_value, label_value};

/// Longest termination message that a kubelet keeps of one container, in bytes.
pub const LONGEST_MESSAGE: usize = 4096;
/// Longest note of a problem, in bytes.
const LONGEST_NOTE: usize = 1024;
/// Common beginning of all names, left out in the message.
const PREFIX: &str = "kairos.io/";

/// Why a node's files say nothing that can be used: the reason of an Event.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
pub enum Reason {
    /// More than 64 KiB.
    ReleaseFileTooLarge,
    /// Not UTF-8, or with control characters.
    ReleaseFileBinary,
    /// A line is no plain assignment.
    ReleaseFileMalformed,
    /// None of the known keys has a value.
    ReleaseFileEmpty,
    /// No regular file, no permission, or a link that leads out of the mounted folders or nowhere.
    ReleaseFileUnreadable,
}

/// Labels and annotations of a Kairos node, by their full names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Labels; always with `kairos.io/managed` and the boot state.
    #[serde(rename = "l")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(rename = "a", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a detection found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// The node runs Kairos.
    Kairos(Facts),
    /// The node does not run Kairos.
    NotKairos,
    /// The files say nothing that can be used; labels stay as they are.
    Problem {
        /// Reason of the Event.
        reason: Reason,
        /// A sentence for people.
        note: String,
    },
}

/// Why a termination message is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Void(pub String);

impl std::fmt::Display for Void {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the termination message is void: {}", self.0)
    }
}

impl std::error::Error for Void {}

/// The outcome as a termination message.
pub fn encode(outcome: &Outcome) -> Result<String, serde_json::Error> {
    let short = |names: &BTreeMap<String, String>| {
        names
            .iter()
            .map(|(name, value)| {
                let name = name.strip_prefix(PREFIX).unwrap_or(name);
                (name.to_owned(), value.clone())
            })
            .collect()
    };
    serde_json::to_string(&match outcome {
        Outcome::Kairos(facts) => Outcome::Kairos(Facts {
            labels: short(&facts.labels),
            annotations: short(&facts.annotations),
        }),
        Outcome::NotKairos => Outcome::NotKairos,
        Outcome::Problem { reason, note } => Outcome::Problem {
            reason: *reason,
            note: cut_text(note, LONGEST_NOTE),
        },
    })
}

/// The outcome that a termination message tells.
pub fn decode(message: &str) -> Result<Outcome, Void> {
    if message.len() > LONGEST_MESSAGE {
        return Err(Void(format!("it is longer than {LONGEST_MESSAGE} bytes")));
    }
    let outcome: Outcome =
        serde_json::from_str(message).map_err(|error| Void(cut_text(&error.to_string(), 256)))?;
    match outcome {
        Outcome::Kairos(facts) => {
            let facts = Facts {
                labels: checked(facts.labels, is_label)?,
                annotations: checked(facts.annotations, is_annotation)?,
            };
            for name in [LABEL_MANAGED, LABEL_BOOT_STATE] {
                if !facts.labels.contains_key(name) {
                    return Err(Void(format!("the label {name} is missing")));
                }
            }
            Ok(Outcome::Kairos(facts))
        }
        Outcome::NotKairos => Ok(Outcome::NotKairos),
        Outcome::Problem { reason, note } => {
            let printable = note.replace(char::is_control, " ");
            Ok(Outcome::Problem {
                reason,
                note: cut_text(&printable, LONGEST_NOTE),
            })
        }
    }
}

fn checked(
    short: BTreeMap<String, String>,
    allowed: fn(&str, &str) -> bool,
) -> Result<BTreeMap<String, String>, Void> {
    short
        .into_iter()
        .map(|(name, value)| {
            let full = format!("{PREFIX}{name}");
            if allowed(&full, &value) {
                return Ok((full, value));
            }
            Err(Void(format!(
                "{} does not belong on a node",
                cut_text(&format!("{full}={value}"), 128).replace(char::is_control, " ")
            )))
        })
        .collect()
}

fn is_label(name: &str, value: &str) -> bool {
    match name {
        LABEL_MANAGED => value == VALUE_TRUE,
        LABEL_BOOT_STATE => value.parse::<BootState>().is_ok(),
        _ => {
            LABELS.iter().any(|(_, label)| *label == name)
                && !value.is_empty()
                && label_value(value) == value
        }
    }
}

fn is_annotation(name: &str, value: &str) -> bool {
    ANNOTATIONS
        .iter()
        .any(|(_, annotation)| *annotation == name)
        && !value.is_empty()
        && !value.contains(char::is_control)
        && annotation_value(value) == value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn largest() -> Outcome {
        let labels = LABELS
            .iter()
            .map(|(_, name)| ((*name).to_owned(), "x".repeat(63)));
        let own = [(LABEL_MANAGED, "true"), (LABEL_BOOT_STATE, "recovery")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        // A quote is two bytes in JSON.
        let annotations = ANNOTATIONS
            .iter()
            .map(|(_, name)| ((*name).to_owned(), "\"".repeat(200)));
        Outcome::Kairos(Facts {
            labels: labels.chain(own).collect(),
            annotations: annotations.collect(),
        })
    }

    #[test]
    fn the_largest_outcome_fits_and_comes_back_whole() {
        let message = encode(&largest()).unwrap();
        assert!(message.len() <= LONGEST_MESSAGE, "{} bytes", message.len());
        assert_eq!(decode(&message), Ok(largest()));
        assert_eq!(
            decode(&encode(&Outcome::NotKairos).unwrap()),
            Ok(Outcome::NotKairos)
        );
    }

    #[test]
    fn a_message_that_could_harm_is_void() {
        let own = r#""managed":"true","boot-state":"active""#;
        for (what, message) in [
            (
                "another label",
                format!(r#"{{"kairos":{{"l":{{{own},"nodeop":"x"}}}}}}"#),
            ),
            (
                "an invalid value",
                format!(r#"{{"kairos":{{"l":{{{own},"id":"a b"}}}}}}"#),
            ),
            (
                "another annotation",
                format!(r#"{{"kairos":{{"l":{{{own}}},"a":{{"claimed-by":"x"}}}}}}"#),
            ),
            (
                "a long annotation",
                format!(
                    r#"{{"kairos":{{"l":{{{own}}},"a":{{"name":"{}"}}}}}}"#,
                    "x".repeat(201)
                ),
            ),
            (
                "not managed",
                r#"{"kairos":{"l":{"managed":"false","boot-state":"active"}}}"#.to_owned(),
            ),
            (
                "an unknown state",
                r#"{"kairos":{"l":{"managed":"true","boot-state":"on"}}}"#.to_owned(),
            ),
            ("no labels", r#"{"kairos":{"l":{}}}"#.to_owned()),
            ("an unknown outcome", r#"{"windows":{}}"#.to_owned()),
            ("words", "Segmentation fault".to_owned()),
            ("nothing", String::new()),
            ("a flood", "x".repeat(5000)),
        ] {
            assert!(decode(&message).is_err(), "{what}: {message}");
        }
        assert!(decode(&format!(r#"{{"kairos":{{"l":{{{own},"id":"kairos"}}}}}}"#)).is_ok());
    }

    proptest! {
        #[test]
        fn any_message_is_read_without_panic(message in "\\PC{0,200}") {
            decode(&message).ok();
        }
    }
}
