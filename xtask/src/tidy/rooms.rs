//! Every controller crate has the same rooms, so that who knows one knows all.

use std::collections::BTreeSet;

use super::{Finding, SourceFile};

/// The rooms: a file `NAME.rs` or a folder `NAME/`.
const ROOMS: [&str; 9] = [
    "lib",
    "controller",
    "observe",
    "decide",
    "build",
    "apply",
    "status",
    "metrics",
    "error",
];
/// A `main.rs` parses arguments and calls the library.
const LONGEST_MAIN: usize = 40;

/// A crate with a `src/main.rs` is a controller with function; the others hold nothing yet.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let paths: BTreeSet<&str> = files.iter().map(|file| &*file.path).collect();
    let mut findings = Vec::new();
    for file in files {
        let Some(source) = file
            .path
            .strip_suffix("main.rs")
            .filter(|source| is_crate_source(source))
        else {
            continue;
        };
        let lines = file.text.lines().count();
        if lines > LONGEST_MAIN {
            findings.push(Finding::error(
                &file.path,
                format!("has {lines} lines, more than {LONGEST_MAIN}"),
                "move what is more than parsing arguments into the library",
            ));
        }
        for room in ROOMS {
            let (as_file, as_folder) = (format!("{source}{room}.rs"), format!("{source}{room}/"));
            if !paths.contains(&*as_file) && !paths.iter().any(|path| path.starts_with(&as_folder))
            {
                findings.push(Finding::error(
                    source.trim_end_matches('/'),
                    format!("has no {room}.rs and no {room}/"),
                    "give the crate this room: every controller has the same ones (ARCHITECTURE.md)",
                ));
            }
        }
    }
    findings
}

/// True for `crates/NAME/src/`.
fn is_crate_source(folder: &str) -> bool {
    folder
        .strip_prefix("crates/")
        .and_then(|rest| rest.strip_suffix("/src/"))
        .is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> SourceFile {
        SourceFile {
            path: path.into(),
            text: "fn main() {}\n".into(),
        }
    }

    fn complete() -> Vec<SourceFile> {
        let rooms = [
            "main",
            "lib",
            "controller",
            "observe",
            "apply",
            "status",
            "metrics",
            "error",
        ];
        let mut files: Vec<_> = rooms
            .iter()
            .map(|room| file(&format!("crates/carrot/src/{room}.rs")))
            .collect();
        files.push(file("crates/carrot/src/decide/mod.rs"));
        files.push(file("crates/carrot/src/build/job.rs"));
        files
    }

    #[test]
    fn rooms_may_be_files_or_folders() {
        assert_eq!(check(&complete()), []);
    }

    #[test]
    fn a_missing_room_is_named() {
        let mut files = complete();
        files.retain(|file| !file.path.ends_with("observe.rs"));
        let findings = check(&files);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].place, "crates/carrot/src");
        assert!(findings[0].what.contains("observe"));
    }

    #[test]
    fn a_crate_without_main_and_other_binaries_need_no_rooms() {
        assert_eq!(
            check(&[file("crates/empty/src/lib.rs"), file("xtask/src/main.rs")]),
            []
        );
    }

    #[test]
    fn a_main_over_forty_lines_is_too_long() {
        let mut files = complete();
        files[0].text = "// x\n".repeat(41);
        assert!(check(&files)[0].what.contains("41 lines"));
        files[0].text = "// x\n".repeat(40);
        assert_eq!(check(&files), []);
    }
}
