//! The guard of a test run: supervises its processes and cleans up after it. Started by the library, never by hand.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use e2e::guard::program;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Serve requests from stdin until it ends, then end everything that was started.
    Supervise,
    /// Become a supervised process.
    Exec {
        #[arg(long)]
        parent: i32,
        #[arg(long)]
        network_namespace: Option<String>,
        #[arg(last = true)]
        argv: Vec<String>,
    },
    /// Serve a folder of images as a container registry.
    Registry {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        folder: PathBuf,
    },
    /// Carry connections into a network namespace.
    Forward {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        network_namespace: String,
        #[arg(long)]
        to: SocketAddr,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().role {
        Role::Supervise => program::supervise(),
        Role::Exec {
            parent,
            network_namespace,
            argv,
        } => Err(program::become_process(
            parent,
            network_namespace.as_deref(),
            &argv,
        )),
        Role::Registry { listen, folder } => {
            e2e::images::serve(listen, &folder).map_err(std::io::Error::other)
        }
        Role::Forward {
            listen,
            network_namespace,
            to,
        } => program::forward(listen, &network_namespace, to),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("e2e-guard: {error}");
            ExitCode::from(127)
        }
    }
}
