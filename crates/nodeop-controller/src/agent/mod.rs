//! The node agent: what runs on the node for a NodeOp that reboots it. A static binary without shell, without access to the
//! API server and without token. Everything it knows stands in files: its Pod's annotations, the host's boot ID and the
//! sentinel on the host. So it can be ended and started anywhere and finds its way.
//!
//! - [`sentinel`]: the last step of the Job's Pod. Leaves the proof on the host that the command has succeeded, and tells
//!   in which boot.
//! - [`reboot`]: the reboot Pod. Waits for the permission, reboots the host once, and ends well when it is back.
//! - [`enter`]: the host's own program, started in the host's namespaces; a step of `reboot` that needs a process of its
//!   own.
//!
//! [`decide`] says what to do; nothing else does.

pub mod annotations;
pub mod decide;
pub mod enter;
pub mod host;
pub mod power;
pub mod reboot;
pub mod sentinel;

use clap::{Parser, Subcommand};

/// Leaves the proof of work on a node, and reboots the node when it may.
#[derive(Clone, Debug, Parser)]
#[command(name = "node-agent", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub step: Step,
}

/// The steps of the agent.
#[derive(Clone, Debug, Subcommand)]
pub enum Step {
    /// Writes the sentinel on the host, and the host's boot ID as the Pod's termination message.
    Sentinel(sentinel::SentinelArgs),
    /// Waits for the permission in the Pod's annotations, reboots the host, and ends well once the host has rebooted.
    Reboot(reboot::RebootArgs),
    /// Becomes a program of the host, in the host's namespaces.
    #[command(hide = true)]
    Enter(enter::EnterArgs),
}

/// Carries out one step.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.step {
        Step::Sentinel(args) => sentinel::run(args),
        Step::Reboot(args) => reboot::run(args),
        Step::Enter(args) => enter::run(args),
    }
}

/// One line to whoever reads the Pod's log.
fn tell(line: &str) {
    eprintln!("node-agent: {line}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
