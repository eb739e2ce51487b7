//! What the labeller's Pods run on a node: reads the host's release files and boot state, and leaves the outcome as the
//! Pod's termination message.

use clap::Parser;
use node_labeller::detect::{self, DetectArgs};

/// Finds out what the node is that this Pod runs on.
#[derive(Debug, Parser)]
#[command(name = "node-labeller-detect", version)]
struct Args {
    #[command(flatten)]
    detect: DetectArgs,
}

fn main() -> anyhow::Result<()> {
    detect::run(&Args::parse().detect)
}
