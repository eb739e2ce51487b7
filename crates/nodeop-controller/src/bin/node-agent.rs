//! The node agent's binary.

use clap::Parser as _;
use nodeop_controller::agent::{Args, run};

fn main() -> anyhow::Result<()> {
    run(&Args::parse())
}
