//! `cargo xtask soak`: the tests that kill the controller, and those that take the power from real nodes, again and again
//! with fresh random seeds.

use std::{
    hash::{BuildHasher, RandomState},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{test, workspace::Workspace};

/// The test target that kills the controller.
const TARGET: &str = "sim_crash";
/// The test target that takes the power from real nodes.
const NODES_TARGET: &str = "node_reboot";
/// How often it does so on each of its nodes.
const POWER_CUTS: u32 = 8;

/// Rerun the tests that kill the controller, each time with a fresh random seed, until the time is over.
///
/// Stops at the first failure and prints the command that repeats it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long to go on; a run that has begun is finished.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Kills per run (the test's own number when not given).
    #[arg(long)]
    kills: Option<u32>,
    /// Also take the power from real nodes at random moments (needs root).
    #[arg(long)]
    nodes: bool,
    /// Run once with this seed instead of random ones.
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let targets: &[&str] = if arguments.nodes {
        &[TARGET, NODES_TARGET]
    } else {
        &[TARGET]
    };
    for target in targets {
        let exists = workspace
            .packages
            .iter()
            .any(|package| package.integration_tests().any(|test| test == *target));
        ensure!(
            exists,
            "found no test e2e/tests/{target}: soak has nothing to run"
        );
    }
    ensure!(
        test::runner::build(workspace)?,
        "failed to build the tests and our programs"
    );

    let start = Instant::now();
    let end = Duration::from_secs(arguments.minutes.saturating_mul(60));
    let mut runs = 0_u64;
    loop {
        let seed = arguments.seed.unwrap_or_else(random_seed);
        runs += 1;
        println!(
            "soak: run {runs}, seed {seed}, after {} s",
            start.elapsed().as_secs()
        );
        let mut command = workspace.cargo(["test", "--workspace", "--quiet"]);
        command
            .args(targets.iter().flat_map(|target| ["--test", target]))
            .envs(workspace.program_variables())
            .env("KAIROS_E2E_SEED", seed.to_string())
            .env("KAIROS_E2E_POWER_CUTS", POWER_CUTS.to_string());
        if let Some(kills) = arguments.kills {
            command.env("KAIROS_E2E_KILLS", kills.to_string());
        }
        let status = command.status().context("failed to start `cargo test`")?;
        if !status.success() {
            let kills = arguments
                .kills
                .map(|kills| format!(" --kills {kills}"))
                .unwrap_or_default();
            let nodes = if arguments.nodes { " --nodes" } else { "" };
            println!(
                "soak: seed {seed} failed; repeat it with `cargo xtask soak --seed {seed}{kills}{nodes}`"
            );
            return Ok(ExitCode::FAILURE);
        }
        if arguments.seed.is_some() || start.elapsed() >= end {
            println!(
                "soak: {runs} runs passed in {} s",
                start.elapsed().as_secs()
            );
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// A seed nobody chose: the standard library keys each hasher with the system's randomness.
fn random_seed() -> u64 {
    RandomState::new().hash_one(())
}
