//! Leases of other programs that do the same work: while somebody holds one of them, this process stands by. Nothing is ever
//! written to them.

use super::{Decision, Elector, LeaseStore, Terms};
use std::time::{Duration, Instant};

/// Leases that this process gives way to.
#[derive(Debug, Default)]
pub struct Others(Vec<Other>);

#[derive(Debug)]
struct Other {
    store: LeaseStore,
    /// How it is with that Lease. It judges by the local clock, as a contender does.
    observer: Elector,
    terms: Terms,
    looked_at: Option<Instant>,
    is_held: bool,
    /// Whether it was said that this Lease may not be read.
    is_said: bool,
}

impl Others {
    /// Gives way to the holders of these Leases.
    pub fn new(stores: impl IntoIterator<Item = LeaseStore>, terms: Terms) -> Self {
        let other = |store| Other {
            store,
            observer: Elector::new("", terms),
            terms,
            looked_at: None,
            is_held: false,
            is_said: false,
        };
        Self(stores.into_iter().map(other).collect())
    }

    /// The Lease that is held by somebody, and by whom. Reads those that have not been looked at for a while.
    pub(super) async fn held(&mut self, started: Instant, now: fn() -> Instant) -> Option<String> {
        let mut held = None;
        for other in &mut self.0 {
            other.look(started, now).await;
            held = held.or(other.holder());
        }
        held
    }
}

impl Other {
    async fn look(&mut self, started: Instant, now: fn() -> Instant) {
        // A Lease that nobody held is not asked for at each renewal of ours.
        let pause = if self.is_held {
            Duration::ZERO
        } else {
            self.terms.duration
        };
        if self.looked_at.is_some_and(|at| started < at + pause) {
            return;
        }
        match self.store.read().await {
            Ok(None) if !self.is_held => self.observer = Elector::new("", self.terms),
            Ok(lease) => self.observer.observe(lease, now()),
            Err(error) if error.status().is_some_and(|status| status.code == 403) => {
                if !self.is_said {
                    tracing::warn!(
                        %error,
                        "it is not known whether another operator works on the same objects: allow this, or set --yield-to-lease=none"
                    );
                    self.is_said = true;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the lease of another operator is unknown");
                return;
            }
        }
        self.looked_at = Some(started);
        self.is_held = matches!(self.observer.decide(now()), Decision::WaitUntil(_));
    }

    fn holder(&self) -> Option<String> {
        if self.looked_at.is_none() {
            // Nobody answered yet, so nobody knows.
            return Some(self.store.place());
        }
        self.is_held.then(|| {
            let lease = self.observer.lease();
            let holder = lease.and_then(|lease| lease.holder.as_deref());
            format!("{} of {}", self.store.place(), holder.unwrap_or("nobody"))
        })
    }
}
