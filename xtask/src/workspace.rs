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
    pub(crate) version: String,
    pub(crate) description: Option<String>,
    /// An SPDX expression.
    pub(crate) license: Option<String>,
    /// URL of the source.
    pub(crate) repository: Option<String>,
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
    /// `dev` or `build`; nothing for what is built in.
    pub(crate) kind: Option<String>,
}

impl Dependency {
    /// Whether only tests have it.
    pub(crate) fn is_for_tests(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
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
        self.targets_of("test")
    }

    /// Names of the binaries.
    pub(crate) fn binaries(&self) -> impl Iterator<Item = &str> {
        self.targets_of("bin")
    }

    fn targets_of(&self, kind: &'static str) -> impl Iterator<Item = &str> {
        self.targets
            .iter()
            .filter(move |target| target.kind.iter().any(|known| known == kind))
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

    /// Folder of our own programs, in the profile that tests use.
    pub(crate) fn programs(&self) -> PathBuf {
        self.target_directory.join("debug")
    }

    /// Folder of our own programs as they are released.
    pub(crate) fn released_programs(&self) -> PathBuf {
        self.target_directory.join("release")
    }

    /// Folder of those of our own programs that run in images without libraries.
    pub(crate) fn static_programs(&self) -> PathBuf {
        self.programs().join("static")
    }

    /// A command that runs one of our own programs, with the variables by which it finds the others.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs().join(name));
        command.envs(self.program_variables());
        command
    }

    /// The variables by which tests and the demo find our own programs.
    pub(crate) fn program_variables(&self) -> [(&'static str, String); 2] {
        let programs = self.programs();
        [
            ("KAIROS_E2E_BIN_DIR", programs.display().to_string()),
            (
                "KAIROS_E2E_GUARD",
                programs.join("e2e-guard").display().to_string(),
            ),
        ]
    }

    /// The commit that is checked out, with `-dirty` where files differ from it.
    pub(crate) fn revision(&self) -> anyhow::Result<String> {
        let output = Command::new("git")
            .current_dir(&self.root)
            .args([
                "describe",
                "--always",
                "--abbrev=40",
                "--dirty",
                "--exclude=*",
            ])
            .stderr(Stdio::inherit())
            .output()
            .context("failed to start `git describe`: install git")?;
        if !output.status.success() {
            bail!("`git describe` failed: run this in a git checkout with a commit");
        }
        let revision = String::from_utf8(output.stdout).context("failed to read the revision")?;
        Ok(revision.trim().to_owned())
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

/// Cargo without what the cargo that runs this program has set for it: build scripts that watch these variables (ring's)
/// would run again, and with them nearly everything would be compiled again, whenever somebody calls cargo by hand.
fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
            || text == "LD_LIBRARY_PATH"
        {
            command.env_remove(&name);
        }
    }
    command
}
