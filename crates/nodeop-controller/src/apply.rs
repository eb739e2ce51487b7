//! Carries out a plan: the rehearsal, the status write, the Jobs, and in the files beside this one what concerns Nodes,
//! Pods, the control plane's place and the finalizer. Decides nothing.

pub mod hold;
pub mod nodes;
pub mod place;
pub mod pods;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use api_types::nodeop::NodeOp;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use operator_runtime::client::{Clients, deadline};
use operator_runtime::lease::Leadership;
use tokio::time::Instant;

use crate::build::BuildSettings;
use crate::build::job::job;
use crate::build::names::job_name;
use crate::build::pod::rehearsal_pod;
use crate::claim::Holder;
use crate::clock::Clock;
use crate::decide::Rehearsal;
use crate::error::{Error, Result};
use crate::status::{StartProblem, patch_body};
use crate::watched::WatchedJob;

/// Jobs being created at once, within one pass.
const CREATES_IN_FLIGHT: usize = 16;
/// After this long a pass begins no further Job: the others are the next one's, so that the status of thousands of nodes
/// that start at once shows how far they are, and an edit or a deletion does not wait for the last.
const CREATES_BEGIN: Duration = Duration::from_secs(5);
/// Field manager of our writes.
const MANAGER: &str = "nodeop-controller";

/// How requests are made.
#[derive(Clone)]
pub struct Requests {
    /// Clients for the API server.
    pub clients: Clients,
    /// The longest wait for one answer.
    pub timeout: Duration,
    /// Whether this replica may write.
    pub leadership: Leadership,
    /// Namespace of the Leases of this controller.
    pub lease_namespace: String,
    /// Where the time is read.
    pub clock: Clock,
}

impl Requests {
    /// Refuses to go on with a write when this replica has lost the lease, as after a long freeze.
    pub(crate) fn may_write(&self, action: &str) -> Result<()> {
        if self.leadership.is_leading() {
            return Ok(());
        }
        Err(Error::NotLeader {
            action: action.to_owned(),
        })
    }
}

