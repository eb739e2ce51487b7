//! Reads what one pass needs: caches first, the API server where a cache must not be trusted.

mod cause;
mod missing;
mod others;
mod proof;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use api_types::nodeop::{NodeOp, NodeOpStatus, NodeStatus, NodeStep};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use kube::runtime::reflector::Store;

use crate::adopt;
use crate::apply::place::{PlaceLease, read_place};
use crate::apply::{Requests, within};
use crate::claim::Holder;
use crate::control_plane::Standing;
use crate::decide::{DrainView, Snapshot, is_finished, told_boot};
use crate::error::Result;
use crate::watched::{JobOutcome, WatchedJob, WatchedNode, WatchedPod};
use others::{Others, busy, concerns_control_plane};
pub use proof::{confirm_unclaimed, confirm_up};

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
    /// Every Pod with the NodeOp label.
    pub pods: Store<WatchedPod>,
}

/// Pods by name.
pub type Pods = BTreeMap<String, Arc<WatchedPod>>;
/// Jobs by name.
pub type Jobs = BTreeMap<String, Arc<WatchedJob>>;

/// Where a snapshot comes from.
pub struct Sources<'a> {
    /// The watched objects.
    pub caches: &'a Caches,
    /// Jobs that this process created and the cache may not show yet.
    pub created_jobs: Jobs,
    /// Names of all Jobs of the NodeOp that this process has created.
    pub ever_created: HashSet<String>,
    /// Pods that this process created and the cache may not show yet.
    pub created_pods: Pods,
    /// Nodes whose claim by the NodeOp this process knows of.
    pub claims: HashSet<String>,
    /// What the latest looks at the Pods of draining nodes found.
    pub drains: BTreeMap<String, DrainView>,
    /// Whether the controller knows the agent's image.
    pub can_reboot: bool,
}

/// What [`Snapshot`] borrows from.
#[derive(Debug, Default)]
pub struct Observed {
    /// Nodes by name.
    pub nodes: BTreeMap<String, Arc<WatchedNode>>,
    /// The NodeOp's Jobs by name.
    pub jobs: Jobs,
    /// The NodeOp's Pods by name.
    pub pods: Pods,
    /// Jobs that are gone and of which a Pod is left, by name.
    pub vanished: BTreeSet<String>,
    /// Causes of failed Jobs by Job name.
    pub causes: BTreeMap<String, String>,
    /// Nodes of living other NodeOps.
    pub claims: BTreeMap<String, String>,
    /// Nodes with active Jobs of other NodeOps.
    pub busy: BTreeMap<String, String>,
    /// Reports of drains.
    pub drains: BTreeMap<String, DrainView>,
    /// Nodes that are claimed as the API server has it, where only a cache showed it before.
    pub confirmed_claims: Vec<String>,
    /// Boot IDs read live.
    pub boots: BTreeMap<String, String>,
    /// Who may disturb the control plane.
    pub control_plane: Standing,
    /// Whether the controller knows the agent's image.
    pub can_reboot: bool,
    /// The Lease that says so.
    pub place: PlaceLease,
    /// Nodes for which something cannot ever be created; filled by the pass.
    pub problems: BTreeMap<String, String>,
    /// Nodes that could not be given back; filled by the pass.
    pub unreleased: BTreeMap<String, String>,
}

impl Observed {
    /// The snapshot of `node_op`.
    pub fn snapshot<'a>(&'a self, node_op: &'a NodeOp, own_node: Option<&'a str>) -> Snapshot<'a> {
        Snapshot {
            can_reboot: self.can_reboot,
            node_op,
            nodes: &self.nodes,
            jobs: &self.jobs,
            pods: &self.pods,
            vanished: &self.vanished,
            causes: &self.causes,
            claims: &self.claims,
            busy: &self.busy,
            drains: &self.drains,
            boots: &self.boots,
            control_plane: self.control_plane.clone(),
            problems: &self.problems,
            unreleased: &self.unreleased,
            own_node,
        }
    }
}

