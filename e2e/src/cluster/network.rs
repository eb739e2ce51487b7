//! The network namespace of a control plane that real nodes join, and the way into it from loopback.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, bail};

use crate::guard::{Cleanup, Guard, Process};
use crate::nodes::GATEWAY;

/// Makes a network namespace with a bridge `nodes` that has the address of the control plane. Needs root and iproute2.
pub(super) fn create(guard: &Guard) -> anyhow::Result<String> {
    let name = format!("{}-control", guard.run_name());
    guard.register(Cleanup::DeleteNetworkNamespace(name.clone()))?;
    ip(&["netns", "add", &name])?;
    ip(&["-n", &name, "link", "set", "lo", "up"])?;
    ip(&["-n", &name, "link", "add", "nodes", "type", "bridge"])?;
    ip(&[
        "-n",
        &name,
        "address",
        "add",
        &format!("{GATEWAY}/24"),
        "dev",
        "nodes",
    ])?;
    ip(&["-n", &name, "link", "set", "nodes", "up"])?;
    Ok(name)
}

/// Carries connections from `listen` on loopback to `to` in the namespace.
pub(super) fn forward(
    guard: &Guard,
    namespace: &str,
    listen: SocketAddr,
    to: SocketAddr,
) -> anyhow::Result<()> {
    // The guard starts every process through its own program, which this path names again.
    let program = [
        "/proc/self/exe",
        "forward",
        "--network-namespace",
        namespace,
    ]
    .map(str::to_owned);
    let addresses = [
        "--listen".to_owned(),
        listen.to_string(),
        "--to".to_owned(),
        to.to_string(),
    ];
    let log = guard.folder().join("forward.log");
    guard
        .spawn(&Process::new(
            "forward",
            program.into_iter().chain(addresses),
            log,
        ))
        .map(|_| ())
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let line = arguments.join(" ");
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .with_context(|| format!("failed to run ip {line}: install iproute2"))?;
    if !output.status.success() {
        bail!(
            "failed to run ip {line}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
