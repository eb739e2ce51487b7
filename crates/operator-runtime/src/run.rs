//! The order in which a controller starts and ends.
//!
//! Start: logs → admin server → clients → API server reached → controller and lease side by side, so that caches fill before
//! leadership. End: on SIGTERM or SIGINT the controller finishes running work within the grace period, then the Lease is
//! released; on loss of the Lease everything stops at once and the process ends with an error.

use crate::admin::{AdminServer, AdminState};
use crate::args::RuntimeArgs;
use crate::client::{CallError, Clients, deadline};
use crate::events::EventPublisher;
use crate::lease::{Elector, Leadership, LeaseHolder, LeaseStore, Others};
use crate::logging;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::shutdown::Shutdown;
use anyhow::{Context as _, bail};
use std::time::Duration;

/// How long the last Events may take at the end.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Which controller this is: `env!("CARGO_PKG_NAME")` and `env!("CARGO_PKG_VERSION")`.
#[derive(Debug, Clone, Copy)]
pub struct ControllerInfo {
    /// Name of the controller: of its Lease, in Events and in the user agent.
    pub name: &'static str,
    /// Version of the binary.
    pub version: &'static str,
    /// Leases of other operators for the same objects, as NAMESPACE/NAME or as NAME in the own namespace. While one of them
    /// is held, this process stands by; `--yield-to-lease` names others.
    pub yields_to: &'static [&'static str],
}

/// What the chassis hands to a controller.
#[derive(Debug, Clone)]
pub struct Chassis {
    /// Which controller this is.
    pub info: ControllerInfo,
    /// Clients of the API server.
    pub clients: Clients,
    /// Deadline for one API request; for [`deadline`].
    pub request_timeout: Duration,
    /// Namespace this controller runs in.
    pub namespace: String,
    /// Name of this process among its replicas.
    pub identity: String,
    /// Conditions behind /readyz: register each cache before the first await.
    pub readiness: Readiness,
    /// The registry behind /metrics.
    pub metrics: Metrics,
    /// Await `leadership.acquired()` before the first write.
    pub leadership: Leadership,
    /// Once requested, start nothing new, finish what runs, and return.
    pub shutdown: Shutdown,
    /// Publishes Events.
    pub events: EventPublisher,
}

/// Runs a controller until it is told to end, on a current-thread runtime (one thread keeps an idle controller small).
///
/// `build` makes the controller's future. It is polled before this process leads, must await [`Leadership::acquired`]
/// before its first write, and must return after [`Shutdown::requested`]; returning earlier is an error. When leadership is lost it
/// is dropped at its current await.
pub fn run<F, C>(info: ControllerInfo, args: &RuntimeArgs, build: F) -> anyhow::Result<()>
where
    F: FnOnce(Chassis) -> C,
    C: Future<Output = anyhow::Result<()>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the async runtime")?;
    let result = runtime.block_on(start(info, args, build));
    // A name lookup that hangs must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn start<F, C>(info: ControllerInfo, args: &RuntimeArgs, build: F) -> anyhow::Result<()>
