//! `cargo xtask demo`: a cluster here or the user's own, the operator on it, and stories that are followed to their ends.

mod api;
mod arguments;
mod artifact;
mod cluster;
mod controller;
mod everything;
mod images;
mod install;
mod keep;
mod labels;
mod operation;
mod report;
mod site;
mod upgrade;
mod view;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use arguments::{Arguments, Story};
use site::{Operator, Site};
use view::seconds;

/// What a shell expects after Ctrl-C.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.check_nodes {
        return match cluster::real_nodes_possible() {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                println!("{reason:#}");
                ExitCode::FAILURE
            }
        };
    }
    if arguments.check_images {
        if arguments.wants_real_nodes() && cluster::real_nodes_possible().is_ok() {
            println!("images");
        }
        return ExitCode::SUCCESS;
    }
    let ended = tokio::select! {
        ended = demo(&arguments) => ended,
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

async fn demo(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let target = cluster::get(arguments).await?;
    let stories = arguments.stories(target.nodes.is_some())?;
    let site = Site::prepare(target, arguments, start).await?;
    let mut outcomes = Vec::new();
    if matches!(site.operator, Operator::All) {
        outcomes.push(labels::tell(&site).await?);
    }
    for story in stories {
        outcomes.push(match story {
            Story::Nodeop => operation::tell(&site).await?,
            Story::Upgrade => upgrade::tell(&site).await?,
            Story::Artifact => artifact::tell(&site).await?,
        });
    }
    println!("{}", report::outcomes(&outcomes));
    println!("all in all {}", seconds(start.elapsed()));

    let code = if outcomes.iter().all(|outcome| outcome.is_good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    if arguments.keep {
        println!("\n{}", keep::keep(site)?);
        // Not by returning: that would end the cluster.
        std::process::exit(i32::from(code != ExitCode::SUCCESS));
    }
    if let Operator::Here(controller) = &site.operator {
        controller.stop().await?;
    }
    if let Some(context) = &arguments.context {
        println!("\n{}", report::left_behind(context, &site.operator)?);
    }
    Ok(code)
}
