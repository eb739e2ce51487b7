//! The operator on an embedded cluster: its rights as `deploy` installs them, and its controllers as host processes under
//! their own service accounts.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::cluster::Cluster;
use crate::guard::{Process, ProcessHandle};

/// Namespace that `deploy` installs into.
pub const NAMESPACE: &str = "kairos-operator";
/// Folder of the controllers' binaries; otherwise they are looked for beside the running test.
const BINARIES: &str = "KAIROS_E2E_BIN_DIR";

/// What a `NodeOp` needs: the files that `kubectl apply -k deploy/default` installs, without the Deployment.
const NODEOP_CONTROLLER: [&str; 5] = [
    include_str!("../../deploy/default/namespace.yaml"),
    include_str!("../../deploy/nodeop-controller/service-account.yaml"),
    include_str!("../../deploy/nodeop-controller/cluster-role.yaml"),
    include_str!("../../deploy/nodeop-controller/lease-role.yaml"),
    include_str!("../../deploy/nodeop-controller/priority-class.yaml"),
];

/// What an `OSArtifact` needs, without the Deployment.
const ARTIFACT_CONTROLLER: [&str; 4] = [
    include_str!("../../deploy/default/namespace.yaml"),
    include_str!("../../deploy/artifact-controller/service-account.yaml"),
    include_str!("../../deploy/artifact-controller/cluster-role.yaml"),
    include_str!("../../deploy/artifact-controller/lease-role.yaml"),
];

/// Installs the custom resources, and the artifact-controller's ServiceAccount and rights.
pub async fn install_artifact_controller(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.install_crds().await?;
    for text in ARTIFACT_CONTROLLER {
        cluster.apply_yaml(text).await?;
    }
    Ok(())
}

/// Installs the custom resources, and the nodeop-controller's ServiceAccount and rights.
pub async fn install(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.install_crds().await?;
    for text in NODEOP_CONTROLLER {
        cluster.apply_yaml(text).await?;
    }
    Ok(())
}

/// A controller to start.
#[derive(Clone, Debug)]
pub struct Controller {
    name: &'static str,
    kubeconfig: PathBuf,
    log: PathBuf,
    arguments: Vec<String>,
}

impl Controller {
    /// The controller of that name. It talks to the API server by way of `server`, or directly.
    pub async fn new(
        cluster: &Cluster,
        name: &'static str,
        server: Option<&str>,
    ) -> anyhow::Result<Self> {
        let url = server.map_or_else(|| cluster.url(), str::to_owned);
        let kubeconfig = cluster
            .service_account_kubeconfig_via(&url, NAMESPACE, name)
            .await?;
        let log = cluster.folder().join(format!("{name}.log"));
        Ok(Self {
            name,
            kubeconfig,
            log,
            arguments: Vec::new(),
        })
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts it. It ends with the cluster. Under the same identity, a process takes the Lease of its predecessor over at
    /// once.
    pub fn start(&self, cluster: &Cluster) -> anyhow::Result<ProcessHandle> {
        let program = binary(self.name)?;
        let mut argv = vec![
            program.display().to_string(),
            format!("--kubeconfig={}", self.kubeconfig.display()),
            format!("--lease-namespace={NAMESPACE}"),
            "--identity=test".to_owned(),
            "--admin-address=127.0.0.1:0".to_owned(),
        ];
        argv.extend(self.arguments.iter().cloned());
        cluster.spawn(Process::new(self.name, argv, &self.log))
    }

    /// Where it logs.
    pub fn log(&self) -> &Path {
        &self.log
    }
}

/// A controller's binary: where `cargo xtask test` says, else beside the running test.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let folder = if let Some(folder) = std::env::var_os(BINARIES) {
        PathBuf::from(folder)
    } else {
        let own = std::env::current_exe().context("failed to find the running program")?;
        let folder = own.parent().context("the running program has no folder")?;
        let is_test = folder.ends_with("deps");
        folder
            .parent()
            .filter(|_| is_test)
            .unwrap_or(folder)
            .to_owned()
    };
    let path = folder.join(name);
    if !path.exists() {
        bail!(
            "{} is missing: run `cargo build -p {name}`, or the tests by `cargo xtask test`",
            path.display()
        );
    }
    Ok(path)
}
