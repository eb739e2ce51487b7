//! Every developer command of this repository: `cargo xtask COMMAND`. One file or folder per command.

mod agent;
mod bench;
mod demo;
mod deny;
mod fuzz;
mod generate;
mod image;
mod release;
mod soak;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use workspace::Workspace;

/// Every developer command of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Generate(generate::Arguments),
    Tidy(tidy::Arguments),
    Test(test::Arguments),
    Deny(deny::Arguments),
    Fuzz(fuzz::Arguments),
    Soak(soak::Arguments),
    Image(image::Arguments),
    Release(release::Arguments),
    /// Build the node agent as a static binary, as the tests with real nodes put it into an image.
    Agent,
    /// Measure what the controllers cost, against bare requests (`bench --help` says more).
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments of the bench; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Start a cluster here, install the operator on it and run a NodeOp that you can watch (`demo --help` says more).
    #[command(disable_help_flag = true)]
    Demo {
        /// Arguments of the demo; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::load()?;
    match command {
        Command::Generate(arguments) => generate::run(&workspace, arguments),
        Command::Tidy(arguments) => tidy::run(&workspace, arguments),
        Command::Test(arguments) => test::run(&workspace, arguments),
        Command::Deny(arguments) => deny::run(&workspace, arguments),
        Command::Fuzz(arguments) => fuzz::run(&workspace, arguments),
        Command::Soak(arguments) => soak::run(&workspace, arguments),
        Command::Image(arguments) => image::run(&workspace, arguments),
        Command::Release(arguments) => release::run(&workspace, arguments),
        Command::Agent => agent::run(&workspace),
        Command::Bench { arguments } => bench::run(&workspace, arguments),
        Command::Demo { arguments } => demo::run(&workspace, arguments),
    }
}
