//! The processes of a control plane: their arguments, and waiting until the API server answers.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kube::Client;
use tokio::time::{sleep, timeout};

use crate::assets::{self, KUBERNETES_VERSION, Tool};
use crate::guard::{Guard, Process, ProcessHandle};
use crate::nodes::GATEWAY;

/// Name of the audit log in the cluster's folder.
pub(super) const AUDIT_LOG: &str = "audit.jsonl";

/// How long the API server may take from start to ready, on a busy machine.
const READY: Duration = Duration::from_mins(2);

/// Everything is logged, without bodies; the stage that comes before an answer would only double it.
const AUDIT_POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [{"level": "Metadata"}]}"#;

/// The programs of a control plane, built.
pub(super) struct Programs {
    etcd: PathBuf,
    api_server: PathBuf,
    controller_manager: Option<PathBuf>,
    scheduler: Option<PathBuf>,
    kwok: Option<PathBuf>,
}

impl Programs {
    /// Takes the programs from the cache, building them first where needed (blocking: minutes).
    pub(super) fn gather(kubernetes: Option<&str>, full: bool, kwok: bool) -> anyhow::Result<Self> {
        let version = kubernetes.unwrap_or(KUBERNETES_VERSION);
        let when = |wanted: bool, tool: Tool| {
            wanted
                .then(|| assets::kubernetes_tool(tool, version))
                .transpose()
        };
        Ok(Self {
            etcd: assets::tool(Tool::Etcd)?,
            api_server: assets::kubernetes_tool(Tool::KubeApiServer, version)?,
            controller_manager: when(full, Tool::KubeControllerManager)?,
            scheduler: when(full, Tool::KubeScheduler)?,
            kwok: kwok.then(|| assets::tool(Tool::Kwok)).transpose()?,
        })
    }
}

/// Where a control plane listens.
pub(super) struct Place {
    network_namespace: Option<String>,
    etcd: SocketAddr,
    etcd_peer: SocketAddr,
    pub(super) api_server: SocketAddr,
    /// Where this process reaches the API server.
    pub(super) host: SocketAddr,
}

impl Place {
    /// Fixed ports in a namespace of its own, free ones on loopback.
    pub(super) fn new(network_namespace: Option<&str>) -> anyhow::Result<Self> {
        let free = free_ports()?;
        let api_server = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), free[2]);
        let place = Self {
            network_namespace: network_namespace.map(str::to_owned),
            etcd: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), free[0]),
            etcd_peer: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), free[1]),
            api_server,
            host: api_server,
        };
        if network_namespace.is_none() {
            return Ok(place);
        }
        Ok(Self {
            api_server: SocketAddr::new(IpAddr::V4(GATEWAY), 6443),
            ..place
        })
    }

    pub(super) fn url(&self) -> String {
        format!("https://{}", self.api_server)
    }
}

/// Three ports that nobody listens on, below the range that outgoing connections take theirs from.
fn free_ports() -> anyhow::Result<[u16; 3]> {
    let start = Instant::now();
    let mut found = Vec::new();
    while found.len() < 3 {
        let text = super::identities::random_text()?;
        let number = u16::from_str_radix(&text[..4], 16).context("no number")?;
        let port = 15_000 + number % 15_000;
        // Bound and let go: another process could take it in between, which the start would report.
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && !found.contains(&port) {
            found.push(port);
        }
        if start.elapsed() > Duration::from_secs(10) {
            bail!("found no free ports on loopback");
        }
    }
    Ok([found[0], found[1], found[2]])
}

/// Starts the processes of one control plane.
pub(super) struct Launcher<'a> {
    pub(super) guard: &'a Guard,
    pub(super) programs: &'a Programs,
    pub(super) place: &'a Place,
}

