//! Checks that other tools make: rustfmt and clippy, their findings in our one-line form.

use std::process::{Command, Stdio};

use anyhow::Context;

use crate::workspace::Workspace;

use super::{Finding, SourceFile, workflows};

/// The Go module that pins actionlint.
const ACTIONLINT: &str = "e2e/tools/actionlint";

/// Files that rustfmt would change.
pub(super) fn format(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let output = workspace
        .cargo(["fmt", "--all", "--", "--check", "-l"])
        .output()
        .context("failed to start `cargo fmt`: install it with `rustup component add rustfmt`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut findings: Vec<Finding> = text
        .lines()
        .filter(|line| !line.is_empty())
        .map(|path| {
            Finding::error(
                workspace.relative(path.as_ref()),
                "is not formatted",
                "run `cargo fmt`",
            )
        })
        .collect();
    if !output.status.success() && findings.is_empty() {
        let message = String::from_utf8_lossy(&output.stderr);
        findings.push(Finding::error(
            "Cargo.toml",
            "cargo fmt failed",
            message.trim(),
        ));
    }
    Ok(findings)
}

/// What clippy says of every target, warnings included.
pub(super) fn clippy(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let output = workspace
        .cargo([
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--message-format=short",
            "--",
            "-D",
            "warnings",
        ])
        .stdout(Stdio::null())
        .output()
        .context("failed to start `cargo clippy`: install it with `rustup component add clippy`")?;
    let text = String::from_utf8_lossy(&output.stderr);
    let mut findings = messages(&text);
    if !output.status.success() && findings.is_empty() {
        findings.push(Finding::error(
            "Cargo.toml",
            "cargo clippy failed",
            text.trim(),
        ));
    }
    Ok(findings)
}

/// What actionlint says of the workflows. Go builds it the first time, in seconds, and keeps it.
pub(super) fn actionlint(
    workspace: &Workspace,
    files: &[SourceFile],
) -> anyhow::Result<Vec<Finding>> {
    let paths = files
        .iter()
        .filter(|file| file.path.starts_with(workflows::FOLDER))
        .map(|file| workspace.root.join(&file.path));
    let output = Command::new("go")
        .current_dir(workspace.root.join(ACTIONLINT))
        .args(["tool", "actionlint", "-oneline", "-no-color"])
        .args(paths)
        .output()
        .context("failed to start `go tool actionlint`: install Go")?;
    if output.status.success() {
        return Ok(Vec::new());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    // PATH:LINE:COLUMN: TEXT
    let mut findings: Vec<Finding> = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(place, what)| {
            // Paths are printed as seen from the module's folder.
            let place = place.trim_start_matches("../");
            Finding::error(place, what, "see the documentation of GitHub Actions")
        })
        .collect();
    if findings.is_empty() {
        let message = String::from_utf8_lossy(&output.stderr);
        findings.push(Finding::error(
            ACTIONLINT,
            "actionlint failed",
            message.trim(),
        ));
    }
    Ok(findings)
}

/// Findings in the short form of rustc's messages, `PATH:LINE:COLUMN: error[CODE]: TEXT`, each once although a library
/// is compiled with and without its tests.
fn messages(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for line in text.lines() {
        let Some((place, what)) = line
            .split_once(": error")
            .or_else(|| line.split_once(": warning"))
        else {
            continue;
        };
        let Some((code, what)) = what.split_once(": ") else {
            continue;
        };
        if !place.contains(".rs:") || !(code.is_empty() || code.starts_with('[')) {
            continue;
        }
        let finding = Finding::error(place, what, "run `cargo clippy` for the whole message");
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_messages_become_findings_once() {
        let text = "src/a.rs:3:5: error: unused variable: `x`\n\
                    src/a.rs:3:5: error: unused variable: `x`\n\
                    src/b.rs:1:1: error[E0425]: cannot find `y`\n\
                    error: could not compile `a` (lib) due to 1 previous error\n";
        let findings = messages(text);
        let places: Vec<_> = findings.iter().map(|finding| &*finding.place).collect();
        assert_eq!(places, ["src/a.rs:3:5", "src/b.rs:1:1"]);
        assert_eq!(findings[0].what, "unused variable: `x`");
    }
}
