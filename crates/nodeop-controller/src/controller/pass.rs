//! One pass over one NodeOp, as the list of its steps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api_types::names::FINALIZER_NODEOP;
use api_types::nodeop::{NodeOp, NodeOpStatus};
use futures::{StreamExt as _, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Api, ResourceExt as _};

use super::act::{act, drain_key};
use super::release::{conclude, release};
use super::report::{measure, report};
use super::rest::Rest;
use super::{Context, WatchedNodeOp};
use operator_runtime::shutdown::Shutdown;
use tokio::sync::watch;

use crate::apply::hold::{self, Version};
use crate::apply::nodes::{Guarded, patch_node};
use crate::apply::{self, place, pods, within};
use crate::decide::{Plan, Rehearsal, Release, decide};
use crate::error::{Error, Result};
use crate::observe::{Observed, confirm_unclaimed, has_open_reservation, observe};
use crate::status::{self, StartProblem, Write};

/// An unfinished NodeOp is looked at this often even when nothing happens: it heals what an event could not tell.
const RESYNC: Duration = Duration::from_mins(5);
/// How long to wait after a write met a newer object; its watch event usually comes first.
const AFTER_CONFLICT: Duration = Duration::from_millis(200);

/// What asks to be looked at again does not get there sooner.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
/// Nodes being given back at once, within one pass.
const RELEASES_IN_FLIGHT: usize = 16;

/// When to look at a NodeOp again, if no event comes first.
pub(super) enum Next {
    /// Not at all.
    OnChange,
    /// After this long.
    After(Duration),
    /// After a growing delay: the API server refuses something that only others can mend.
    Refused,
}

/// One pass: observe → decide → release → write → act → report.
pub(super) async fn pass(watched: &WatchedNodeOp, context: &Context) -> Result<Next> {
    let uid = watched.uid().unwrap_or_default();
    if watched.metadata.deletion_timestamp.is_some() {
        context.memory.forget(&uid);
        return release(watched, context).await;
    }
    if context.memory.has_ended(&uid) {
        return Ok(Next::OnChange);
    }
    caches_filled(context).await?;
    let Some(node_op) = read(watched, context).await? else {
        return Ok(Next::OnChange);
    };
    context
        .metrics
        .operations
        .note(&uid, node_op.status.as_ref());
    if node_op.status.as_ref().is_some_and(status::is_terminal) {
        return end(context, &node_op).await;
    }

    let now = context.requests.clock.now();
    let sources = context.sources(&node_op);
    let mut observed = observe(&context.requests, sources, &node_op).await?;
    let confirmed = std::mem::take(&mut observed.confirmed_claims);
    context.memory.note_claims(&uid, confirmed);
    tell_blockers(context, &node_op, &observed);
    let (mut plan, rehearsal) = plan(context, &node_op, &observed, now).await?;
    if plan.hold {
        return hold(context, &node_op).await;
    }
    if confirm_unclaimed(
        &context.requests,
        &node_op,
        &plan.status,
        &mut observed.nodes,
    )
    .await?
    {
        let snapshot = observed.snapshot(&node_op, context.own_node.as_deref());
        plan = decide(&snapshot, &rehearsal, now);
    }
    if !plan.releases.is_empty() && !planted!(ResultBeforeRelease) {
        observed.unreleased = give_back(context, &node_op, &plan.releases, &observed).await;
        if !observed.unreleased.is_empty() {
            let snapshot = observed.snapshot(&node_op, context.own_node.as_deref());
            plan = decide(&snapshot, &rehearsal, now);
        }
    }
    if planted!(ActBeforeAcknowledged) {
        act(context, &node_op, &observed, &plan.acts).await;
    }
    let mut current = Arc::clone(&node_op);
    let mut held_back = None;
    match plan.write {
        Write::Nothing => {}
        Write::After(delay) => held_back = Some(delay),
        Write::Now => match write(context, &node_op, plan.status, now).await? {
            Some(written) => current = written,
            None => return Ok(Next::After(AFTER_CONFLICT)),
        },
    }
    if current.status.as_ref().is_some_and(status::is_terminal) {
        return end(context, &current).await;
    }
    let acted = act(context, &current, &observed, &plan.acts).await;
    if !acted.again && !acted.unfinished {
        let ended = context.requests.clock.instant();
        let rest = Rest::after(&current, observed.nodes.len(), ended);
        context.memory.rest(&uid, rest);
    }
    let all_started = note_problems(context, &current, &mut observed, acted.problems).await?;
    if let Some(error) = acted.error {
        return Err(error);
    }
    if !all_started || matches!(rehearsal, Rehearsal::Refused(_)) {
        return Ok(Next::Refused);
    }
    if acted.unfinished {
        return Ok(Next::After(SHORTEST_WAIT));
    }
    if acted.again || !observed.unreleased.is_empty() {
        return Ok(Next::After(AFTER_CONFLICT));
    }
    let delays = [held_back, plan.wake_after].into_iter().flatten();
    let delay = delays
        .filter_map(|delay: SignedDuration| Duration::try_from(delay).ok())
        .min();
    Ok(Next::After(delay.map_or(RESYNC, |delay| {
        delay.clamp(SHORTEST_WAIT, RESYNC)
    })))
}

