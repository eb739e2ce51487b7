//! The OSArtifact controller's binary.

use std::process::ExitCode;

use artifact_controller::args::{Args, Command};
use artifact_controller::controller;
use artifact_controller::render::print_file;
use clap::Parser as _;
use operator_runtime::run::{ControllerInfo, run};

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        Some(Command::Render { values, dockerfile }) => print_file(&dockerfile, values.as_deref()),
        None => {
            let info = ControllerInfo {
                name: env!("CARGO_PKG_NAME"),
                version: env!("CARGO_PKG_VERSION"),
                yields_to: &api_types::names::LEASES_OF_KAIROS_OPERATOR,
            };
            let args = args.controller;
            run(info, &args.runtime.clone(), |chassis| {
                controller::run(chassis, args)
            })
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
