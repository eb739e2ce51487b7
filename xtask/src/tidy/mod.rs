//! `cargo xtask tidy`: what a reviewer would otherwise have to look for. Each finding is one line that says the file,
//! what is the matter and what to do. The checks are pure functions over what is read here.

mod dependencies;
mod rooms;
mod text;
mod tools;
mod workflows;

use std::{fmt, fs, process::ExitCode};

use anyhow::Context;

use crate::{generate, test, workspace::Workspace};

/// Check what review would otherwise look for: layers, file sizes, rooms, generated files, format, lints, stray paths.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Leave out clippy, which compiles the workspace, and actionlint, which Go builds first.
    #[arg(long)]
    quick: bool,
}

/// Something to mend, in one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Relative to the root; with `:LINE` where one line is meant.
    pub(crate) place: String,
    pub(crate) what: String,
    pub(crate) remedy: String,
    /// A warning is printed and does not fail the check.
    pub(crate) severity: Severity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Warning,
    Error,
}

impl Finding {
    pub(crate) fn error(
        place: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
            remedy: remedy.into(),
            severity: Severity::Error,
        }
    }

    pub(crate) fn warning(
        place: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(place, what, remedy)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warning = if self.severity == Severity::Warning {
            "warning: "
        } else {
            ""
        };
        write!(
            formatter,
            "{}: {warning}{}; {}",
            self.place, self.what, self.remedy
        )
    }
}

/// A file of the repository with its text.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Relative to the root.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// How many checks passed and failed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let outcome = check(workspace, arguments.quick)?;
    Ok(if outcome.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs every check and prints the findings and one line per check.
pub(crate) fn check(workspace: &Workspace, quick: bool) -> anyhow::Result<Outcome> {
    let files = read(workspace)?;
    let layers = dependencies::layers(workspace);
    let mut outcome = Outcome::default();
    let mut report = |name: &str, findings: Vec<Finding>| {
        for finding in &findings {
            println!("{finding}");
        }
        let errors = findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .count();
        if errors == 0 {
            outcome.passed += 1;
            println!("tidy: {name}: ok");
        } else {
            outcome.failed += 1;
            println!("tidy: {name}: {errors} to mend");
        }
    };
    report("layers", dependencies::check(&layers));
    report("rooms", rooms::check(&files));
    report("file sizes", text::sizes(&files));
    report(
        "stray paths and hosts",
        text::stray(&files, &text::machine_folders(workspace)),
    );
    report("unfinished work", text::unfinished(&files));
    report("quoted example", text::quoted(&files));
    report("workflows", workflows::check(&files));
    report("test names", test::parts::misnamed(workspace));
    report("generated files", stale(workspace)?);
    report("format", tools::format(workspace)?);
    if !quick {
        report("clippy", tools::clippy(workspace)?);
        report("actionlint", tools::actionlint(workspace, &files)?);
    }
    Ok(outcome)
}

fn stale(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let findings = generate::stale(workspace)?.into_iter().map(|path| {
        Finding::error(
            path,
            "is not what the code makes",
            "run `cargo xtask generate` and commit the result",
        )
    });
    Ok(findings.collect())
}

/// Every text file that git knows or would know.
fn read(workspace: &Workspace) -> anyhow::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    for path in workspace.files()? {
        let bytes = fs::read(workspace.root.join(&path))
            .with_context(|| format!("failed to read {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(SourceFile { path, text });
        }
    }
    Ok(files)
}
