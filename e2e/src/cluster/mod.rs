//! A Kubernetes control plane of real programs, started for one test binary or demo, and gone with it.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use e2e::cluster::{Cluster, ControlPlane};
//! let cluster = Cluster::builder().control_plane(ControlPlane::Full).simulated_nodes(3).start().await?;
//! let namespace = cluster.temp_namespace("example").await?;
//! let client = cluster.client()?;
//! # Ok(()) }
//! ```
//!
//! Tests of one binary can share a cluster in a `static tokio::sync::OnceCell<Cluster>`: nothing in it is tied to a tokio
//! runtime, and the end of the process ends it. A [`kube::Client`] is tied to one, so each test asks for its own.

mod apply;
mod audit;
mod builder;
mod control_plane;
mod dns;
mod dump;
mod identities;
mod network;
mod simulated;
mod temp_namespace;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use tokio::time::timeout;

pub use audit::{Audit, AuditEvent};
pub use builder::{Builder, ControlPlane};
pub use simulated::{SIMULATED_ANNOTATION, simulated_node};
pub use temp_namespace::TempNamespace;

use crate::guard::{Guard, Process, ProcessHandle};
use crate::nodes::Authority;
use identities::Identities;

/// How long one request of this library to the API server may take.
const REQUEST: Duration = Duration::from_secs(30);

/// A running cluster. Dropping it ends every process and removes every file of it.
pub struct Cluster {
    guard: Guard,
    authority: Authority,
    identities: Identities,
    /// How this process reaches the API server as admin.
    config: Config,
    /// URL of the API server for processes beside it.
    inner_url: String,
    network_namespace: Option<String>,
    full: bool,
    api_server: Mutex<(Process, ProcessHandle)>,
}

impl Cluster {
    /// What to start; without further words, an API server and its database on loopback.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A new client with all rights. Each tokio runtime needs its own.
    pub fn client(&self) -> anyhow::Result<Client> {
        Client::try_from(self.config.clone())
            .context("failed to make a client for the embedded cluster")
    }

    /// How to reach the API server with all rights, for clients with settings of their own.
    pub fn config(&self) -> Config {
        self.config.clone()
    }

    /// URL of the API server on loopback.
    pub fn url(&self) -> String {
        self.config
            .cluster_url
            .to_string()
            .trim_end_matches('/')
            .to_owned()
    }

    /// Path of a kubeconfig with all rights.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder().join("admin.kubeconfig")
    }

    /// The authority that the API server trusts for clients.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The network namespace of the control plane, when it has one of its own.
    pub fn network_namespace(&self) -> Option<&str> {
        self.network_namespace.as_deref()
    }

    /// URL of the API server for what runs beside it: in its network namespace, or on loopback.
    pub fn inner_url(&self) -> &str {
        &self.inner_url
    }

    /// The guard of this cluster's processes.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The cluster's folder: logs, kubeconfigs, the audit log. Removed at the end.
    pub fn folder(&self) -> &Path {
        self.guard.folder()
    }

    /// What real nodes need to join; only a cluster built with `network_namespace` can have them.
    pub fn nodes_control_plane(&self) -> anyhow::Result<crate::nodes::ControlPlane<'_>> {
        Ok(crate::nodes::ControlPlane {
            guard: &self.guard,
            client: self.client()?,
            network_namespace: self
                .network_namespace()
                .context("this cluster listens on loopback: build it with network_namespace() for real nodes")?,
            api_server: &self.inner_url,
            cluster_dns: dns::ADDRESS,
            authority: &self.authority,
        })
    }

    /// Starts a process that ends with the cluster. Without a log of its own (an empty path), it logs to `NAME.log` in the
    /// cluster's folder.
    pub fn spawn(&self, mut process: Process) -> anyhow::Result<ProcessHandle> {
        if process.log.as_os_str().is_empty() {
            process.log = self.folder().join(format!("{}.log", process.name));
        }
        self.guard.spawn(&process)
    }

    /// A fresh token of an existing ServiceAccount, valid for a day.
    pub async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<String> {
        let failed = || format!("failed to make a token for ServiceAccount {namespace}/{name}");
        let api: Api<ServiceAccount> = Api::namespaced(self.client()?, namespace);
        let spec = TokenRequestSpec {
            expiration_seconds: Some(86_400),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest {
            spec: Some(spec),
            ..TokenRequest::default()
        };
        let answer = timeout(
            REQUEST,
            api.create_token_request(name, &PostParams::default(), &request),
        )
        .await;
        let answer = answer.with_context(failed)?.with_context(failed)?;
        answer
            .status
            .and_then(|status| status.token)
            .with_context(failed)
    }

    /// Writes a kubeconfig with a fresh token of an existing ServiceAccount.
    pub async fn service_account_kubeconfig(
        &self,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<PathBuf> {
        self.service_account_kubeconfig_via(&self.url(), namespace, name)
            .await
    }

    /// Like [`Self::service_account_kubeconfig`], for another URL that leads to the API server, such as a proxy's.
    pub async fn service_account_kubeconfig_via(
        &self,
        url: &str,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<PathBuf> {
        let token = self.service_account_token(namespace, name).await?;
        let port = url.rsplit(':').next().unwrap_or_default();
        let path = self
            .folder()
            .join(format!("{namespace}.{name}.{port}.kubeconfig"));
        self.identities.write_kubeconfig(&path, url, &token)?;
        Ok(path)
    }

    /// Every request the API server has answered so far.
    pub fn audit(&self) -> anyhow::Result<Audit> {
        Audit::read(&self.folder().join(control_plane::AUDIT_LOG))
    }

    /// Every request of one user that the API server has answered so far: with many requests of others much quicker than
    /// [`Self::audit`].
    pub fn audit_of(&self, user: &str) -> anyhow::Result<Audit> {
        Audit::read_of(&self.folder().join(control_plane::AUDIT_LOG), user)
    }

    /// Ends the API server by SIGKILL, starts it again, and waits until it is ready.
    pub async fn restart_api_server(&self) -> anyhow::Result<()> {
        self.stop_api_server().await?;
        self.start_api_server().await
    }

    /// Ends the API server by SIGKILL and waits for its end.
    pub async fn stop_api_server(&self) -> anyhow::Result<()> {
        let (_, running) = self
            .api_server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        running.kill()?;
        running.wait().await.map(|_| ())
    }

    /// Starts the API server after [`Self::stop_api_server`], and waits until it is ready.
    pub async fn start_api_server(&self) -> anyhow::Result<()> {
        let started = {
            let mut api_server = self
                .api_server
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            api_server.1 = self.guard.spawn(&api_server.0)?;
            api_server.1.clone()
        };
        control_plane::wait_ready(&self.client()?, &[&started]).await
    }

    /// Creates a namespace for one test; see [`TempNamespace`].
    pub async fn temp_namespace(&self, prefix: &str) -> anyhow::Result<TempNamespace> {
        TempNamespace::create(self.config(), prefix, self.full).await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Explicit, because handles of processes keep the guard too.
        self.guard.stop();
    }
}
