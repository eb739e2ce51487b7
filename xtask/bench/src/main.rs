//! `cargo xtask bench`: measures what the controllers cost.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bench::arguments::{Arguments, Command, NodeopArguments};
use bench::nodeop::Bench;
use bench::work::Work;
use bench::{labeller, report, startup};
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

/// What a shell expects after Ctrl-C.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = tokio::select! {
        ended = run(&arguments) => ended.map(|()| ExitCode::SUCCESS),
        ended = interrupted() => ended,
    };
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Waits for Ctrl-C or SIGTERM. What was started ends with the future that is dropped then.
async fn interrupted() -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.context("failed to listen for Ctrl-C")?,
        _ = terminate.recv() => {}
    }
    println!("\ninterrupted: ending what was started here");
    Ok(ExitCode::from(INTERRUPTED))
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let json = arguments.json.as_deref();
    match &arguments.command {
        Command::Nodeop(nodeop) => run_nodeop(nodeop, json).await,
        Command::Startup {
            nodes,
            idle_seconds,
        } => {
            let idle = Duration::from_secs(u64::from(*idle_seconds));
            let starts = startup::run(count(*nodes), idle).await?;
            println!("\n{}", startup::table(&starts));
            tell(report::write_json(json, "startup", &starts)?)
        }
        Command::Labeller { nodes } => {
            let mut storms = Vec::new();
            for nodes in nodes {
                storms.push(labeller::run(count(*nodes)).await?);
            }
            println!("\n{}", labeller::table(&storms));
            tell(report::write_json(json, "labeller", &storms)?)
        }
    }
}

async fn run_nodeop(arguments: &NodeopArguments, json: Option<&Path>) -> anyhow::Result<()> {
    let mut runs = Vec::new();
    for nodes in &arguments.nodes {
        let bench = Bench::start(count(*nodes), arguments.reboot).await?;
        for concurrency in &arguments.concurrency {
            for _ in 0..arguments.repeat {
                let work = Work {
                    nodes: count(*nodes),
                    concurrency: count(*concurrency),
                    pods_per_node: count(arguments.pods_per_node),
                    drain: arguments.drain,
                    reboot: arguments.reboot,
                };
                runs.push(bench.run(work).await?);
                // What has been measured so far is kept, whatever becomes of the rest.
                report::write_json(json, "nodeop", &runs)?;
            }
        }
    }
    println!("\n{}", report::of_runs(&runs));
    println!("{}", report::of_requests(&runs));
    println!("{}", report::of_growth(&runs));
    let path = report::write_json(json, "nodeop", &runs)?;
    tell(path)
}

#[expect(clippy::unnecessary_wraps, reason = "it ends a command")]
#[expect(
    clippy::needless_pass_by_value,
    reason = "nothing is left to do with it"
)]
fn tell(path: PathBuf) -> anyhow::Result<()> {
    println!("all figures: {}", path.display());
    Ok(())
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
