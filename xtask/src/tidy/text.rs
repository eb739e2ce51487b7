//! Checks over the text of the repository's files: sizes, paths of one machine, hosts of package mirrors, leftovers.

use std::{env, path::Path};

use crate::workspace::Workspace;

use super::{Finding, SourceFile};

/// Lines from which a Rust file is said to be long, and from which it is too long.
const LONG: usize = 400;
const TOO_LONG: usize = 500;
/// Hosts of package registries and mirrors, as labels so that this file does not name them itself. Where packages come
/// from is the machine's own setting (cargo's configuration, GOPROXY, apt's sources), never the repository's.
const HOSTS: [&[&str]; 9] = [
    &["proxy", "golang", "org"],
    &["sum", "golang", "org"],
    &["goproxy", "io"],
    &["deb", "debian", "org"],
    &["archive", "ubuntu", "com"],
    &["index", "crates", "io"],
    &["static", "crates", "io"],
    &["crates", "io/api"],
    &["dl", "k8s", "io"],
];
/// Files that other programs write and that name their registry by necessity.
const WRITTEN_BY_TOOLS: [&str; 2] = ["Cargo.lock", "go.sum"];

const README: &str = "README.md";
/// Each file below is a manifest that the README explains, and that a test applies.
const EXAMPLES: &str = "deploy/examples/";

/// Rust files that are too long to be read in one go.
pub(super) fn sizes(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_rust(&file.path)) {
        let lines = file.text.lines().count();
        let what = format!("has {lines} lines");
        let remedy = "split it by what its parts are for";
        if lines > TOO_LONG {
            findings.push(Finding::error(
                &file.path,
                format!("{what}, more than {TOO_LONG}"),
                remedy,
            ));
        } else if lines > LONG {
            findings.push(Finding::warning(
                &file.path,
                format!("{what}, more than {LONG}"),
                remedy,
            ));
        }
    }
    findings
}

/// The folders that only this machine has: the one around the checkout and the user's home.
pub(super) fn machine_folders(workspace: &Workspace) -> Vec<String> {
    let around = workspace.root.parent().map(Path::to_path_buf);
    let home = env::var_os("HOME").map(Into::into);
    let mut folders: Vec<String> = ["/home", "/Users"].map(str::to_owned).into();
    for folder in [around, home].into_iter().flatten() {
        folders.push(folder.display().to_string());
    }
    folders.retain(|folder| folder.len() > 1);
    folders
}

/// Absolute paths below `machine_folders` and names of package hosts.
pub(super) fn stray(files: &[SourceFile], machine_folders: &[String]) -> Vec<Finding> {
    let folders: Vec<String> = machine_folders
        .iter()
        .map(|folder| format!("{folder}/"))
        .collect();
    let hosts = HOSTS.map(|labels| labels.join("."));
    let mut findings = Vec::new();
    for file in files {
        if WRITTEN_BY_TOOLS
            .iter()
            .any(|name| file.path.rsplit('/').next() == Some(name))
        {
            continue;
        }
        for (index, line) in file.text.lines().enumerate() {
            let place = || format!("{}:{}", file.path, index + 1);
            if let Some(folder) = folders.iter().find(|folder| has_path(line, folder)) {
                let what = format!("names the path {folder}, which other machines do not have");
                findings.push(Finding::error(
                    place(),
                    what,
                    "use a path relative to the repository or from a variable",
                ));
            }
            if let Some(host) = hosts.iter().find(|host| line.contains(&***host)) {
                let what = format!("names the package host {host}");
                findings.push(Finding::error(
                    place(),
                    what,
                    "leave it to the machine's own package settings",
                ));
            }
        }
    }
    findings
}

/// True when `line` has `folder` where an absolute path starts, not in the middle of a longer path.
fn has_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && !"/._-}~".contains(before))
    })
}

