//! The `artifact-controller` binary: so far, a way to try a Dockerfile template on a laptop.

use std::io::Write as _;
use std::process::ExitCode;

use artifact_controller::args::{Args, Command};
use artifact_controller::render::render_file;
use clap::Parser as _;

fn main() -> ExitCode {
    let Command::Render { values, dockerfile } = Args::parse().command;
    let printed = render_file(&dockerfile, values.as_deref())
        .map_err(|error| error.to_string())
        .and_then(|text| {
            std::io::stdout()
                .write_all(&text)
                .map_err(|error| format!("failed to print: {error}"))
        });
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
