//! Starts the nodes of a cluster, and the registry they pull from.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Node as KubernetesNode;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::timeout;

use super::authority::Authority;
use super::config::NodeConfig;
use super::network::{self, GATEWAY, MAXIMUM_NODES, REGISTRY_PORT};
use super::node::{FOLDER_VARIABLE, Node};
use super::spec::{BootState, NodeSpec};
use super::{control_groups, root_file_system, supported};
use crate::assets::{self, Tool};
use crate::guard::{Cleanup, Guard, Process};
use crate::images::{self, BUSYBOX, Image, PAUSE, Store};

/// How long a node may take from power on to Ready.
const READY: Duration = Duration::from_mins(2);

/// How long one request to the API server may take.
const REQUEST: Duration = Duration::from_secs(10);

/// The scripts of a node; the first two run outside of it.
const FIRMWARE: &str = include_str!("../../assets/node/firmware.sh");
const BOOT: &str = include_str!("../../assets/node/boot.sh");
const INIT: &str = include_str!("../../assets/node/init.sh");
const NETWORK: &str = include_str!("../../assets/node/network.sh");

/// The control plane that nodes join.
pub struct ControlPlane<'a> {
    /// The guard of the run.
    pub guard: &'a Guard,
    /// A client with all rights.
    pub client: Client,
    /// Name of the network namespace in which the control plane listens on [`GATEWAY`], the address of a bridge.
    pub network_namespace: &'a str,
    /// URL of the API server on [`GATEWAY`].
    pub api_server: &'a str,
    /// Address of the cluster's name service.
    pub cluster_dns: &'a str,
    /// Trusted by the API server for clients, and for kubelets as servers.
    pub authority: &'a Authority,
}

/// The real nodes of a cluster. They end with the guard.
pub struct RealNodes {
    nodes: Vec<Node>,
    images: Store,
    busybox: PathBuf,
}

impl RealNodes {
    /// Boots one node per spec and waits until all are Ready and carry their labels. The registry holds `busybox` from the start.
    pub async fn start(
        control_plane: &ControlPlane<'_>,
        specs: &[NodeSpec],
    ) -> anyhow::Result<Self> {
        supported()?;
        ensure!(
            specs.len() <= MAXIMUM_NODES,
            "{} nodes asked for: at most {MAXIMUM_NODES} are possible",
            specs.len()
        );
        for NodeSpec { name, .. } in specs {
            let valid = name
                .chars()
                .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-'));
            ensure!(
                valid && (1..=40).contains(&name.len()),
                "{name:?} is no node name: at most 40 lower-case letters, digits and hyphens"
            );
        }
        let parts = tokio::task::spawn_blocking(Parts::gather).await??;
        let images = start_registry(control_plane, &parts.root)?;
        let machine_room = MachineRoom::prepare(control_plane, &parts)?;
        let nodes = (0_u8..)
            .zip(specs)
            .map(|(index, spec)| machine_room.boot(control_plane, index, spec))
            .collect::<anyhow::Result<Vec<Node>>>()?;
        let joins = nodes.iter().zip(specs).map(|(node, spec)| async move {
            node.wait_ready(READY).await?;
            put_labels(&control_plane.client, spec).await
        });
        try_join_all(joins).await?;
        Ok(Self {
            nodes,
            images,
            busybox: root_file_system::busybox(&parts.root),
        })
    }

    /// All nodes, in the order of their specs.
    pub fn all(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of this name.
    pub fn get(&self, name: &str) -> anyhow::Result<&Node> {
        self.nodes
            .iter()
            .find(|node| node.name() == name)
            .with_context(|| format!("there is no node {name} in this cluster"))
    }

    /// The images that nodes can pull, under the names that manifests use. What is put here can be pulled at once.
    pub fn images(&self) -> &Store {
        &self.images
    }

    /// A new busybox image, to be stored under another name.
    pub fn busybox(&self) -> anyhow::Result<Image> {
        images::busybox(&self.busybox)
    }
}

/// What nodes are made of, and what takes minutes to make the first time.
struct Parts {
    root: PathBuf,
    programs: Vec<PathBuf>,
}

impl Parts {
    /// Takes everything from the cache, making it first when it is not there (blocking).
    fn gather() -> anyhow::Result<Self> {
        let tools = [
            Tool::Containerd,
            Tool::ContainerdShim,
            Tool::Ctr,
            Tool::Runc,
            Tool::Kubelet,
            Tool::KubeProxy,
        ];
        let programs = tools
            .into_iter()
            .map(assets::tool)
            .collect::<anyhow::Result<_>>()?;
        let root = root_file_system::folder(&assets::cache_folder()?)?;
        Ok(Self { root, programs })
    }
}

/// Makes the images that every node needs and serves them in the control plane's network namespace.
fn start_registry(control_plane: &ControlPlane<'_>, root: &Path) -> anyhow::Result<Store> {
    let guard = control_plane.guard;
    let store = Store::open(guard.folder().join("images"))?;
    let busybox = root_file_system::busybox(root);
    store.put(BUSYBOX, images::busybox(&busybox)?)?;
    store.put(PAUSE, images::pause(&busybox)?)?;
    // The process that becomes this one is the guard's own program, so that this is the guard's program too.
    let argv = [
        "/proc/self/exe",
        "registry",
        "--listen",
        &registry_address(),
        "--folder",
        &store.folder().to_string_lossy(),
    ];
    let log = guard.folder().join("registry.log");
    guard.spawn(
        &Process::new("registry", argv, log).network_namespace(control_plane.network_namespace),
    )?;
    Ok(store)
}

fn registry_address() -> String {
    format!("{GATEWAY}:{REGISTRY_PORT}")
}

async fn put_labels(client: &Client, spec: &NodeSpec) -> anyhow::Result<()> {
    if spec.labels.is_empty() {
        return Ok(());
    }
    let nodes: Api<KubernetesNode> = Api::all(client.clone());
    let patch = Patch::Merge(json!({ "metadata": { "labels": spec.labels } }));
    let failed = || format!("failed to label node {}", spec.name);
    timeout(
        REQUEST,
        nodes.patch(&spec.name, &PatchParams::default(), &patch),
    )
    .await
    .with_context(failed)?
    .with_context(failed)?;
    Ok(())
}

/// What all nodes of a run have in common.
struct MachineRoom {
    folder: PathBuf,
    /// Lower folders of every node's overlay, the upper one first.
    lower: String,
}

impl MachineRoom {
    fn prepare(control_plane: &ControlPlane<'_>, parts: &Parts) -> anyhow::Result<Self> {
        let folder = control_plane.guard.folder().join("nodes");
        let layer = folder.join("layer");
        let programs = layer.join("usr/local/bin");
        let prepare = || -> std::io::Result<()> {
            for path in [
                &programs,
                &layer.join("usr/local/lib/node"),
                &layer.join("usr/sbin"),
            ] {
                fs::create_dir_all(path)?;
            }
            for (name, script) in [
                ("firmware.sh", FIRMWARE),
                ("boot.sh", BOOT),
                ("network.sh", NETWORK),
            ] {
                fs::write(folder.join(name), script)?;
            }
            fs::write(layer.join("usr/local/lib/node/init.sh"), INIT)?;
            for applet in ["reboot", "poweroff"] {
                symlink("/usr/bin/busybox", layer.join("usr/sbin").join(applet))?;
            }
            for program in &parts.programs {
                let target = programs.join(program.file_name().unwrap_or_default());
                // A link where the cache is on the same file system; the programs are large.
                fs::hard_link(program, &target)
                    .or_else(|_| fs::copy(program, &target).map(|_| ()))?;
            }
            Ok(())
        };
        prepare().with_context(|| format!("failed to prepare {}", folder.display()))?;
        let lower = format!("{}:{}", layer.display(), parts.root.display());
        Ok(Self { folder, lower })
    }

