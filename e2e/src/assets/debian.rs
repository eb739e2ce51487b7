//! Programs out of Debian packages, unpacked into the cache and not installed: an installed package would start its service
//! on the developer's machine.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};

use super::apt::apt_get;
use crate::progress;

/// The path of a program of a Debian package, such as `promtool` of `prometheus` (blocking: downloads it the first time).
/// The package's dependencies are not looked at.
pub fn debian_program(package: &str, program: &str) -> anyhow::Result<PathBuf> {
    let cache = super::cache_folder()?.join("debian");
    fs::create_dir_all(&cache).with_context(|| format!("failed to create {}", cache.display()))?;
    let folder = cache.join(package);
    let path = folder.join("usr/bin").join(program);
    if path.exists() {
        return Ok(path);
    }
    let lock = File::create(cache.join(format!("{package}.lock")))
        .with_context(|| format!("failed to make the lock of the package {package}"))?;
    flock(&lock, FlockOperation::LockExclusive)
        .with_context(|| format!("failed to lock the package {package}"))?;
    if !path.exists() {
        let unpacked = cache.join(format!("{package}.unpacked"));
        unpack(package, &unpacked)?;
        fs::rename(&unpacked, &folder)
            .with_context(|| format!("failed to put {} in place", folder.display()))?;
    }
    if !path.exists() {
        bail!("the Debian package {package} has no program {program}");
    }
    Ok(path)
}

fn unpack(package: &str, into: &Path) -> anyhow::Result<()> {
    progress(format!("downloading the Debian package {package} …"));
    let failed = || format!("failed to make a folder for the package {package}");
    let work = tempfile::tempdir().with_context(failed)?;
    if into.exists() {
        fs::remove_dir_all(into).with_context(failed)?;
    }
    if download(package, work.path()).is_err() {
        // The list of packages is missing or old.
        if rustix::process::geteuid().is_root() {
            apt_get(&["update"], package)?;
        }
        download(package, work.path())?;
    }
    let archive = fs::read_dir(work.path())
        .with_context(failed)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .with_context(|| format!("apt-get has left no archive of the package {package}"))?;
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .args([&archive, into]))
}

fn download(package: &str, folder: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args(["--quiet", "download", package])
        .current_dir(folder);
    run(&mut command).with_context(|| {
        format!("failed to download the Debian package {package}: run sudo apt-get update, and try again")
    })
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("failed to run {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
