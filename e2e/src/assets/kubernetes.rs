//! Tool modules for other Kubernetes versions than the pinned one, derived from that version's own `go.mod`.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use super::build::{self, Module, go};
use crate::progress;

/// The version that the committed module pins.
pub const DEFAULT_VERSION: &str = "v1.36.3";

/// The programs a cluster of another version is made of. Nodes use the pinned version.
const PACKAGES: [&str; 4] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
];

/// The module for a version, made and cached when it is not the pinned one.
pub(super) fn module(version: &str) -> anyhow::Result<Module> {
    if version == DEFAULT_VERSION {
        return Ok(Module::pinned(super::Tool::KubeApiServer));
    }
    let modules = super::cache_folder()?.join("modules");
    fs::create_dir_all(&modules)
        .with_context(|| format!("failed to create {}", modules.display()))?;
    let version = match parse(version)? {
        Version::Patch => version.to_owned(),
        Version::Newest(minor) => newest(&modules, &minor)?,
    };
    let folder = modules.join(format!("kubernetes-{version}"));
    if !folder.exists() {
        generate(&modules, &folder, &version)?;
    }
    Ok(Module {
        folder,
        kubernetes: Some(version),
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Version {
    Patch,
    /// The newest patch release of this minor version, as `v1.33.`.
    Newest(String),
}

fn parse(version: &str) -> anyhow::Result<Version> {
    let numbers: Vec<&str> = version
        .strip_prefix('v')
        .unwrap_or_default()
        .split('.')
        .collect();
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match numbers[..] {
        ["1", minor, patch] if number(minor) && number(patch) => Ok(Version::Patch),
        ["1", minor] | ["1", minor, "x"] if number(minor) => {
            Ok(Version::Newest(format!("v1.{minor}.")))
        }
        _ => bail!("{version:?} is no Kubernetes version: write v1.33, or v1.33.5"),
    }
}

fn newest(folder: &Path, minor: &str) -> anyhow::Result<String> {
    let mut command = go(folder);
    command.args(["list", "-m", "-versions", "k8s.io/kubernetes"]);
    let list = build::run(&mut command, "list the versions of Kubernetes")?;
    newest_of(&list, minor).with_context(|| format!("there is no release of Kubernetes {minor}x"))
}

fn newest_of(list: &str, minor: &str) -> Option<String> {
    let patches = list
        .split_whitespace()
        .filter_map(|version| version.strip_prefix(minor)?.parse::<u32>().ok());
    patches.max().map(|patch| format!("{minor}{patch}"))
}

fn generate(modules: &Path, folder: &Path, version: &str) -> anyhow::Result<()> {
    progress(format!(
        "pinning the modules of Kubernetes {version} (first time only, about half a minute) …"
    ));
    let mut command = go(modules);
    command.args([
        "mod",
        "download",
        "-json",
        &format!("k8s.io/kubernetes@{version}"),
    ]);
    let answer = build::run(&mut command, &format!("download Kubernetes {version}"))?;
    let answer: serde_json::Value =
        serde_json::from_str(&answer).context("the go command's answer is not JSON")?;
    let path = answer["GoMod"]
        .as_str()
        .context("the go command did not name the go.mod file")?;
    let theirs = fs::read_to_string(path).with_context(|| format!("failed to read {path}"))?;
    // Made beside its place and renamed, so that a killed run leaves no half module.
    let unfinished =
        tempfile::tempdir_in(modules).context("failed to create a folder in the cache")?;
    fs::write(unfinished.path().join("go.mod"), go_mod(&theirs, version))
        .context("failed to write go.mod")?;
    // The go command checks every sum against the checksum database.
    build::run(
        go(unfinished.path()).args(["mod", "tidy"]),
        &format!("pin the modules of Kubernetes {version}"),
    )?;
    match fs::rename(unfinished.keep(), folder) {
        // Another process was faster.
        Err(_) if folder.exists() => Ok(()),
        other => other.with_context(|| format!("failed to put {} in place", folder.display())),
    }
}

/// Writes a tool module: Kubernetes' own `go.mod` replaces its parts by folders, which a dependent must name by version.
fn go_mod(theirs: &str, version: &str) -> String {
    let staging = version.replacen("v1.", "v0.", 1);
    let tools = PACKAGES
        .map(|name| format!("\tk8s.io/kubernetes/cmd/{name}\n"))
        .concat();
    let replaced: Vec<String> = theirs
        .lines()
        .filter_map(|line| {
            line.trim()
                .trim_start_matches("replace ")
                .split_once(" => ./staging/")
        })
        .map(|(module, _)| format!("\t{module} => {module} {staging}\n"))
        .collect();
    let replaced = replaced.concat();
    format!(
        "module kairos-operator-e2e/kubernetes\n\ngo 1.26\n\ntool (\n{tools})\n\nrequire k8s.io/kubernetes {version}\n\nreplace (\n{replaced})\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_a_patch_or_the_newest_of_a_minor() {
        assert_eq!(parse("v1.33.5").unwrap(), Version::Patch);
        for newest in ["v1.33", "v1.33.x"] {
            assert_eq!(parse(newest).unwrap(), Version::Newest("v1.33.".to_owned()));
        }
        for wrong in ["1.33", "v2.1", "v1", "v1.33.y", "v1..2", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_newest_patch_is_no_prerelease_and_compared_as_a_number() {
        let list = "k8s.io/kubernetes v1.33.9 v1.33.10 v1.33.11-rc.0 v1.34.12";
        assert_eq!(newest_of(list, "v1.33.").as_deref(), Some("v1.33.10"));
        assert_eq!(newest_of(list, "v1.35."), None);
    }

    #[test]
    fn staging_modules_are_replaced_by_their_versions() {
        let theirs =
            "replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\tother => other v2\n)\n";
        let ours = go_mod(theirs, "v1.33.5");
        assert!(
            ours.contains("\tk8s.io/api => k8s.io/api v0.33.5\n"),
            "{ours}"
        );
        assert!(!ours.contains("other"), "{ours}");
    }
}
