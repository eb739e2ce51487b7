//! Templates that nest, repeat or print as much as they can.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{Limits, TemplateErrorKind, check, render};
use super::{assert_fails, assert_renders, outcome};

/// Longest that a template may take in a build without optimisation on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

fn repeated(part: &str, count: usize) -> String {
    part.repeat(count)
}

fn assert_limited(source: &str) {
    let begin = Instant::now();
    let (outcome, message) = outcome(source.as_bytes());
    let shown: String = source.chars().take(60).collect();
    assert_eq!(
        outcome,
        "LIMIT",
        "{shown}: {:?}",
        String::from_utf8_lossy(&message)
            .chars()
            .take(200)
            .collect::<String>()
    );
    assert!(
        begin.elapsed() < PATIENCE,
        "{shown}: took {:?}",
        begin.elapsed()
    );
}

#[test]
fn parentheses_nest_as_deep_as_in_go_and_no_deeper() {
    let nested = |depth| format!("{{{{{}1{}}}}}", repeated("(", depth), repeated(")", depth));
    assert_renders(&nested(10_000), "1");
    assert_fails(
        &nested(10_001),
        "PARSE",
        "template: ocispec:1: max expression depth exceeded",
    );
    let calls = format!(
        "{{{{{}1{}}}}}",
        repeated("print (", 9_999),
        repeated(")", 9_999)
    );
    assert_renders(&calls, "1");
    let fields = format!(
        "{{{{{}.{}}}}}",
        repeated("(", 9_999),
        repeated(").A", 9_999)
    );
    let (outcome, message) = outcome(fields.as_bytes());
    assert_eq!(outcome, "EXEC");
    assert!(String::from_utf8_lossy(&message).ends_with("can't evaluate field A in type string"));
    assert_fails(
        &repeated("{{(", 300_000),
        "PARSE",
        "template: ocispec:1: unexpected \"{\" in parenthesized pipeline",
    );
}

#[test]
fn actions_nest_to_the_limit() {
    let nested =
        |open: &str, depth| format!("{}x{}", repeated(open, depth), repeated("{{end}}", depth));
    for open in ["{{if 1}}", "{{with 1}}", "{{range 1}}"] {
        assert_renders(&nested(open, 1_000), "x");
        assert_limited(&nested(open, 1_001));
    }
    let chain = format!(
        "{{{{if 0}}}}{}x{{{{end}}}}",
        repeated("{{else if 0}}", 1_001)
    );
    assert_limited(&chain);
    let both = format!(
        "{}{{{{{}1{}}}}}{}",
        repeated("{{if 1}}", 1_000),
        repeated("print (", 9_999),
        repeated(")", 9_999),
        repeated("{{end}}", 1_000)
    );
    assert_renders(&both, "1");
}

#[test]
fn long_loops_end() {
    assert_limited("{{range 1000000000}}{{end}}");
    assert_limited("{{range 100000}}{{range 100000}}{{end}}{{end}}");
    assert_limited("{{range 1000000000}}{{if 0}}{{end}}{{end}}");
    assert_limited("{{range 9223372036854775807}}{{continue}}{{end}}");
    assert_renders("{{range 1000000000}}{{break}}{{end}}", "");
    assert_renders("{{range 100000}}{{end}}done", "done");
}

#[test]
fn large_texts_end() {
    assert_limited("{{range 1000000000}}0123456789{{end}}");
    assert_limited("{{range printf \"%9000000d\" 1}}{{end}}");
    assert_limited("{{range 100}}{{printf \"%1000000d\" 1}}{{end}}");
    assert_limited(&format!(
        "{{{{len (printf \"{}\" {})}}}}",
        repeated("%1000000d", 100),
        repeated("1 ", 100)
    ));
    assert_limited(&format!(
        "{{{{printf \"{}\" 1}}}}",
        repeated("%9999999[1]d", 80_000)
    ));
    assert_limited("{{$x := \"0123456789\"}}{{range 100}}{{$x = print $x $x}}{{end}}");
    assert_limited(&format!(
        "{{{{$x := printf \"%1000000d\" 1}}}}{}",
        repeated("{{$y := print $x}}", 1_000)
    ));
    assert_limited(
        "{{$x := printf \"%1000000d\" 1}}{{range 1000000}}{{if eq $x $x}}{{end}}{{end}}",
    );
    assert_limited("{{$x := printf \"%1000000d\" 1}}{{range 1000000}}{{$y := slice $x 1}}{{end}}");
    assert_limited("{{range 10000000}}{{$x := html \"<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<\"}}{{end}}");
    assert_limited(&format!(
        "{{{{range 1000000}}}}{{{{$x := printf \"{}\"}}}}{{{{end}}}}",
        repeated("%.0s", 100_000)
    ));
}

