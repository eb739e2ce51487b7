//! Builds one Go program into the cache.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use super::kubernetes;
use super::tool::{Recipe, Tool};
use crate::progress;

/// A Go module that pins tools: a folder with `go.mod` and `go.sum`.
pub(super) struct Module {
    /// Where its `go.mod` is.
    pub(super) folder: PathBuf,
    /// The Kubernetes release, for Kubernetes' own programs, which report it.
    pub(super) kubernetes: Option<String>,
}

impl Module {
    /// The module of a tool in this package.
    pub(super) fn pinned(tool: Tool) -> Self {
        let module = tool.recipe().module;
        let kubernetes = (module == "kubernetes").then(|| kubernetes::DEFAULT_VERSION.to_owned());
        Self {
            folder: Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tools")
                .join(module),
            kubernetes,
        }
    }
}

/// Returns the path of the tool's program, building it when the cache does not hold it.
pub(super) fn ensure(tool: Tool, module: &Module) -> anyhow::Result<PathBuf> {
    let recipe = tool.recipe();
    let flags = flags(&recipe, module.kubernetes.as_deref());
    let folder = super::cache_folder()?
        .join("programs")
        .join(key(&recipe, module, &flags)?);
    let program = folder.join(recipe.program);
    if program.exists() {
        return Ok(program);
    }
    fs::create_dir_all(&folder)
        .with_context(|| format!("failed to create {}", folder.display()))?;
    let lock = lock(&folder.join("lock"), recipe.program)?;
    if !program.exists() {
        build(&recipe, module, &flags, &program)?;
    }
    drop(lock);
    Ok(program)
}

/// Takes the lock of a cache folder; it is let go when the file is dropped, or its process dies.
fn lock(path: &Path, name: &str) -> anyhow::Result<File> {
    let failed = || format!("failed to lock {}", path.display());
    let file = File::create(path).with_context(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            progress(format!("waiting for another process that builds {name}"));
            file.lock().with_context(failed)?;
            Ok(file)
        }
        Err(fs::TryLockError::Error(error)) => Err(error).with_context(failed),
    }
}

fn flags(recipe: &Recipe, kubernetes: Option<&str>) -> Vec<String> {
    let mut linker = "-s -w".to_owned();
    if let Some(version) = kubernetes {
        // Without it the server reports v0.0.0-master.
        linker.push_str(" -X k8s.io/component-base/version.gitVersion=");
        linker.push_str(version);
    }
    if recipe.cgo {
        // It runs in the nodes' root file system, whose libraries may be older than those of this machine.
        linker.push_str(" -extldflags -static");
    }
    let mut flags = vec!["-trimpath".to_owned(), "-ldflags".to_owned(), linker];
    if !recipe.tags.is_empty() {
        flags.extend(["-tags".to_owned(), recipe.tags.to_owned()]);
    }
    flags
}

/// Names the cache folder: the program and a hash of everything its content depends on.
fn key(recipe: &Recipe, module: &Module, flags: &[String]) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    for file in ["go.mod", "go.sum"] {
        let path = module.folder.join(file);
        hash.update(fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?);
    }
    // A program of our own that is made of a module's packages.
    if let Ok(source) = fs::read(module.folder.join("main.go")) {
        hash.update(source);
    }
    hash.update(format!(
        "{}\n{}\n{}",
        recipe.package,
        recipe.cgo,
        flags.join("\n")
    ));
    Ok(format!(
        "{}-{:.16}",
        recipe.program,
        format!("{:x}", hash.finalize())
    ))
}

fn build(recipe: &Recipe, module: &Module, flags: &[String], program: &Path) -> anyhow::Result<()> {
    let name = match &module.kubernetes {
        Some(version) => format!("{} {version}", recipe.program),
        None => recipe.program.to_owned(),
    };
    progress(format!(
        "building {name} (first time only, about {} on 2 cores) …",
        recipe.duration
    ));
    let start = Instant::now();
    // Built beside its place and renamed, so that a killed build leaves nothing that looks finished.
    let unfinished = program.with_extension("unfinished");
    let mut command = go(&module.folder);
    command
        .arg("build")
        .args(flags)
        .arg("-o")
        .arg(&unfinished)
        .arg(recipe.package);
    command.env("CGO_ENABLED", if recipe.cgo { "1" } else { "0" });
    run(&mut command, &format!("build {name}"))?;
    fs::rename(&unfinished, program)
        .with_context(|| format!("failed to put {} in place", program.display()))?;
    progress(format!("built {name} in {} s", start.elapsed().as_secs()));
    Ok(())
}

/// The go command in a module's folder, deaf to the caller's settings that would change what is built.
pub(super) fn go(folder: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(folder)
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .env_remove("GOOS")
        .env_remove("GOARCH");
    command
}

/// Runs a go command and returns its output; its messages are shown only when it fails.
pub(super) fn run(command: &mut Command, what: &str) -> anyhow::Result<String> {
    let output = match command.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!(
                "failed to {what}: the go command is missing; install Go 1.26 or later (https://go.dev/dl) and put it in PATH"
            )
        }
        other => {
            other.with_context(|| format!("failed to {what}: the go command did not start"))?
        }
    };
    if !output.status.success() {
        bail!(
            "failed to {what} ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(go_mod: &str) -> (tempfile::TempDir, Module) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("go.mod"), go_mod).unwrap();
        fs::write(folder.path().join("go.sum"), "").unwrap();
        let module = Module {
            folder: folder.path().to_owned(),
            kubernetes: None,
        };
        (folder, module)
    }

    #[test]
    fn the_cache_key_follows_the_pins_and_the_flags() {
        let recipe = Tool::Etcd.recipe();
        let (_one, one) = module("one");
        let (_same, same) = module("one");
        let (_two, two) = module("two");
        let plain = key(&recipe, &one, &[]).unwrap();
        assert_eq!(plain, key(&recipe, &same, &[]).unwrap());
        assert_ne!(plain, key(&recipe, &two, &[]).unwrap());
        assert_ne!(plain, key(&recipe, &one, &["-race".to_owned()]).unwrap());
        fs::write(one.folder.join("main.go"), "package main").unwrap();
        assert_ne!(plain, key(&recipe, &one, &[]).unwrap());
        assert!(
            plain.starts_with("etcd-") && plain.len() == "etcd-".len() + 16,
            "{plain}"
        );
    }

    #[test]
    fn a_missing_go_command_says_what_to_install() {
        let error = run(&mut Command::new("no-such-go-command"), "build etcd").unwrap_err();
        assert!(error.to_string().contains("install Go 1.26"), "{error}");
    }
}
