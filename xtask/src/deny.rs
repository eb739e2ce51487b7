//! `cargo xtask deny`: licences, duplicate crates and sources, by cargo-deny and `deny.toml`.

use std::{
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, ensure};

use crate::workspace::Workspace;

/// Version that is installed where the machine has none.
const VERSION: &str = "0.20.2";

/// Check licences, duplicate crates and sources of the dependencies (and advisories, which need the network).
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Also check the `RustSec` advisories, whose database is fetched from the network.
    #[arg(long)]
    advisories: bool,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let passed = check(workspace, arguments.advisories)?;
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs cargo-deny, which prints what it finds. True when it found nothing.
pub(crate) fn check(workspace: &Workspace, advisories: bool) -> anyhow::Result<bool> {
    let program = program(workspace)?;
    let mut command = Command::new(&program);
    command
        .current_dir(&workspace.root)
        .args(["--workspace", "check", "--hide-inclusion-graph"]);
    command
        .args(["licenses", "bans", "sources"])
        .args(advisories.then_some("advisories"));
    let status = command
        .status()
        .with_context(|| format!("failed to start {}", program.display()))?;
    Ok(status.success())
}

/// The machine's own cargo-deny, else one built below the target folder (once; about two minutes on two cores).
fn program(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let on_path = Command::new("cargo-deny")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if on_path.is_ok_and(|status| status.success()) {
        return Ok("cargo-deny".into());
    }
    let tools = workspace.target_directory.join("tools");
    let program = tools.join("bin/cargo-deny");
    if !program.is_file() {
        println!("building cargo-deny {VERSION}, once (about two minutes)");
        // A debug build checks this tree in a second or two, and is made in half the time of a release build.
        let status = workspace
            .cargo([
                "install",
                "cargo-deny",
                "--locked",
                "--debug",
                "--quiet",
                "--version",
                VERSION,
                "--root",
            ])
            .arg(&tools)
            .env("CARGO_TARGET_DIR", tools.join("build"))
            .status()
            .context("failed to start `cargo install`")?;
        ensure!(
            status.success(),
            "failed to build cargo-deny: run `cargo install cargo-deny --locked` by hand"
        );
    }
    Ok(program)
}
