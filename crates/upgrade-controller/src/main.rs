//! The upgrade controller's binary.

use clap::Parser as _;
use operator_runtime::run::{ControllerInfo, run};
use upgrade_controller::args::Args;
use upgrade_controller::controller;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let info = ControllerInfo {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        yields_to: &api_types::names::LEASES_OF_KAIROS_OPERATOR,
    };
    run(info, &args.runtime.clone(), |chassis| {
        controller::run(chassis, args)
    })
}
