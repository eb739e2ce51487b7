//! What to do about the Lease: pure. It holds no clock, no client and no randomness.
//!
//! Clocks: a contender never compares a time that another one wrote with its own clock. It notes by its own clock when it
//! saw the Lease's record change, and counts the other's lease duration from there, as client-go does. The holder counts
//! its own term from before it *sent* the last renewal that succeeded. So its term (`renew_deadline`) ends before any
//! other contender's wait (`duration`) does, as long as clocks run at similar speed.

use k8s_openapi::jiff::Timestamp;
use std::time::{Duration, Instant};

/// The times of a lease. `duration` > `renew_deadline` > 2 × `retry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long others must see no renewal before they take over.
    pub duration: Duration,
    /// How long after its last successful renewal the holder may lead.
    pub renew_deadline: Duration,
    /// Interval of a standby's looks, and of a holder's tries after a renewal that failed.
    pub retry: Duration,
}

impl Terms {
    /// Interval of a holder's renewals.
    pub fn renew_every(&self) -> Duration {
        self.renew_deadline / 2
    }
}

/// The Lease, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseSnapshot {
    /// Guards the next write.
    pub resource_version: String,
    /// Who holds it; `None` when released.
    pub holder: Option<String>,
    /// How long the holder asks others to wait.
    pub duration: Duration,
    /// When the holder began, by the holder's clock: compared for equality only.
    pub acquired_at: Option<Timestamp>,
    /// The holder's last renewal, by the holder's clock: compared for equality only.
    pub renewed_at: Option<Timestamp>,
    /// How often it changed hands.
    pub transitions: i32,
}

impl LeaseSnapshot {
    /// Whether both tell the same of the holder. Labels and the like may differ.
    fn same_record(&self, other: &Self) -> bool {
        self.holder == other.holder
            && self.acquired_at == other.acquired_at
            && self.renewed_at == other.renewed_at
            && self.transitions == other.transitions
    }
}

/// A contender's own term as leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The `acquireTime` it wrote: with the identity, it tells this term from any other.
    pub acquired_at: Timestamp,
    /// Its own clock before it sent the last renewal that succeeded.
    pub renewed_at: Instant,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Create the Lease; must fail where one exists.
    Create,
    /// Take the Lease, guarded by the resourceVersion that was read.
    Acquire,
    /// Renew the own Lease, guarded by the resourceVersion that was read.
    Renew,
    /// Another contender holds it: nothing before this instant, unless it is seen released.
    WaitUntil(Instant),
    /// This contender led and must stop writing at once.
    Lost(Loss),
}

/// Why leadership ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// No renewal succeeded in time.
    #[error("the lease could not be renewed in time")]
    Deadline,
    /// Somebody else holds the Lease.
    #[error("the lease is held by \"{0}\" now")]
    Taken(String),
    /// A process with the same identity acquired it.
    #[error("another process uses the identity \"{0}\"; give each its own --identity or POD_NAME")]
    SameIdentity(String),
    /// Another operator for the same work has begun; this one gives way to it.
    #[error(
        "another operator works on the same objects: the lease {0} is held; end it, or run without this controller"
    )]
    Yielded(String),
    /// Somebody emptied the Lease.
    #[error("the lease was released by somebody else")]
    Released,
}

/// The decision for one contender.
///
/// `lease` is what was read last, `others_until` the instant up to which another holder may believe it leads, `term` this
/// contender's own term if it leads.
pub fn decide(
    me: &str,
    lease: Option<&LeaseSnapshot>,
    others_until: Option<Instant>,
    term: Option<&Term>,
    renew_deadline: Duration,
    now: Instant,
) -> Decision {
    if let Some(term) = term {
        return decide_as_leader(me, lease, term, renew_deadline, now);
    }
    match (others_until, lease) {
        (Some(until), _) if now < until => Decision::WaitUntil(until),
        (_, Some(_)) => Decision::Acquire,
        (_, None) => Decision::Create,
    }
}

