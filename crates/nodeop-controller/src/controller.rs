//! Wiring: what triggers a pass, and when the next one follows.

mod act;
mod memory;
mod pass;
mod release;
mod report;
mod rest;
#[cfg(test)]
mod simulation;
mod sweep;
mod triggers;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use api_types::names::LABEL_NODEOP;
use api_types::nodeop::{NodeOp, NodeStep};
use futures::{Stream, StreamExt as _, future};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::SignedDuration;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{Controller, WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use operator_runtime::client::deadline;
use operator_runtime::events::EventPublisher;
use operator_runtime::readiness::ReadinessHandle;
use operator_runtime::run::Chassis;
use operator_runtime::shutdown::Shutdown;
use tokio::sync::watch;

use crate::apply::Requests;
use crate::args::Args;
use crate::build::BuildSettings;
use crate::clock::Clock;
use crate::decide::DrainView;
use crate::drain::{Mode, Rounds};
use crate::error::{Error, Result};
use crate::metrics::{CategoryLabel, Metrics};
use crate::observe::{Caches, Sources};
use crate::watched::{JobOutcome, WatchedJob, WatchedNode, WatchedPod};
use act::drain_key;
use memory::Memory;
use pass::{Next, pass};

/// NodeOps worked on at once.
const PASSES_IN_FLIGHT: u16 = 8;

type WatchedNodeOp = PartialObjectMeta<NodeOp>;

/// What every pass shares.
struct Context {
    requests: Requests,
    rounds: Rounds,
    caches: Caches,
    settings: BuildSettings,
    own_node: Option<String>,
    events: EventPublisher,
    metrics: Metrics,
    memory: Memory,
    node_ops: Store<WatchedNodeOp>,
    shutdown: Shutdown,
    /// Whether the caches hold what is there.
    filled: watch::Receiver<bool>,
}

/// Runs the controller until shutdown. Watches and writes only while this replica leads.
pub async fn run(chassis: Chassis, args: Args) -> anyhow::Result<()> {
    let client = chassis.clients.api.clone();
    let metrics = chassis.metrics.register("nodeop", Metrics::register);
    let filled = chassis.readiness.register("caches");
    let (nodes, node_writer) = reflector::store::<WatchedNode>();
    let (jobs, job_writer) = reflector::store::<WatchedJob>();
    let (pods, pod_writer) = reflector::store::<WatchedPod>();

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
    let of_node_ops = watcher::Config::default().labels(LABEL_NODEOP);
    let mut job_triggers = triggers::changes(
        args.namespaces
            .watch(&client, &of_node_ops)
            .modify(WatchedJob::trim)
            .reflect(job_writer),
        triggers::of_job,
    )
    .boxed();
    let mut pod_triggers = triggers::changes(
        args.namespaces
            .watch(&client, &of_node_ops)
            .modify(WatchedPod::trim)
            .reflect(pod_writer),
        triggers::of_pod,
    )
    .boxed();
    let caches = Caches { nodes, jobs, pods };
    let (tell, told) = watch::channel(false);
    tokio::spawn(announce(caches.clone(), filled, tell));
    let filled = told;

    // A replica that waits for the lease keeps its caches filled, so that a takeover is quick. What it misses here does
    // not matter: the controller begins with every NodeOp.
    tokio::select! {
        () = chassis.leadership.acquired() => {}
        () = chassis.shutdown.requested() => return Ok(()),
        () = drain(&mut node_triggers) => anyhow::bail!("the watch of nodes ended"),
        () = drain(&mut job_triggers) => anyhow::bail!("the watch of jobs ended"),
        () = drain(&mut pod_triggers) => anyhow::bail!("the watch of pods ended"),
    }
    let mut settings = args.build_settings();
    if settings.agent_image.is_empty() {
        settings.agent_image = own_image(&chassis).await.unwrap_or_default();
    }
    let controller: Controller<WatchedNodeOp> = args.namespaces.controller(&client);
    let controller = controller.with_config(Config::default().concurrency(PASSES_IN_FLIGHT));
    let requests = requests(&chassis);
    let existing = controller.store();
    metrics.operations.exist(Box::new(move || uids(&existing)));
    let (rounds, drained) = Rounds::new(requests.clone(), metrics.drain.clone());
    let context = Arc::new(Context {
        requests,
        rounds,
        caches,
        settings,
        own_node: args.node_name.clone(),
        events: chassis.events.clone(),
        metrics,
        memory: Memory::default(),
        node_ops: controller.store(),
        shutdown: chassis.shutdown.clone(),
        filled,
    });

    let of_nodes = Arc::clone(&context);
    let of_jobs = Arc::clone(&context);
    tokio::spawn(sweep::sweep_for_ever(Arc::downgrade(&context)));
    let shutdown = chassis.shutdown.clone();
    controller
        .watches_stream(node_triggers, move |_: WatchedNode| {
            open_node_ops(&of_nodes.node_ops.state(), &of_nodes.memory)
        })
        .watches_stream(job_triggers, move |job: WatchedJob| {
            note_end(&of_jobs.memory, &job);
            owner_of(&job)
        })
        .watches_stream(pod_triggers, |pod: WatchedPod| node_op_of(&pod))
        .reconcile_on(drained.map(|(namespace, name)| ObjectRef::new(&name).within(&namespace)))
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

fn requests(chassis: &Chassis) -> Requests {
    Requests {
        clients: chassis.clients.clone(),
        timeout: chassis.request_timeout,
        leadership: chassis.leadership.clone(),
        lease_namespace: chassis.namespace.clone(),
        clock: Clock::default(),
    }
}

/// The image of this controller's own Pod, which also holds the agent. Nothing where it does not run as a Pod.
async fn own_image(chassis: &Chassis) -> Option<String> {
    let api: Api<Pod> = Api::namespaced(chassis.clients.api.clone(), &chassis.namespace);
    let action = format!("get pod {}/{}", chassis.namespace, chassis.identity);
    let request = api.get_opt(&chassis.identity);
    let pod = match deadline(chassis.request_timeout, &action, request).await {
        Ok(Some(pod)) => pod,
        Ok(None) => {
            tracing::warn!(
                "this process is no Pod of the cluster and was given no --agent-image: nodeops that reboot are not carried out"
            );
            return None;
        }
        Err(error) => {
            tracing::warn!(%error, "the image of the node agent is not known; give it by --agent-image");
            return None;
        }
    };
    let containers = pod.spec?.containers;
    containers
        .into_iter()
        .find(|container| container.name == chassis.info.name)?
        .image
}

/// Tells /readyz and every pass once the caches hold what is there. Nobody else may wait for these stores: a store wakes
/// only who asked last, and the others would wait until something else wakes them.
async fn announce(caches: Caches, ready: ReadinessHandle, tell: watch::Sender<bool>) {
    let filled = future::try_join3(
        caches.nodes.wait_until_ready(),
        caches.jobs.wait_until_ready(),
        caches.pods.wait_until_ready(),
    )
    .await;
    if filled.is_ok() {
        ready.set_ready();
        tell.send_replace(true);
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

/// Jobs that end may end a rest.
fn note_end(memory: &Memory, job: &WatchedJob) {
    if let Some(owner) = job.controller_owner()
        && job.outcome() != JobOutcome::Active
    {
        memory.job_ended(&owner.uid);
    }
}

fn owner_of(job: &WatchedJob) -> Option<ObjectRef<WatchedNodeOp>> {
    let owner = job
        .controller_owner()
        .filter(|owner| owner.kind == "NodeOp")?;
    Some(ObjectRef::new(&owner.name).within(job.metadata.namespace.as_deref()?))
}

/// The NodeOp that a Pod's label names, or its annotation where the label had to be cut. Whose Pod it really is, its owner
/// tells the pass.
fn node_op_of(pod: &WatchedPod) -> Option<ObjectRef<WatchedNodeOp>> {
    let metadata = &pod.metadata;
    let full = metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(LABEL_NODEOP));
    let label = metadata
        .labels
        .as_ref()
        .and_then(|all| all.get(LABEL_NODEOP));
    let name = full.or(label)?;
    Some(ObjectRef::new(name).within(metadata.namespace.as_deref()?))
}

impl Context {
    /// Where the snapshot of `node_op` comes from.
    fn sources(&self, node_op: &NodeOp) -> Sources<'_> {
        let uid = node_op.uid().unwrap_or_default();
        let now = self.requests.clock.instant();
        Sources {
            caches: &self.caches,
            created_jobs: self.memory.created_jobs(&uid, &self.caches.jobs, now),
            ever_created: self.memory.ever_created(&uid),
            created_pods: self.memory.created_pods(&uid, &self.caches.pods, now),
            claims: self.memory.claims(&uid),
            drains: self.drains(node_op),
            can_reboot: !self.settings.agent_image.is_empty(),
        }
    }

    /// What the latest looks at the Pods of this NodeOp's nodes found.
    fn drains(&self, node_op: &NodeOp) -> BTreeMap<String, DrainView> {
        let mut drains = BTreeMap::new();
        let Some(options) = node_op.spec.drain_options.as_ref() else {
            return drains;
        };
        let now = self.requests.clock.now();
        let entries = node_op
            .status
            .iter()
            .flat_map(|status| &status.node_statuses);
        for (node, entry) in entries {
            let mode = match entry.step {
                Some(NodeStep::Reserved | NodeStep::Preflight) => Mode::Check,
                Some(NodeStep::Claimed | NodeStep::Draining) => Mode::Drain,
                _ => continue,
            };
            let key = drain_key(node_op, node);
            let Some(found) = self.rounds.latest(&key, mode, options) else {
                continue;
            };
            let age = found.at.elapsed();
            let left = found.report.next_after.saturating_sub(age);
            drains.insert(
                node.clone(),
                DrainView {
                    mode: found.mode,
                    at: now - age,
                    state: found.report.state,
                    blockers: found.report.blockers,
                    next_after: SignedDuration::try_from(left).unwrap_or(SignedDuration::ZERO),
                },
            );
        }
        drains
    }
}

fn uids(node_ops: &Store<WatchedNodeOp>) -> HashSet<String> {
    let node_ops = node_ops.state();
    node_ops
        .iter()
        .filter_map(|node_op| node_op.uid())
        .collect()
}

async fn reconcile(watched: Arc<WatchedNodeOp>, context: Arc<Context>) -> Result<Action> {
    let uid = watched.uid().unwrap_or_default();
    let now = context.requests.clock.instant();
    let is_deleted = watched.metadata.deletion_timestamp.is_some();
    if let Some(left) = context
        .memory
        .rest_left(&uid, watched.metadata.generation, now)
        .filter(|_| !is_deleted)
    {
        return Ok(Action::requeue(left));
    }
    context.memory.begin_pass(&uid);
    let begun = Instant::now();
    let result = pass(&watched, &context).await;
    context
        .metrics
        .pass_seconds
        .observe(begun.elapsed().as_secs_f64());
    let known = context.node_ops.len();
    let existing = || uids(&context.node_ops);
    context.memory.prune(known, existing);
    context.metrics.operations.prune(known, existing);
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
