//! Checks over the workflows: what they use is pinned, what they may do is said, and what they run exists here.

use clap::Parser as _;

use crate::Arguments;

use super::{Finding, SourceFile};

/// Where they are.
pub(super) const FOLDER: &str = ".github/workflows/";
/// Hexadecimal digits of a commit.
const DIGEST: usize = 40;

/// What can be seen in the text. actionlint sees the rest.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with(FOLDER)) {
        if !file.text.lines().any(|line| line == "permissions: {}") {
            findings.push(Finding::error(
                &file.path,
                "does not take all permissions away first",
                "write `permissions: {}` above the jobs, and what a job needs in the job",
            ));
        }
        for (index, line) in file.text.lines().enumerate() {
            let place = format!("{}:{}", file.path, index + 1);
            let line = line.trim_start().trim_start_matches("- ");
            if line.starts_with('#') {
                continue;
            }
            if let Some(action) = line.strip_prefix("uses: ")
                && !is_pinned(action)
            {
                findings.push(Finding::error(
                    place,
                    format!("uses {action}, which may become something else"),
                    "write the full commit behind the @, and the version as a comment",
                ));
            } else if let Some(problem) = command(line) {
                findings.push(Finding::error(
                    place,
                    format!("runs what is no command here: {problem}"),
                    "see `cargo xtask --help`",
                ));
            }
        }
    }
    findings
}

/// `OWNER/NAME@COMMIT # VERSION`, or an action of this repository.
fn is_pinned(action: &str) -> bool {
    if action.starts_with("./") {
        return true;
    }
    let Some((commit, version)) = action
        .split_once('@')
        .and_then(|(_, reference)| reference.split_once(" # "))
    else {
        return false;
    };
    commit.len() == DIGEST
        && commit.chars().all(|c| c.is_ascii_hexdigit())
        && version.starts_with('v')
}

/// What is wrong with the command of this repository in a line, if there is one.
fn command(line: &str) -> Option<String> {
    let (_, words) = line.split_once("cargo xtask ")?;
    let words = words.split_whitespace().map(|word| word.trim_matches('"'));
    let error = Arguments::try_parse_from(["cargo xtask"].into_iter().chain(words)).err()?;
    Some(error.to_string().lines().next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(line: &str) -> Vec<String> {
        let text = format!("permissions: {{}}\njobs:\n    - {line}\n");
        let path = format!("{FOLDER}a.yml");
        let findings = check(&[SourceFile { path, text }]);
        findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn an_action_without_its_commit_is_found() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert!(findings(&format!("uses: actions/carrot@{commit} # v1.2.3")).is_empty());
        assert!(findings("uses: ./.github/actions/own").is_empty());
        for action in [
            "actions/carrot@v1".to_owned(),
            format!("actions/carrot@{commit}"),
            "actions/carrot@0123456 # v1".to_owned(),
        ] {
            assert_eq!(findings(&format!("uses: {action}")).len(), 1, "{action}");
        }
    }

    #[test]
    fn a_command_that_does_not_exist_is_found() {
        assert!(findings("run: cargo xtask test --unit").is_empty());
        assert!(findings("# `cargo xtask words` in a comment").is_empty());
        assert!(
            findings("run: cargo xtask release --tag \"$TAG\" --images a --output b").is_empty()
        );
        for wrong in [
            "cargo xtask tset",
            "cargo xtask test --untied",
            "cargo xtask release",
        ] {
            assert_eq!(findings(&format!("run: {wrong}")).len(), 1, "{wrong}");
        }
    }

    #[test]
    fn permissions_are_taken_away_first() {
        let file = SourceFile {
            path: format!("{FOLDER}a.yml"),
            text: "jobs:\n".into(),
        };
        assert!(check(&[file])[0].what.contains("permissions"));
    }
}
