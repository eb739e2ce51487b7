//! Compares our templates with Go's: generated ones and changed Dockerfiles, rendered by both.
//!
//! `TEMPLATES` sets how many templates each of the two runs compares (default 3,000), `SEED` the
//! seed of the second run, which is otherwise fresh and printed. Needs the `go` command.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test may fail the test"
)]

mod differential {
    pub(crate) mod compare;
    pub(crate) mod expressions;
    pub(crate) mod generator;
    pub(crate) mod go;
    pub(crate) mod hand_picked;
    pub(crate) mod literals;
    pub(crate) mod mutator;
    pub(crate) mod random;
}

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use differential::compare::compare;
use differential::generator::{numbers, template};
use differential::mutator::mutated;
use differential::random::Random;
use differential::{go, hand_picked};

const FIXED_SEED: u64 = 7;

fn values() -> BTreeMap<String, String> {
    [
        ("A", "x"),
        ("B", ""),
        ("N", "3"),
        ("Z", "<a&'\">"),
        ("k-e", "dash"),
        ("b", "low"),
        ("U", "héé€😀\u{200b}"),
        ("Base", "quay.io/kairos/fedora:40"),
        ("Script", "#!/bin/sh\n\techo \"$HOME\" 100%\n"),
        ("Zero", "\0\u{7f}\\"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

fn run(name: &str, seed: u64) {
    let count = number_from_environment("TEMPLATES").unwrap_or(3_000);
    let mut random = Random::new(seed);
    let sources = (0..count).map(move |number| match number % 8 {
        0 | 4 => mutated(&mut random),
        7 => numbers(&mut random),
        _ => template(&mut random),
    });
    let report = compare(name, &values(), sources);
    println!("{name} seed {seed}: {}", report.counts());
    assert!(
        report.differences.is_empty(),
        "seed {seed}: {} of {count} templates differ from Go:\n{}",
        report.differences.len(),
        report
            .differences
            .iter()
            .take(20)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
    assert!(
        report.compared() * 10 >= count * 9,
        "most templates are compared: {}",
        report.counts()
    );
    assert!(
        report.rendered * 10 >= count,
        "at least one template in ten renders, or the comparison says little: {}",
        report.counts()
    );
}

#[test]
fn templates_of_the_fixed_seed_render_as_in_go() {
    run("fixed", FIXED_SEED);
}

#[test]
fn templates_of_a_fresh_seed_render_as_in_go() {
    let fresh = || {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock after 1970");
        now.as_secs() * 1_000 + u64::from(now.subsec_millis())
    };
    run(
        "fresh",
        number_from_environment("SEED").unwrap_or_else(fresh),
    );
}

#[test]
fn hand_picked_templates_render_as_in_go() {
    let sources = hand_picked::TEMPLATES.iter().map(|source| source.to_vec());
    let report = compare("hand-picked", &values(), sources);
    println!("hand-picked: {}", report.counts());
    assert!(
        report.differences.is_empty(),
        "{}",
        report.differences.join("\n")
    );
    assert_eq!(report.compared(), hand_picked::TEMPLATES.len() as u64);
}

#[test]
fn the_character_tables_are_those_of_go() {
    let code_points = |text: &str| -> Vec<String> {
        text.split(|character: char| !character.is_ascii_alphanumeric())
            .filter(|word| word.starts_with("0x"))
            .map(str::to_owned)
            .collect()
    };
    let ours = code_points(include_str!("../src/template/unicode_tables.rs"));
    let of_go = code_points(&go::unicode_tables());
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
