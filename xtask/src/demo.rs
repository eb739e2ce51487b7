//! `cargo xtask demo`: builds the demo with the programs it starts, and becomes it.

use std::{
    os::unix::process::CommandExt,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, anyhow, ensure};

use crate::{image, workspace::Workspace};

/// The packages whose programs take part; in one build, so that they share it.
const PACKAGES: [&str; 3] = ["demo", "e2e", "nodeop-controller"];

pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<ExitCode> {
    // Cargo's own progress is shown: the first build takes a minute or two.
    let mut build = workspace.cargo(["build", "--bins"]);
    build.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    let status = build.status().context("failed to start `cargo build`")?;
    ensure!(
        status.success(),
        "failed to build the demo; rustc says why above"
    );
    let mut demo = workspace.program("demo");
    let mut check = workspace.program("demo");
    check.args(arguments).arg("--check-images");
    // Wrong arguments are told by the demo itself, below.
    let answer = check
        .stderr(Stdio::null())
        .output()
        .context("failed to start the demo")?;
    if answer.stdout == b"images\n" {
        println!("making the images of the controllers");
        demo.env("KAIROS_DEMO_IMAGES", image::quick(workspace)?);
    }
    // In place of this process, so that Ctrl-C and the exit code are the demo's own.
    let error = demo.args(arguments).exec();
    Err(anyhow!(error).context("failed to start the demo"))
}

/// Says why real nodes cannot run here, if they cannot; installs the Debian packages they need. The demo must be built.
pub(crate) fn why_no_real_nodes(workspace: &Workspace) -> anyhow::Result<Option<String>> {
    let mut check: Command = workspace.program("demo");
    let output = check
        .arg("--check-nodes")
        .output()
        .context("failed to start the demo")?;
    if output.status.success() {
        return Ok(None);
    }
    let reason = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(
        !reason.is_empty(),
        "failed to check for real nodes: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(Some(reason))
}
