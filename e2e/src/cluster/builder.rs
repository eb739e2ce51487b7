//! What a cluster shall be made of, and the order in which it starts.

use std::sync::Mutex;
use std::time::Instant;

use anyhow::Context;
use k8s_openapi::api::core::v1::Node;
use kube::{Client, Config};

use super::control_plane::{self, Place, Programs};
use super::identities::Identities;
use super::network;
use super::simulated;
use super::{Cluster, REQUEST};
use crate::guard::Guard;
use crate::nodes::Authority;
use crate::progress;

/// How much of a control plane to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ControlPlane {
    /// The API server and its database: objects are stored and validated, nothing acts on them.
    #[default]
    ApiOnly,
    /// Also the controller manager and the scheduler.
    Full,
}

/// Environment variable with the Kubernetes version of clusters that name none.
const KUBERNETES: &str = "KAIROS_E2E_KUBERNETES";

type NodeTemplate = Box<dyn Fn(usize) -> Node + Send>;

/// Collects what a cluster shall be made of.
#[derive(Default)]
pub struct Builder {
    kubernetes: Option<String>,
    control_plane: ControlPlane,
    network_namespace: bool,
    simulated: Option<(usize, NodeTemplate)>,
    stages: Option<String>,
    api_server_arguments: Vec<String>,
    controller_manager_arguments: Vec<String>,
    simulator_arguments: Vec<String>,
}

impl Builder {
    /// The Kubernetes version: `v1.33.5`, or `v1.33` for its newest patch. When not called, `KAIROS_E2E_KUBERNETES` says it, else
    /// it is the pinned one. Real nodes always are of the pinned version, and no API server may be older than its nodes.
    #[must_use]
    pub fn kubernetes(mut self, version: impl Into<String>) -> Self {
        self.kubernetes = Some(version.into());
        self
    }

    /// How much of a control plane to start.
    #[must_use]
    pub fn control_plane(mut self, control_plane: ControlPlane) -> Self {
        self.control_plane = control_plane;
        self
    }

    /// Runs everything in a network namespace with a bridge, on 10.99.0.1, as real nodes need it (root only). This process
    /// reaches the API server through a forwarder on loopback all the same.
    #[must_use]
    pub fn network_namespace(mut self) -> Self {
        self.network_namespace = true;
        self
    }

    /// Adds `count` simulated workers `simulated-0`, `simulated-1`, …
    #[must_use]
    pub fn simulated_nodes(self, count: usize) -> Self {
        self.simulated_nodes_with(count, |index| {
            simulated::simulated_node(&format!("simulated-{index}"))
        })
    }

    /// Adds `count` simulated nodes, each as the template says; begin with [`super::simulated_node`].
    #[must_use]
    pub fn simulated_nodes_with(
        mut self,
        count: usize,
        template: impl Fn(usize) -> Node + Send + 'static,
    ) -> Self {
        self.simulated = Some((count, Box::new(template)));
        self
    }

    /// Stages (kwok's YAML) that say how simulated Pods and Nodes behave. For a kind that no stage names, Pods run at once
    /// and Pods of Jobs succeed about one second later.
    #[must_use]
    pub fn stages(mut self, yaml: impl Into<String>) -> Self {
        self.stages = Some(yaml.into());
        self
    }

    /// Adds one argument to the API server.
    #[must_use]
    pub fn api_server_argument(mut self, argument: impl Into<String>) -> Self {
        self.api_server_arguments.push(argument.into());
        self
    }

    /// Adds one argument to the controller manager.
    #[must_use]
    pub fn controller_manager_argument(mut self, argument: impl Into<String>) -> Self {
        self.controller_manager_arguments.push(argument.into());
        self
    }

    /// Adds one argument to the simulator of nodes (kwok).
    #[must_use]
    pub fn simulator_argument(mut self, argument: impl Into<String>) -> Self {
        self.simulator_arguments.push(argument.into());
        self
    }

    /// Builds what is missing (minutes, the first time), starts the cluster (seconds) and waits until it answers.
    pub async fn start(self) -> anyhow::Result<Cluster> {
        let full = self.control_plane == ControlPlane::Full;
        let wished = || {
            std::env::var(KUBERNETES)
                .ok()
                .filter(|version| !version.is_empty())
        };
        let kubernetes = self.kubernetes.clone().or_else(wished);
        let simulating = self.simulated.is_some();
        let programs = tokio::task::spawn_blocking(move || {
            Programs::gather(kubernetes.as_deref(), full, simulating)
        })
        .await
        .context("failed to wait for the build")??;
        let start = Instant::now();
        let guard = Guard::start()?;
        let network_namespace = if self.network_namespace {
            Some(network::create(&guard)?)
        } else {
            None
        };
        let place = Place::new(network_namespace.as_deref())?;
        let authority = Authority::new()?;
        let identities = Identities::create(guard.folder(), &authority, &place.url())?;
        if let Some(namespace) = &network_namespace {
            network::forward(&guard, namespace, place.host, place.api_server)?;
        }
        let host_url = format!("https://{}", place.host);
        identities.write_kubeconfig(
            &guard.folder().join("admin.kubeconfig"),
            &host_url,
            identities.admin_token(),
        )?;
        let config = config(&host_url, &authority, identities.admin_token())?;
        let client = Client::try_from(config.clone()).context("failed to make a client")?;

        let launcher = control_plane::Launcher {
            guard: &guard,
            programs: &programs,
            place: &place,
        };
        let etcd = launcher.etcd()?;
        let (api_server, running) = launcher.api_server(&self.api_server_arguments)?;
        control_plane::wait_ready(&client, &[&etcd, &running]).await?;
        if full {
            launcher.controller_manager(&self.controller_manager_arguments)?;
            launcher.scheduler()?;
        }
        if let Some((count, template)) = self.simulated {
            launcher.kwok(self.stages.as_deref(), &self.simulator_arguments)?;
            simulated::create(&client, (0..count).map(template)).await?;
        }
        progress(format!(
            "cluster ready in {:.1} s, kubeconfig {}",
            start.elapsed().as_secs_f32(),
            guard.folder().join("admin.kubeconfig").display()
        ));
        Ok(Cluster {
            inner_url: place.url(),
            api_server: Mutex::new((api_server, running)),
            guard,
            authority,
            identities,
            config,
            network_namespace,
            full,
        })
    }
}

fn config(url: &str, authority: &Authority, token: &str) -> anyhow::Result<Config> {
    let mut config = Config::new(url.parse().with_context(|| format!("{url} is no URL"))?);
    config.root_cert = Some(vec![authority.certificate_der()]);
    config.auth_info.token = Some(token.to_owned().into());
    config.connect_timeout = Some(REQUEST);
    Ok(config)
}