/// Tests that are switched off and notes to self.
pub(super) fn unfinished(files: &[SourceFile]) -> Vec<Finding> {
    let ignored = ["#[", "ignore"].concat();
    let notes = [["TO", "DO"].concat(), ["FIX", "ME"].concat()];
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_rust(&file.path)) {
        for (index, line) in file.text.lines().enumerate() {
            let place = format!("{}:{}", file.path, index + 1);
            if line.trim_start().starts_with(&ignored) {
                findings.push(Finding::error(
                    place,
                    "switches a test off",
                    "mend the test or remove it",
                ));
            } else if let Some(note) = notes.iter().find(|note| line.contains(&***note)) {
                findings.push(Finding::error(
                    place,
                    format!("says {note}"),
                    "do it now or write an issue",
                ));
            }
        }
    }
    findings
}

/// The example that README.md quotes must be the file that the demo applies.
pub(super) fn quoted(files: &[SourceFile]) -> Vec<Finding> {
    let text = |path: &str| {
        files
            .iter()
            .find(|file| file.path == path)
            .map(|file| file.text.trim())
    };
    let Some(readme) = text(README) else {
        return Vec::new();
    };
    files
        .iter()
        .filter(|file| file.path.starts_with(EXAMPLES) && !readme.contains(file.text.trim()))
        .map(|file| {
            Finding::error(
                README,
                format!("does not quote {} word for word", file.path),
                "copy the file into it",
            )
        })
        .collect()
}

fn is_rust(path: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "rs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::Severity;

    fn file(path: &str, text: impl Into<String>) -> SourceFile {
        SourceFile {
            path: path.into(),
            text: text.into(),
        }
    }

    #[test]
    fn long_rust_files_warn_and_too_long_ones_fail() {
        let severity = |lines: usize| {
            sizes(&[file("a.rs", "x\n".repeat(lines))])
                .first()
                .map(|finding| finding.severity)
        };
        assert_eq!(severity(400), None);
        assert_eq!(severity(401), Some(Severity::Warning));
        assert_eq!(severity(500), Some(Severity::Warning));
        assert_eq!(severity(501), Some(Severity::Error));
        assert_eq!(sizes(&[file("a.yaml", "x\n".repeat(900))]), []);
    }

    #[test]
    fn a_path_of_one_machine_is_found_with_its_line() {
        let folders = ["/plot".to_owned()];
        let findings = stray(&[file("a.md", "fine\nsee `/plot/carrots`")], &folders);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].place, "a.md:2");
    }

    #[test]
    fn the_same_words_inside_a_longer_path_are_fine() {
        let folders = ["/root".to_owned()];
        let text = "/proc/1/root/proc {dir}/root/x ~/root/x a/root/x /rooted /root";
        assert_eq!(stray(&[file("a.rs", text)], &folders), []);
    }

    #[test]
    fn package_hosts_are_found_except_in_lock_files() {
        let host = ["deb", "debian", "org"].join(".");
        assert_eq!(
            stray(&[file("a.sh", format!("http://{host}/debian"))], &[]).len(),
            1
        );
        assert_eq!(stray(&[file("e2e/tools/go.sum", host)], &[]), []);
    }

    #[test]
    fn the_readme_quotes_the_example_as_it_is() {
        let example = file("deploy/examples/a.yaml", "kind: NodeOp\nspec: {}\n");
        let readme = file(README, "# Title\n```yaml\nkind: NodeOp\nspec: {}\n```\n");
        let other = file(README, "# Title\n```yaml\nkind: NodeOp\n```\n");
        assert_eq!(quoted(&[readme, example]), []);
        assert_eq!(
            quoted(&[
                other,
                file("deploy/examples/a.yaml", "kind: NodeOp\nspec: {}\n")
            ])
            .len(),
            1
        );
    }

    #[test]
    fn tests_that_are_switched_off_are_found() {
        let text = format!("#[test]\n    {}]\nfn a() {{}}\n", ["#[", "ignore"].concat());
        assert_eq!(unfinished(&[file("a.rs", text)])[0].place, "a.rs:2");
    }
}
