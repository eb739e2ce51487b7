//! Runs the Go program that renders with text/template.

use std::collections::BTreeMap;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// What Go made of a template.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The template parses and defines or calls another one.
    pub(crate) uses_templates: bool,
    /// O rendered, P parse error, E execution error, L too large.
    pub(crate) outcome: u8,
    pub(crate) text: Vec<u8>,
}

/// A running Go program.
pub(crate) struct Go {
    child: Child,
    output: BufReader<ChildStdout>,
}

/// Writes templates to the Go program.
pub(crate) struct Questions(BufWriter<ChildStdin>);

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

/// The character tables that the Go program prints.
pub(crate) fn unicode_tables() -> String {
    let output = Command::new(program())
        .arg("unicode")
        .output()
        .expect("gotemplate runs");
    assert!(output.status.success(), "gotemplate unicode failed");
    String::from_utf8(output.stdout).expect("UTF-8")
}

impl Go {
    pub(crate) fn start(values: &BTreeMap<String, String>) -> (Self, Questions) {
        let mut child = Command::new(program())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("gotemplate starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut questions = Questions(BufWriter::new(child.stdin.take().expect("piped")));
        questions.send(values.len().to_string().as_bytes());
        for (key, value) in values {
            questions.send(key.as_bytes());
            questions.send(value.as_bytes());
        }
        (Self { child, output }, questions)
    }

    pub(crate) fn answer(&mut self) -> Answer {
        let mut header = [0; 6];
        self.output
            .read_exact(&mut header)
            .expect("gotemplate answers");
        let [uses, outcome, length @ ..] = header;
        let mut text = vec![0; u32::from_be_bytes(length) as usize];
        self.output
            .read_exact(&mut text)
            .expect("gotemplate answers");
        Answer {
            uses_templates: uses == b'R',
            outcome,
            text,
        }
    }

    pub(crate) fn finish(mut self) {
        let status = self.child.wait().expect("gotemplate ends");
        assert!(status.success(), "gotemplate failed: {status}");
    }
}

impl Questions {
    pub(crate) fn send(&mut self, frame: &[u8]) {
        let length = u32::try_from(frame.len()).expect("a short frame");
        self.0
            .write_all(&length.to_be_bytes())
            .expect("gotemplate reads");
        self.0.write_all(frame).expect("gotemplate reads");
        self.0.flush().expect("gotemplate reads");
    }
}
