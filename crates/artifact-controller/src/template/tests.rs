//! Cases measured on Go 1.26, and templates that try to take too much.

mod adversarial;

use std::collections::BTreeMap;

use super::text::unquote;
use super::{Limits, TemplateErrorKind, render};

const GOLDEN: &str = include_str!("../../tests/data/golden.tsv");

fn values() -> BTreeMap<String, String> {
    [
        ("A", "x"),
        ("B", ""),
        ("N", "3"),
        ("Z", "<a&'\">"),
        ("k-e", "dash"),
        ("b", "low"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// Outcome and text, as the golden cases write them.
fn outcome(source: &[u8]) -> (&'static str, Vec<u8>) {
    match render(source, &values(), &Limits::default()) {
        Ok(text) => ("OK", text),
        Err(error) => {
            let outcome = match error.kind() {
                TemplateErrorKind::Parse => "PARSE",
                TemplateErrorKind::Execution => "EXEC",
                TemplateErrorKind::Refused => "REFUSED",
                TemplateErrorKind::Limit => "LIMIT",
            };
            (outcome, error.message().as_bytes().to_vec())
        }
    }
}

fn assert_renders(source: &str, expected: &str) {
    let (outcome, text) = outcome(source.as_bytes());
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!((outcome, text.as_str()), ("OK", expected), "{source}");
}

fn assert_fails(source: &str, kind: &str, message: &str) {
    let (outcome, text) = outcome(source.as_bytes());
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!((outcome, text.as_str()), (kind, message), "{source}");
}

#[test]
fn every_golden_case_has_its_outcome_and_text() {
    let mut differences = Vec::new();
    let mut refused = 0;
    let rows: Vec<&str> = GOLDEN.lines().filter(|line| !line.is_empty()).collect();
    for row in &rows {
        let columns: Vec<&str> = row.splitn(3, '\t').collect();
        let [source, expected, text] = columns[..] else {
            panic!("not a row of three columns: {row}");
        };
        let source = unquote(source.as_bytes()).expect("a quoted template");
        let expected_text = match expected {
            "OK" => unquote(text.as_bytes()).expect("a quoted text"),
            _ => text.as_bytes().to_vec(),
        };
        let (actual, actual_text) = outcome(&source);
        if actual == "REFUSED" && super::check::refused_action(&source[2..]).is_some() {
            refused += 1;
        } else if actual != expected || actual_text != expected_text {
            differences.push(format!(
                "{row}\n  became {actual} {}",
                String::from_utf8_lossy(&actual_text)
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(rows.len(), 188);
    assert_eq!(
        refused, 10,
        "the rows that begin with define, template or block"
    );
}

#[test]
fn an_error_knows_its_line_and_column() {
    let error = render(b"FROM x\nRUN {{ .A.B }}", &values(), &Limits::default())
        .expect_err("no field of a string");
    assert_eq!(error.kind(), TemplateErrorKind::Execution);
    assert_eq!((error.line(), error.column()), (Some(2), Some(9)));
    let error =
        render(b"FROM x\n{{ if }}", &values(), &Limits::default()).expect_err("no condition");
    assert_eq!((error.line(), error.column()), (Some(2), None));
}

#[test]
fn refused_actions_are_refused_at_their_line_and_words_in_text_are_not() {
    let refusal = |line: usize, word: &str| {
        format!(
            "template: ocispec:{line}: {{{{{word}}}}} is refused: define, template and block are not available here; write the text where it is used"
        )
    };
    assert_fails(
        "a\n{{ define \"x\" }}{{ end }}",
        "REFUSED",
        &refusal(2, "define"),
    );
    assert_fails(
        "{{ if .A }}\n\n{{- template \"x\" . -}}{{ end }}",
        "REFUSED",
        &refusal(3, "template"),
    );
    assert_fails("{{block\t`x` .}}{{end}}", "REFUSED", &refusal(1, "block"));
    assert_renders(
        "define template block {{/* {{define \"x\"}} */}}{{ \"{{ define\" }}{{ .define }}",
        "define template block {{ define",
    );
}

#[test]
fn values_are_never_parsed_again() {
    let values = [("V".to_owned(), "{{ .A }}".to_owned())].into();
    let text = render(
        b"{{ .V }}{{ printf \"%s\" .V }}",
        &values,
        &Limits::default(),
    );
    assert_eq!(text.as_deref(), Ok(&b"{{ .A }}{{ .A }}"[..]));
}

#[test]
fn text_can_be_cut_within_a_character_and_joined_again() {
    assert_eq!(
        outcome("{{ slice \"é\" 0 1 }}".as_bytes()),
        ("OK", vec![0xC3])
    );
    assert_renders("{{ slice \"é\" 0 1 }}{{ slice \"é\" 1 }}", "é");
    assert_eq!(outcome(b"\xff{{ .A }}\xfe"), ("OK", vec![0xFF, b'x', 0xFE]));
}

#[test]
fn an_address_is_not_told() {
    assert_renders("{{ printf \"%p\" . }}", "0xc00000000000");
    assert_renders("{{ printf \"%p\" .A }}", "%!p(string=x)");
}

#[test]
fn a_break_in_the_else_of_a_loop_leaves_that_loop_only() {
    assert_renders(
        "{{range 2}}a{{range 0}}{{else}}{{break}}{{end}}b{{end}}",
        "abab",
    );
    assert_renders(
        "{{range 2}}a{{range 0}}{{else}}{{continue}}{{end}}b{{end}}",
        "aa",
    );
}
