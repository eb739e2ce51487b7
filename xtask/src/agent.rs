//! `cargo xtask agent`: the node agent as images hold it, a static binary beside our other programs.

use std::{fs, process::ExitCode};

use anyhow::{Context, ensure};

use crate::workspace::Workspace;

/// Whose binary it is, and its name.
const PACKAGE: &str = "nodeop-controller";
const PROGRAM: &str = "node-agent";

pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<ExitCode> {
    build(workspace)?;
    println!("{}", workspace.static_programs().join(PROGRAM).display());
    Ok(ExitCode::SUCCESS)
}

/// Builds it into the folder of static programs. Only the last step differs from the other programs, the link with the C
/// library, so the crates below it are compiled once for both.
pub(crate) fn build(workspace: &Workspace) -> anyhow::Result<()> {
    let arguments = ["rustc", "--quiet", "--package", PACKAGE, "--bin", PROGRAM];
    let status = workspace
        .cargo(arguments)
        .args(["--", "-C", "target-feature=+crt-static"])
        .status()
        .context("failed to start `cargo rustc`")?;
    ensure!(
        status.success(),
        "failed to build the static node agent; rustc says why above (the C library's static half is in libc6-dev)"
    );
    // Cargo's own place is taken again by the next build that is not static.
    let folder = workspace.static_programs();
    let target = folder.join(PROGRAM);
    let install = || -> std::io::Result<()> {
        fs::create_dir_all(&folder)?;
        // A test may be running the old one.
        let unfinished = target.with_extension("unfinished");
        fs::copy(workspace.programs().join(PROGRAM), &unfinished)?;
        fs::rename(&unfinished, &target)
    };
    install().with_context(|| format!("failed to put {} in place", target.display()))
}
