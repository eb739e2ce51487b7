//! The command line, and what it teaches.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench nodeop --nodes 100                        seconds, requests, CPU and memory on 100 nodes, all at once
  cargo xtask bench nodeop --nodes 100,500,1000 --concurrency 0,100
                                                              every pair; ends with how each figure grows with the nodes
  cargo xtask bench nodeop --nodes 500 --pods-per-node 40 --drain
                                                              each node is cordoned and emptied first
  cargo xtask bench nodeop --nodes 100 --repeat 3             three times; the table shows each
  cargo xtask bench startup --nodes 1000                      each controller: time to ready, then idle for a while
  cargo xtask bench labeller --nodes 1000                     nodes that join all at once

Requests are counted exactly (the API server's audit log). Seconds are those of this machine and of what else it does
meanwhile: compare the ratio to the floor, which was measured in the same run, and repeat.";

/// Measure what the controllers cost, on an embedded cluster with simulated nodes.
///
/// The control plane is real, the nodes are simulated by kwok: Pods run nothing, and those of Jobs succeed after a second.
/// First the floor is measured: the same Jobs, evictions and patches by bare requests of a Rust client, 16 in flight. Then
/// the controller (its release build) does the same on the same cluster.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench", bin_name = "cargo xtask bench", after_help = EXAMPLES)]
pub struct Arguments {
    /// What to measure.
    #[command(subcommand)]
    pub command: Command,

    /// Also write all figures to this file (default: below the build folder, named after the command).
    #[arg(long, global = true, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// A NodeOp on every node, against the same work by bare requests.
    Nodeop(NodeopArguments),
    /// Each controller on a cluster with so many nodes: time until it is ready, then memory and requests while idle.
    Startup {
        /// Simulated nodes.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
        nodes: u32,
        /// How long each controller is looked at while it has nothing to do.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
        idle_seconds: u32,
    },
    /// The node labeller while so many nodes join at once.
    Labeller {
        /// Simulated nodes; several sizes with commas, each on a cluster of its own.
        #[arg(long, value_delimiter = ',', default_value = "100", value_parser = clap::value_parser!(u32).range(1..=20_000))]
        nodes: Vec<u32>,
    },
}

/// What the NodeOp does.
#[derive(Clone, Debug, Args)]
pub struct NodeopArguments {
    /// Simulated nodes; several sizes with commas, each on a cluster of its own.
    #[arg(long, value_delimiter = ',', default_value = "100", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub nodes: Vec<u32>,
    /// Nodes that are worked on at once; 0 is all. Several with commas.
    #[arg(long, value_delimiter = ',', default_value = "0")]
    pub concurrency: Vec<u32>,
    /// Pods that run on each node.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=500))]
    pub pods_per_node: u32,
    /// Cordon each node and evict its Pods first.
    #[arg(long)]
    pub drain: bool,
    /// Reboot each node afterwards; the bench plays the machines.
    #[arg(long)]
    pub reboot: bool,
    /// How often each measurement is made.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repeat: u32,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn several_sizes_are_given_with_commas() {
        let arguments = Arguments::parse_from([
            "bench",
            "nodeop",
            "--nodes",
            "100,500",
            "--concurrency",
            "0,10",
        ]);
        let Command::Nodeop(nodeop) = arguments.command else {
            panic!("another command");
        };
        assert_eq!(
            (nodeop.nodes, nodeop.concurrency),
            (vec![100, 500], vec![0, 10])
        );
    }
}