fn decide_as_leader(
    me: &str,
    lease: Option<&LeaseSnapshot>,
    term: &Term,
    renew_deadline: Duration,
    now: Instant,
) -> Decision {
    if now >= term.renewed_at + renew_deadline {
        return Decision::Lost(Loss::Deadline);
    }
    let Some(lease) = lease else {
        // Somebody deleted it. Others that saw it wait as if it were still there.
        return Decision::Create;
    };
    match &lease.holder {
        None => Decision::Lost(Loss::Released),
        Some(holder) if holder != me => Decision::Lost(Loss::Taken(holder.clone())),
        Some(_) if lease.acquired_at != Some(term.acquired_at) => {
            Decision::Lost(Loss::SameIdentity(me.to_owned()))
        }
        Some(_) => Decision::Renew,
    }
}

/// One contender's memory between decisions. Pure: it is told what was read and written, and when by its own clock.
#[derive(Debug, Clone)]
pub struct Elector {
    me: String,
    terms: Terms,
    lease: Option<LeaseSnapshot>,
    others_until: Option<Instant>,
    term: Option<Term>,
    needs_read: bool,
}

impl Elector {
    /// A contender that has read nothing yet.
    pub fn new(me: impl Into<String>, terms: Terms) -> Self {
        Self {
            me: me.into(),
            terms,
            lease: None,
            others_until: None,
            term: None,
            needs_read: true,
        }
    }

    /// The name of this contender.
    pub fn me(&self) -> &str {
        &self.me
    }

    /// The times of the lease.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Whether the Lease must be read before the next decision: a standby always does, a leader after a write whose
    /// result is unknown or a conflict.
    pub fn needs_read(&self) -> bool {
        self.needs_read || self.term.is_none()
    }

    /// The Lease as read last.
    pub fn lease(&self) -> Option<&LeaseSnapshot> {
        self.lease.as_ref()
    }

    /// Until when this contender leads, if nothing further succeeds.
    pub fn leads_until(&self) -> Option<Instant> {
        self.term
            .as_ref()
            .map(|term| term.renewed_at + self.terms.renew_deadline)
    }

    /// The `acquireTime` of the own term.
    pub fn acquired_at(&self) -> Option<Timestamp> {
        self.term.as_ref().map(|term| term.acquired_at)
    }

    /// Takes in what a read answered; `now` is taken after the answer.
    pub fn observe(&mut self, lease: Option<LeaseSnapshot>, now: Instant) {
        self.needs_read = false;
        let held_by_other = |lease: &LeaseSnapshot| {
            lease
                .holder
                .as_ref()
                .is_some_and(|holder| *holder != self.me)
        };
        self.others_until = match (&self.lease, &lease) {
            (Some(before), Some(after)) if before.same_record(after) => self.others_until,
            (_, Some(after)) if held_by_other(after) => Some(now + after.duration),
            // A Lease that vanished does not stop its holder: wait as if it had been renewed just now.
            (Some(before), None) if held_by_other(before) => Some(now + before.duration),
            (_, Some(_)) | (Some(_), None) => None,
            (None, None) => self.others_until,
        };
        self.lease = lease;
    }

    /// The decision at this instant.
    pub fn decide(&self, now: Instant) -> Decision {
        decide(
            &self.me,
            self.lease.as_ref(),
            self.others_until,
            self.term.as_ref(),
            self.terms.renew_deadline,
            now,
        )
    }

    /// A write succeeded: this contender leads, counted from `sent_at`, its clock before the request was sent.
    pub fn wrote(&mut self, lease: LeaseSnapshot, acquired_at: Timestamp, sent_at: Instant) {
        self.lease = Some(lease);
        self.others_until = None;
        self.needs_read = false;
        self.term = Some(Term {
            acquired_at,
            renewed_at: sent_at,
        });
    }

    /// A write was refused as outdated, or nobody knows what became of it.
    pub fn write_failed(&mut self) {
        self.needs_read = true;
    }

    /// This contender leads no longer.
    pub fn resign(&mut self) {
        self.term = None;
        self.needs_read = true;
    }
}
