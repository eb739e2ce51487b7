//! The `artifact-controller` binary: so far, a way to try a Dockerfile template on a laptop.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use artifact_controller::render::render_file;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    version,
    about = "Renders the Dockerfile templates of OSArtifacts; building them is not part of it yet"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Renders a Dockerfile template and prints the text, or explains what is wrong with it.
    Render {
        /// YAML file with the values: a map of strings. Without it, there are none.
        #[arg(long, value_name = "FILE")]
        values: Option<PathBuf>,
        /// The Dockerfile template.
        dockerfile: PathBuf,
    },
}

fn main() -> ExitCode {
    let Command::Render { values, dockerfile } = Arguments::parse().command;
    let printed = render_file(&dockerfile, values.as_deref())
        .map_err(|error| error.to_string())
        .and_then(|text| {
            std::io::stdout()
                .write_all(&text)
                .map_err(|error| format!("failed to print: {error}"))
        });
    let Err(message) = printed else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{message}");
    ExitCode::FAILURE
}