/// Reads the snapshot for `node_op`.
pub async fn observe(
    requests: &Requests,
    sources: Sources<'_>,
    node_op: &NodeOp,
) -> Result<Observed> {
    let caches = sources.caches;
    let mut nodes: BTreeMap<_, _> = caches
        .nodes
        .state()
        .into_iter()
        .map(|node| (node.name().to_owned(), node))
        .collect();
    let mut jobs = sources.created_jobs;
    jobs.extend(own_jobs(caches, node_op).map(|job| (job.name().to_owned(), job)));

    let empty = NodeOpStatus::default();
    let status = node_op.status.as_ref().unwrap_or(&empty);
    proof::confirm(requests, status, &mut nodes).await?;
    let confirmed_claims =
        proof::confirm_claims(requests, node_op, status, &sources.claims, &mut nodes).await?;
    let mut vanished = missing::orphaned(caches, node_op, status, &jobs, &sources.ever_created);
    for job in missing::confirm(requests, node_op, status, &jobs, &vanished).await? {
        jobs.insert(job.name().to_owned(), Arc::new(job));
    }
    vanished.retain(|job| !jobs.contains_key(job));
    let mut pods = sources.created_pods;
    pods.extend(own_pods(caches, node_op, &jobs).map(|pod| (pod.name().to_owned(), pod)));
    let causes = causes(requests, node_op, status, &jobs).await;
    let silent = silent_about_boot(node_op, status, &jobs, &pods);
    let boots = proof::boots(requests, silent, &mut nodes).await?;

    let me = Holder::of(node_op);
    let mut others = Others::new(requests);
    let mut observed = Observed {
        jobs,
        pods,
        vanished,
        causes,
        boots,
        confirmed_claims,
        drains: sources.drains,
        can_reboot: sources.can_reboot,
        ..Observed::default()
    };
    let place = concerns_control_plane(node_op, &nodes);
    if place {
        // Before any other NodeOp is read, see `Others::standing`.
        observed.place = read_place(requests).await?;
    }
    if node_op.spec.disrupts() {
        observed.claims = others.claims(&me, &nodes).await?;
        observed.busy = busy(&caches.jobs, node_op);
    }
    if place {
        observed.control_plane = others.standing(&me, status, &observed.place).await?;
    }
    observed.nodes = nodes;
    Ok(observed)
}

/// Whether something that happens once would be done on the word of an earlier pass: a Job that no cache shows is to be
/// created, or a reboot to be permitted. That takes a status which was read live.
pub fn has_open_reservation(
    caches: &Caches,
    created: &BTreeMap<String, Arc<WatchedJob>>,
    node_op: &NodeOp,
) -> bool {
    let Some(status) = &node_op.status else {
        return false;
    };
    if status
        .node_statuses
        .values()
        .any(|entry| entry.step == Some(NodeStep::Rebooting))
        && !reboots_are_permitted(caches, node_op, status)
    {
        return true;
    }
    let is_reserved =
        |entry: &&NodeStatus| matches!(entry.step, Some(NodeStep::Reserved | NodeStep::Starting));
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

/// Whether the cache shows for each reboot that its Pod already knows.
fn reboots_are_permitted(caches: &Caches, node_op: &NodeOp, status: &NodeOpStatus) -> bool {
    let own: Pods = own_pods(caches, node_op, &Jobs::new())
        .map(|pod| (pod.name().to_owned(), pod))
        .collect();
    let rebooting = status
        .node_statuses
        .iter()
        .filter(|(_, entry)| entry.step == Some(NodeStep::Rebooting));
    rebooting.into_iter().all(|(node, entry)| {
        own.get(&crate::build::names::reboot_pod_name(node_op, node))
            .is_some_and(|pod| pod.authorized() == entry.boot_id.as_deref())
    })
}

/// The NodeOp's Pods in the cache: those that it controls, and those of its Jobs.
fn own_pods<'a>(
    caches: &Caches,
    node_op: &'a NodeOp,
    jobs: &'a Jobs,
) -> impl Iterator<Item = Arc<WatchedPod>> + use<'a> {
    let namespace = node_op.metadata.namespace.as_ref();
    let uid = node_op.metadata.uid.as_ref();
    caches.pods.state().into_iter().filter(move |pod| {
        pod.metadata.namespace.as_ref() == namespace
            && pod.controller_owner().is_some_and(|owner| {
                Some(&owner.uid) == uid
                    || jobs
                        .get(&owner.name)
                        .is_some_and(|job| job.metadata.uid.as_ref() == Some(&owner.uid))
            })
    })
}

/// Nodes whose Job is complete, and whose Pod does not tell the boot it ended in.
fn silent_about_boot(
    node_op: &NodeOp,
    status: &NodeOpStatus,
    jobs: &Jobs,
    pods: &Pods,
) -> Vec<String> {
    if !node_op.spec.reboot_on_success {
        return Vec::new();
    }
    let tells = |job: &str| told_boot(pods.values(), job).is_some();
    let is_complete = |job: &String| jobs.get(job).is_some_and(|job| job.is_complete());
    status
        .node_statuses
        .iter()
        .filter(|(_, entry)| !is_finished(entry) && entry.boot_id.is_none())
        .filter(|(_, entry)| {
            entry
                .job_name
                .as_ref()
                .is_some_and(|job| is_complete(job) && !tells(job))
        })
        .map(|(name, _)| name.clone())
        .collect()
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

#[cfg(test)]
mod tests;
