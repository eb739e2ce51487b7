//! The workspace as `cargo metadata` and `git ls-files` tell it, and how cargo is called. Commands read it once.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use serde::Deserialize;

/// What `cargo metadata --no-deps` says of this workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    /// Absolute path of the folder of the root `Cargo.toml`.
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    /// Absolute path of the build folder.
    pub(crate) target_directory: PathBuf,
    /// The packages of this workspace.
    pub(crate) packages: Vec<Package>,
}

/// One package of this workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Absolute path of its `Cargo.toml`.
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// One line under `[dependencies]`, `[dev-dependencies]` or `[build-dependencies]`.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Set for a package of this workspace.
    pub(crate) path: Option<PathBuf>,
}

/// A library, binary or integration test of a package.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    /// `lib`, `bin`, `test` and so on.
    pub(crate) kind: Vec<String>,
}

impl Package {
    /// Names of the integration tests (`tests/NAME.rs`).
    pub(crate) fn integration_tests(&self) -> impl Iterator<Item = &str> {
        self.targets
            .iter()
            .filter(|target| target.kind.iter().any(|kind| kind == "test"))
            .map(|target| &*target.name)
    }
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let output = cargo()
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .stderr(Stdio::inherit())
            .output()
            .context("failed to start `cargo metadata`")?;
        if !output.status.success() {
            bail!("`cargo metadata` failed: mend the Cargo.toml that it names above");
        }
        serde_json::from_slice(&output.stdout)
            .context("failed to read the answer of `cargo metadata`")
    }

    /// A cargo command that runs at the root of the workspace.
    pub(crate) fn cargo<Argument: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = Argument>,
    ) -> Command {
        let mut command = cargo();
        command.current_dir(&self.root).args(arguments);
        command
    }

    /// Runs cargo in place of this process, so that signals (Ctrl-C) and the exit code are its own. Returns only when
    /// that fails.
    pub(crate) fn become_cargo<'a>(
        &self,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> anyhow::Error {
        use std::os::unix::process::CommandExt;
        // Not at the root: the paths among the arguments are relative to where the user stands.
        let manifest = self.root.join("Cargo.toml");
        let mut arguments = arguments.into_iter();
        let mut command = cargo();
        command
            .args(arguments.next())
            .arg("--manifest-path")
            .arg(manifest)
            .args(arguments);
        anyhow::Error::new(command.exec()).context("failed to start cargo: is it on the PATH?")
    }

    /// Every file that git tracks or would track (new files too, ignored ones not), relative to the root, sorted.
    pub(crate) fn files(&self) -> anyhow::Result<Vec<String>> {
        let output = Command::new("git")
            .current_dir(&self.root)
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
                "--deduplicate",
            ])
            .stderr(Stdio::inherit())
            .output()
            .context("failed to start `git ls-files`: install git")?;
        if !output.status.success() {
            bail!("`git ls-files` failed: run this in a git checkout");
        }
        let mut files: Vec<String> = String::from_utf8(output.stdout)
            .context("a tracked file has a name that is not UTF-8: rename it")?
            .split_terminator('\0')
            // A file that was deleted but not yet committed is still in the index.
            .filter(|path| self.root.join(path).is_file())
            .map(str::to_owned)
            .collect();
        files.sort();
        Ok(files)
    }

    /// `path` as seen from the root of the workspace.
    pub(crate) fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root)
            .unwrap_or(path)
            .display()
            .to_string()
    }
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