/// Lets go of an operation that has ended. Only then nothing more is to be done for it.
async fn end(context: &Context, node_op: &NodeOp) -> Result<Next> {
    Ok(match conclude(context, node_op).await? {
        Guarded::Done => {
            context.memory.ended(&node_op.uid().unwrap_or_default());
            Next::OnChange
        }
        Guarded::Changed => {
            context
                .memory
                .forget_latest(&node_op.uid().unwrap_or_default());
            Next::After(AFTER_CONFLICT)
        }
    })
}

/// Puts our finalizer on the NodeOp, before anything is done to a node.
async fn hold(context: &Context, node_op: &NodeOp) -> Result<Next> {
    let version = Version {
        namespace: node_op.metadata.namespace.as_deref().unwrap_or_default(),
        name: node_op.metadata.name.as_deref().unwrap_or_default(),
        uid: node_op.metadata.uid.as_deref().unwrap_or_default(),
        version: node_op
            .metadata
            .resource_version
            .as_deref()
            .unwrap_or_default(),
        finalizers: node_op.finalizers(),
    };
    hold::add(&context.requests, version, FINALIZER_NODEOP).await?;
    context
        .memory
        .forget_latest(&node_op.uid().unwrap_or_default());
    // Its own watch event comes here again, with the version that has it.
    Ok(Next::After(AFTER_CONFLICT))
}

/// Observes and decides, with the dry run in between where the decision asks for it.
async fn plan(
    context: &Context,
    node_op: &NodeOp,
    observed: &Observed,
    now: Timestamp,
) -> Result<(Plan, Rehearsal)> {
    let snapshot = observed.snapshot(node_op, context.own_node.as_deref());
    let plan = decide(&snapshot, &Rehearsal::NotYet, now);
    let Some(node) = &plan.rehearse else {
        return Ok((plan, Rehearsal::NotYet));
    };
    let rehearsal = apply::rehearse(&context.requests, &context.settings, node_op, node).await?;
    Ok((decide(&snapshot, &rehearsal, now), rehearsal))
}

/// Frees nodes of what this operation holds there. Returns those where that failed, and why.
async fn give_back(
    context: &Context,
    node_op: &NodeOp,
    releases: &[Release],
    observed: &Observed,
) -> BTreeMap<String, String> {
    let all: Vec<_> = releases
        .iter()
        .map(|release| give_back_one(context, node_op, release, observed))
        .collect();
    let results: Vec<_> = stream::iter(all)
        .buffer_unordered(RELEASES_IN_FLIGHT)
        .collect()
        .await;
    let mut failed = BTreeMap::new();
    for (node, result) in results {
        match result {
            Ok(Guarded::Done) => {
                context.rounds.forget(&drain_key(node_op, &node));
            }
            Ok(Guarded::Changed) => {
                // Tried again at once; what the node has waited for so far is worth more words.
                failed.insert(node, String::new());
            }
            Err(error) => {
                tracing::warn!(%error, node, nodeop = apply::display(node_op), "a node is not given back yet");
                failed.insert(node, format!("giving the node back: {error}"));
            }
        }
    }
    failed
}

async fn give_back_one(
    context: &Context,
    node_op: &NodeOp,
    release: &Release,
    observed: &Observed,
) -> (String, Result<Guarded>) {
    let requests = &context.requests;
    let result = async {
        for pod in &release.pods {
            if let Some(pod) = observed.pods.get(pod) {
                pods::delete_pod(requests, node_op, pod).await?;
            }
        }
        if release.patch.is_some() {
            let uid = node_op.uid().unwrap_or_default();
            context.memory.forget_claim(&uid, &release.node);
        }
        if let Some(patch) = &release.patch
            && patch_node(requests, node_op, &release.node, patch).await? == Guarded::Changed
        {
            return Ok(Guarded::Changed);
        }
        if release.place {
            return place::free_place(requests, node_op, Some(&release.node)).await;
        }
        Ok(Guarded::Done)
    };
    (release.node.clone(), result.await)
}

/// Tells of Pods that hold a drain up, once per blocker.
fn tell_blockers(context: &Context, node_op: &NodeOp, observed: &Observed) {
    let uid = node_op.uid().unwrap_or_default();
    for (node, view) in &observed.drains {
        let Some(blockers) = &view.blockers else {
            continue;
        };
        if context.memory.blockers_are_new(&uid, node, blockers) {
            let notice = status::drain_blocked(node, blockers).into_notice(node_op);
            context.events.publish(notice);
        }
    }
}