impl Launcher<'_> {
    fn process(&self, name: &str, program: &Path, arguments: Vec<String>) -> Process {
        let argv = std::iter::once(program.display().to_string()).chain(arguments);
        let folder = self.guard.folder();
        let mut process = Process::new(name, argv, folder.join(format!("{name}.log"))).cwd(folder);
        process
            .network_namespace
            .clone_from(&self.place.network_namespace);
        process
    }

    pub(super) fn etcd(&self) -> anyhow::Result<ProcessHandle> {
        let (client, peer) = (self.place.etcd, self.place.etcd_peer);
        let arguments = vec![
            "--data-dir=etcd".to_owned(),
            // Nothing of a test must survive a power loss.
            "--unsafe-no-fsync".to_owned(),
            "--quota-backend-bytes=8589934592".to_owned(),
            format!("--listen-client-urls=http://{client}"),
            format!("--advertise-client-urls=http://{client}"),
            format!("--listen-peer-urls=http://{peer}"),
            format!("--initial-advertise-peer-urls=http://{peer}"),
            format!("--initial-cluster=default=http://{peer}"),
            "--log-level=warn".to_owned(),
        ];
        self.guard
            .spawn(&self.process("etcd", &self.programs.etcd, arguments))
    }

    pub(super) fn api_server(&self, more: &[String]) -> anyhow::Result<(Process, ProcessHandle)> {
        let policy = self.guard.folder().join("audit-policy.json");
        fs::write(&policy, AUDIT_POLICY)
            .with_context(|| format!("failed to write {}", policy.display()))?;
        let mut arguments = vec![
            format!("--etcd-servers=http://{}", self.place.etcd),
            format!("--bind-address={}", self.place.api_server.ip()),
            format!("--secure-port={}", self.place.api_server.port()),
            // The `kubernetes` Service must not point at a loopback address.
            format!("--advertise-address={GATEWAY}"),
            "--tls-cert-file=server.crt".to_owned(),
            "--tls-private-key-file=server.key".to_owned(),
            "--client-ca-file=ca.crt".to_owned(),
            "--token-auth-file=tokens.csv".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--service-account-key-file=service-account.pub".to_owned(),
            "--service-account-signing-key-file=service-account.key".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--kubelet-certificate-authority=ca.crt".to_owned(),
            "--kubelet-client-certificate=kubelet-client.crt".to_owned(),
            "--kubelet-client-key=kubelet-client.key".to_owned(),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            "--audit-policy-file=audit-policy.json".to_owned(),
            format!("--audit-log-path={AUDIT_LOG}"),
            // In MiB: never rotated, so that a test counts everything.
            "--audit-log-maxsize=100000".to_owned(),
        ];
        arguments.extend_from_slice(more);
        let process = self.process("kube-apiserver", &self.programs.api_server, arguments);
        let handle = self.guard.spawn(&process)?;
        Ok((process, handle))
    }

    pub(super) fn controller_manager(&self, more: &[String]) -> anyhow::Result<()> {
        let Some(program) = &self.programs.controller_manager else {
            return Ok(());
        };
        let arguments = [
            "--kubeconfig=kube-controller-manager.kubeconfig",
            "--use-service-account-credentials",
            "--root-ca-file=ca.crt",
            "--service-account-private-key-file=service-account.key",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=2000",
            "--kube-api-burst=4000",
            "--concurrent-job-syncs=50",
        ];
        let arguments = arguments
            .map(str::to_owned)
            .into_iter()
            .chain(more.iter().cloned())
            .collect();
        self.guard
            .spawn(&self.process("kube-controller-manager", program, arguments))
            .map(|_| ())
    }

    pub(super) fn scheduler(&self) -> anyhow::Result<()> {
        let Some(program) = &self.programs.scheduler else {
            return Ok(());
        };
        let arguments = [
            "--kubeconfig=kube-scheduler.kubeconfig",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=1000",
            "--kube-api-burst=2000",
        ];
        self.guard
            .spawn(&self.process(
                "kube-scheduler",
                program,
                arguments.map(str::to_owned).into(),
            ))
            .map(|_| ())
    }

    pub(super) fn kwok(&self, stages: Option<&str>, added: &[String]) -> anyhow::Result<()> {
        let Some(program) = &self.programs.kwok else {
            return Ok(());
        };
        let annotation = super::SIMULATED_ANNOTATION;
        let mut arguments = vec![
            "--kubeconfig=kwok.kubeconfig".to_owned(),
            // Selected, so that kwok leaves real nodes alone.
            format!("--manage-nodes-with-annotation-selector={annotation}=fake"),
        ];
        if let Some(stages) = stages {
            let path = self.guard.folder().join("stages.yaml");
            fs::write(&path, stages)
                .with_context(|| format!("failed to write {}", path.display()))?;
            arguments.push("--config=stages.yaml".to_owned());
        }
        arguments.extend_from_slice(added);
        // Without a home, the user's own kwok settings stay out of it.
        let process = self
            .process("kwok", program, arguments)
            .env("HOME", self.guard.folder().display().to_string());
        self.guard.spawn(&process).map(|_| ())
    }
}

/// Waits until the API server says that it is ready. Fails at once when one of `processes` ends.
pub(super) async fn wait_ready(
    client: &Client,
    processes: &[&ProcessHandle],
) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY;
    loop {
        let request = http::Request::get("/readyz")
            .body(Vec::new())
            .context("failed to ask for /readyz")?;
        let why = match timeout(Duration::from_secs(5), client.request_text(request)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer within 5 s".to_owned(),
        };
        for process in processes {
            if let Some(exit) = process.exit() {
                bail!(
                    "{} ended ({exit:?}); the end of its log:\n{}",
                    process.name(),
                    process.log_tail(20)
                );
            }
        }
        if Instant::now() > deadline {
            bail!(
                "the API server was not ready within {} s: {why}",
                READY.as_secs()
            );
        }
        sleep(Duration::from_millis(100)).await;
    }
}
