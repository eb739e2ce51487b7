//! The cluster of a run: a real control plane and simulated nodes, and the controller on it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use e2e::cluster::{Cluster, ControlPlane, TempNamespace, simulated_node};
use e2e::guard::{ProcessHandle, Signal};
use e2e::operator::{self, Controller, NAMESPACE};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::process;
use crate::requests::Requests;
use crate::{progress, within};

/// How long a namespace and what is in it may take to go.
const GONE: Duration = Duration::from_mins(20);
/// How long a controller may take until it is ready.
const READY: Duration = Duration::from_mins(2);
/// A controller that has made no request for this long, but for its lease, has nothing more to do.
const QUIET: Duration = Duration::from_secs(3);
/// How long it may take until it is quiet.
const SETTLED: Duration = Duration::from_mins(5);
/// Lines of a controller's log that are told when it has failed: its last words come before a backtrace.
const LAST_WORDS: usize = 80;
/// How long a controller may take to end.
const STOPPED: Duration = Duration::from_secs(30);

/// The cluster of a run.
pub struct Site {
    /// The cluster.
    pub cluster: Cluster,
    /// A client with all rights.
    pub client: Client,
    /// Names of the nodes; each has the same length.
    pub nodes: Vec<String>,
}

/// A running controller.
pub struct Running {
    process: ProcessHandle,
    name: &'static str,
    /// From its start until it was ready.
    pub ready_after: Duration,
}

impl Site {
    /// Starts a cluster with that many nodes, and installs what these controllers need. Without `stages`, Pods run at
    /// once and those of Jobs succeed about a second later.
    pub async fn start(
        nodes: usize,
        stages: Option<&str>,
        controllers: &[&str],
    ) -> anyhow::Result<Self> {
        progress(&format!("starting a cluster with {nodes} simulated nodes"));
        let mut builder = Cluster::builder()
            .control_plane(ControlPlane::Full)
            // A lease of each kubelet every ten seconds would be most of what a small machine does, in the floor and with
            // the controller. Without them nobody may judge nodes by their leases.
            .simulator_argument("--node-lease-duration-seconds=0")
            .controller_manager_argument("--controllers=*,-node-lifecycle-controller")
            .simulated_nodes_with(nodes, |index| simulated_node(&node_name(index)));
        if let Some(stages) = stages {
            builder = builder.stages(stages);
        }
        let cluster = builder.start().await?;
        let (artifact, others): (Vec<&str>, Vec<&str>) = controllers
            .iter()
            .partition(|name| **name == "artifact-controller");
        if !artifact.is_empty() {
            operator::install_artifact_controller(&cluster).await?;
        }
        if !others.is_empty() {
            operator::install_controllers(&cluster, &others).await?;
        }
        let client = cluster.client()?;
        Ok(Self {
            client,
            cluster,
            nodes: (0..nodes).map(node_name).collect(),
        })
    }

    /// Labels that every node has.
    pub fn labels() -> Value {
        json!({"kairos.io/managed": "true"})
    }

    /// A new namespace.
    pub async fn namespace(&self, prefix: &str) -> anyhow::Result<TempNamespace> {
        self.cluster.temp_namespace(prefix).await
    }

