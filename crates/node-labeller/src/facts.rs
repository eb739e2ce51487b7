//! What a node's files say, as labels and annotations. Pure.

use std::collections::BTreeMap;

use api_types::names::{LABEL_MANAGED, VALUE_TRUE};
use operator_runtime::names::cut_text;

use crate::boot_state::BootState;
use crate::outcome::{Facts, Outcome, Reason};
use crate::release::{Assignments, parse};

/// Label that says which system the node has booted.
pub const LABEL_BOOT_STATE: &str = "kairos.io/boot-state";

/// Keys of a release file without `KAIROS_`, and the labels that their values become.
pub const LABELS: [(&str, &str); 12] = [
    ("ID", "kairos.io/id"),
    ("FAMILY", "kairos.io/family"),
    ("FLAVOR", "kairos.io/flavor"),
    ("FLAVOR_RELEASE", "kairos.io/flavor-release"),
    ("VARIANT", "kairos.io/variant"),
    ("RELEASE", "kairos.io/release"),
    ("MODEL", "kairos.io/model"),
    ("ARCH", "kairos.io/arch"),
    ("TRUSTED_BOOT", "kairos.io/trusted-boot"),
    ("FIPS", "kairos.io/fips"),
    (
        "SOFTWARE_VERSION_PREFIX",
        "kairos.io/software-version-prefix",
    ),
    ("SOFTWARE_VERSION", "kairos.io/software-version"),
];

/// Keys of a release file without `KAIROS_`, and the annotations that their values become.
pub const ANNOTATIONS: [(&str, &str); 6] = [
    ("NAME", "kairos.io/name"),
    ("ID_LIKE", "kairos.io/id-like"),
    ("INIT_VERSION", "kairos.io/init-version"),
    ("VERSION", "kairos.io/version"),
    ("BUG_REPORT_URL", "kairos.io/bug-report-url"),
    ("HOME_URL", "kairos.io/home-url"),
];

/// Whether a label of that name is the labeller's, to set and to remove.
pub fn is_our_label(name: &str) -> bool {
    name == LABEL_MANAGED
        || name == LABEL_BOOT_STATE
        || LABELS.iter().any(|(_, label)| *label == name)
}

/// Whether an annotation of that name is the labeller's, to set and to remove.
pub fn is_our_annotation(name: &str) -> bool {
    ANNOTATIONS
        .iter()
        .any(|(_, annotation)| *annotation == name)
}

/// Longest label value that Kubernetes takes.
const LONGEST_LABEL: usize = 63;
/// Longest annotation value, in bytes: six of them, each character escaped, still fit into a termination message.
const LONGEST_ANNOTATION: usize = 200;

/// A release file as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum File {
    /// There is none.
    Missing,
    /// Its bytes; cut behind [`crate::release::LARGEST_FILE`] + 1.
    Content(Vec<u8>),
    /// It cannot be read, and why.
    Unreadable(String),
}

/// What was found on a node.
#[derive(Clone, Debug)]
pub struct Findings {
    /// /etc/kairos-release.
    pub kairos_release: File,
    /// /etc/os-release, else /usr/lib/os-release.
    pub os_release: File,
    /// What the node has booted.
    pub boot_state: BootState,
}

/// What the files make of the node.
pub fn evaluate(findings: &Findings) -> Outcome {
    let content = match &findings.kairos_release {
        File::Content(content) => content,
        File::Missing => return evaluate_os_release(findings),
        File::Unreadable(why) => return unreadable("kairos-release", why),
    };
    let assignments = match assignments("kairos-release", content) {
        Ok(assignments) => assignments,
        Err(outcome) => return outcome,
    };
    let facts = facts(&assignments, findings.boot_state);
    // The label managed and the boot state are always there.
    if facts.labels.len() == 2 && facts.annotations.is_empty() {
        return Outcome::Problem {
            reason: Reason::ReleaseFileEmpty,
            note: "kairos-release assigns none of the known KAIROS_ keys; restore the file from the node's image"
                .to_owned(),
        };
    }
    Outcome::Kairos(facts)
}

/// Kairos before version 3.0 wrote its keys into os-release.
fn evaluate_os_release(findings: &Findings) -> Outcome {
    let content = match &findings.os_release {
        File::Content(content) => content,
        File::Missing => return Outcome::NotKairos,
        File::Unreadable(why) => return unreadable("os-release", why),
    };
    match assignments("os-release", content) {
        Ok(assignments) if names_kairos(&assignments) => {
            Outcome::Kairos(facts(&assignments, findings.boot_state))
        }
        Ok(_) => Outcome::NotKairos,
        Err(outcome) => outcome,
    }
}

/// Whether the ID is `kairos` or has it as one of its words.
fn names_kairos(assignments: &Assignments) -> bool {
    let id = assignments.get("ID").map(|id| id.to_ascii_lowercase());
    id.is_some_and(|id| {
        id.split(|character: char| !character.is_ascii_alphanumeric())
            .any(|word| word == "kairos")
    })
}

