//! Wiring: what triggers a pass, and the pass as the list of its steps.

mod memory;
mod release;
mod triggers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use api_types::names::LABEL_NODEOP;
use api_types::nodeop::{NodeOp, NodeOpStatus};
use futures::{Stream, StreamExt as _, future};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{Controller, WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use operator_runtime::events::EventPublisher;
use operator_runtime::readiness::ReadinessHandle;
use operator_runtime::run::Chassis;

use crate::apply::{self, Requests, within};
use crate::args::Args;
use crate::build::BuildSettings;
use crate::decide::{Plan, Rehearsal, Snapshot, decide};
use crate::error::{Error, Result};
use crate::metrics::{CategoryLabel, Metrics, ResultLabel};
use crate::observe::{Caches, has_open_reservation, observe};
use crate::status::{self, StartProblem, Write, reports};
use crate::watched::{WatchedJob, WatchedNode};
use memory::Memory;
use release::release;

/// NodeOps worked on at once.
const PASSES_IN_FLIGHT: u16 = 8;
/// An unfinished NodeOp is looked at this often even when nothing happens: it heals what an event could not tell.
const RESYNC: Duration = Duration::from_mins(5);
/// How long to wait after a write met a newer object; its watch event usually comes first.
const AFTER_CONFLICT: Duration = Duration::from_millis(200);

type WatchedNodeOp = PartialObjectMeta<NodeOp>;

/// What every pass shares.
struct Context {
    requests: Requests,
    caches: Caches,
    settings: BuildSettings,
    own_node: Option<String>,
    events: EventPublisher,
    metrics: Metrics,
    memory: Memory,
    node_ops: Store<WatchedNodeOp>,
}

/// Runs the controller until shutdown. Watches and writes only while this replica leads.
pub async fn run(chassis: Chassis, args: Args) -> anyhow::Result<()> {
    let client = chassis.clients.api.clone();
    let metrics = chassis.metrics.register("nodeop", Metrics::register);
    let filled = chassis.readiness.register("caches");
    let (nodes, node_writer) = reflector::store::<WatchedNode>();
    let (jobs, job_writer) = reflector::store::<WatchedJob>();

    let mut node_triggers = triggers::changes(
        watcher(
            Api::<WatchedNode>::all(client.clone()),
            watcher::Config::default(),
        )
        .default_backoff()
        .modify(WatchedNode::trim)
        .reflect(node_writer),
        triggers::of_node,
    )
    .boxed();
    let mut job_triggers = triggers::changes(
        watcher(
            Api::<WatchedJob>::all(client.clone()),
            watcher::Config::default().labels(LABEL_NODEOP),
        )
        .default_backoff()
        .modify(WatchedJob::trim)
        .reflect(job_writer),
        triggers::of_job,
    )
    .boxed();
    let caches = Caches { nodes, jobs };
    tokio::spawn(announce(caches.clone(), filled));

    // A replica that waits for the lease keeps its caches filled, so that a takeover is quick. What it misses here does
    // not matter: the controller begins with every NodeOp.
    tokio::select! {
        () = chassis.leadership.acquired() => {}
        () = chassis.shutdown.requested() => return Ok(()),
        () = drain(&mut node_triggers) => anyhow::bail!("the watch of nodes ended"),
        () = drain(&mut job_triggers) => anyhow::bail!("the watch of jobs ended"),
    }
    let controller = Controller::new(
        Api::<WatchedNodeOp>::all(client),
        watcher::Config::default(),
    )
    .with_config(Config::default().concurrency(PASSES_IN_FLIGHT));
    let context = Arc::new(Context {
        requests: Requests {
            clients: chassis.clients.clone(),
            timeout: chassis.request_timeout,
            leadership: chassis.leadership.clone(),
        },
        caches,
        settings: args.build_settings(),
        own_node: args.node_name.clone(),
        events: chassis.events.clone(),
        metrics,
        memory: Memory::default(),
        node_ops: controller.store(),
    });

    let of_nodes = Arc::clone(&context);
    let shutdown = chassis.shutdown.clone();
    controller
        .watches_stream(node_triggers, move |_: WatchedNode| {
            open_node_ops(&of_nodes.node_ops.state(), &of_nodes.memory)
        })
        .watches_stream(job_triggers, |job: WatchedJob| owner_of(&job))
        .graceful_shutdown_on(async move { shutdown.requested().await })
        .run(reconcile, on_error, context)
        .for_each(|result| {
            if let Err(kube::runtime::controller::Error::QueueError(error)) = result {
                tracing::warn!(%error, "a watch was interrupted and is being resumed");
            }
            future::ready(())
        })
        .await;
    Ok(())
}

/// Tells /readyz once the caches hold what is there.
async fn announce(caches: Caches, ready: ReadinessHandle) {
    let (nodes, jobs) = future::join(
        caches.nodes.wait_until_ready(),
        caches.jobs.wait_until_ready(),
    )
    .await;
    if nodes.is_ok() && jobs.is_ok() {
        ready.set_ready();
    }
}

async fn drain<S: Stream + Unpin>(stream: &mut S) {
    while stream.next().await.is_some() {}
}

/// Every NodeOp that has not ended: a change of a node may concern each of them.
fn open_node_ops(
    node_ops: &[Arc<WatchedNodeOp>],
    memory: &Memory,
) -> Vec<ObjectRef<WatchedNodeOp>> {
    let open = node_ops
        .iter()
        .filter(|node_op| !memory.has_ended(&node_op.uid().unwrap_or_default()));
    open.map(|node_op| ObjectRef::from_obj(node_op.as_ref()))
        .collect()
}

fn owner_of(job: &WatchedJob) -> Option<ObjectRef<WatchedNodeOp>> {
    let owner = job
        .controller_owner()
        .filter(|owner| owner.kind == "NodeOp")?;
    Some(ObjectRef::new(&owner.name).within(job.metadata.namespace.as_deref()?))
}

async fn reconcile(watched: Arc<WatchedNodeOp>, context: Arc<Context>) -> Result<Action> {
    let begun = Instant::now();
    let result = pass(&watched, &context).await;
    context
        .metrics
        .pass_seconds
        .observe(begun.elapsed().as_secs_f64());
    let uid = watched.uid().unwrap_or_default();
    let known = context.node_ops.len();
    context.memory.prune(known, || {
        context
            .node_ops
            .state()
            .iter()
            .filter_map(|node_op| node_op.uid())
            .collect()
    });
    Ok(match result? {
        Next::OnChange => {
            context.memory.succeeded(&uid);
            Action::await_change()
        }
        Next::After(delay) => {
            context.memory.succeeded(&uid);
            Action::requeue(delay)
        }
        Next::Refused => Action::requeue(context.memory.failed(&uid)),
    })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is the Controller's"
)]
fn on_error(watched: Arc<WatchedNodeOp>, error: &Error, context: Arc<Context>) -> Action {
    let uid = watched.uid().unwrap_or_default();
    let delay = context.memory.failed(&uid);
    context
        .metrics
        .errors
        .get_or_create(&CategoryLabel {
            category: error.category(),
        })
        .inc();
    let name = watched.name_any();
    let namespace = watched.namespace().unwrap_or_default();
    tracing::warn!(%error, namespace, name, retry_seconds = delay.as_secs_f64(), "a pass over a nodeop failed");
    Action::requeue(delay)
}

/// When to look at a NodeOp again, if no event comes first.
enum Next {
    /// Not at all.
    OnChange,
    /// After this long.
    After(Duration),
    /// After a growing delay: the API server refuses something that only others can mend.
    Refused,
}

/// One pass: observe → decide → apply → report.
async fn pass(watched: &WatchedNodeOp, context: &Context) -> Result<Next> {
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
    if let Some(known) = context.memory.latest(&uid, &version)
        && !has_open_reservation(&context.caches, &known)
    {
        return Ok(Some(known));
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
