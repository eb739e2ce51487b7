//! `cargo xtask bench`: builds the bench with the controllers as they are released, and becomes it.

use std::{
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use anyhow::{Context, anyhow, ensure};

use crate::workspace::Workspace;

/// The packages whose programs take part, and the programs; in one build, so that they share it.
const PROGRAMS: [(&str, &str); 6] = [
    ("bench", "bench"),
    ("e2e", "e2e-guard"),
    ("nodeop-controller", "nodeop-controller"),
    ("node-labeller", "node-labeller"),
    ("artifact-controller", "artifact-controller"),
    ("upgrade-controller", "upgrade-controller"),
];

pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<ExitCode> {
    // Who asks for help does not wait for a release.
    let quick = workspace.programs().join("bench");
    let asks = |argument: &String| argument == "--help" || argument == "-h";
    if arguments.iter().any(asks) && quick.exists() {
        let error = Command::new(quick).args(arguments).exec();
        return Err(anyhow!(error).context("failed to start the bench"));
    }
    // Cargo's own progress is shown: the whole of each program is optimised at once, which takes minutes.
    let mut build = workspace.cargo(["build", "--release"]);
    for (package, program) in PROGRAMS {
        build.args(["--package", package, "--bin", program]);
    }
    let status = build.status().context("failed to start `cargo build`")?;
    ensure!(
        status.success(),
        "failed to build the bench; rustc says why above"
    );
    let programs = workspace.released_programs();
    let error = Command::new(programs.join("bench"))
        .args(arguments)
        .env("KAIROS_E2E_BIN_DIR", &programs)
        .env("KAIROS_E2E_GUARD", programs.join("e2e-guard"))
        // In place of this process, so that Ctrl-C and the exit code are the bench's own.
        .exec();
    Err(anyhow!(error).context("failed to start the bench"))
}
