//! Every committed case of the data file, as files in a folder and through the built binary.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; clippy knows that only of functions marked as tests"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use node_labeller::outcome::{Outcome, decode};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// By path on the host.
    files: BTreeMap<String, Entry>,
    #[serde(default)]
    command_line: String,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Entry {
    Text(String),
    Bytes(Vec<u8>),
    Repeat { text: String, times: usize },
    Link(String),
    Folder,
    Pipe,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Expect {
    /// Labels and annotations without `kairos.io/`; `managed` goes without saying.
    Kairos {
        labels: BTreeMap<String, String>,
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    },
    NotKairos,
    Reason(String),
}

fn write(host: &Path, path: &str, entry: &Entry) {
    let path = host.join(path.trim_start_matches('/'));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    match entry {
        Entry::Text(text) => std::fs::write(path, text).unwrap(),
        Entry::Bytes(bytes) => std::fs::write(path, bytes).unwrap(),
        Entry::Repeat { text, times } => std::fs::write(path, text.repeat(*times)).unwrap(),
        Entry::Link(target) => std::os::unix::fs::symlink(target, path).unwrap(),
        Entry::Folder => std::fs::create_dir(path).unwrap(),
        Entry::Pipe => {
            let mode = rustix::fs::Mode::from_raw_mode(0o644);
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0)
                .unwrap();
        }
    }
}

fn run(case: &Case) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let host = folder.path().join("host");
    std::fs::create_dir(&host).unwrap();
    // What a link that escaped the host folder would find.
    std::fs::write(folder.path().join("secret"), "KAIROS_ID=escaped\n").unwrap();
    for (path, entry) in &case.files {
        write(&host, path, entry);
    }
    std::fs::create_dir_all(host.join("proc")).unwrap();
    std::fs::write(host.join("proc/cmdline"), &case.command_line).unwrap();
    let message = folder.path().join("message");
    let status = Command::new(env!("CARGO_BIN_EXE_node-labeller-detect"))
        .arg("--host")
        .arg(&host)
        .arg("--termination-log")
        .arg(&message)
        .status()
        .unwrap();
    assert!(status.success(), "{}: {status}", case.name);
    let message = std::fs::read_to_string(message).unwrap();
    assert!(
        message.len() <= 4096,
        "{}: {} bytes",
        case.name,
        message.len()
    );
    decode(&message).unwrap_or_else(|error| panic!("{}: {error}: {message}", case.name))
}

fn check(case: &Case, outcome: &Outcome) {
    let full = |names: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        names
            .iter()
            .map(|(name, value)| (format!("kairos.io/{name}"), value.clone()))
            .collect()
    };
    match (&case.expect, outcome) {
        (
            Expect::Kairos {
                labels,
                annotations,
            },
            Outcome::Kairos(facts),
        ) => {
            let mut labels = full(labels);
            labels.insert("kairos.io/managed".to_owned(), "true".to_owned());
            assert_eq!(facts.labels, labels, "{}", case.name);
            assert_eq!(facts.annotations, full(annotations), "{}", case.name);
        }
        (Expect::NotKairos, Outcome::NotKairos) => {}
        (Expect::Reason(expected), Outcome::Problem { reason, note }) => {
            let reason: &str = reason.into();
            assert_eq!(reason, expected, "{}: {note}", case.name);
        }
        (_, other) => panic!("{}: {other:?}", case.name),
    }
}

#[test]
fn each_release_file_makes_exactly_the_expected_labels_or_the_expected_reason() {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("data/release_files.yaml")).unwrap();
    assert!(cases.len() >= 30, "{} cases", cases.len());
    let mut names = std::collections::BTreeSet::new();
    for case in &cases {
        assert!(names.insert(&case.name), "{} is there twice", case.name);
        check(case, &run(case));
    }
}

#[test]
fn without_a_place_for_the_outcome_the_pod_fails() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_node-labeller-detect"))
        .arg("--host")
        .arg(folder.path())
        .arg("--termination-log")
        .arg(folder.path().join("missing/message"))
        .output()
        .unwrap();
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("failed to write the outcome"), "{words}");
}