    /// Deletes a namespace, and waits until all that was in it is gone: nothing of one run shall cost the next one time.
    pub async fn clear(&self, namespace: TempNamespace) -> anyhow::Result<()> {
        let name = namespace.name().to_owned();
        drop(namespace);
        let api: Api<Namespace> = Api::all(self.client.clone());
        let deadline = Instant::now() + GONE;
        while within("read a namespace", api.get_opt(&name))
            .await?
            .is_some()
        {
            if Instant::now() > deadline {
                bail!(
                    "the namespace {name} is not gone within {} s",
                    GONE.as_secs()
                );
            }
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Starts a controller and waits until it is ready.
    pub async fn controller(
        &self,
        name: &'static str,
        arguments: &[&str],
    ) -> anyhow::Result<Running> {
        let mut controller = Controller::new(&self.cluster, name, None).await?;
        for argument in arguments {
            controller = controller.argument(argument);
        }
        // The log of an earlier one tells another address.
        if controller.log().exists() {
            std::fs::remove_file(controller.log()).context("failed to remove a log")?;
        }
        let start = Instant::now();
        let process = controller.start(&self.cluster)?;
        let deadline = start + READY;
        while !is_ready(&process).await {
            if process.exit().is_some() || Instant::now() > deadline {
                bail!(
                    "{name} is not ready within {} s:\n{}",
                    READY.as_secs(),
                    process.log_tail(LAST_WORDS)
                );
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(Running {
            process,
            name,
            ready_after: start.elapsed(),
        })
    }

    /// CPU seconds that the cluster's programs have used, by program.
    pub fn cpu_seconds(&self) -> anyhow::Result<BTreeMap<String, f64>> {
        process::cpu_seconds_below(self.cluster.folder())
    }
}

/// Whether /readyz says yes. Its address stands in the log.
async fn is_ready(process: &ProcessHandle) -> bool {
    let Some(address) = admin_address(&process.log_tail(200)) else {
        return false;
    };
    ask(&address, "/readyz")
        .await
        .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// The answer to one GET, by hand: it is all that is needed of HTTP here.
async fn ask(address: &str, path: &str) -> anyhow::Result<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    tokio::time::timeout(Duration::from_secs(5), exchange).await?
}

fn admin_address(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("admin_address")?;
    let start = rest.find(|letter: char| letter.is_ascii_digit())?;
    let text: String = rest[start..]
        .chars()
        .take_while(|letter| letter.is_ascii_digit() || matches!(letter, '.' | ':'))
        .collect();
    text.contains(':').then_some(text)
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Fails when it has ended by itself.
    pub fn check(&self) -> anyhow::Result<()> {
        match self.process.exit() {
            None => Ok(()),
            Some(exit) => bail!(
                "{} ended by itself ({exit:?}):\n{}",
                self.name,
                self.process.log_tail(LAST_WORDS)
            ),
        }
    }

    /// How many requests it has made so far, by the audit log.
    pub fn requests_made(&self, site: &Site) -> anyhow::Result<usize> {
        let user = format!("system:serviceaccount:{NAMESPACE}:{}", self.name);
        Ok(site.cluster.audit_of(&user)?.count())
    }

    /// Its requests after the first `before`.
    pub fn requests(&self, site: &Site, before: usize) -> anyhow::Result<Requests> {
        let user = format!("system:serviceaccount:{NAMESPACE}:{}", self.name);
        let audit = site.cluster.audit_of(&user)?;
        Ok(Requests::of(
            audit.events().get(before..).unwrap_or_default(),
        ))
    }

    /// Waits until it makes no more requests but for its lease.
    pub async fn settle(&self, site: &Site) -> anyhow::Result<()> {
        let deadline = Instant::now() + SETTLED;
        let mut before = None;
        loop {
            self.check()?;
            let requests = self.requests(site, 0)?;
            let now = Some((requests.total(), requests.events));
            if now == before {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "{} still makes requests after {} s",
                    self.name,
                    SETTLED.as_secs()
                );
            }
            before = now;
            sleep(QUIET).await;
        }
    }

    /// Ends it, so that it releases its lease.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.process.signal(Signal::Terminate)?;
        match tokio::time::timeout(STOPPED, self.process.wait()).await {
            Ok(exit) => exit.map(|_| ()),
            Err(_) => self.process.kill(),
        }
    }
}

fn node_name(index: usize) -> String {
    format!("node-{index:05}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_address_is_found_in_both_kinds_of_log() {
        let text = "INFO starting name=\"x\" admin_address=127.0.0.1:4711 version=1";
        assert_eq!(admin_address(text).as_deref(), Some("127.0.0.1:4711"));
        let json = r#"{"message":"starting","admin_address":"127.0.0.1:4711","x":1}"#;
        assert_eq!(admin_address(json).as_deref(), Some("127.0.0.1:4711"));
        assert_eq!(admin_address("INFO nothing yet"), None);
    }
}
