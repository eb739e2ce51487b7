//! The `render` command as a user runs it.

#![expect(clippy::expect_used, reason = "a helper of a test may fail the test")]

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

fn run(directory: &TempDir, values: Option<&str>, dockerfile: &[u8]) -> Output {
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).expect("a writable directory");
        path
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_artifact-controller"));
    command.arg("render");
    if let Some(values) = values {
        command
            .arg("--values")
            .arg(file("values.yaml", values.as_bytes()));
    }
    command
        .arg(file("Dockerfile", dockerfile))
        .output()
        .expect("the command runs")
}

fn render(values: Option<&str>, dockerfile: &[u8]) -> (Option<i32>, Vec<u8>, String) {
    let directory = TempDir::new().expect("a temporary directory");
    let output = run(&directory, values, dockerfile);
    let path = Path::new(directory.path()).display().to_string();
    let message = String::from_utf8_lossy(&output.stderr).replace(&path, "DIRECTORY");
    (output.status.code(), output.stdout, message)
}

#[test]
fn the_rendered_text_is_printed_and_nothing_else() {
    let values = "BaseImage: opensuse/leap:15.6\nVersion: '2.0'\n";
    let (code, text, message) = render(
        Some(values),
        b"FROM {{ .BaseImage }}\nRUN echo {{ .Version }}{{ .Missing }}\n",
    );
    assert_eq!((code, message.as_str()), (Some(0), ""));
    assert_eq!(text, b"FROM opensuse/leap:15.6\nRUN echo 2.0\n");
}

#[test]
fn values_can_be_left_out_or_empty() {
    for values in [None, Some(""), Some("{}"), Some("# none\n")] {
        let (code, text, message) = render(values, b"FROM a{{ .B }}\xff");
        assert_eq!((code, message.as_str()), (Some(0), ""), "{values:?}");
        assert_eq!(text, b"FROM a\xff");
    }
}

#[test]
fn a_bad_template_is_explained_on_standard_error_with_exit_code_1() {
    let (code, text, message) = render(None, b"FROM a\nRUN {{ .A.B }}\n");
    assert_eq!((code, text.as_slice()), (Some(1), &b""[..]));
    assert_eq!(
        message,
        "template: ocispec:2:9: executing \"ocispec\" at <.A.B>: can't evaluate field B in type string\n"
    );
    let (code, _, message) = render(None, b"{{ define \"x\" }}{{ end }}");
    assert_eq!(code, Some(1));
    assert!(
        message.starts_with("template: ocispec:1: {{define}} is refused: "),
        "{message}"
    );
}

#[test]
fn a_value_that_is_not_a_string_is_refused_by_name() {
    for (value, kind) in [
        ("3", "a number"),
        ("1.5", "a number"),
        ("true", "a boolean"),
        ("[a]", "a list"),
        ("{a: b}", "a map"),
        ("", "empty"),
        ("null", "empty"),
    ] {
        let (code, text, message) = render(Some(&format!("A: text\nN: {value}\n")), b"{{ .N }}");
        assert_eq!((code, text.as_slice()), (Some(1), &b""[..]), "{value}");
        assert_eq!(
            message,
            format!(
                "value of \"N\" in DIRECTORY/values.yaml is {kind}, not a string; put it in quotes\n"
            )
        );
    }
}

#[test]
fn values_that_are_not_a_map_and_files_that_do_not_exist_are_explained() {
    let (code, _, message) = render(Some("- a\n- b\n"), b"");
    assert_eq!(code, Some(1));
    assert!(
        message.starts_with(
            "failed to read values from DIRECTORY/values.yaml: write a map of strings"
        ),
        "{message}"
    );
    let output = Command::new(env!("CARGO_BIN_EXE_artifact-controller"))
        .args(["render", "does-not-exist.dockerfile"])
        .output()
        .expect("the command runs");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.starts_with("failed to read does-not-exist.dockerfile: "),
        "{message}"
    );
}

#[test]
fn a_template_without_end_is_refused_and_not_read_to_its_end() {
    let output = Command::new(env!("CARGO_BIN_EXE_artifact-controller"))
        .args(["render", "/dev/zero"])
        .output()
        .expect("the command runs");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "template: ocispec: the template is larger than 1048576 bytes\n"
    );
}

#[test]
fn a_key_given_twice_is_refused() {
    let (code, _, message) = render(Some("A: one\nA: two\n"), b"{{ .A }}");
    assert_eq!(code, Some(1), "{message}");
}
