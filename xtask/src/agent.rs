//! `cargo xtask agent`: the node agent as images hold it, a static binary beside our other programs.

use std::process::ExitCode;

use crate::{image, workspace::Workspace};

/// Whose binary it is, and its name.
const PACKAGE: &str = "nodeop-controller";
const PROGRAM: &str = "node-agent";

pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<ExitCode> {
    build(workspace)?;
    println!("{}", workspace.static_programs().join(PROGRAM).display());
    Ok(ExitCode::SUCCESS)
}

/// Builds it into the folder of static programs.
pub(crate) fn build(workspace: &Workspace) -> anyhow::Result<()> {
    image::static_program(workspace, PACKAGE, PROGRAM)
}
