//! The same work by bare requests: nothing is remembered, checked or told. Less than this no controller can take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use api_types::names::{
    ANNOTATION_CLAIMED_BY, ANNOTATION_CORDONED_BY, ANNOTATION_REBOOT_AUTHORIZED,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::journal::{Journal, Seen};
use crate::within;
use crate::work::{Template, Work};

/// Requests in flight at once: as many as the controller allows itself.
const IN_FLIGHT: usize = 16;
/// How long one Job may take on a machine that is kept busy.
const JOB: Duration = Duration::from_mins(30);
/// From one look at a node's Pods to the next.
const LOOK: Duration = Duration::from_secs(1);
/// What the patches of the floor call the operation; as long as a NodeOp's namespace, name and UID.
const HOLDER: &str = "floor-abcdef/operation@00000000-0000-4000-8000-000000000000";

/// What the work is done with.
pub struct Floor<'a> {
    /// A client with all rights.
    pub client: &'a Client,
    /// Where the Jobs are made.
    pub namespace: &'a str,
    /// What is to be done.
    pub work: Work,
    /// The Job of each node.
    pub job: &'a Template,
    /// The Pod that reboots a node, where that is asked for.
    pub reboot_pod: Option<&'a Template>,
}

/// Does the work on `nodes`. Returns how long it took and what was seen.
pub async fn run(floor: &Floor<'_>, nodes: &[String]) -> anyhow::Result<(Duration, Seen)> {
    let journal = Journal::start(floor.client, floor.namespace).await?;
    let worker = Worker {
        floor,
        journal: &journal,
        pool: Arc::new(Semaphore::new(IN_FLIGHT)),
        nodes: Api::all(floor.client.clone()),
        jobs: Api::namespaced(floor.client.clone(), floor.namespace),
        pods: Api::namespaced(floor.client.clone(), floor.namespace),
    };
    let start = Instant::now();
    stream::iter(nodes)
        .map(|node| worker.one(node))
        .buffer_unordered(floor.work.slots().max(1))
        .try_for_each(|()| async { Ok(()) })
        .await?;
    Ok((start.elapsed(), journal.seen()))
}

struct Worker<'a> {
    floor: &'a Floor<'a>,
    journal: &'a Journal,
    pool: Arc<Semaphore>,
    nodes: Api<Node>,
    jobs: Api<Job>,
    pods: Api<Pod>,
}

impl Worker<'_> {
    async fn one(&self, node: &str) -> anyhow::Result<()> {
        let work = &self.floor.work;
        if work.disrupts() {
            self.patch(node, claim(work.drain)).await?;
        }
        if let Some(template) = self.floor.reboot_pod {
            let pod = template.pod(node)?;
            self.ask(
                "create a reboot Pod",
                self.pods.create(&PostParams::default(), &pod),
            )
            .await?;
        }
        if work.drain {
            self.empty(node).await?;
        }
        let job = self.floor.job.job(node)?;
        let done = self.journal.done(&job.name_any());
        self.ask(
            "create a Job",
            self.jobs.create(&PostParams::default(), &job),
        )
        .await?;
        tokio::time::timeout(JOB, done)
            .await
            .with_context(|| format!("the Job of {node} did not end within {} s", JOB.as_secs()))?
            .context("the journal ended")?;
        if let Some(template) = self.floor.reboot_pod {
            self.reboot(node, &template.name_for(node)).await?;
        }
        if work.disrupts() {
            self.patch(node, release(work.drain)).await?;
        }
        Ok(())
    }

    /// Evicts all Pods of the node that are not ours, and waits until they are gone.
    async fn empty(&self, node: &str) -> anyhow::Result<()> {
        let all: Api<Pod> = Api::all(self.floor.client.clone());
        let params = ListParams::default().fields(&format!("spec.nodeName={node}"));
        let listed = self
            .ask("list a node's Pods", all.list_metadata(&params))
            .await?;
        let victims = listed
            .items
            .into_iter()
            .filter(|pod| pod.namespace().as_deref() != Some(self.floor.namespace));
        let evictions = victims.map(|pod| async move {
            let namespace = pod.namespace().unwrap_or_default();
            let pods: Api<Pod> = Api::namespaced(self.floor.client.clone(), &namespace);
            let name = pod.name_any();
            self.ask("evict a Pod", pods.evict(&name, &EvictParams::default()))
                .await
        });
        stream::iter(evictions)
            .buffer_unordered(IN_FLIGHT)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        let deadline = Instant::now() + JOB;
        loop {
            let left = self
                .ask("list a node's Pods", all.list_metadata(&params))
                .await?;
            let is_left = left
                .items
                .iter()
                .any(|pod| pod.namespace().as_deref() != Some(self.floor.namespace));
            if !is_left {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the Pods of {node} did not go within {} s",
                JOB.as_secs()
            );
            sleep(LOOK).await;
        }
    }

    /// Permits the reboot, lets the machine come back in another boot, and removes the Pod.
    async fn reboot(&self, node: &str, pod: &str) -> anyhow::Result<()> {
        let permission =
            json!({"metadata": {"annotations": {ANNOTATION_REBOOT_AUTHORIZED: "boot"}}});
        self.ask(
            "permit a reboot",
            self.pods
                .patch(pod, &PatchParams::default(), &Patch::Merge(&permission)),
        )
        .await?;
        comes_back(&self.nodes, node, &format!("after-{pod}")).await?;
        self.ask(
            "delete a reboot Pod",
            self.pods.delete(pod, &DeleteParams::default()),
        )
        .await?;
        Ok(())
    }

    async fn patch(&self, node: &str, patch: Value) -> anyhow::Result<()> {
        let patch = Patch::Merge(&patch);
        self.ask(
            "patch a node",
            self.nodes.patch(node, &PatchParams::default(), &patch),
        )
        .await?;
        Ok(())
    }

    async fn ask<T>(
        &self,
        what: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> anyhow::Result<T> {
        let _turn = self.pool.acquire().await.context("the pool was closed")?;
        within(what, request).await
    }
}

/// Plays the machine: its kubelet reports another boot.
pub async fn comes_back(nodes: &Api<Node>, node: &str, boot: &str) -> anyhow::Result<()> {
    let patch = json!({"status": {"nodeInfo": {"bootID": boot}}});
    let patch = Patch::Strategic(&patch);
    within(
        "report another boot",
        nodes.patch_status(node, &PatchParams::default(), &patch),
    )
    .await?;
    Ok(())
}

fn claim(cordon: bool) -> Value {
    let mut patch = json!({"metadata": {"annotations": {ANNOTATION_CLAIMED_BY: HOLDER}}});
    if cordon {
        patch["metadata"]["annotations"][ANNOTATION_CORDONED_BY] = json!(HOLDER);
        patch["spec"] = json!({"unschedulable": true});
    }
    patch
}

fn release(cordon: bool) -> Value {
    let mut patch = json!({"metadata": {"annotations": {ANNOTATION_CLAIMED_BY: null}}});
    if cordon {
        patch["metadata"]["annotations"][ANNOTATION_CORDONED_BY] = Value::Null;
        patch["spec"] = json!({"unschedulable": null});
    }
    patch
}
