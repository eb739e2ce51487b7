//! The node labeller's binary; `detect` is what its Pods run on a node.

use clap::{Parser, Subcommand};
use node_labeller::detect::{self, DetectArgs};

/// Finds out what a Kairos node is.
#[derive(Debug, Parser)]
#[command(name = "node-labeller", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads the host's release files and boot state, and leaves the outcome as the Pod's termination message.
    Detect(DetectArgs),
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Detect(args) => detect::run(&args),
    }
}
