//! Runs tools: argument vectors as the controller wrote them, no shell in between.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use super::{Layout, Result, WorkerError, is_kairos};
use crate::paths;

/// Separates one call from the next. No value can be this word: none begins with `-`.
pub const THEN: &str = "--then";

/// Programs to run, and when.
#[derive(Debug, Args)]
pub struct Call {
    /// Do nothing when the root file system is that of a Kairos system already.
    #[arg(long)]
    unless_kairos: bool,
    /// Do nothing when this file does not exist.
    #[arg(long, value_name = "FILE")]
    if_exists: Option<PathBuf>,
    /// Remove what is in this folder first.
    #[arg(long, value_name = "FOLDER")]
    clear: Option<PathBuf>,
    /// The programs with their arguments, separated by --then.
    #[arg(last = true, required = true)]
    calls: Vec<OsString>,
}

impl Call {
    /// Runs them. The last one takes this process's place, so it gets the Pod's signals itself.
    pub(super) fn run(self, layout: &Layout) -> Result<()> {
        if self.unless_kairos && is_kairos(&layout.path(paths::ROOT)) {
            println!("nothing to do: the root file system is that of a Kairos system");
            return Ok(());
        }
        if let Some(file) = self.if_exists.as_ref().filter(|file| !file.exists()) {
            println!("nothing to do: there is no {}", file.display());
            return Ok(());
        }
        if let Some(folder) = &self.clear {
            clear(folder)?;
        }
        let calls: Vec<&[OsString]> = self
            .calls
            .split(|word| word == THEN)
            .filter(|call| !call.is_empty())
            .collect();
        let Some((last, first)) = calls.split_last() else {
            return Ok(());
        };
        for call in first {
            let status = command(call).status();
            let status = status.map_err(|error| not_started(call, &error))?;
            if !status.success() {
                return Err(WorkerError::Call(format!(
                    "{} ended with {status}",
                    display(call)
                )));
            }
        }
        // Comes back only when it could not be started.
        Err(not_started(last, &command(last).exec()))
    }
}

fn command(call: &[OsString]) -> Command {
    let (program, arguments) = call
        .split_first()
        .map_or((OsString::new(), call), |(first, rest)| {
            (first.clone(), rest)
        });
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// The program and its subcommand, without values.
fn display(call: &[OsString]) -> String {
    let words = call
        .iter()
        .take_while(|word| !word.to_string_lossy().starts_with('-'));
    let words: Vec<_> = words
        .take(2)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    words.join(" ")
}

fn not_started(call: &[OsString], error: &std::io::Error) -> WorkerError {
    WorkerError::Call(format!(
        "failed to start {}: {error}; check that the image of this step has it",
        display(call)
    ))
}

fn clear(folder: &std::path::Path) -> Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => super::file("read", folder, entries)?,
    };
    for entry in entries {
        let path = super::file("read", folder, entry)?.path();
        let is_folder = super::file("look at", &path, path.symlink_metadata())?.is_dir();
        let removed = if is_folder {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        super::file("remove", &path, removed)?;
    }
    Ok(())
}
