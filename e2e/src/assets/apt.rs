//! Debian packages that a run needs.

use std::process::Command;

use anyhow::{Context, bail};

use crate::progress;

/// Installs the packages that are missing. Without root, or without apt, fails and says which command to run.
pub fn apt_install(packages: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| !installed(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !rustix::process::geteuid().is_root() {
        bail!("Debian packages are missing: run sudo apt-get install {list}");
    }
    progress(format!("installing Debian packages: {list} …"));
    apt_get(&["update"], &list)?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(missing);
    apt_get(&arguments, &list)
}

fn installed(package: &str) -> bool {
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .output();
    query.is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

pub(super) fn apt_get(arguments: &[&str], packages: &str) -> anyhow::Result<()> {
    let output = Command::new("apt-get")
        .arg("--quiet")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .with_context(|| {
            format!("failed to run apt-get: install what corresponds to {packages} by hand")
        })?;
    if !output.status.success() {
        bail!(
            "failed to install {packages} with apt-get:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
