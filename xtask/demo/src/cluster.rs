//! The cluster of the demo: one that is started here, or the user's own.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use e2e::cluster::{Cluster, ControlPlane};
use e2e::guard::Guard;
use e2e::nodes::{BootState, NodeSpec, RealNodes, Reason};
use kube::config::{KubeConfigOptions, Kubeconfig, NamedCluster};
use kube::{Client, Config};

use crate::arguments::Arguments;

/// The nodes beside the control-plane node.
const WORKERS: [&str; 3] = ["worker-1", "worker-2", "worker-3"];
/// Simulated nodes where real ones are not possible.
const FALLBACK: usize = 3;
/// Debian packages that make nodes, and with which runc is built.
const PACKAGES: [&str; 8] = [
    "gcc",
    "iproute2",
    "libc6-dev",
    "libseccomp-dev",
    "mmdebstrap",
    "mount",
    "pkg-config",
    "util-linux",
];
/// The Kairos that nodes run at first.
const FIRST_VERSION: &str = "v3.5.0";

/// What the demo needs to know of a cluster.
pub(crate) struct Target {
    /// With all rights.
    pub(crate) client: Client,
    /// How to reach it, without credentials.
    pub(crate) entry: NamedCluster,
    /// Ends what was started here.
    pub(crate) guard: Guard,
    /// The kubeconfig of a cluster that was started here.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The cluster that was started here: it ends when this is dropped.
    _cluster: Option<Cluster>,
    /// The nodes that were started here, where they are real.
    pub(crate) nodes: Option<RealNodes>,
    /// Whether Pods run what they say; those of simulated nodes do not.
    pub(crate) runs_commands: bool,
}

/// What a Kairos of that version says of itself, in /etc/kairos-release.
pub(crate) fn release(version: &str) -> String {
    format!(
        "KAIROS_ID=kairos\nKAIROS_FLAVOR=debian\nKAIROS_FLAVOR_RELEASE=bookworm\nKAIROS_VARIANT=standard\n\
         KAIROS_MODEL=generic\nKAIROS_ARCH=amd64\nKAIROS_RELEASE={version}\nKAIROS_VERSION={version}\n"
    )
}

/// The cluster that the arguments ask for. What cannot be told there is refused before minutes are spent on it.
pub(crate) async fn get(arguments: &Arguments) -> anyhow::Result<Target> {
    if !arguments.wants_real_nodes() {
        arguments.stories(false)?;
    }
    if let Some(context) = &arguments.context {
        return of_context(context).await;
    }
    if let Some(count) = arguments.simulated {
        return simulated(usize::from(count)).await;
    }
    let Err(reason) = real_nodes_possible() else {
        return real().await;
    };
    let reason = format!("{reason:#}");
    arguments.stories(false).context(reason.clone())?;
    println!("{reason}\ngoing on with {FALLBACK} simulated nodes, whose Pods run nothing");
    simulated(FALLBACK).await
}

/// Whether real nodes can run here, once the Debian packages they need are installed.
pub(crate) fn real_nodes_possible() -> anyhow::Result<()> {
    if let Err(reason @ Reason::NotRoot) = e2e::nodes::supported() {
        return Err(reason.into());
    }
    e2e::assets::apt_install(&PACKAGES)?;
    Ok(e2e::nodes::supported()?)
}

/// A control plane with one control-plane node and three workers, all real.
async fn real() -> anyhow::Result<Target> {
    println!(
        "starting a control plane and {} real nodes",
        WORKERS.len() + 1
    );
    let cluster = Cluster::builder()
        .control_plane(ControlPlane::Full)
        .network_namespace()
        .start()
        .await?;
    let mut nodes = vec![NodeSpec::new("control-plane").control_plane()];
    nodes.extend(WORKERS.map(NodeSpec::new));
    let nodes: Vec<NodeSpec> = nodes
        .into_iter()
        .map(|node| {
            node.kairos_release(release(FIRST_VERSION))
                .marker(BootState::Active)
        })
        .collect();
    let nodes = RealNodes::start(&cluster.nodes_control_plane()?, &nodes).await?;
    started(cluster, Some(nodes)).await
}

