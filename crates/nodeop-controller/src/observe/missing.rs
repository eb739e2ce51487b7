//! Jobs that no cache shows: not there yet, or not any more.

use std::collections::{BTreeSet, HashSet};

use api_types::nodeop::{NodeOp, NodeOpStatus, NodeStep};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::batch::v1::Job;
use kube::Api;

use super::{Caches, Jobs, READS_IN_FLIGHT};
use crate::apply::{Requests, within};
use crate::decide::is_finished;
use crate::error::Result;
use crate::watched::WatchedJob;

/// Asks the API server about Jobs that the status calls running and no cache shows. "Not there" in a
/// cache may mean "not yet"; the verdict "Job was deleted" needs certainty.
pub(super) async fn confirm(
    requests: &Requests,
    node_op: &NodeOp,
    status: &NodeOpStatus,
    known: &Jobs,
    orphaned: &BTreeSet<String>,
) -> Result<Vec<WatchedJob>> {
    if planted!(MissingJobTrusted) {
        return Ok(Vec::new());
    }
    let namespace = node_op.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<Job> = Api::namespaced(requests.clients.api.clone(), namespace);
    let reads: Vec<_> = status
        .node_statuses
        .values()
        .filter(|entry| !is_finished(entry))
        .filter(|entry| {
            matches!(
                entry.step,
                // Those whose Job has been seen: running, or on the way to a reboot or a verdict.
                None | Some(NodeStep::Running | NodeStep::NodeGone)
            ) || entry
                .job_name
                .as_ref()
                .is_some_and(|job| orphaned.contains(job))
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

/// Jobs that are still to be created by the status and that no cache shows, though they have been there: this process has
/// `created` them, or there is a Pod of them, by a process that died before it could note it.
pub(super) fn orphaned(
    caches: &Caches,
    node_op: &NodeOp,
    status: &NodeOpStatus,
    known: &Jobs,
    created: &HashSet<String>,
) -> BTreeSet<String> {
    let wanted: BTreeSet<&String> = status
        .node_statuses
        .values()
        .filter(|entry| matches!(entry.step, Some(NodeStep::Reserved | NodeStep::Starting)))
        .filter_map(|entry| entry.job_name.as_ref())
        .filter(|job| !known.contains_key(*job))
        .collect();
    if wanted.is_empty() {
        return BTreeSet::new();
    }
    let namespace = node_op.metadata.namespace.as_ref();
    let pods = caches.pods.state();
    let with_pod = pods
        .iter()
        .filter(|pod| pod.metadata.namespace.as_ref() == namespace)
        .filter_map(|pod| pod.controller_owner())
        .filter(|owner| owner.kind == "Job" && wanted.contains(&owner.name))
        .map(|owner| owner.name.clone());
    let created = wanted.iter().filter(|job| created.contains(**job));
    with_pod.chain(created.map(|job| (*job).clone())).collect()
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
