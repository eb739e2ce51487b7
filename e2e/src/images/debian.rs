//! Images on a small Debian, for tools that are packages there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use oci_image::{Image, ImageConfig};

/// Debian release of the images.
const RELEASE: &str = "bookworm";

/// Documentation is a third of the files and nobody reads it there.
const OPTIONS: [&str; 5] = [
    "--variant=minbase",
    "--format=tar",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
];

/// An image with these packages and what they depend on, from the cache or made now, which takes about a minute.
/// Blocking; needs root and mmdebstrap.
pub fn debian(cache: &Path, packages: &[&str]) -> anyhow::Result<Image> {
    let archive = archive(cache, &packages.join(","))?;
    let config = ImageConfig {
        command: vec!["bash".to_owned()],
        environment: vec![
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        ],
        ..ImageConfig::default()
    };
    Image::of_archive(config, &archive)
}

fn archive(cache: &Path, packages: &str) -> anyhow::Result<PathBuf> {
    let recipe = format!("{RELEASE} {packages} {}", OPTIONS.join(" "));
    let key = format!("{:x}", Sha256::digest(recipe));
    let archive = cache.join(format!("debian-{}.tar", &key[..16]));
    if archive.exists() {
        return Ok(archive);
    }
    let lock = File::create(archive.with_extension("lock"))
        .context("failed to make the lock of a Debian image")?;
    flock(&lock, FlockOperation::LockExclusive).context("failed to lock a Debian image")?;
    if !archive.exists() {
        crate::progress(format!(
            "building a Debian image with {packages}, about a minute"
        ));
        let building = archive.with_extension("building");
        build(&building, packages)?;
        fs::rename(&building, &archive).context("failed to put a Debian image in place")?;
    }
    Ok(archive)
}

/// In a mount namespace of its own, because mmdebstrap mounts /proc and /sys while it works.
fn build(archive: &Path, packages: &str) -> anyhow::Result<()> {
    let output = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
        ])
        .args(["--mount-proc", "--kill-child", "--propagation", "private"])
        .args(["mmdebstrap", "--quiet"])
        .args(OPTIONS)
        .arg(format!("--include={packages}"))
        .arg(RELEASE)
        .arg(archive)
        .stdin(Stdio::null())
        .output()
        .context("failed to run mmdebstrap")?;
    if !output.status.success() {
        bail!(
            "mmdebstrap failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
