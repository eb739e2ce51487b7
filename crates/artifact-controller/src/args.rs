//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// What the binary is asked to do.
#[derive(Debug, Parser)]
#[command(
    name = "artifact-controller",
    version,
    about = "Renders the Dockerfile templates of OSArtifacts; building them is not part of it yet"
)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Renders a Dockerfile template and prints the text, or explains what is wrong with it.
    Render {
        /// YAML file with the values: a map of strings. Without it, there are none.
        #[arg(long, value_name = "FILE")]
        values: Option<PathBuf>,
        /// The Dockerfile template.
        dockerfile: PathBuf,
    },
}