/// Decisions on half a cache would be wrong: no node matches, no Job exists.
pub(super) async fn caches_filled(context: &Context) -> Result<()> {
    let filled = context.filled.clone();
    filled_within(filled, context.requests.timeout, &context.shutdown).await
}

async fn filled_within(
    mut filled: watch::Receiver<bool>,
    patience: Duration,
    shutdown: &Shutdown,
) -> Result<()> {
    let waited = tokio::time::timeout(patience, filled.wait_for(|filled| *filled));
    tokio::select! {
        waited = waited => match waited {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::Caches(patience)),
        },
        // The watches end then, so nothing would fill the caches any more.
        () = shutdown.requested() => Err(Error::ShuttingDown),
    }
}

/// The NodeOp as last written or read by this process, where the watch says that it is still the same; else, and where
/// a Job would be created on an earlier pass's word, as the API server holds it.
async fn read(watched: &WatchedNodeOp, context: &Context) -> Result<Option<Arc<NodeOp>>> {
    let uid = watched.uid().unwrap_or_default();
    let version = watched.resource_version().unwrap_or_default();
    if let Some(known) = context.memory.latest(&uid, &version) {
        let jobs = &context.caches.jobs;
        let created = context
            .memory
            .created_jobs(&uid, jobs, context.requests.clock.instant());
        if !has_open_reservation(&context.caches, &created, &known) {
            return Ok(Some(known));
        }
    }
    read_live(watched, context).await
}

/// The NodeOp as the API server holds it now.
pub(super) async fn read_live(
    watched: &WatchedNodeOp,
    context: &Context,
) -> Result<Option<Arc<NodeOp>>> {
    let uid = watched.uid().unwrap_or_default();
    let namespace = watched.namespace().unwrap_or_default();
    let name = watched.name_any();
    let api: Api<NodeOp> = Api::namespaced(context.requests.clients.api.clone(), &namespace);
    let action = format!("get nodeop {namespace}/{name}");
    let found = within(&context.requests, &action, api.get_opt(&name)).await?;
    // A NodeOp of the same name made since is another one; its own watch event brings it here.
    let found = found
        .filter(|found| found.uid().as_deref() == Some(uid.as_str()))
        .map(Arc::new);
    if let Some(found) = &found {
        context.memory.remember(&uid, found);
    }
    Ok(found)
}

/// Writes the status and reports what it says anew. `None`: somebody else has written since.
async fn write(
    context: &Context,
    node_op: &Arc<NodeOp>,
    status: NodeOpStatus,
    now: Timestamp,
) -> Result<Option<Arc<NodeOp>>> {
    let uid = node_op.uid().unwrap_or_default();
    let status = NodeOpStatus {
        last_updated: Some(Time(now)),
        ..status
    };
    let Some(written) = apply::write_status(&context.requests, node_op, &status).await? else {
        context.metrics.status_conflicts.inc();
        context.memory.forget_latest(&uid);
        return Ok(None);
    };
    context.metrics.status_writes.inc();
    let written = Arc::new(written);
    context.memory.remember(&uid, &written);
    context.metrics.operations.note(&uid, Some(&status));
    report(context, node_op, &status);
    measure(context, node_op, &status, now);
    Ok(Some(written))
}

/// Notes on the nodes what could not be created. Whether all that may ever start has.
async fn note_problems(
    context: &Context,
    node_op: &Arc<NodeOp>,
    observed: &mut Observed,
    problems: Vec<(String, StartProblem)>,
) -> Result<bool> {
    let mut passing = Vec::new();
    for (node, problem) in problems {
        match problem {
            StartProblem::Final(message) => {
                observed.problems.insert(node, message);
            }
            StartProblem::Passing(message) => passing.push((node, message)),
        }
    }
    let all = passing.is_empty();
    let now = context.requests.clock.now();
    let mut after = node_op.status.clone().unwrap_or_default();
    if !observed.problems.is_empty() {
        // These nodes have failed: they are given back before that is written.
        let snapshot = observed.snapshot(node_op, context.own_node.as_deref());
        let mut plan = decide(&snapshot, &Rehearsal::Passed, now);
        observed.unreleased = give_back(context, node_op, &plan.releases, observed).await;
        if !observed.unreleased.is_empty() {
            let snapshot = observed.snapshot(node_op, context.own_node.as_deref());
            plan = decide(&snapshot, &Rehearsal::Passed, now);
        }
        after = plan.status;
    }
    status::note_passing(&mut after, passing);
    if node_op.status.as_ref() != Some(&after) {
        write(context, node_op, after, now).await?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
