//! Plays the machines: a node whose reboot Pod is permitted to end its boot comes back in another one.

use api_types::names::{ANNOTATION_REBOOT_AUTHORIZED, LABEL_REBOOT};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, ResourceExt as _};
use tokio::task::JoinHandle;

use crate::floor::comes_back;
use crate::progress;
use crate::site::Site;

/// Machines coming back at once.
const IN_FLIGHT: usize = 16;

/// The machines, until this is dropped.
pub(super) struct Machines(Option<JoinHandle<()>>);

impl Machines {
    /// Begins to watch the reboot Pods of a namespace; does nothing where nothing is rebooted.
    pub(super) fn play(site: &Site, namespace: &str, reboot: bool) -> Self {
        if !reboot {
            return Self(None);
        }
        let pods: Api<Pod> = Api::namespaced(site.client.clone(), namespace);
        let nodes: Api<Node> = Api::all(site.client.clone());
        let config = watcher::Config::default().labels(LABEL_REBOOT);
        let permitted = watcher(pods, config).default_backoff().applied_objects();
        Self(Some(tokio::spawn(async move {
            permitted
                .filter_map(|pod| async move {
                    let pod = pod.ok()?;
                    pod.annotations().get(ANNOTATION_REBOOT_AUTHORIZED)?;
                    let node = pod.spec.as_ref()?.node_name.clone()?;
                    Some((node, format!("after-{}", pod.name_any())))
                })
                .for_each_concurrent(IN_FLIGHT, |(node, boot)| {
                    let nodes = &nodes;
                    async move {
                        if let Err(error) = comes_back(nodes, &node, &boot).await {
                            progress(&format!("{node} does not come back: {error:#}"));
                        }
                    }
                })
                .await;
        })))
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