where
    F: FnOnce(Chassis) -> C,
    C: Future<Output = anyhow::Result<()>>,
{
    let log = logging::init(args.log_format, &args.log_level)?;
    let shutdown = Shutdown::from_signals().context("failed to listen for signals")?;
    let terms = args.lease_terms()?;
    let namespace = args.namespace()?;
    let identity = args.identity();
    let metrics = Metrics::new(info.name, info.version);
    let readiness = Readiness::default();
    let reached = readiness.register("api-server");

    let admin = AdminServer::bind(args.admin_address).await?;
    tracing::info!(
        controller = info.name,
        version = info.version,
        identity,
        namespace,
        admin_address = %admin.address(),
        "starting"
    );
    let admin = admin.serve(AdminState {
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        log,
    });

    let controller = async {
        let user_agent = format!("{}/{}", info.name, info.version);
        let clients = Clients::new(args.kubeconfig.as_deref(), &user_agent).await?;
        tokio::select! {
            () = reach_api_server(&clients, args.request_timeout()) => {}
            () = shutdown.requested() => return Ok(()),
        }
        let (leadership, lease) = if args.leader_elect {
            let (sender, leadership) = Leadership::pair();
            let name = args.lease_name.as_deref().unwrap_or(info.name);
            let limit = args.request_timeout().min(terms.renew_deadline / 4);
            let store = |namespace: &str, name: &str| {
                LeaseStore::new(clients.without_retry.clone(), namespace, name, limit)
            };
            let others = args.yields_to(info.yields_to, &namespace);
            let others = others
                .iter()
                .map(|(namespace, name)| store(namespace, name));
            let elector = Elector::new(identity.clone(), terms);
            let own = store(&namespace, name);
            let holder = LeaseHolder::new(elector, own, sender, metrics.clone())
                .yielding_to(Others::new(others, terms));
            (leadership, Some(holder))
        } else {
            metrics.leadership.leading.set(1);
            (Leadership::always(), None)
        };
        let events =
            EventPublisher::new(clients.api.clone(), info.name, &identity, metrics.clone());
        let chassis = Chassis {
            info,
            clients,
            request_timeout: args.request_timeout(),
            namespace: namespace.clone(),
            identity: identity.clone(),
            readiness: readiness.clone(),
            metrics: metrics.clone(),
            leadership,
            shutdown: shutdown.clone(),
            events: events.clone(),
        };
        let controller = build(chassis);
        reached.set_ready();
        let result = supervise(controller, lease, &shutdown, args.shutdown_grace()).await;
        events.flush(FLUSH_LIMIT).await;
        result
    };
    tokio::select! {
        result = controller => result,
        result = admin => {
            result.context("the admin server failed")?;
            bail!("the admin server ended by itself")
        }
    }
}

/// Waits until the API server answers, however long that takes: a controller that cannot reach it has nothing else to do,
/// and a restart would not help.
async fn reach_api_server(clients: &Clients, limit: Duration) {
    const LONGEST_DELAY: Duration = Duration::from_secs(30);
    let mut delay = Duration::from_secs(1);
    loop {
        let answer = deadline(
            limit,
            "ask the API server for its version",
            clients.without_retry.apiserver_version(),
        )
        .await;
        match answer {
            Ok(version) => {
                tracing::info!(version = version.git_version, "API server reached");
                return;
            }
            Err(error) if answered(&error) => {
                tracing::warn!(%error, "API server reached, but it does not tell its version");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, retry_in_seconds = delay.as_secs(), "API server not reached");
            }
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(LONGEST_DELAY);
    }
}

/// A refusal is an answer; 401 is not: credentials may be on their way.
fn answered(error: &CallError) -> bool {
    error
        .status()
        .is_some_and(|status| matches!(status.code, 403 | 404))
}

/// Runs the controller beside its lease, and ends both in order.
async fn supervise(
    controller: impl Future<Output = anyhow::Result<()>>,
    mut lease: Option<LeaseHolder>,
    shutdown: &Shutdown,
    grace: Duration,
) -> anyhow::Result<()> {
    let mut controller = Box::pin(controller);
    tokio::select! {
        loss = hold(&mut lease) => bail!("stopped at once: {loss}"),
        result = &mut controller => {
            drop(controller);
            release(lease).await;
            result?;
            if shutdown.is_requested() {
                return Ok(());
            }
            bail!("the controller ended by itself");
        }
        () = shutdown.requested() => {}
    }
    if lease.as_ref().is_some_and(|lease| !lease.leads()) {
        // A standby has written nothing, so there is nothing to finish.
        return Ok(());
    }
    let result = tokio::select! {
        loss = hold(&mut lease) => bail!("stopped at once: {loss}"),
        result = tokio::time::timeout(grace, &mut controller) => result.unwrap_or_else(|_| {
            tracing::warn!(grace_seconds = grace.as_secs(), "running work is cut off at the end of the grace period");
            Ok(())
        }),
        () = shutdown.insisted() => {
            tracing::warn!("running work is cut off by a second signal");
            Ok(())
        }
    };
    // No write may follow the release.
    drop(controller);
    release(lease).await;
    result
}

async fn hold(lease: &mut Option<LeaseHolder>) -> crate::lease::Loss {
    match lease {
        Some(lease) => lease.hold().await,
        None => std::future::pending().await,
    }
}

async fn release(lease: Option<LeaseHolder>) {
    if let Some(lease) = lease {
        lease.release().await;
    }
}

#[cfg(test)]
mod tests;
