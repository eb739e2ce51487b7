//! A corpus of release files, good, bad and mutated, and mutants of each made anew in every run: none makes a crash, and
//! none a label that is not valid or not of the table.
//!
//! A file that once did harm is added to `corpus/` under a name that says what it is.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; clippy knows that only of functions marked as tests"
)]

use std::path::Path;

use node_labeller::boot_state::BootState;
use node_labeller::facts::{
    ANNOTATIONS, File, Findings, LABEL_BOOT_STATE, LABELS, evaluate, is_our_annotation,
    is_our_label,
};
use node_labeller::outcome::{Facts, LONGEST_MESSAGE, Outcome, decode, encode};
use proptest::prelude::*;
use proptest::sample::Index;

/// Pieces that mean something to a shell, or to us.
const PIECES: [&[u8]; 16] = [
    b"\"",
    b"'",
    b"\\",
    b"$",
    b"`",
    b"=",
    b"\n",
    b"\r",
    b"\0",
    b"#",
    b"export ",
    b"KAIROS_ID=",
    b";",
    b"\xff",
    b"\xc3\xa4",
    b"-",
];

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// The file in each of the places where one is looked for.
fn outcomes(content: &[u8]) -> [Outcome; 2] {
    let file = File::Content(content.to_vec());
    let with = |kairos_release, os_release| {
        evaluate(&Findings {
            kairos_release,
            os_release,
            boot_state: BootState::Unknown,
        })
    };
    [with(file.clone(), File::Missing), with(File::Missing, file)]
}

fn is_label_value(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && is_end(bytes.first())
        && is_end(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn fault(facts: &Facts) -> Option<String> {
    let bad_label = facts
        .labels
        .iter()
        .find(|(name, value)| !is_our_label(name) || !is_label_value(value));
    let bad_annotation = facts.annotations.iter().find(|(name, value)| {
        !is_our_annotation(name) || value.len() > 200 || value.contains(char::is_control)
    });
    if facts.labels.get(LABEL_BOOT_STATE).map(String::as_str) != Some("unknown") {
        return Some("the boot state is not what was found".to_owned());
    }
    let bad = bad_label.or(bad_annotation)?;
    Some(format!("{bad:?}"))
}

fn check(name: &str, content: &[u8]) {
    for outcome in outcomes(content) {
        if let Outcome::Kairos(facts) = &outcome {
            assert_eq!(fault(facts), None, "{name}: {content:?}");
        }
        let message = encode(&outcome).unwrap();
        assert!(
            message.len() <= LONGEST_MESSAGE,
            "{name}: {} bytes",
            message.len()
        );
        assert_eq!(
            decode(&message),
            Ok(outcome),
            "{name}: the message comes back as it was"
        );
    }
}

#[test]
fn no_file_of_the_corpus_makes_a_crash_or_a_bad_label() {
    let corpus = corpus();
    assert!(corpus.len() >= 60, "{} files", corpus.len());
    let mut understood = 0;
    for (name, content) in &corpus {
        check(name, content);
        understood += usize::from(matches!(outcomes(content)[0], Outcome::Kairos(_)));
    }
    assert!(
        understood >= 10 && understood + 20 <= corpus.len(),
        "a corpus of one kind shows little: {understood} of {} are understood",
        corpus.len()
    );
}

#[test]
fn the_real_file_of_the_corpus_has_every_key_of_the_table() {
    let (_, content) = corpus()
        .into_iter()
        .find(|(name, _)| name == "real")
        .unwrap();
    let [Outcome::Kairos(facts), _] = outcomes(&content) else {
        panic!("it is not understood")
    };
    assert_eq!(facts.labels.len(), LABELS.len() + 2);
    assert_eq!(facts.annotations.len(), ANNOTATIONS.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_mutant_of_the_corpus_makes_a_crash_or_a_bad_label(
        file in any::<Index>(),
        changes in proptest::collection::vec((any::<Index>(), 0_usize..4, any::<Index>(), any::<u8>()), 1..8)
    ) {
        let corpus = corpus();
        let (name, content) = file.get(&corpus);
        let mut mutant = content.clone();
        for (at, kind, piece, byte) in changes {
            let at = at.index(mutant.len() + 1);
            let rest = mutant.split_off(at);
            match kind {
                0 => mutant.extend_from_slice(PIECES[piece.index(PIECES.len())]),
                1 => mutant.push(byte),
                2 => mutant.extend_from_slice(rest.get(..usize::from(byte)).unwrap_or(&rest)),
                _ => {}
            }
            // The last kind takes one byte away.
            mutant.extend_from_slice(rest.get(usize::from(kind == 3)..).unwrap_or_default());
        }
        check(name, &mutant);
    }
}