/// Awaits one request for at most the timeout.
pub async fn within<T>(
    requests: &Requests,
    action: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T> {
    Ok(deadline(requests.timeout, action, request).await?)
}

/// The status code and message, if the API server answered with an error.
pub fn refusal(error: &Error) -> Option<(u16, &str)> {
    match error {
        Error::Request(call) => call
            .status()
            .map(|status| (status.code, status.message.as_str())),
        _ => None,
    }
}

/// Asks the API server whether it would accept the Job's Pod on `node`, without creating it.
pub async fn rehearse(
    requests: &Requests,
    settings: &BuildSettings,
    node_op: &NodeOp,
    node: &str,
) -> Result<Rehearsal> {
    let api: Api<Pod> = Api::namespaced(requests.clients.api.clone(), namespace(node_op));
    let params = PostParams {
        dry_run: true,
        field_manager: Some(MANAGER.to_owned()),
    };
    let pod = rehearsal_pod(node_op, node, settings);
    let action = format!("try a pod of nodeop {} as a dry run", display(node_op));
    match within(requests, &action, api.create(&params, &pod)).await {
        Ok(_) => Ok(Rehearsal::Passed),
        Err(error) => match refusal(&error) {
            Some((400 | 403 | 422, message)) => Ok(Rehearsal::Refused(format!(
                "the API server refuses this operation's Pods, no node was touched: {message}"
            ))),
            _ => Err(error),
        },
    }
}

/// Writes `after` over the status of `node_op`. `None`: somebody else has written since, decide anew.
pub async fn write_status(
    requests: &Requests,
    node_op: &NodeOp,
    after: &api_types::nodeop::NodeOpStatus,
) -> Result<Option<NodeOp>> {
    let name = node_op.metadata.name.as_deref().unwrap_or_default();
    let action = format!("write the status of nodeop {}", display(node_op));
    requests.may_write(&action)?;
    let before = node_op.status.clone().unwrap_or_default();
    let uid = node_op.metadata.uid.as_deref().unwrap_or_default();
    let version = node_op
        .metadata
        .resource_version
        .as_deref()
        .unwrap_or_default();
    let body = patch_body(uid, version, &before, after).map_err(|source| Error::Serialise {
        name: display(node_op),
        source,
    })?;
    let api: Api<NodeOp> = Api::namespaced(requests.clients.api.clone(), namespace(node_op));
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    match within(
        requests,
        &action,
        api.patch_status(name, &params, &Patch::Merge(&body)),
    )
    .await
    {
        Ok(written) => Ok(Some(written)),
        // 404: deleted meanwhile. 409: changed meanwhile.
        Err(error) => match refusal(&error) {
            Some((404 | 409, _)) => Ok(None),
            _ => Err(error),
        },
    }
}

/// What became of the Jobs that a plan wanted.
#[derive(Debug, Default)]
pub struct Started {
    /// Jobs that now exist and are the NodeOp's.
    pub jobs: Vec<Arc<WatchedJob>>,
    /// Jobs created by this call.
    pub created: usize,
    /// Nodes that could not be started, and what that means for them.
    pub problems: Vec<(String, StartProblem)>,
    /// The first request that got no answer, to be tried again.
    pub error: Option<Error>,
    /// Nodes whose turn did not come.
    pub left: usize,
}

/// Makes sure that the Job of each of `nodes` exists. The status that reserves them must have been acknowledged.
pub async fn start(
    requests: &Requests,
    settings: &BuildSettings,
    node_op: &NodeOp,
    nodes: &[String],
) -> Started {
    let mut started = Started::default();
    let end = requests.clock.instant() + CREATES_BEGIN;
    let creates: Vec<_> = nodes
        .iter()
        .map(|node| start_one(requests, settings, node_op, node, end))
        .collect();
    let mut results = stream::iter(creates).buffer_unordered(CREATES_IN_FLIGHT);
    while let Some((node, result)) = results.next().await {
        match result {
            Ok(Start::Exists { job, created }) => {
                started.created += usize::from(created);
                started.jobs.push(job);
            }
            Ok(Start::Problem(problem)) => started.problems.push((node, problem)),
            Ok(Start::NotBegun) => started.left += 1,
            Err(error) => started.error = started.error.or(Some(error)),
        }
    }
    started
}

enum Start {
    Exists { job: Arc<WatchedJob>, created: bool },
    Problem(StartProblem),
    NotBegun,
}

async fn start_one(
    requests: &Requests,
    settings: &BuildSettings,
    node_op: &NodeOp,
    node: &str,
    end: Instant,
) -> (String, Result<Start>) {
    let start = if requests.clock.instant() < end {
        create_job(requests, settings, node_op, node).await
    } else {
        Ok(Start::NotBegun)
    };
    (node.to_owned(), start)
}

async fn create_job(
    requests: &Requests,
    settings: &BuildSettings,
    node_op: &NodeOp,
    node: &str,
) -> Result<Start> {
    let api: Api<Job> = Api::namespaced(requests.clients.api.clone(), namespace(node_op));
    let name = job_name(node_op, node);
    let action = format!("create job {}/{name}", namespace(node_op));
    requests.may_write(&action)?;
    let params = PostParams {
        dry_run: false,
        field_manager: Some(MANAGER.to_owned()),
    };
    let error = match within(
        requests,
        &action,
        api.create(&params, &job(node_op, node, settings)),
    )
    .await
    {
        Ok(job) => {
            return Ok(Start::Exists {
                job: Arc::new(job.into()),
                created: true,
            });
        }
        Err(error) => error,
    };
    match refusal(&error) {
        Some((409, _)) => meet(requests, &api, node_op, &name).await,
        Some((400 | 422, message)) => Ok(Start::Problem(StartProblem::Final(format!(
            "Job refused: {message}"
        )))),
        Some((403, message)) => Ok(Start::Problem(StartProblem::Passing(format!(
            "Job refused: {message}"
        )))),
        _ => Err(error),
    }
}

/// The Job's name is taken. It counts as started only when the Job is this NodeOp's own, by UID.
async fn meet(requests: &Requests, api: &Api<Job>, node_op: &NodeOp, name: &str) -> Result<Start> {
    let action = format!("get job {}/{name}", namespace(node_op));
    let Some(found) = within(requests, &action, api.get_opt(name)).await? else {
        // It was there and is gone: the create and a removal crossed. The next pass tries again.
        return Err(Error::Crossed {
            name: format!("{}/{name}", namespace(node_op)),
        });
    };
    let job = Arc::new(WatchedJob::from(found));
    let ours = job
        .controller_owner()
        .is_some_and(|owner| Some(&owner.uid) == node_op.metadata.uid.as_ref());
    if ours {
        return Ok(Start::Exists {
            job,
            created: false,
        });
    }
    Ok(Start::Problem(StartProblem::Final(format!(
        "a Job named {name} exists that is not this NodeOp's; delete it and create a new NodeOp"
    ))))
}

fn namespace(node_op: &NodeOp) -> &str {
    node_op.metadata.namespace.as_deref().unwrap_or_default()
}

/// Namespace and name, for error texts.
pub fn display(node_op: &NodeOp) -> String {
    format!(
        "{}/{}",
        namespace(node_op),
        node_op.metadata.name.as_deref().unwrap_or_default()
    )
}

/// The NodeOp that a claim, a cordon, the place or an owner reference names, as the API server has it; `None` where it is gone,
/// also when another one has its name.
pub async fn read_holder(requests: &Requests, holder: &Holder) -> Result<Option<NodeOp>> {
    let api: Api<NodeOp> = Api::namespaced(requests.clients.api.clone(), &holder.namespace);
    let action = format!("get nodeop {}", holder.display());
    let found = within(requests, &action, api.get_opt(&holder.name)).await?;
    Ok(found.filter(|found| found.uid().as_deref() == Some(holder.uid.as_str())))
}