    fn boot(
        &self,
        control_plane: &ControlPlane<'_>,
        index: u8,
        spec: &NodeSpec,
    ) -> anyhow::Result<Node> {
        let guard = control_plane.guard;
        let own_name = format!("{}-{}", guard.run_name(), spec.name);
        let folder = self.folder.join(&spec.name);
        let address = network::address(index);
        let authority = control_plane.authority;
        let config = NodeConfig {
            spec,
            address,
            pod_range: network::pod_range(index),
            control_group: format!("/{own_name}"),
            machine_id: fresh_uuid()?.replace('-', ""),
            api_server: control_plane.api_server,
            registry: registry_address(),
            cluster_dns: control_plane.cluster_dns,
            authority: authority.certificate(),
            kubelet: authority.issue(
                &format!("system:node:{}", spec.name),
                Some("system:nodes"),
                &[IpAddr::V4(address)],
            )?,
            proxy: authority.issue("system:kube-proxy", None, &[])?,
        };
        write_files(&folder, &config)
            .with_context(|| format!("failed to write the files of node {}", spec.name))?;
        let cable = network::connect(
            guard,
            &self.folder.join("network.sh"),
            control_plane.network_namespace,
            &own_name,
            index,
        )?;

        let mut groups = Vec::new();
        for hierarchy in control_groups::hierarchies() {
            let group = hierarchy.join(&own_name);
            guard.register(Cleanup::RemoveControlGroup(group.clone()))?;
            groups.push(group.to_string_lossy().into_owned());
        }
        let argv = [
            "sh".to_owned(),
            self.folder.join("firmware.sh").display().to_string(),
        ];
        let environment = BTreeMap::from([
            (FOLDER_VARIABLE.to_owned(), folder.display().to_string()),
            ("NODE_NAME".to_owned(), spec.name.clone()),
            ("NODE_LOWER".to_owned(), self.lower.clone()),
            ("NODE_CGROUPS".to_owned(), groups.join(" ")),
        ]);
        let mut firmware = Process::new(spec.name.clone(), argv, folder.join("firmware.log"))
            .network_namespace(&own_name);
        firmware.env = environment;
        let firmware = guard.spawn(&firmware)?;
        Ok(Node {
            name: spec.name.clone(),
            address,
            folder,
            firmware,
            cable,
            client: control_plane.client.clone(),
        })
    }
}

fn write_files(folder: &Path, config: &NodeConfig<'_>) -> std::io::Result<()> {
    for part in ["upper", "work", "root"] {
        fs::create_dir_all(folder.join(part))?;
    }
    for (path, content) in config.files() {
        let path = folder.join("upper").join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)?;
    }
    fs::write(
        folder.join("cmdline"),
        config.spec.boot_state.command_line(),
    )?;
    if let Some(state) = config.spec.marker {
        write_marker(folder, state)?;
    }
    fs::write(folder.join("system-uuid"), fresh_uuid()?)
}

/// Writes what the next boot finds in /run/cos.
pub(super) fn write_marker(folder: &Path, state: BootState) -> std::io::Result<()> {
    let markers = folder.join("run/cos");
    if markers.exists() {
        fs::remove_dir_all(&markers)?;
    }
    fs::create_dir_all(&markers)?;
    match state.marker_file() {
        Some(file) => fs::write(markers.join(file), "1"),
        None => Ok(()),
    }
}

fn fresh_uuid() -> std::io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/uuid")?
        .trim()
        .to_owned())
}
