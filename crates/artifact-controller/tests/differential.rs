//! Compares our templates with Go's: a Go program generates templates, renders them, asks for ours and compares.
//!
//! `TEMPLATES` sets how many templates each of the two runs compares (default 5,000), `SEED` the seed of the second run,
//! which is otherwise fresh and printed. Needs the `go` command.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test may fail the test"
)]

use std::collections::BTreeMap;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use artifact_controller::template::{Limits, TemplateErrorKind, render};

const FIXED_SEED: u64 = 7;

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/tools/gotemplate");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gotemplate");
        let status = Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(&source)
            .status()
            .unwrap_or_else(|error| {
                panic!("the `go` command is needed to compare templates with Go's text/template; install Go 1.26: {error}")
            });
        assert!(status.success(), "`go build` of {} failed", source.display());
        program
    })
}

/// Runs a comparison, and answers what the Go program asks. Counts and differences go to standard error.
fn compare(arguments: &[&str]) {
    let mut child = Command::new(program())
        .arg("compare")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gotemplate starts");
    let mut questions = BufReader::new(child.stdout.take().expect("piped"));
    let mut answers = BufWriter::new(child.stdin.take().expect("piped"));
    let values = read_values(&mut questions);
    while let Some(source) = read_frame(&mut questions) {
        let answered = write_answer(&mut answers, &source, &values);
        // It ends early where something is wrong, and says what.
        if answered.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
            break;
        }
    }
    drop(answers);
    let status = child.wait().expect("gotemplate ends");
    assert!(
        status.success(),
        "gotemplate compare {arguments:?}: {status}; see above"
    );
}

fn read_values(questions: &mut impl Read) -> BTreeMap<String, String> {
    let mut text = || {
        let frame = read_frame(questions).expect("a frame");
        String::from_utf8(frame).expect("UTF-8")
    };
    let count: usize = text().parse().expect("a number");
    (0..count).map(|_| (text(), text())).collect()
}

/// The next frame; none at the end.
fn read_frame(questions: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    match questions.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
        result => result.expect("gotemplate asks"),
    }
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    questions.read_exact(&mut frame).expect("a whole frame");
    Some(frame)
}

fn write_answer(
    answers: &mut impl Write,
    source: &[u8],
    values: &BTreeMap<String, String>,
) -> std::io::Result<()> {
    let (outcome, text) = match render(source, values, &Limits::default()) {
        Ok(text) => (b'O', text),
        Err(error) => {
            let outcome = match error.kind() {
                TemplateErrorKind::Parse => b'P',
                TemplateErrorKind::Execution => b'E',
                TemplateErrorKind::Refused => b'R',
                TemplateErrorKind::Limit => b'L',
            };
            (outcome, error.message().as_bytes().to_vec())
        }
    };
    let length = u32::try_from(text.len()).expect("bounded by the limits");
    answers.write_all(&[outcome])?;
    answers.write_all(&length.to_be_bytes())?;
    answers.write_all(&text)?;
    answers.flush()
}

fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

fn compare_generated(seed: u64) {
    let count = number_from_environment("TEMPLATES").unwrap_or(5_000);
    compare(&["-seed", &seed.to_string(), "-templates", &count.to_string()]);
}

#[test]
fn templates_of_the_fixed_seed_render_as_in_go() {
    compare_generated(FIXED_SEED);
}

#[test]
fn templates_of_a_fresh_seed_render_as_in_go() {
    let fresh = || {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock after 1970");
        now.as_secs() * 1_000 + u64::from(now.subsec_millis())
    };
    compare_generated(number_from_environment("SEED").unwrap_or_else(fresh));
}

#[test]
fn hand_picked_templates_render_as_in_go() {
    compare(&["-hand-picked"]);
}

#[test]
fn the_character_tables_are_those_of_go() {
    let code_points = |text: &str| -> Vec<String> {
        text.split(|character: char| !character.is_ascii_alphanumeric())
            .filter(|word| word.starts_with("0x"))
            .map(str::to_owned)
            .collect()
    };
    let output = Command::new(program())
        .arg("unicode")
        .output()
        .expect("gotemplate runs");
    assert!(output.status.success(), "gotemplate unicode failed");
    let ours = code_points(include_str!("../src/template/unicode_tables.rs"));
    let of_go = code_points(&String::from_utf8(output.stdout).expect("UTF-8"));
    assert!(ours.len() > 1_000, "the tables are read");
    assert!(
        ours == of_go,
        "write unicode_tables.rs anew: run `go run . unicode` in e2e/tools/gotemplate"
    );
}

#[test]
fn without_go_the_comparison_fails_and_says_what_is_needed() {
    let this_test = std::env::current_exe().expect("this program");
    let output = Command::new(this_test)
        .args(["--exact", "the_character_tables_are_those_of_go"])
        .env("PATH", "")
        .output()
        .expect("this program runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{printed}");
    assert!(
        printed.contains("the `go` command is needed to compare templates"),
        "{printed}"
    );
}
