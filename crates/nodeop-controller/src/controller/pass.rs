//! One pass over one NodeOp, as the list of its steps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api_types::nodeop::{NodeOp, NodeOpStatus};
use futures::future;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Api, ResourceExt as _};

use super::release::release;
use super::{Context, WatchedNodeOp};
use crate::apply::{self, within};
use crate::decide::{Plan, Rehearsal, Snapshot, decide};
use crate::error::{Error, Result};
use crate::metrics::ResultLabel;
use crate::observe::{has_open_reservation, observe};
use crate::status::{self, StartProblem, Write, reports};

/// An unfinished NodeOp is looked at this often even when nothing happens: it heals what an event could not tell.
const RESYNC: Duration = Duration::from_mins(5);
/// How long to wait after a write met a newer object; its watch event usually comes first.
const AFTER_CONFLICT: Duration = Duration::from_millis(200);

/// When to look at a NodeOp again, if no event comes first.
pub(super) enum Next {
    /// Not at all.
    OnChange,
    /// After this long.
    After(Duration),
    /// After a growing delay: the API server refuses something that only others can mend.
    Refused,
}

/// One pass: observe → decide → apply → report.
pub(super) async fn pass(watched: &WatchedNodeOp, context: &Context) -> Result<Next> {
    let uid = watched.uid().unwrap_or_default();
    if watched.metadata.deletion_timestamp.is_some() {
        context.memory.forget(&uid);
        release(watched, &context.requests).await?;
        return Ok(Next::OnChange);
    }
    if context.memory.has_ended(&uid) {
        return Ok(Next::OnChange);
    }
    caches_filled(context).await?;
    let Some(node_op) = read(watched, context).await? else {
        return Ok(Next::OnChange);
    };
    if node_op.status.as_ref().is_some_and(status::is_terminal) {
        context.memory.ended(&uid);
        return Ok(Next::OnChange);
    }

    let now = Timestamp::now();
    let (plan, rehearsal) = plan(context, &node_op, now).await?;
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
    let all_started = start(context, &current, &plan.start).await?;
    if !all_started || matches!(rehearsal, Rehearsal::Refused(_)) {
        return Ok(Next::Refused);
    }
    let delays = [held_back, plan.wake_after].into_iter().flatten();
    let delay = delays
        .filter_map(|delay: SignedDuration| Duration::try_from(delay).ok())
        .min();
    Ok(Next::After(delay.map_or(RESYNC, |delay| delay.min(RESYNC))))
}

/// Observes and decides, with the dry run in between where the decision asks for it.
async fn plan(context: &Context, node_op: &NodeOp, now: Timestamp) -> Result<(Plan, Rehearsal)> {
    let uid = node_op.uid().unwrap_or_default();
    let jobs = &context.caches.jobs;
    let created = context.memory.created_jobs(&uid, jobs, Instant::now());
    let observed = observe(&context.requests, &context.caches, &created, node_op).await?;
    let snapshot = Snapshot {
        node_op,
        nodes: &observed.nodes,
        jobs: &observed.jobs,
        causes: &observed.causes,
        own_node: context.own_node.as_deref(),
    };
    let plan = decide(&snapshot, &Rehearsal::NotYet, now);
    let Some(node) = &plan.rehearse else {
        return Ok((plan, Rehearsal::NotYet));
    };
    let rehearsal = apply::rehearse(&context.requests, &context.settings, node_op, node).await?;
    Ok((decide(&snapshot, &rehearsal, now), rehearsal))
}

/// Decisions on half a cache would be wrong: no node matches, no Job exists.
async fn caches_filled(context: &Context) -> Result<()> {
    let filled = future::try_join(
        context.caches.nodes.wait_until_ready(),
        context.caches.jobs.wait_until_ready(),
    );
    match tokio::time::timeout(context.requests.timeout, filled).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Error::Caches(context.requests.timeout)),
    }
}

/// The NodeOp as last written or read by this process, where the watch says that it is still the same; else, and where
/// a Job would be created on an earlier pass's word, as the API server holds it.
async fn read(watched: &WatchedNodeOp, context: &Context) -> Result<Option<Arc<NodeOp>>> {
    let uid = watched.uid().unwrap_or_default();
    let version = watched.resource_version().unwrap_or_default();
    if let Some(known) = context.memory.latest(&uid, &version) {
        let jobs = &context.caches.jobs;
        let created = context.memory.created_jobs(&uid, jobs, Instant::now());
        if !has_open_reservation(&context.caches, &created, &known) {
            return Ok(Some(known));
        }
    }
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
    report(context, node_op, &status);
    if status::is_terminal(&status) {
        context.memory.ended(&uid);
    }
    Ok(Some(written))
}

/// Creates the Jobs of reserved nodes and notes on the nodes what cannot be created. Whether all that may ever start has.
async fn start(context: &Context, node_op: &Arc<NodeOp>, nodes: &[String]) -> Result<bool> {
    if nodes.is_empty() {
        return Ok(true);
    }
    let started = apply::start(&context.requests, &context.settings, node_op, nodes).await;
    context
        .metrics
        .jobs_created
        .inc_by(u64::try_from(started.created).unwrap_or(u64::MAX));
    context.memory.add_created_jobs(
        &node_op.uid().unwrap_or_default(),
        started.jobs,
        Instant::now(),
    );
    let passing =
        |(_, problem): &(String, StartProblem)| matches!(problem, StartProblem::Passing(_));
    let all = !started.problems.iter().any(passing);
    let now = Timestamp::now();
    let before = node_op.status.clone().unwrap_or_default();
    let after = status::with_problems(&before, started.problems, now);
    if before != after {
        write(context, node_op, after, now).await?;
    }
    started.error.map_or(Ok(all), Err)
}

/// Publishes and counts what the written status says anew.
fn report(context: &Context, node_op: &NodeOp, after: &NodeOpStatus) {
    let empty = NodeOpStatus::default();
    let before = node_op.status.as_ref().unwrap_or(&empty);
    let reports = reports(before, after);
    for result in reports.iter().filter_map(|report| report.result) {
        context
            .metrics
            .node_results
            .get_or_create(&ResultLabel { result })
            .inc();
    }
    for report in reports {
        context.events.publish(report.into_notice(node_op));
    }
}
