//! Calls `cargo test`, lets its output through and reads the summary lines from it.

use std::{
    io::{BufRead, BufReader},
    ops::AddAssign,
    process::Stdio,
};

use anyhow::{Context, bail};

use crate::workspace::Workspace;

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: usize,
    pub(super) failed: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Builds all tests and our own programs, which tests start. True when they build.
///
/// In one call, because cargo picks the features of dependencies per call: building programs apart from tests would
/// compile most dependencies twice.
pub(crate) fn build(workspace: &Workspace) -> anyhow::Result<bool> {
    let arguments = ["build", "--workspace", "--bins", "--tests", "--quiet"];
    let status = workspace
        .cargo(arguments)
        .status()
        .context("failed to start `cargo build`")?;
    Ok(status.success())
}

/// Builds the tests of one selection only. True when they build.
pub(super) fn build_selection(workspace: &Workspace, selection: &[String]) -> anyhow::Result<bool> {
    let mut command = workspace.cargo(["test", "--workspace", "--no-run", "--quiet"]);
    let status = command
        .args(selection)
        .status()
        .context("failed to start `cargo test`")?;
    Ok(status.success())
}

/// Runs the selected tests and counts them. A run that ends badly without a failed test counts as one failure: the
/// process died, or nothing could be started.
pub(super) fn run(
    workspace: &Workspace,
    selection: &[String],
    environment: &[(&str, String)],
) -> anyhow::Result<Counts> {
    let mut child = workspace
        .cargo(["test", "--workspace", "--no-fail-fast"])
        .args(selection)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start `cargo test`")?;
    let Some(output) = child.stdout.take() else {
        bail!("failed to read the output of `cargo test`")
    };
    let mut counts = Counts::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("failed to read the output of `cargo test`")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(summary) = summary(&line) {
            counts += summary;
        }
    }
    let status = child.wait().context("failed to wait for `cargo test`")?;
    if !status.success() && counts.failed == 0 {
        counts.failed = 1;
    }
    Ok(counts)
}

/// Reads the runner's summary line: `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
fn summary(line: &str) -> Option<Counts> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |word: &str| {
        numbers.split("; ").find_map(|field| {
            field
                .trim()
                .strip_suffix(word)?
                .trim()
                .parse::<usize>()
                .ok()
        })
    };
    Some(Counts {
        passed: number("passed")?,
        failed: number("failed")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runners_summary_line_is_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.01s";
        assert_eq!(
            summary(line),
            Some(Counts {
                passed: 12,
                failed: 3
            })
        );
    }

    #[test]
    fn other_lines_are_no_summary() {
        for line in ["test a ... ok", "running 3 tests", "test result: ok", ""] {
            assert_eq!(summary(line), None, "{line}");
        }
    }
}
