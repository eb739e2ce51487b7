//! The worker: steps of a build inside the builder Pod. Its last words go to the container's termination message.

use std::process::ExitCode;

use artifact_controller::paths::TERMINATION_LOG;
use artifact_controller::worker::{Args, run};
use clap::Parser as _;

fn main() -> ExitCode {
    let (words, code) = match run(Args::parse().step) {
        Ok(words) => (words, ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("{error}");
            (error.to_string(), ExitCode::FAILURE)
        }
    };
    if !words.is_empty()
        && let Err(error) = std::fs::write(TERMINATION_LOG, &words)
    {
        eprintln!("failed to write {TERMINATION_LOG}: {error}");
        return ExitCode::FAILURE;
    }
    code
}
