//! The addresses of a cluster with real nodes, and the cable from a node to the control plane's bridge.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::guard::{Cleanup, Guard};

/// The bridge in the control plane's network namespace: gateway of all nodes, and address of its servers.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// Port of the registry on [`GATEWAY`].
pub(super) const REGISTRY_PORT: u16 = 5000;

/// The ranges of all nodes' Pods together.
pub(super) const ALL_PODS: &str = "10.244.0.0/16";

/// How many nodes the addresses are enough for.
pub(super) const MAXIMUM_NODES: usize = 200;

/// Address of the node with this index, from 0.
pub(super) fn address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, 11 + index)
}

/// Range of the Pods of the node with this index, from 0.
pub(super) fn pod_range(index: u8) -> String {
    format!("10.244.{}.0/24", u16::from(index) + 1)
}

/// The cable from a node to the control plane's bridge, by the bridge's end of it.
#[derive(Clone, Debug)]
pub(super) struct Cable {
    control_namespace: String,
    port: String,
}

impl Cable {
    /// Cuts the node off from everything outside of it, or connects it again.
    pub(super) async fn set(&self, is_up: bool) -> anyhow::Result<()> {
        let state = if is_up { "up" } else { "down" };
        let output = tokio::process::Command::new("ip")
            .args(["-netns", &self.control_namespace])
            .args(["link", "set", &self.port, state])
            .stdin(Stdio::null())
            .output()
            .await
            .context("failed to run ip")?;
        if !output.status.success() {
            bail!(
                "failed to set {} of {} {state}: {}",
                self.port,
                self.control_namespace,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }
}

/// Makes the network namespace `node_namespace` and connects it; the guard deletes it at the end.
pub(super) fn connect(
    guard: &Guard,
    script: &Path,
    control_namespace: &str,
    node_namespace: &str,
    index: u8,
) -> anyhow::Result<Cable> {
    let cable = Cable {
        control_namespace: control_namespace.to_owned(),
        port: format!("node{index}"),
    };
    guard.register(Cleanup::DeleteNetworkNamespace(node_namespace.to_owned()))?;
    let output = Command::new("sh")
        .arg(script)
        .args([
            control_namespace,
            node_namespace,
            &cable.port,
            &GATEWAY.to_string(),
        ])
        .args([address(index).to_string(), pod_range(index)])
        .stdin(Stdio::null())
        .output()
        .context("failed to run network.sh")?;
    if !output.status.success() {
        bail!(
            "failed to connect {node_namespace}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(cable)
}
