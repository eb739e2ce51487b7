//! Carries out what a pass has decided once its status is acknowledged.

use std::sync::Arc;

use api_types::nodeop::NodeOp;
use futures::{StreamExt as _, stream};
use kube::ResourceExt as _;

use super::Context;
use crate::apply::nodes::{Guarded, patch_node};
use crate::apply::pods::{PodThere, authorize, create_pod, delete_pod};
use crate::apply::{self, place};
use crate::build::check_pod::check_pod;
use crate::build::reboot_pod::reboot_pod;
use crate::claim::{Holder, claim_patch};
use crate::control_plane::Standing;
use crate::decide::Act;
use crate::drain::{DrainKey, Mode, Order, OwnObjects};
use crate::error::{Error, Result};
use crate::observe::Observed;
use crate::status::StartProblem;

/// Requests in flight at once, within one pass.
const REQUESTS_IN_FLIGHT: usize = 16;

/// What became of a pass's acts.
#[derive(Debug, Default)]
pub(super) struct Acted {
    /// Nodes on which something could not be created, and what that means for them.
    pub(super) problems: Vec<(String, StartProblem)>,
    /// Whether to look again at once: something was done that no watch shows.
    pub(super) again: bool,
    /// Whether Jobs are left to be created, because the others took long.
    pub(super) unfinished: bool,
    /// The first request that got no answer, to be tried again.
    pub(super) error: Option<Error>,
}

enum Outcome {
    Done,
    Again,
    Problem(String, StartProblem),
}

/// Carries out `acts`, several at once. One that fails does not hold up the others.
pub(super) async fn act(
    context: &Context,
    node_op: &NodeOp,
    observed: &Observed,
    acts: &[Act],
) -> Acted {
    let mut acted = Acted::default();
    let jobs: Vec<String> = acts
        .iter()
        .filter_map(|act| match act {
            Act::CreateJob(node) => Some(node.clone()),
            _ => None,
        })
        .collect();
    if !jobs.is_empty() {
        create_jobs(context, node_op, &jobs, &mut acted).await;
    }
    if acts.iter().any(|act| matches!(act, Act::AskDrain(..))) {
        let own = Arc::new(own_objects(context));
        for act in acts {
            if let Act::AskDrain(node, mode) = act {
                ask_drain(context, node_op, node, *mode, &own);
            }
        }
    }
    let others: Vec<_> = acts
        .iter()
        .filter(|act| !matches!(act, Act::CreateJob(_) | Act::AskDrain(..)))
        .map(|act| one(context, node_op, observed, act))
        .collect();
    let mut results = stream::iter(others).buffer_unordered(REQUESTS_IN_FLIGHT);
    while let Some(result) = results.next().await {
        match result {
            Ok(Outcome::Done) => {}
            Ok(Outcome::Again) => acted.again = true,
            Ok(Outcome::Problem(node, problem)) => acted.problems.push((node, problem)),
            Err(error) => acted.error = acted.error.or(Some(error)),
        }
    }
    acted
}

async fn create_jobs(context: &Context, node_op: &NodeOp, nodes: &[String], acted: &mut Acted) {
    let started = apply::start(&context.requests, &context.settings, node_op, nodes).await;
    context
        .metrics
        .jobs_created
        .inc_by(u64::try_from(started.created).unwrap_or(u64::MAX));
    let uid = node_op.uid().unwrap_or_default();
    context
        .memory
        .add_created_jobs(&uid, started.jobs, context.requests.clock.instant());
    acted.problems.extend(started.problems);
    acted.unfinished = started.left > 0;
    acted.error = started.error;
}