/// A control plane with nodes that kwok speaks for.
async fn simulated(count: usize) -> anyhow::Result<Target> {
    println!("starting a control plane and {count} simulated nodes");
    let builder = Cluster::builder()
        .control_plane(ControlPlane::Full)
        .simulated_nodes(count);
    started(builder.start().await?, None).await
}

async fn started(cluster: Cluster, nodes: Option<RealNodes>) -> anyhow::Result<Target> {
    let path = cluster.kubeconfig();
    let kubeconfig =
        Kubeconfig::read_from(&path).context("failed to read the new cluster's kubeconfig")?;
    let (client, entry) = connect(kubeconfig, None).await?;
    let guard = cluster.guard().clone();
    Ok(Target {
        client,
        entry,
        guard,
        kubeconfig: Some(path),
        _cluster: Some(cluster),
        runs_commands: nodes.is_some(),
        nodes,
    })
}

/// The cluster of a context of the user's own kubeconfig.
async fn of_context(name: &str) -> anyhow::Result<Target> {
    let kubeconfig = Kubeconfig::read()
        .context("failed to read your kubeconfig: set KUBECONFIG or make ~/.kube/config")?;
    let (client, entry) = connect(kubeconfig, Some(name)).await?;
    Ok(Target {
        client,
        entry,
        guard: Guard::start()?,
        kubeconfig: None,
        _cluster: None,
        nodes: None,
        runs_commands: true,
    })
}

/// A client for a context (the current one when none is named), and the entry of its cluster.
async fn connect(
    kubeconfig: Kubeconfig,
    context: Option<&str>,
) -> anyhow::Result<(Client, NamedCluster)> {
    let entry = entry(&kubeconfig, context)?.clone();
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .context("failed to use the kubeconfig")?;
    Ok((
        Client::try_from(config).context("failed to make an API client")?,
        entry,
    ))
}

/// The cluster that a context speaks of.
fn entry<'a>(
    kubeconfig: &'a Kubeconfig,
    context: Option<&str>,
) -> anyhow::Result<&'a NamedCluster> {
    let name = context
        .or(kubeconfig.current_context.as_deref())
        .context("the kubeconfig has no current context")?;
    let Some(context) = kubeconfig.contexts.iter().find(|known| known.name == name) else {
        let known: Vec<&str> = kubeconfig
            .contexts
            .iter()
            .map(|known| &*known.name)
            .collect();
        bail!(
            "there is no context {name} in your kubeconfig; it has: {}",
            known.join(", ")
        );
    };
    let cluster = context
        .context
        .as_ref()
        .map(|context| context.cluster.as_str())
        .unwrap_or_default();
    let entry = kubeconfig
        .clusters
        .iter()
        .find(|known| known.name == cluster);
    entry.with_context(|| {
        format!(
            "the context {name} names the cluster {cluster:?}, which your kubeconfig does not have"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig() -> Kubeconfig {
        Kubeconfig::from_yaml(
            "{current-context: a, contexts: [{name: a, context: {cluster: barn}}, {name: b, context: {cluster: shed}}], \
              clusters: [{name: barn, cluster: {server: 'https://barn'}}]}",
        )
        .unwrap()
    }

    #[test]
    fn the_cluster_of_a_context_is_found() {
        assert_eq!(entry(&kubeconfig(), Some("a")).unwrap().name, "barn");
        assert_eq!(entry(&kubeconfig(), None).unwrap().name, "barn");
    }

    #[test]
    fn an_unknown_context_is_answered_with_the_known_ones() {
        let message = entry(&kubeconfig(), Some("c")).unwrap_err().to_string();
        assert!(
            message.contains("context c") && message.contains("a, b"),
            "{message}"
        );
        assert!(
            entry(&kubeconfig(), Some("b"))
                .unwrap_err()
                .to_string()
                .contains("shed")
        );
    }
}
