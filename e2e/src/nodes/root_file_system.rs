//! The root file system of test nodes: a small Debian, made once by mmdebstrap and kept in the cache.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

/// Debian release of the nodes.
const RELEASE: &str = "bookworm";

/// What a node needs on top of the smallest Debian.
const PACKAGES: &str = "busybox-static,containernetworking-plugins,iproute2,iptables,mount,procps";

/// Documentation is a third of the files and nobody reads it there.
const OPTIONS: [&str; 4] = [
    "--variant=minbase",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
];

/// The folder that holds the root file system, made now if the cache has none. Nodes use it read-only, as the lower part of an
/// overlay. The first time takes about a minute; a second process that asks meanwhile waits for the first.
pub(super) fn folder(cache: &Path) -> anyhow::Result<PathBuf> {
    let recipe = format!("{RELEASE} {PACKAGES} {}", OPTIONS.join(" "));
    let key = format!("{:x}", Sha256::digest(recipe));
    let folder = cache.join(format!("node-root-{}", &key[..16]));
    if folder.exists() {
        return Ok(folder);
    }
    fs::create_dir_all(cache).with_context(|| format!("failed to make {}", cache.display()))?;
    let lock = File::create(folder.with_extension("lock"))
        .context("failed to make the lock of the node root file system")?;
    flock(&lock, FlockOperation::LockExclusive)
        .context("failed to lock the node root file system")?;
    if folder.exists() {
        return Ok(folder);
    }
    crate::progress(format!(
        "building the root file system of test nodes (Debian {RELEASE}), about a minute"
    ));
    build(&folder.with_extension("building"))?;
    fs::rename(folder.with_extension("building"), &folder)
        .context("failed to put the node root file system in place")?;
    Ok(folder)
}

fn build(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        // Left by a build that was ended half way.
        fs::remove_dir_all(folder)
            .with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    // In a mount namespace of its own, because mmdebstrap mounts /proc and /sys while it works.
    let output = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
        ])
        .args([
            "--propagation",
            "private",
            "mmdebstrap",
            "--quiet",
            "--format=directory",
        ])
        .args(OPTIONS)
        .arg(format!("--include={PACKAGES}"))
        .arg(RELEASE)
        .arg(folder)
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

/// The statically linked busybox inside the root file system; images are made of it.
pub(super) fn busybox(root: &Path) -> PathBuf {
    root.join("usr/bin/busybox")
}
