//! Joins the pure decision with the Lease object in time: contends, renews, loses, releases.

use super::store::{Claim, LeaseStore};
use super::{Decision, Elector, LeadershipSender, Loss, Others};
use crate::client::CallError;
use crate::metrics::Metrics;
use k8s_openapi::jiff::{Timestamp, Unit};
use std::time::{Duration, Instant};
use tokio::time::{sleep_until, timeout_at};

/// Contends for the Lease on behalf of this process.
#[derive(Debug)]
pub struct LeaseHolder {
    elector: Elector,
    store: LeaseStore,
    leadership: LeadershipSender,
    metrics: Metrics,
    others: Others,
    /// The last thing logged of a standby's view, so that it is logged once.
    seen_holder: Option<String>,
}

impl LeaseHolder {
    /// A contender for the Lease in `store` that tells `leadership`.
    pub fn new(
        elector: Elector,
        store: LeaseStore,
        leadership: LeadershipSender,
        metrics: Metrics,
    ) -> Self {
        Self {
            elector,
            store,
            leadership,
            metrics,
            others: Others::default(),
            seen_holder: None,
        }
    }

    /// Leads only while nobody holds one of these Leases.
    #[must_use]
    pub fn yielding_to(mut self, others: Others) -> Self {
        self.others = others;
        self
    }

    /// Whether this process leads, as far as it has noticed.
    pub fn leads(&self) -> bool {
        self.elector.leads_until().is_some()
    }

    /// Acquires the Lease and renews it until it is lost. Never returns otherwise; may be dropped at any await.
    pub async fn hold(&mut self) -> Loss {
        loop {
            let started = now();
            // A leader's term ends on time, whatever its request is waiting for.
            let step = match self.elector.leads_until() {
                Some(end) => timeout_at(end.into(), self.step(started))
                    .await
                    .unwrap_or(Err(Loss::Deadline)),
                None => self.step(started).await,
            };
            match step {
                Ok(next) => {
                    let end = self.elector.leads_until().unwrap_or(next);
                    sleep_until(next.min(end).into()).await;
                }
                Err(loss) => {
                    self.elector.resign();
                    self.leadership.leads_no_more();
                    self.metrics.leadership.leading.set(0);
                    self.metrics.leadership.transitions.inc();
                    return loss;
                }
            }
        }
    }

    /// Gives the Lease back, so that a successor need not wait. Call after the last write; does nothing when not leading.
    pub async fn release(mut self) {
        let Some(acquired_at) = self.elector.acquired_at() else {
            return;
        };
        self.leadership.leads_no_more();
        self.metrics.leadership.leading.set(0);
        if let Err(error) = self.try_release(acquired_at).await {
            tracing::warn!(%error, "the lease is not released; a successor waits until it expires");
        } else {
            tracing::info!("lease released");
        }
        self.elector.resign();
    }

    async fn try_release(&mut self, acquired_at: Timestamp) -> Result<(), CallError> {
        // Read first: a renewal may have been cut off, and what became of it is unknown.
        let Some(lease) = self.store.read().await? else {
            return Ok(());
        };
        if lease.holder.as_deref() != Some(self.elector.me())
            || lease.acquired_at != Some(acquired_at)
        {
            return Ok(());
        }
        let claim = Claim {
            holder: "",
            duration: Duration::from_secs(1),
            acquired_at,
            renewed_at: wall_clock(),
            transitions: lease.transitions,
        };
        self.store
            .change(&lease.resource_version, &claim)
            .await
            .map(|_| ())
    }

    /// One look and at most one write. Returns when the next step is due.
    async fn step(&mut self, started: Instant) -> Result<Instant, Loss> {
        let retry_at = started + self.elector.terms().retry;
        if let Some(held) = self.others.held(started, now).await {
            if self.leads() {
                return Err(Loss::Yielded(held));
            }
            self.log_other(held);
            return Ok(retry_at);
        }
        if self.elector.needs_read() {
            match self.store.read().await {
                Ok(lease) => self.elector.observe(lease, now()),
                Err(error) => {
                    tracing::warn!(%error, "the lease is unknown");
                    return Ok(retry_at);
                }
            }
        }
        match self.elector.decide(now()) {
            Decision::Lost(loss) => Err(loss),
            Decision::WaitUntil(until) => {
                self.log_holder();
                Ok(retry_at.min(until))
            }
            decision @ (Decision::Create | Decision::Acquire | Decision::Renew) => {
                Ok(self.write(&decision).await.unwrap_or(retry_at))
            }
        }
    }

    /// Returns when the next renewal is due, or `None` when the write did not succeed.
    async fn write(&mut self, decision: &Decision) -> Option<Instant> {
        let renewed_at = wall_clock();
        let acquired_at = self.elector.acquired_at().unwrap_or(renewed_at);
        let led_before = self.leads();
        let me = self.elector.me().to_owned();
        let lease = self.elector.lease();
        let changes_hands = lease.is_some_and(|lease| lease.holder.as_deref() != Some(&me));
        let claim = Claim {
            holder: &me,
            duration: self.elector.terms().duration,
            acquired_at,
            renewed_at,
            transitions: lease
                .map_or(0, |lease| lease.transitions)
                .saturating_add(i32::from(changes_hands)),
        };
        let sent_at = now();
        let written = match (decision, lease) {
            (Decision::Create, _) | (_, None) => self.store.create(&claim).await,
            (_, Some(lease)) => self.store.change(&lease.resource_version, &claim).await,
        };
        match written {
            Ok(lease) => {
                self.elector.wrote(lease, acquired_at, sent_at);
                self.announce(led_before, &me);
                Some(sent_at + self.elector.terms().renew_every())
            }
            Err(error) => {
                self.elector.write_failed();
                if error.is_conflict() || error.is_already_exists() {
                    tracing::debug!(%error, "the lease has changed in between");
                } else {
                    tracing::warn!(%error, "the lease is not written");
                }
                None
            }
        }
    }

    fn announce(&self, led_before: bool, me: &str) {
        if let Some(end) = self.elector.leads_until() {
            self.leadership.leads_until(end);
        }
        if !led_before {
            self.metrics.leadership.leading.set(1);
            self.metrics.leadership.transitions.inc();
            tracing::info!(identity = me, "lease acquired: this process leads");
        }
    }

    fn log_other(&mut self, held: String) {
        if self.seen_holder.as_ref() != Some(&held) {
            tracing::info!(
                lease = held,
                "standing by: another operator may be working on the same objects; this one begins when that lease has ended"
            );
            self.seen_holder = Some(held);
        }
    }

    fn log_holder(&mut self) {
        let holder = self.elector.lease().and_then(|lease| lease.holder.clone());
        if holder != self.seen_holder {
            tracing::info!(
                holder = holder.as_deref().unwrap_or("unknown"),
                "standing by: another process leads"
            );
            self.seen_holder = holder;
        }
    }
}

/// The local clock; tokio's, so that tests can set it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The wall clock as it survives the way to the API server and back: in whole microseconds.
fn wall_clock() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Microsecond).unwrap_or(now)
}
