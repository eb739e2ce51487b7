//! The worker: steps of a build inside the builder Pod. Its last words go to the container's termination message. Where a
//! tool ran, that is left to the kubelet, which takes the end of the tool's own output.

use std::process::ExitCode;

use artifact_controller::paths::TERMINATION_LOG;
use artifact_controller::worker::{Args, StepArgs, run};
use clap::Parser as _;

fn main() -> ExitCode {
    let step = Args::parse().step;
    let is_tool = matches!(step, StepArgs::Run(_));
    let (words, code) = match run(step) {
        Ok(words) => (words, ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("{error}");
            (error.last_words(), ExitCode::FAILURE)
        }
    };
    if !words.is_empty()
        && !is_tool
        && let Err(error) = std::fs::write(TERMINATION_LOG, &words)
    {
        eprintln!("failed to write {TERMINATION_LOG}: {error}");
        return ExitCode::FAILURE;
    }
    code
}
