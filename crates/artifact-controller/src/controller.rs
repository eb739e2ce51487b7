//! Wiring: what triggers a pass, and when the next one follows.

mod pass;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use api_types::names::LABEL_ARTIFACT;
use api_types::osartifact::{ArtifactPhase, OSArtifact};
use futures::{Stream, StreamExt as _, future};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::SignedDuration;
use kube::core::NamespaceResourceScope;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{Controller, WatchStreamExt as _, watcher};
use kube::{Client, Resource, ResourceExt as _};
use operator_runtime::backoff::Backoff;
use operator_runtime::events::EventPublisher;
use operator_runtime::namespaces::Namespaces;
use operator_runtime::readiness::ReadinessHandle;
use operator_runtime::run::Chassis;

use crate::apply::Requests;
use crate::args::ControllerArgs;
use crate::build::BuildSettings;
use crate::error::{Error, Result};
use crate::metrics::{CategoryLabel, Metrics, phase_collector};
use crate::observe::Caches;
use pass::{Next, pass};

/// Artifacts worked on at once.
const PASSES_IN_FLIGHT: u16 = 8;

/// What every pass shares.
struct Context {
    requests: Requests,
    caches: Caches,
    settings: BuildSettings,
    patience: SignedDuration,
    step_patience: SignedDuration,
    /// Whether the caches hold what is there.
    filled: tokio::sync::watch::Receiver<bool>,
    events: EventPublisher,
    metrics: Metrics,
    backoff: Mutex<Backoff<String>>,
}

impl Context {
    fn failed(&self, uid: &str) -> Duration {
        let mut backoff = self.backoff.lock().unwrap_or_else(PoisonError::into_inner);
        backoff.fail(&uid.to_owned(), Instant::now())
    }

    fn succeeded(&self, uid: &str) {
        let mut backoff = self.backoff.lock().unwrap_or_else(PoisonError::into_inner);
        backoff.reset(&uid.to_owned());
    }
}

/// Runs the controller until shutdown. Watches and writes only while this replica leads.
pub async fn run(chassis: Chassis, args: ControllerArgs) -> anyhow::Result<()> {
    let settings = args.build_settings()?;
    let client = chassis.clients.api.clone();
    let metrics = chassis.metrics.register("artifact", Metrics::register);
    let filled = chassis.readiness.register("caches");
    let (pods, mut pod_triggers) = watch::<Pod>(&args.namespaces, &client);
    let (jobs, mut job_triggers) = watch::<Job>(&args.namespaces, &client);
    let (claims, mut claim_triggers) = watch::<PersistentVolumeClaim>(&args.namespaces, &client);
    let caches = Caches { pods, jobs, claims };
    let (tell, told) = tokio::sync::watch::channel(false);
    tokio::spawn(announce(caches.clone(), filled, tell));
    // It watches nothing before it runs; its store tells the metrics which artifacts exist.
    let controller: Controller<OSArtifact> = args.namespaces.controller(&client);
    let controller = controller.with_config(Config::default().concurrency(PASSES_IN_FLIGHT));
    let artifacts = controller.store();
    let collector = phase_collector(Box::new(move || phases(&artifacts)));
    chassis.metrics.register("artifact", |registry| {
        registry.register_collector(collector);
    });

    // A replica that waits for the lease keeps its caches filled. What it misses here does not matter: the controller
    // begins with every artifact.
    tokio::select! {
        () = chassis.leadership.acquired() => {}
        () = chassis.shutdown.requested() => return Ok(()),
        () = drain(&mut pod_triggers) => anyhow::bail!("the watch of pods ended"),
        () = drain(&mut job_triggers) => anyhow::bail!("the watch of jobs ended"),
        () = drain(&mut claim_triggers) => anyhow::bail!("the watch of volume claims ended"),
    }
    let context = Arc::new(Context {
        requests: Requests {
            clients: chassis.clients.clone(),
            timeout: chassis.request_timeout,
            leadership: chassis.leadership.clone(),
        },
        caches,
        filled: told,
        settings,
        patience: args.patience(),
        step_patience: args.step_patience(),
        events: chassis.events.clone(),
        metrics,
        backoff: Mutex::default(),
    });
    let shutdown = chassis.shutdown.clone();
    controller
        .watches_stream(pod_triggers, |pod: Pod| artifact_of(&pod))
        .watches_stream(job_triggers, |job: Job| artifact_of(&job))
        .watches_stream(claim_triggers, |claim: PersistentVolumeClaim| {
            artifact_of(&claim)
        })
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

/// A cache of the objects of builds, and the stream of their changes that fills it.
fn watch<K>(
    namespaces: &Namespaces,
    client: &Client,
) -> (
    Store<K>,
    impl Stream<Item = watcher::Result<K>> + Send + Unpin + use<K>,
)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store::<K>();
    let selected = watcher::Config::default().labels(LABEL_ARTIFACT);
    let changes = namespaces
        .watch(client, &selected)
        .modify(|object: &mut K| object.meta_mut().managed_fields = None)
        .reflect(writer)
        .touched_objects()
        .boxed();
    (store, changes)
}

/// Tells /readyz and every pass once the caches hold what is there. Nobody else may wait for these stores: a store wakes
/// only who asked last, and the others would wait until something else wakes them.
async fn announce(caches: Caches, ready: ReadinessHandle, tell: tokio::sync::watch::Sender<bool>) {
    if caches.filled().await {
        ready.set_ready();
        tell.send_replace(true);
    }
}

async fn drain<S: Stream + Unpin>(stream: &mut S) {
    while stream.next().await.is_some() {}
}

/// The artifact that the label names, in the same namespace.
fn artifact_of<K: Resource>(object: &K) -> Option<ObjectRef<OSArtifact>> {
    let name = object.meta().labels.as_ref()?.get(LABEL_ARTIFACT)?;
    Some(ObjectRef::new(name).within(object.meta().namespace.as_deref()?))
}

/// The phase of every artifact.
fn phases(artifacts: &Store<OSArtifact>) -> Vec<ArtifactPhase> {
    let phase =
        |artifact: &Arc<OSArtifact>| artifact.status.as_ref().and_then(|status| status.phase);
    let artifacts = artifacts.state();
    artifacts
        .iter()
        .map(|artifact| phase(artifact).unwrap_or_default())
        .collect()
}

async fn reconcile(watched: Arc<OSArtifact>, context: Arc<Context>) -> Result<Action> {
    let begun = Instant::now();
    let result = pass(&watched, &context).await;
    context
        .metrics
        .pass_seconds
        .observe(begun.elapsed().as_secs_f64());
    let uid = watched.uid().unwrap_or_default();
    Ok(match result? {
        Next::OnChange => {
            context.succeeded(&uid);
            Action::await_change()
        }
        Next::After(delay) => {
            context.succeeded(&uid);
            Action::requeue(delay)
        }
        Next::Refused => Action::requeue(context.failed(&uid)),
    })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is the Controller's"
)]
fn on_error(watched: Arc<OSArtifact>, error: &Error, context: Arc<Context>) -> Action {
    let delay = context.failed(&watched.uid().unwrap_or_default());
    let category = error.category();
    context
        .metrics
        .errors
        .get_or_create(&CategoryLabel { category })
        .inc();
    let name = watched.name_any();
    let namespace = watched.namespace().unwrap_or_default();
    tracing::warn!(%error, namespace, name, retry_seconds = delay.as_secs_f64(), "a pass over an osartifact failed");
    Action::requeue(delay)
}
