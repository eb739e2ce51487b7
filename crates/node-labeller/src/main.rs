//! The node labeller's binary.

use clap::Parser as _;
use node_labeller::args::Args;
use node_labeller::controller;
use operator_runtime::run::{ControllerInfo, run};

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