fn assignments(file: &str, content: &[u8]) -> Result<Assignments, Outcome> {
    parse(content).map_err(|malformed| {
        let fault = match malformed.reason {
            Reason::ReleaseFileTooLarge => "is larger than 64 KiB".to_owned(),
            Reason::ReleaseFileBinary => "is no text".to_owned(),
            _ => match malformed.line {
                Some(line) => format!("has no plain assignment in line {line}"),
                None => "holds something other than assignments".to_owned(),
            },
        };
        Outcome::Problem {
            reason: malformed.reason,
            note: format!("{file} {fault}; restore the file from the node's image"),
        }
    })
}

fn unreadable(file: &str, why: &str) -> Outcome {
    Outcome::Problem {
        reason: Reason::ReleaseFileUnreadable,
        note: cut_text(&format!("{file} cannot be read: {why}"), 256),
    }
}

fn facts(assignments: &Assignments, boot_state: BootState) -> Facts {
    let value = |key: &str| assignments.get(&format!("KAIROS_{key}"));
    let boot_state: &str = boot_state.into();
    let mut labels = BTreeMap::from([
        (LABEL_MANAGED.to_owned(), VALUE_TRUE.to_owned()),
        (LABEL_BOOT_STATE.to_owned(), boot_state.to_owned()),
    ]);
    labels.extend(LABELS.iter().filter_map(|(key, name)| {
        let value = label_value(value(key)?);
        (!value.is_empty()).then(|| ((*name).to_owned(), value))
    }));
    let annotations = ANNOTATIONS.iter().filter_map(|(key, name)| {
        let value = annotation_value(value(key)?);
        (!value.is_empty()).then(|| ((*name).to_owned(), value))
    });
    Facts {
        labels,
        annotations: annotations.collect(),
    }
}

/// The text as a label value: what is not allowed becomes `-`, 63 characters at most, a letter or digit at both ends.
/// Cut as kairos-operator cuts, because selectors were written against its values. Empty where nothing is left.
pub fn label_value(text: &str) -> String {
    let replaced: String = text
        .chars()
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => character,
            _ => '-',
        })
        .collect();
    let punctuation = ['-', '_', '.'];
    let trimmed = replaced.trim_matches(punctuation);
    trimmed[..trimmed.len().min(LONGEST_LABEL)]
        .trim_matches(punctuation)
        .to_owned()
}

/// The text as an annotation's value: one printable line, cut to what a termination message has room for.
pub fn annotation_value(text: &str) -> String {
    let printable = text.replace(char::is_control, " ");
    cut_text(printable.trim(), LONGEST_ANNOTATION)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_label_value(text: &str) -> bool {
        let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        bytes.len() <= 63
            && is_end(bytes.first())
            && is_end(bytes.last())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    }

    fn outcome_of(content: Vec<u8>) -> Outcome {
        evaluate(&Findings {
            kairos_release: File::Content(content),
            os_release: File::Missing,
            boot_state: BootState::Unknown,
        })
    }

    fn assert_from_table(facts: &Facts) {
        for (name, value) in &facts.labels {
            let known = LABELS.iter().any(|(_, label)| label == name);
            assert!(
                known || name == LABEL_MANAGED || name == LABEL_BOOT_STATE,
                "{name}"
            );
            assert!(is_label_value(value), "{name}={value}");
        }
        for (name, value) in &facts.annotations {
            assert!(
                ANNOTATIONS.iter().any(|(_, annotation)| annotation == name),
                "{name}"
            );
            assert!(value.len() <= LONGEST_ANNOTATION);
        }
    }

    proptest! {
        #[test]
        fn bytes_without_a_kairos_key_never_make_a_label(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assume!(!bytes.windows(7).any(|part| part == b"KAIROS_"));
            let is_problem = matches!(outcome_of(bytes), Outcome::Problem { .. });
            prop_assert!(is_problem);
        }

        #[test]
        fn whatever_the_values_labels_are_valid_and_of_the_table(values in proptest::collection::vec("\\PC{0,120}", 18)) {
            let keys = LABELS.iter().chain(&ANNOTATIONS).map(|(key, _)| key);
            let lines: Vec<String> = keys
                .zip(&values)
                .map(|(key, value)| format!("KAIROS_{key}='{}'", value.replace('\'', "")))
                .collect();
            match outcome_of(lines.join("\n").into_bytes()) {
                Outcome::Kairos(facts) => assert_from_table(&facts),
                outcome => prop_assert!(values.iter().all(|value| label_value(value).is_empty()), "{outcome:?}"),
            }
        }

        #[test]
        fn a_damaged_file_makes_valid_labels_or_none(at in 0_usize..300, byte in any::<u8>()) {
            let mut bytes: Vec<u8> = LABELS
                .iter()
                .flat_map(|(key, _)| format!("KAIROS_{key}=\"v1.2+{key}\"\n").into_bytes())
                .collect();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Outcome::Kairos(facts) = outcome_of(bytes) {
                assert_from_table(&facts);
            }
        }
    }
}
