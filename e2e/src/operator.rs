//! The operator on an embedded cluster: its rights as `deploy` installs them, and its controllers as host processes under
//! their own service accounts.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};

use crate::assets;
use crate::cluster::Cluster;
use crate::guard::{Process, ProcessHandle};
use crate::images::{self, Image, ImageConfig};
use crate::nodes::RealNodes;

/// Namespace that `deploy` installs into.
pub const NAMESPACE: &str = "kairos-operator";
/// The name under which [`agent_image`] serves our node agent.
pub const AGENT_IMAGE: &str = "kairos-operator/node-agent:test";
/// Debian packages with everything that builds of images use.
const BUILD_PACKAGES: [&str; 9] = [
    "buildah",
    "skopeo",
    "xorriso",
    "squashfs-tools",
    "e2fsprogs",
    "qemu-utils",
    "mtools",
    "ca-certificates",
    "crun",
];
/// Debian packages of a web server and of what talks to it.
const WEB_PACKAGES: [&str; 3] = ["nginx-light", "curl", "ca-certificates"];
/// Folder of the controllers' binaries; otherwise they are looked for beside the running test.
const BINARIES: &str = "KAIROS_E2E_BIN_DIR";

/// Namespace of the Pods by which the node labeller looks at nodes.
pub const DETECT_NAMESPACE: &str = "kairos-operator-detect";

/// What each controller needs beside the custom resources and the namespace: the files that `kubectl apply -k
/// deploy/default` installs, without the Deployment.
const COMPONENTS: [(&str, &[&str]); 3] = [
    (
        "nodeop-controller",
        &[
            include_str!("../../deploy/nodeop-controller/service-account.yaml"),
            include_str!("../../deploy/nodeop-controller/cluster-role.yaml"),
            include_str!("../../deploy/nodeop-controller/lease-role.yaml"),
            include_str!("../../deploy/nodeop-controller/priority-class.yaml"),
        ],
    ),
    (
        "node-labeller",
        &[
            include_str!("../../deploy/node-labeller/namespace.yaml"),
            include_str!("../../deploy/node-labeller/service-account.yaml"),
            include_str!("../../deploy/node-labeller/cluster-role.yaml"),
            include_str!("../../deploy/node-labeller/pod-role.yaml"),
            include_str!("../../deploy/node-labeller/lease-role.yaml"),
            include_str!("../../deploy/node-labeller/network-policy.yaml"),
        ],
    ),
    (
        "upgrade-controller",
        &[
            include_str!("../../deploy/upgrade-controller/service-account.yaml"),
            include_str!("../../deploy/upgrade-controller/cluster-role.yaml"),
            include_str!("../../deploy/upgrade-controller/lease-role.yaml"),
        ],
    ),
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
    install_controllers(cluster, &["nodeop-controller"]).await
}

/// Installs the custom resources, and the `ServiceAccount`s and rights of these controllers.
pub async fn install_controllers(cluster: &Cluster, names: &[&str]) -> anyhow::Result<()> {
    cluster.install_crds().await?;
    cluster
        .apply_yaml(include_str!("../../deploy/default/namespace.yaml"))
        .await?;
    for name in names {
        let Some((_, files)) = COMPONENTS.iter().find(|(known, _)| known == name) else {
            bail!("there is no controller {name} to install")
        };
        for text in *files {
            cluster.apply_yaml(text).await?;
        }
    }
    Ok(())
}

/// A controller to start.
#[derive(Clone, Debug)]
pub struct Controller {
    name: &'static str,
    kubeconfig: PathBuf,
    log: PathBuf,
    identity: String,
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
            identity: "test".to_owned(),
            arguments: Vec::new(),
        })
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Another identity than the usual one, and a log of its own: for several of one controller.
    #[must_use]
    pub fn identity(mut self, identity: &str) -> Self {
        identity.clone_into(&mut self.identity);
        self.log
            .set_file_name(format!("{}-{identity}.log", self.name));
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
            format!("--identity={}", self.identity),
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

/// Serves an image of our node agent to `nodes` and returns its name, for manifests and the controller's flag. The program
/// is at `/node-agent` in it.
pub fn agent_image(nodes: &RealNodes) -> anyhow::Result<&'static str> {
    let agent = static_agent()?;
    let image = Image::of_programs(ImageConfig::default(), &[("node-agent", &agent)])?;
    nodes.images().put(AGENT_IMAGE, image)?;
    Ok(AGENT_IMAGE)
}

/// An image with the tools of builds: Debian's, and the stand-in of AuroraBoot. Blocking; takes about a minute the first time.
pub fn build_tools() -> anyhow::Result<Image> {
    images::debian(&assets::cache_folder()?, &BUILD_PACKAGES)?
        .program("usr/local/bin/auroraboot", &binary("stand-in-auroraboot")?)
}

/// An image with nginx and curl, as Debian has them. Blocking; takes about a minute the first time.
pub fn web_tools() -> anyhow::Result<Image> {
    images::debian(&assets::cache_folder()?, &WEB_PACKAGES)
}

/// The node agent as a static binary. Cargo does not make it beside the others, so it could be older than its source.
pub fn static_agent() -> anyhow::Result<PathBuf> {
    let remedy = "run `cargo xtask agent`, or the tests by `cargo xtask test`";
    let path = binaries()?.join("static/node-agent");
    let built =
        modified(&path).with_context(|| format!("{} is missing: {remedy}", path.display()))?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/nodeop-controller/src");
    for part in ["agent", "agent/reboot", "bin"] {
        let folder = source.join(part);
        let failed = || format!("failed to read {}", folder.display());
        for entry in std::fs::read_dir(&folder).with_context(failed)? {
            let file = entry.with_context(failed)?.path();
            if modified(&file).with_context(failed)? > built {
                bail!(
                    "{} is older than {}: {remedy}",
                    path.display(),
                    file.display()
                );
            }
        }
    }
    Ok(path)
}

fn modified(path: &Path) -> std::io::Result<SystemTime> {
    std::fs::metadata(path)?.modified()
}

/// A controller's binary: where `cargo xtask test` says, else beside the running test.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let path = binaries()?.join(name);
    if !path.exists() {
        bail!(
            "{} is missing: run `cargo build -p {name}`, or the tests by `cargo xtask test`",
            path.display()
        );
    }
    Ok(path)
}

/// The folder of our programs.
fn binaries() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os(BINARIES) {
        return Ok(PathBuf::from(folder));
    }
    let own = std::env::current_exe().context("failed to find the running program")?;
    let folder = own.parent().context("the running program has no folder")?;
    let is_test = folder.ends_with("deps");
    let above = folder.parent().filter(|_| is_test);
    Ok(above.unwrap_or(folder).to_owned())
}
