//! Wiring: what triggers a pass, and when the next one follows.

mod memory;
mod pass;

use std::sync::Arc;
use std::time::Instant;

use api_types::nodeop::NodeOp;
use api_types::nodeopupgrade::NodeOpUpgrade;
use futures::{StreamExt as _, future};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, WatchStreamExt as _, watcher};
use kube::{Resource as _, ResourceExt as _};
use operator_runtime::events::EventPublisher;
use operator_runtime::run::Chassis;

use crate::apply::Requests;
use crate::args::Args;
use crate::build::BuildSettings;
use crate::error::{Error, Result};
use crate::metrics::{CategoryLabel, Metrics, Phases};
use memory::Memory;
use pass::{Next, pass};

/// NodeOpUpgrades worked on at once.
const PASSES_IN_FLIGHT: u16 = 8;

type WatchedUpgrade = PartialObjectMeta<NodeOpUpgrade>;
type WatchedNodeOp = PartialObjectMeta<NodeOp>;

/// What every pass shares.
struct Context {
    requests: Requests,
    settings: BuildSettings,
    events: EventPublisher,
    metrics: Metrics,
    phases: Phases,
    memory: Memory,
    upgrades: Store<WatchedUpgrade>,
}

/// Runs the controller until shutdown. Watches and writes only while this replica leads.
pub async fn run(chassis: Chassis, args: Args) -> anyhow::Result<()> {
    let metrics = chassis.metrics.register("upgrade", Metrics::register);
    let client = chassis.clients.api.clone();
    // It watches nothing before it runs; its store tells the metrics which upgrades exist.
    let controller: Controller<WatchedUpgrade> = args.namespaces.controller(&client);
    let controller = controller.with_config(Config::default().concurrency(PASSES_IN_FLIGHT));
    let upgrades = controller.store();
    let phases = Phases::default();
    let existing = upgrades.clone();
    let collector = phases.collector(Box::new(move || uids(&existing)));
    chassis.metrics.register("upgrade", |registry| {
        registry.register_collector(collector);
    });
    tokio::select! {
        () = chassis.leadership.acquired() => {}
        () = chassis.shutdown.requested() => return Ok(()),
    }
    let context = Arc::new(Context {
        requests: Requests {
            clients: chassis.clients.clone(),
            timeout: chassis.request_timeout,
            leadership: chassis.leadership.clone(),
        },
        settings: args.build_settings(),
        events: chassis.events.clone(),
        metrics,
        phases,
        memory: Memory::default(),
        upgrades,
    });
    let node_ops = args
        .namespaces
        .watch(&client, &watcher::Config::default())
        .touched_objects();
    let shutdown = chassis.shutdown.clone();
    controller
        .watches_stream(node_ops, |node_op: WatchedNodeOp| owner_of(&node_op))
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

fn uids(upgrades: &Store<WatchedUpgrade>) -> std::collections::HashSet<String> {
    upgrades
        .state()
        .iter()
        .filter_map(|upgrade| upgrade.uid())
        .collect()
}

fn owner_of(node_op: &WatchedNodeOp) -> Option<ObjectRef<WatchedUpgrade>> {
    let mut owners = node_op.owner_references().iter();
    let owner = owners.find(|owner| owner.kind == NodeOpUpgrade::kind(&()))?;
    Some(ObjectRef::new(&owner.name).within(node_op.metadata.namespace.as_deref()?))
}

async fn reconcile(watched: Arc<WatchedUpgrade>, context: Arc<Context>) -> Result<Action> {
    let begun = Instant::now();
    let result = pass(&watched, &context).await;
    context
        .metrics
        .pass_seconds
        .observe(begun.elapsed().as_secs_f64());
    let uid = watched.uid().unwrap_or_default();
    let (known, existing) = (context.upgrades.len(), || uids(&context.upgrades));
    context.memory.prune(known, existing);
    context.phases.prune(known, existing);
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
fn on_error(watched: Arc<WatchedUpgrade>, error: &Error, context: Arc<Context>) -> Action {
    let delay = context.memory.failed(&watched.uid().unwrap_or_default());
    context
        .metrics
        .errors
        .get_or_create(&CategoryLabel {
            category: error.category(),
        })
        .inc();
    let name = watched.name_any();
    let namespace = watched.namespace().unwrap_or_default();
    tracing::warn!(%error, namespace, name, retry_seconds = delay.as_secs_f64(), "a pass over a nodeopupgrade failed");
    Action::requeue(delay)
}