#[test]
fn widths_are_bounded_as_in_go() {
    assert_renders("{{len (printf \"%1000000d\" 1)}}", "1000000");
    assert_renders("{{len (printf \"%*d\" 1000000 1)}}", "1000000");
    assert_renders("{{printf \"%*d\" 1000001 1}}", "%!(BADWIDTH)1");
    assert_renders("{{printf \"%.*d\" -1 1}}", "%!(BADPREC)1");
    assert_renders("{{printf \"%99999999d\" 1}}", "%!(NOVERB)%!(EXTRA int=1)");
    assert_renders("{{len (printf \"%.1000000f\" 1.5)}}", "1000002");
    assert_renders("{{len (printf \"%.1000000e\" 1.5)}}", "1000006");
    assert_renders("{{len (printf \"%.1000000x\" 1.5)}}", "1000008");
    assert_renders("{{len (printf \"%#.1000000U\" 65)}}", "1000006");
    assert_renders("{{len (printf \"%.9000000d\" 1)}}", "9000000");
}

#[test]
fn many_variables_are_looked_up_quickly() {
    let declarations: Vec<String> = (0..25_000)
        .map(|number| format!("{{{{$v{number} := {number}}}}}"))
        .collect();
    let declarations = declarations.concat();
    let uses = repeated("{{$v0}}", 60_000);
    let source = format!("{declarations}{uses}");
    let begin = Instant::now();
    assert!(check(source.as_bytes(), &Limits::default()).is_ok());
    assert!(begin.elapsed() < PATIENCE);
    assert_limited(&source);
}

#[test]
fn a_template_that_is_too_large_is_not_read() {
    let limits = Limits {
        input_bytes: 10,
        ..Limits::default()
    };
    let error = check(b"01234567890", &limits).expect_err("eleven bytes");
    assert_eq!(error.kind(), TemplateErrorKind::Limit);
    assert_eq!(
        error.message(),
        "template: ocispec: the template is larger than 10 bytes"
    );
    assert!(check(b"0123456789", &limits).is_ok());
}

#[test]
fn an_output_of_exactly_the_limit_is_rendered() {
    let limits = Limits {
        output_bytes: 4,
        ..Limits::default()
    };
    let values = BTreeMap::new();
    assert_eq!(
        render(b"ab{{12}}", &values, &limits).as_deref(),
        Ok(&b"ab12"[..])
    );
    let error = render(b"ab{{12}}c", &values, &limits).expect_err("five bytes");
    assert_eq!(error.kind(), TemplateErrorKind::Limit);
    assert_eq!(error.line(), Some(1));
}

/// Words that get bytes past the lexer.
fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "{{", "}}", "{{- ", " -}}", "if ", "else", "end", "range ", "with ", "break", "continue", "define ", "$", "$x", ":=",
            "=", ",", ".", ".A", "(", ")", "|", "\"", "`", "'", "\\", "printf ", "\"%", "print ", "index ", "slice ", "nil", "0x", "1e",
            "1i", "+", "-", "_", "9223372036854775807 ", "/*", "*/", " ", "\n", "eq ", "lt ", "and ", "or ", "call ", "len ", "html ", "*", "[1]", "%",
        ]).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_rendered_or_explained(source in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(explained(&source));
    }

    #[test]
    fn any_words_are_rendered_or_explained(words in prop::collection::vec(word(), 0..40)) {
        prop_assert!(explained(&words.concat()));
    }

    #[test]
    fn any_words_in_an_action_are_rendered_or_explained(words in prop::collection::vec(word(), 0..12)) {
        prop_assert!(explained(&[b"{{", &words.concat()[..], b"}}"].concat()));
    }
}

/// Whether rendering ends, with a message if not with a text.
fn explained(source: &[u8]) -> bool {
    let limits = Limits {
        steps: 10_000,
        ..Limits::default()
    };
    match render(source, &super::values(), &limits) {
        Ok(_) => true,
        Err(error) => error.message().starts_with("template: ocispec"),
    }
}
