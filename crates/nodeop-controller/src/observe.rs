//! Reads what one pass needs: caches first, the API server where a cache must not be trusted.

mod cause;

use std::collections::BTreeMap;
use std::sync::Arc;

use api_types::nodeop::{NodeOp, NodeOpStatus, NodeStatus, NodeStep};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use kube::runtime::reflector::Store;

use crate::adopt;
use crate::apply::{Requests, within};
use crate::decide::is_finished;
use crate::error::Result;
use crate::watched::{JobOutcome, WatchedJob, WatchedNode};

/// Reads in flight at once, within one pass.
const READS_IN_FLIGHT: usize = 16;
/// Pods read to explain one failed Job.
const PODS_READ: u32 = 5;

/// The watched objects.
#[derive(Clone)]
pub struct Caches {
    /// Every Node.
    pub nodes: Store<WatchedNode>,
    /// Every Job with the NodeOp label.
    pub jobs: Store<WatchedJob>,
}

/// What [`crate::decide::Snapshot`] borrows from.
#[derive(Debug, Default)]
pub struct Observed {
    /// Nodes by name.
    pub nodes: BTreeMap<String, Arc<WatchedNode>>,
    /// The NodeOp's Jobs by name.
    pub jobs: BTreeMap<String, Arc<WatchedJob>>,
    /// Causes of failed Jobs by Job name.
    pub causes: BTreeMap<String, String>,
}

/// Reads the snapshot for `node_op`. `created` holds Jobs that this process created and the cache may not show yet.
pub async fn observe(
    requests: &Requests,
    caches: &Caches,
    created: &BTreeMap<String, Arc<WatchedJob>>,
    node_op: &NodeOp,
) -> Result<Observed> {
    let nodes = caches
        .nodes
        .state()
        .into_iter()
        .map(|node| (node.name().to_owned(), node))
        .collect();
    let mut jobs = created.clone();
    jobs.extend(own_jobs(caches, node_op).map(|job| (job.name().to_owned(), job)));

    let empty = NodeOpStatus::default();
    let status = node_op.status.as_ref().unwrap_or(&empty);
    for job in confirm_missing(requests, node_op, status, &jobs).await? {
        jobs.insert(job.name().to_owned(), Arc::new(job));
    }
    let causes = causes(requests, node_op, status, &jobs).await;
    Ok(Observed {
        nodes,
        jobs,
        causes,
    })
}

/// Whether an entry is reserved without a Job that the caches show: only then may a Job be created on the word of an
/// earlier pass, and only on a status read live.
pub fn has_open_reservation(
    caches: &Caches,
    created: &BTreeMap<String, Arc<WatchedJob>>,
    node_op: &NodeOp,
) -> bool {
    let Some(status) = &node_op.status else {
        return false;
    };
    let is_reserved = |entry: &&NodeStatus| entry.step == Some(NodeStep::Reserved);
    let mut reserved = status
        .node_statuses
        .values()
        .filter(is_reserved)
        .filter(|entry| !is_in(created, entry))
        .peekable();
    if reserved.peek().is_none() {
        return false;
    }
    let shown = own_jobs(caches, node_op)
        .map(|job| (job.name().to_owned(), job))
        .collect();
    reserved.any(|entry| !is_in(&shown, entry))
}

fn is_in(jobs: &BTreeMap<String, Arc<WatchedJob>>, entry: &NodeStatus) -> bool {
    entry
        .job_name
        .as_ref()
        .is_some_and(|job| jobs.contains_key(job))
}

/// The NodeOp's Jobs in the cache. An adopted NodeOp also has those that its status names, whoever owns them.
fn own_jobs(caches: &Caches, node_op: &NodeOp) -> impl Iterator<Item = Arc<WatchedJob>> {
    let uid = node_op.metadata.uid.clone().unwrap_or_default();
    let namespace = node_op.metadata.namespace.clone();
    let named: Vec<String> = node_op
        .status
        .iter()
        .filter(|status| adopt::is_foreign(status))
        .flat_map(|status| status.node_statuses.values())
        .filter_map(|entry| entry.job_name.clone())
        .collect();
    caches.jobs.state().into_iter().filter(move |job| {
        job.metadata.namespace == namespace
            && (job.controller_owner().is_some_and(|owner| owner.uid == uid)
                || named.iter().any(|name| name == job.name()))
    })
}

/// Asks the API server about Jobs that the status calls running and no cache shows. "Not there" in a
/// cache may mean "not yet"; the verdict "Job was deleted" needs certainty.
async fn confirm_missing(
    requests: &Requests,
    node_op: &NodeOp,
    status: &NodeOpStatus,
    known: &BTreeMap<String, Arc<WatchedJob>>,
) -> Result<Vec<WatchedJob>> {
    let namespace = node_op.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<Job> = Api::namespaced(requests.clients.api.clone(), namespace);
    let reads: Vec<_> = status
        .node_statuses
        .values()
        .filter(|entry| !is_finished(entry))
        .filter(|entry| {
            !matches!(
                entry.step,
                Some(NodeStep::Reserved | NodeStep::WaitingForReady)
            )
        })
        .filter_map(|entry| entry.job_name.clone())
        .filter(|job| !job.is_empty() && !known.contains_key(job))
        .map(|job| get_job(requests, api.clone(), namespace, job))
        .collect();
    let found: Vec<Option<WatchedJob>> = stream::iter(reads)
        .buffer_unordered(READS_IN_FLIGHT)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

async fn get_job(
    requests: &Requests,
    api: Api<Job>,
    namespace: &str,
    name: String,
) -> Result<Option<WatchedJob>> {
    let action = format!("get job {namespace}/{name}");
    let found = within(requests, &action, api.get_opt(&name)).await?;
    Ok(found.map(WatchedJob::from))
}

/// Reads the Pods of Jobs that failed since the last pass.
async fn causes(
    requests: &Requests,
    node_op: &NodeOp,
    status: &NodeOpStatus,
    jobs: &BTreeMap<String, Arc<WatchedJob>>,
) -> BTreeMap<String, String> {
    let namespace = node_op.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(requests.clients.api.clone(), namespace);
    let has_failed = |job: &Arc<WatchedJob>| matches!(job.outcome(), JobOutcome::Failed { .. });
    let reads: Vec<_> = status
        .node_statuses
        .values()
        .filter(|entry| !is_finished(entry))
        .filter_map(|entry| entry.job_name.clone())
        .filter(|name| jobs.get(name).is_some_and(has_failed))
        .map(|name| read_cause(requests, api.clone(), name))
        .collect();
    let found: Vec<Option<(String, String)>> = stream::iter(reads)
        .buffer_unordered(READS_IN_FLIGHT)
        .collect()
        .await;
    found.into_iter().flatten().collect()
}

/// A cause that cannot be read is left out: the Job's own reason is told all the same.
async fn read_cause(requests: &Requests, api: Api<Pod>, job: String) -> Option<(String, String)> {
    let params = ListParams::default()
        .labels(&format!("batch.kubernetes.io/job-name={job}"))
        .limit(PODS_READ);
    let action = format!("list the pods of job {job}");
    let pods = within(requests, &action, api.list(&params)).await.ok()?;
    Some((job, cause::cause_of(&pods.items)?))
}
