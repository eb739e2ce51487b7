//! One running node, and what can befall it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::core::v1::Node as KubernetesNode;
use kube::{Api, Client};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, sleep, timeout};

use super::history::{Boot, End, read};
use super::network::Cable;
use super::spec::BootState;
use super::start::write_marker;
use crate::guard::ProcessHandle;

/// How long a node may take from a signal to its end.
const POWER_DOWN: Duration = Duration::from_secs(20);

/// How long one request to the API server may take.
const REQUEST: Duration = Duration::from_secs(10);

/// Environment variable that every process of a node's boot carries; its value is the node's folder.
pub(super) const FOLDER_VARIABLE: &str = "NODE_FOLDER";

/// How often states are looked at.
const INTERVAL: Duration = Duration::from_millis(200);

/// A node. It goes on when this is dropped; it ends with its guard.
#[derive(Clone)]
pub struct Node {
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
    /// Holds the node's files outside its own file system; the scripts name them.
    pub(super) folder: PathBuf,
    pub(super) firmware: ProcessHandle,
    pub(super) cable: Cable,
    pub(super) client: Client,
}

impl Node {
    /// Name of the Node object.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its internal address, reachable from the control plane's network namespace.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The boot ID of the running boot, or of the last one when the node is off.
    pub fn boot_id(&self) -> anyhow::Result<String> {
        let boots = self.boots()?;
        boots
            .last()
            .map(|boot| boot.boot_id.clone())
            .with_context(|| format!("node {} has not booted yet", self.name))
    }

    /// All boots so far, first one first.
    pub fn boots(&self) -> anyhow::Result<Vec<Boot>> {
        let path = self.folder.join("boots");
        match fs::read_to_string(&path) {
            Ok(text) => read(&text).with_context(|| format!("failed to read {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
        }
    }

    /// A file that the node, or a Pod through its host mount, has written. `path` is absolute; absent: no such file was written.
    pub fn written_file(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.folder.join("upper").join(path.trim_start_matches('/'))).ok()
    }

    /// A file of the node's state partition, where upgrades leave systems (`active`, `passive`, `recovery`) and their
    /// calls (`calls`); absent: none has.
    pub fn state_file(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder.join("state").join(name)).ok()
    }

    /// Takes the power away: no process of the node sees it coming. The node stays off until [`Node::power_on`].
    pub async fn power_cut(&self) -> anyhow::Result<()> {
        self.end_with(Signal::KILL).await
    }

