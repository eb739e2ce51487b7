//! `cargo xtask demo`: a cluster here or the user's own, the operator on it, and a NodeOp that is followed to its end.

mod api;
mod arguments;
mod cluster;
mod controller;
mod install;
mod keep;
mod operation;
mod report;
mod view;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use api_types::nodeop::Phase;
use clap::Parser as _;
use kube::ResourceExt as _;
use tokio::signal::unix::{SignalKind, signal};

use arguments::Arguments;
use cluster::Target;
use controller::Controller;
use view::{View, seconds};

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
    step(
        start,
        "installing the CRDs and the rights of the controller",
    );
    install::crds(&target.client).await?;
    install::rights(&target.client).await?;
    let controller = run_controller(arguments, &target, start).await?;

    let node_op = operation::example()?;
    let (namespace, name) = (node_op.namespace().unwrap_or_default(), node_op.name_any());
    install::default_service_account(&target.client, &namespace).await?;
    step(
        start,
        &format!(
            "applying deploy/examples/nodeop.yaml:\n\n{}\n",
            operation::example_text()
        ),
    );
    operation::create(&target.client, &node_op).await?;
    let began = Instant::now();
    let check = || controller.as_ref().map_or(Ok(()), Controller::check);
    let status = operation::follow(&target.client, &node_op, &mut View::new(), check).await?;
    let took = seconds(began.elapsed());

    if target.runs_commands {
        println!("\nOutput of each node:\n");
        print!(
            "{}",
            report::outputs(&operation::outputs(&target.client, &node_op).await?)
        );
    } else {
        println!("\nSimulated nodes run no command, so there is no output.");
    }
    println!("\nFinal status:\n\n{}\n", report::table(&status));
    println!("{}", report::summary(&name, &status, &took));
    println!("all in all {}", seconds(start.elapsed()));

    let code = if status.phase == Some(Phase::Completed) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    if arguments.keep {
        println!("\n{}", keep::keep(target, controller.as_ref())?);
        // Not by returning: that would end the cluster.
        std::process::exit(i32::from(code != ExitCode::SUCCESS));
    }
    if let Some(controller) = &controller {
        controller.stop().await?;
    }
    if let Some(context) = &arguments.context {
        println!("\n{}", report::left_behind(context, &namespace, &name));
    }
    Ok(code)
}

/// Runs the controller here, or on the cluster where an image is given.
async fn run_controller(
    arguments: &Arguments,
    target: &Target,
    start: Instant,
) -> anyhow::Result<Option<Controller>> {
    if let Some(image) = &arguments.agent_image {
        step(
            start,
            &format!("installing the controller as a Deployment with the image {image}"),
        );
        install::deployment(&target.client, image).await?;
        return Ok(None);
    }
    step(
        start,
        "starting the controller here, under the token of its own ServiceAccount",
    );
    Ok(Some(
        Controller::start(&target.client, &target.entry, &target.guard).await?,
    ))
}

/// Says what comes next.
fn step(start: Instant, what: &str) {
    println!("{:>6.1} s  {what}", start.elapsed().as_secs_f64());
}
