//! Wiring: what triggers a decision, and the steps that are carried out side by side.
//!
//! The limit on Pods holds over all nodes, so that one decision looks at all of them at once. It is cheap: caches hold
//! trimmed objects, and decisions that follow each other closely are made as one.

pub mod memory;
mod step;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt as _, StreamExt as _, future, stream};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use operator_runtime::run::Chassis;

use crate::apply::Requests;
use crate::args::Args;
use crate::build::pod::SELECTOR;
use crate::decide::{Busy, Limits, Snapshot, Step, decide};
use crate::metrics::{CategoryLabel, Metrics};
use crate::observe::{Caches, observe};
use crate::watched::{WatchedNode, WatchedPod};
use memory::Memory;
use step::{Context, Done, carry_out};

/// Steps carried out at once.
const STEPS_IN_FLIGHT: usize = 64;
/// Time between two decisions: what happens meanwhile is decided on together.
const PAUSE: Duration = Duration::from_millis(50);
/// A decision is made this often even when nothing happens.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

type Triggers = BoxStream<'static, Result<(), watcher::Error>>;

/// Runs the controller until shutdown. Watches and writes only while this replica leads.
pub async fn run(chassis: Chassis, args: Args) -> anyhow::Result<()> {
    let metrics = chassis.metrics.register("labeller", Metrics::register);
    let filled = chassis.readiness.register("caches");
    let context = Arc::new(Context {
        requests: Requests {
            clients: chassis.clients.clone(),
            timeout: chassis.request_timeout,
            leadership: chassis.leadership.clone(),
        },
        settings: args.build_settings(),
        events: chassis.events.clone(),
    });
    let (caches, mut triggers) = watches(&chassis.clients.api, &args);

    // A replica that waits for the lease keeps its caches filled, so that a takeover is quick. Decisions on half a cache
    // would be wrong: no Pod is there, no node has a record.
    let start = async {
        let (nodes, pods) = future::join(
            caches.nodes.wait_until_ready(),
            caches.pods.wait_until_ready(),
        )
        .await;
        if nodes.is_ok() && pods.is_ok() {
            filled.set_ready();
        }
        chassis.leadership.acquired().await;
    };
    tokio::select! {
        () = start => {}
        () = chassis.shutdown.requested() => return Ok(()),
        () = drain(&mut triggers) => anyhow::bail!("a watch ended"),
    }

    let mut work = Work {
        context,
        caches,
        limits: args.limits(),
        metrics,
        memory: Memory::default(),
        under_way: FuturesUnordered::new(),
    };
    let mut next = tokio::time::Instant::now();
    let mut last = next;
    loop {
        tokio::select! {
            () = chassis.shutdown.requested() => break,
            () = tokio::time::sleep_until(next) => {
                last = tokio::time::Instant::now();
                next = last + work.decide();
                continue;
            }
            Some(done) = work.under_way.next(), if !work.under_way.is_empty() => work.take(done),
            trigger = triggers.next() => match trigger {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::warn!(%error, "a watch was interrupted and is being resumed");
                    continue;
                }
                None => anyhow::bail!("a watch ended"),
            },
        }
        next = next.min(last + PAUSE);
    }
    while let Some(done) = work.under_way.next().await {
        work.take(done);
    }
    Ok(())
}

fn watches(client: &Client, args: &Args) -> (Caches, Triggers) {
    let (nodes, node_writer) = reflector::store::<WatchedNode>();
    let (pods, pod_writer) = reflector::store::<WatchedPod>();
    let mut selected = watcher::Config::default();
    if let Some(selector) = args.node_selector() {
        selected = selected.labels(selector);
    }
    let node_events = watcher(Api::<WatchedNode>::all(client.clone()), selected)
        .default_backoff()
        .modify(WatchedNode::trim)
        .reflect(node_writer)
        .map(|event| event.map(|_| ()));
    let pod_events = watcher(
        Api::<WatchedPod>::namespaced(client.clone(), &args.detect_namespace),
        watcher::Config::default().labels(SELECTOR),
    )
    .default_backoff()
    .modify(WatchedPod::trim)
    .reflect(pod_writer)
    .map(|event| event.map(|_| ()));
    let triggers = stream::select(node_events, pod_events).boxed();
    (Caches { nodes, pods }, triggers)
}

async fn drain(triggers: &mut Triggers) {
    while let Some(trigger) = triggers.next().await {
        if let Err(error) = trigger {
            tracing::warn!(%error, "a watch was interrupted and is being resumed");
        }
    }
}

/// What is known and under way.
struct Work {
    context: Arc<Context>,
    caches: Caches,
    limits: Limits,
    metrics: Metrics,
    memory: Memory,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
}

impl Work {
    /// Observes, decides and begins the steps; returns when to decide again if nothing happens.
    fn decide(&mut self) -> Duration {
        let now = Timestamp::now();
        let observed = observe(&self.caches, &mut self.memory, Instant::now(), now);
        let snapshot = Snapshot {
            nodes: &observed.nodes,
            pods: &observed.pods,
            busy: self.memory.busy(),
            held: self.memory.held(),
            room: STEPS_IN_FLIGHT.saturating_sub(self.under_way.len()),
        };
        let plan = decide(&snapshot, &self.limits, now);
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.nodes_managed.set(gauge(plan.managed));
        self.metrics.nodes_waiting.set(gauge(plan.waiting));
        self.metrics.pods_in_flight.set(gauge(plan.in_flight));
        for step in plan.steps {
            let busy = match &step {
                Step::Create { .. } => Busy::Creating,
                Step::Conclude { .. } | Step::Remove { .. } => Busy::Ending,
            };
            self.memory.began(step.pod_name(), busy);
            self.under_way
                .push(carry_out(Arc::clone(&self.context), step).boxed());
        }
        let wake = plan.wake_at.map(|at| at.duration_since(now));
        wake.and_then(|delay| Duration::try_from(delay).ok())
            .map_or(LONGEST_PAUSE, |delay| delay.clamp(PAUSE, LONGEST_PAUSE))
    }

    /// Remembers and counts what a step has come to.
    fn take(&mut self, done: Done) {
        let now = Instant::now();
        let Done {
            pod_name,
            node_uid,
            node_name,
            created,
            removed,
            written,
            labels_changed,
            result,
            seconds,
            error,
            failed,
        } = done;
        self.memory.ended(&pod_name);
        if let Some(pod) = created {
            self.memory.created(pod, now);
        }
        if let Some(pod) = removed {
            self.memory.removed(&pod, now);
        }
        if let Some(result) = result {
            self.metrics.count(result);
        }
        if let Some(seconds) = seconds {
            self.metrics.detection_seconds.observe(seconds);
        }
        let changed = u64::try_from(labels_changed).unwrap_or(u64::MAX);
        self.metrics.labels_changed.inc_by(changed);
        if let Some(error) = &error {
            let category = error.category();
            self.metrics
                .errors
                .get_or_create(&CategoryLabel { category })
                .inc();
        }
        if let Some((record, resource_version)) = written {
            let result = &record.result;
            tracing::info!(node = node_name, result, labels_changed, "detected");
            self.memory.wrote(&node_uid, record, &resource_version, now);
            self.memory.succeeded(&node_uid);
        }
        if failed || error.is_some() {
            let delay = self.memory.failed(&node_uid, now, Timestamp::now());
            let error = error.map_or_else(
                || "the detection failed; an event tells why".to_owned(),
                |error| error.to_string(),
            );
            let retry_seconds = delay.as_secs_f64();
            tracing::warn!(
                error,
                node = node_name,
                pod = pod_name,
                retry_seconds,
                "a step failed"
            );
        }
    }
}