    /// Shuts the node down in order, without telling the cluster. The node stays off until [`Node::power_on`].
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.end_with(Signal::USR2).await
    }

    /// Cuts the node's network off: its Pods go on, and neither they nor its kubelet reach anything outside of it.
    pub async fn unplug(&self) -> anyhow::Result<()> {
        let failed = || format!("failed to unplug node {}", self.name);
        self.cable.set(false).await.with_context(failed)
    }

    /// Connects a node that was unplugged.
    pub async fn plug_in(&self) -> anyhow::Result<()> {
        let failed = || format!("failed to plug node {} in", self.name);
        self.cable.set(true).await.with_context(failed)
    }

    /// Changes what the next boot of a node that is off finds: /etc/kairos-release and /proc/cmdline.
    pub fn change_system(&self, kairos_release: &str, state: BootState) -> anyhow::Result<()> {
        self.change("upper/etc/kairos-release", kairos_release)?;
        self.change("cmdline", &state.command_line())
    }

    /// Changes which marker file the next boot of a node that is off finds in /run/cos.
    pub fn change_marker(&self, state: BootState) -> anyhow::Result<()> {
        self.ensure_off()?;
        write_marker(&self.folder, state)
            .with_context(|| format!("failed to change the marker file of node {}", self.name))
    }

    fn change(&self, file: &str, content: &str) -> anyhow::Result<()> {
        self.ensure_off()?;
        fs::write(self.folder.join(file), content)
            .with_context(|| format!("failed to change {file} of node {}", self.name))
    }

    fn ensure_off(&self) -> anyhow::Result<()> {
        ensure!(
            self.boots()?.last().is_none_or(|boot| boot.end.is_some()),
            "node {} is on: stop it first",
            self.name
        );
        Ok(())
    }

    /// Boots a node that is off.
    pub async fn power_on(&self) -> anyhow::Result<()> {
        let before = self.boots()?;
        ensure!(
            before.last().is_none_or(|boot| boot.end.is_some()),
            "node {} is already on",
            self.name
        );
        fs::write(self.folder.join("power-on"), "")
            .with_context(|| format!("failed to power on node {}", self.name))?;
        self.until(|boots| boots.len() > before.len(), "boot").await
    }

    /// Waits until the API server knows this boot of the node and calls it Ready.
    pub async fn wait_ready(&self, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        let nodes: Api<KubernetesNode> = Api::all(self.client.clone());
        let mut last = "the API server does not know it".to_owned();
        loop {
            if let Some(boot) = self.boots()?.last() {
                if matches!(boot.end, Some(End::Failed(_))) {
                    bail!("node {} did not stay up:\n{}", self.name, self.diagnosis());
                }
                match timeout(REQUEST, nodes.get_opt(&self.name)).await {
                    Ok(Ok(Some(node))) if is_ready(&node, &boot.boot_id) => return Ok(()),
                    Ok(Ok(Some(_))) => {
                        "it is not Ready with its present boot".clone_into(&mut last);
                    }
                    Ok(Ok(None)) => {}
                    Ok(Err(error)) => last = error.to_string(),
                    Err(_) => "the API server did not answer in time".clone_into(&mut last),
                }
            } else if self.firmware.exit().is_some() {
                bail!(
                    "the firmware of node {} ended:\n{}",
                    self.name,
                    self.diagnosis()
                );
            }
            if Instant::now() > deadline {
                bail!(
                    "node {} was not Ready within {} s ({last}):\n{}",
                    self.name,
                    within.as_secs(),
                    self.diagnosis()
                );
            }
            sleep(INTERVAL).await;
        }
    }

    /// The ends of the node's own logs, for messages.
    pub fn diagnosis(&self) -> String {
        let services = ["containerd", "kubelet", "kube-proxy"].map(|service| {
            let log = self
                .written_file(&format!("var/log/{service}.log"))
                .unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(10)..].join("\n");
            format!("--- {service} ---\n{tail}\n")
        });
        format!(
            "--- firmware ---\n{}\n{}",
            self.firmware.log_tail(10),
            services.concat()
        )
    }

    async fn end_with(&self, signal: Signal) -> anyhow::Result<()> {
        let failed = || format!("failed to end node {}: is it on?", self.name);
        let pid = fs::read_to_string(self.folder.join("init.pid")).with_context(failed)?;
        let pid: i32 = pid.trim().parse().with_context(failed)?;
        let process = pidfd_open(
            Pid::from_raw(pid).with_context(failed)?,
            PidfdFlags::empty(),
        )
        .with_context(failed)?;
        // From here on the handle names one process, whatever becomes of its id: now look which one it is.
        let [own, its] = [
            "/proc/self/ns/pid".to_owned(),
            format!("/proc/{pid}/ns/pid"),
        ]
        .map(fs::read_link);
        let marker = format!("{FOLDER_VARIABLE}={}", self.folder.display());
        let environment = fs::read(format!("/proc/{pid}/environ")).with_context(failed)?;
        let is_ours = environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == marker.as_bytes());
        ensure!(
            is_ours && own? != its.with_context(failed)?,
            "process {pid} is not the init of node {}: not touched",
            self.name
        );
        let power_cut = self.folder.join("power-cut");
        if signal == Signal::KILL {
            // Tells the firmware how to read what comes.
            fs::write(&power_cut, "").with_context(failed)?;
        }
        if let Err(error) = pidfd_send_signal(&process, signal) {
            // It ended by itself in between, and its next end is no power cut.
            fs::remove_file(&power_cut).ok();
            return Err(error).with_context(failed);
        }
        self.until(
            |boots| boots.last().is_some_and(|boot| boot.end.is_some()),
            "end",
        )
        .await
    }

    async fn until(&self, holds: impl Fn(&[Boot]) -> bool, what: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + POWER_DOWN;
        while !holds(&self.boots()?) {
            ensure!(
                Instant::now() < deadline,
                "node {} did not {what} within {} s",
                self.name,
                POWER_DOWN.as_secs()
            );
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

fn is_ready(node: &KubernetesNode, boot_id: &str) -> bool {
    let Some(status) = &node.status else {
        return false;
    };
    let ready = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready
        && status
            .node_info
            .as_ref()
            .is_some_and(|info| info.boot_id == boot_id)
}
