//! What the controller makes for one node, learned from it, so that the floor makes the same.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use api_types::names::LABEL_REBOOT;
use api_types::nodeop::NodeOp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tokio::time::sleep;

use super::machines::Machines;
use super::{ARGUMENTS, CONTROLLER};
use crate::journal::Journal;
use crate::site::Site;
use crate::within;
use crate::work::{Template, Work};

/// How long an operation on one node may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// The objects of one node.
pub(super) struct Templates {
    pub(super) job: Template,
    pub(super) reboot_pod: Option<Template>,
}

impl Templates {
    /// Runs an operation on the first node and reads what the controller made for it.
    pub(super) async fn learn(site: &Site, reboot: bool) -> anyhow::Result<Self> {
        let node = site.nodes.first().context("a bench needs a node")?;
        let namespace = site.namespace("learn").await?;
        let running = site.controller(CONTROLLER, ARGUMENTS).await?;
        let journal = Journal::start(&site.client, namespace.name()).await?;
        let work = Work {
            nodes: 1,
            concurrency: 0,
            pods_per_node: 0,
            drain: false,
            reboot,
        };
        let node_op = work.node_op(&json!({"kubernetes.io/hostname": node}))?;
        let node_ops: Api<NodeOp> = Api::namespaced(site.client.clone(), namespace.name());
        within(
            "create a NodeOp",
            node_ops.create(&PostParams::default(), &node_op),
        )
        .await?;
        let reboot_pod = if reboot {
            Some(reboot_pod(site, namespace.name(), node).await?)
        } else {
            None
        };
        let _machines = Machines::play(site, namespace.name(), reboot);
        journal.ended(PATIENCE, || running.check()).await?;
        let jobs: Api<Job> = Api::namespaced(site.client.clone(), namespace.name());
        let listed = within("list Jobs", jobs.list(&ListParams::default())).await?;
        let job = listed
            .items
            .into_iter()
            .next()
            .context("the controller made no Job")?;
        let name = job.name_any();
        let job = serde_json::to_value(job).context("failed to read a Job")?;
        running.stop().await?;
        site.clear(namespace).await?;
        Ok(Self {
            job: Template::of(job, &name, node)?,
            reboot_pod,
        })
    }
}

async fn reboot_pod(site: &Site, namespace: &str, node: &str) -> anyhow::Result<Template> {
    let pods: Api<Pod> = Api::namespaced(site.client.clone(), namespace);
    let params = ListParams::default().labels(LABEL_REBOOT);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let listed = within("list reboot Pods", pods.list(&params)).await?;
        if let Some(pod) = listed.items.into_iter().next() {
            let name = pod.name_any();
            let pod = serde_json::to_value(pod).context("failed to read a Pod")?;
            return Template::of(pod, &name, node);
        }
        if Instant::now() > deadline {
            bail!(
                "the controller made no reboot Pod within {} s",
                PATIENCE.as_secs()
            );
        }
        sleep(Duration::from_millis(50)).await;
    }
}