async fn one(
    context: &Context,
    node_op: &NodeOp,
    observed: &Observed,
    act: &Act,
) -> Result<Outcome> {
    let requests = &context.requests;
    let settings = &context.settings;
    match act {
        Act::CreateJob(_) | Act::AskDrain(..) => Ok(Outcome::Done),
        Act::CreateCheck(node, check) => match check_pod(node_op, node, settings, *check) {
            Some(pod) => create(context, node_op, node, &pod).await,
            None => Ok(Outcome::Done),
        },
        Act::CreateRebootPod { node, authorized } => {
            let pod = reboot_pod(node_op, node, settings, authorized.as_deref());
            create(context, node_op, node, &pod).await
        }
        Act::Authorize { pod, boot, .. } => {
            let Some(pod) = observed.pods.get(pod) else {
                return Ok(Outcome::Done);
            };
            let request = format!(
                "authorise {} {boot}",
                pod.metadata.uid.as_deref().unwrap_or_default()
            );
            once(
                context,
                node_op,
                request,
                authorize(requests, node_op, pod, boot),
            )
            .await
        }
        Act::DeletePod(name) => {
            let Some(pod) = observed.pods.get(name) else {
                return Ok(Outcome::Done);
            };
            let request = format!("delete {}", pod.metadata.uid.as_deref().unwrap_or_default());
            once(
                context,
                node_op,
                request,
                delete_pod(requests, node_op, pod),
            )
            .await
        }
        Act::TakePlace(node) => take_place(context, node_op, observed, node).await,
        Act::Claim(name) => {
            let Some(node) = observed.nodes.get(name) else {
                return Ok(Outcome::Done);
            };
            let me = Holder::of(node_op);
            let patch = claim_patch(node, &me, node_op.spec.cordons());
            let version = node
                .metadata
                .resource_version
                .as_deref()
                .unwrap_or_default();
            let request = format!("claim {name} {version}");
            let uid = node_op.uid().unwrap_or_default();
            if context
                .memory
                .was_sent(&uid, &request, context.requests.clock.instant())
            {
                return Ok(Outcome::Done);
            }
            match patch_node(requests, node_op, name, &patch).await? {
                Guarded::Done => {
                    context
                        .memory
                        .note_sent(&uid, request, context.requests.clock.instant());
                    context.memory.note_claims(&uid, [name.clone()]);
                    Ok(Outcome::Done)
                }
                // The change that caused it may be one that triggers no pass, such as a heartbeat.
                Guarded::Changed => Ok(Outcome::Again),
            }
        }
    }
}

/// Makes a request unless it was made a moment ago on the same state of the cluster.
async fn once(
    context: &Context,
    node_op: &NodeOp,
    request: String,
    write: impl Future<Output = Result<()>>,
) -> Result<Outcome> {
    let uid = node_op.uid().unwrap_or_default();
    if context
        .memory
        .was_sent(&uid, &request, context.requests.clock.instant())
    {
        return Ok(Outcome::Done);
    }
    write.await?;
    context
        .memory
        .note_sent(&uid, request, context.requests.clock.instant());
    Ok(Outcome::Done)
}

async fn create(
    context: &Context,
    node_op: &NodeOp,
    node: &str,
    pod: &k8s_openapi::api::core::v1::Pod,
) -> Result<Outcome> {
    let uid = node_op.uid().unwrap_or_default();
    Ok(match create_pod(&context.requests, node_op, pod).await? {
        PodThere::Exists(pod) => {
            context.memory.add_created_pod(
                &uid,
                Arc::clone(&pod),
                context.requests.clock.instant(),
            );
            Outcome::Done
        }
        PodThere::Problem(problem) => Outcome::Problem(node.to_owned(), problem),
    })
}

async fn take_place(
    context: &Context,
    node_op: &NodeOp,
    observed: &Observed,
    node: &str,
) -> Result<Outcome> {
    if observed.control_plane != Standing::Free {
        return Ok(Outcome::Done);
    }
    // Free as of what was read: a change since then makes it a conflict.
    let read = &observed.place;
    place::take_place(
        &context.requests,
        node_op,
        read,
        node,
        context.requests.clock.now(),
    )
    .await?;
    Ok(Outcome::Again)
}

fn ask_drain(context: &Context, node_op: &NodeOp, node: &str, mode: Mode, own: &Arc<OwnObjects>) {
    let Some(options) = &node_op.spec.drain_options else {
        return;
    };
    let order = Order {
        options: options.clone(),
        own: Arc::clone(own),
        mode,
    };
    context.rounds.ask(&drain_key(node_op, node), order);
}

/// The Jobs of every NodeOp: a drain leaves their Pods alone.
fn own_objects(context: &Context) -> OwnObjects {
    let jobs = context.caches.jobs.state();
    let of_node_ops = jobs.iter().filter(|job| {
        job.controller_owner()
            .is_some_and(|owner| owner.kind == "NodeOp")
    });
    OwnObjects {
        jobs: of_node_ops
            .filter_map(|job| job.metadata.uid.clone())
            .collect(),
    }
}

/// The key of a node's drain.
pub(super) fn drain_key(node_op: &NodeOp, node: &str) -> DrainKey {
    DrainKey {
        uid: node_op.uid().unwrap_or_default(),
        namespace: node_op.namespace().unwrap_or_default(),
        name: node_op.name_any(),
        node: node.to_owned(),
    }
}
