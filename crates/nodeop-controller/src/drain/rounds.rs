//! The rounds of the process: at most one at a time per node and NodeOp, in the background, each asked for by a pass.
//!
//! Nothing here goes on by itself: when no pass asks, no Pod is evicted. What is remembered spares requests.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api_types::nodeop::DrainOptions;
use futures::Stream;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::metrics::DrainMetrics;
use super::round::{self, Carry, Flow};
use super::signals::Signals;
use super::{DrainKey, DrainReport, Mode, Order};
use crate::apply::Requests;

/// Rounds at work at once. The others wait for their turn in the order they were asked for, so that nodes become empty
/// one after the other and not all at the end.
const ROUNDS_IN_FLIGHT: usize = 8;
/// A report older than this is not told any more: the node may have changed since.
const REPORT_AGE: Duration = Duration::from_mins(1);

/// What the last round over a node found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// What it was allowed to do.
    pub mode: Mode,
    /// What it found.
    pub report: DrainReport,
    /// When it ended, or gave the interim report that this is.
    pub at: Instant,
}

/// Starts rounds and keeps what they found. Clones share everything.
#[derive(Clone)]
pub struct Rounds {
    shared: Arc<Shared>,
}

struct Shared {
    flow: Flow,
    turns: Semaphore,
    signals: Arc<Signals>,
    nodes: Mutex<HashMap<DrainKey, Slot>>,
    /// Number of the next round.
    numbers: AtomicU64,
}

/// What is known of one node of one NodeOp.
#[derive(Debug, Default)]
struct Slot {
    running: bool,
    /// Ends the round that runs; not known in the moment of its start.
    abort: Option<AbortHandle>,
    last: Option<Last>,
    carry: Carry,
    /// Number of the round that runs or ran last, so that one that was forgotten cannot speak for its successor.
    number: u64,
}

impl Slot {
    fn abort(&self) {
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }
}

#[derive(Debug)]
struct Last {
    finished: Finished,
    permissions: Permissions,
}

/// The options that decide whether a Pod is forbidden: a report made under others is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Permissions {
    force: bool,
    ignore_daemon_sets: bool,
    delete_empty_dir_data: bool,
}

impl Permissions {
    fn of(options: &DrainOptions) -> Self {
        Self {
            force: options.force,
            ignore_daemon_sets: options.ignore_daemon_sets,
            delete_empty_dir_data: options.delete_empty_dir_data,
        }
    }
}

impl Rounds {
    /// No rounds yet; and the NodeOps, as `(namespace, name)`, of which a round has news. The stream never ends.
    pub fn new(
        requests: Requests,
        metrics: DrainMetrics,
    ) -> (
        Self,
        impl Stream<Item = (String, String)> + Send + 'static + use<>,
    ) {
        let signals = Arc::new(Signals::default());
        let shared = Shared {
            flow: Flow::new(requests, metrics),
            turns: Semaphore::new(ROUNDS_IN_FLIGHT),
            signals: Arc::clone(&signals),
            nodes: Mutex::default(),
            numbers: AtomicU64::new(1),
        };
        let rounds = Self {
            shared: Arc::new(shared),
        };
        (rounds, signals.stream())
    }

    /// Starts a round in the background, unless one for that node runs, or the last one of the same kind says that it is
    /// too early. Never waits. Must be called inside of the tokio runtime.
    pub fn ask(&self, key: &DrainKey, order: Order) {
        let permissions = Permissions::of(&order.options);
        let (round, carry) = {
            let mut nodes = self.shared.nodes();
            let slot = nodes.entry(key.clone()).or_default();
            let early = slot.last.as_ref().is_some_and(|last| {
                let Finished { mode, report, at } = &last.finished;
                *mode == order.mode
                    && last.permissions == permissions
                    && at.elapsed() < report.next_after
            });
            if slot.running || early {
                return;
            }
            slot.running = true;
            slot.number = self.shared.numbers.fetch_add(1, Ordering::Relaxed);
            let round = Round {
                shared: Arc::clone(&self.shared),
                key: key.clone(),
                number: slot.number,
                mode: order.mode,
                permissions,
            };
            (round, std::mem::take(&mut slot.carry))
        };
        // Without the lock: a runtime that is shutting down drops the round right here, and its end takes the lock.
        let number = round.number;
        let abort = tokio::spawn(round.run(order, carry)).abort_handle();
        match self.shared.nodes().get_mut(key) {
            Some(slot) if slot.number == number => slot.abort = Some(abort),
            // Forgotten in this very moment.
            Some(_) | None => abort.abort(),
        }
    }

    /// What the last round of that mode found under these options, if that is not long ago. While a round takes long,
    /// what it knows so far.
    pub fn latest(&self, key: &DrainKey, mode: Mode, options: &DrainOptions) -> Option<Finished> {
        let nodes = self.shared.nodes();
        let last = nodes.get(key)?.last.as_ref()?;
        let fits = last.finished.mode == mode
            && last.permissions == Permissions::of(options)
            && last.finished.at.elapsed() < REPORT_AGE;
        fits.then(|| last.finished.clone())
    }

    /// Ends the round over that node, if one runs, and forgets what earlier ones found.
    pub fn forget(&self, key: &DrainKey) {
        if let Some(slot) = self.shared.nodes().remove(key) {
            slot.abort();
        }
    }

    /// Does the same for every node for which `keep` says no.
    pub fn retain(&self, mut keep: impl FnMut(&DrainKey) -> bool) {
        self.shared.nodes().retain(|key, slot| {
            let kept = keep(key);
            if !kept {
                slot.abort();
            }
            kept
        });
    }

    /// How many nodes something is remembered of.
    pub fn len(&self) -> usize {
        self.shared.nodes().len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shared {
    fn nodes(&self) -> MutexGuard<'_, HashMap<DrainKey, Slot>> {
        // Every change under the lock leaves the slots whole, also when its thread panics afterwards.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A round in the background.
struct Round {
    shared: Arc<Shared>,
    key: DrainKey,
    number: u64,
    mode: Mode,
    permissions: Permissions,
}

impl Round {
    async fn run(self, order: Order, mut carry: Carry) {
        let Ok(_turn) = self.shared.turns.acquire().await else {
            return;
        };
        let interim = |report| self.tell(report);
        let flow = &self.shared.flow;
        let report = round::run(flow, &self.key.node, &order, &mut carry, &interim).await;
        self.with_slot(|slot| slot.carry = carry);
        // The end of the round is seen before the news of it: whoever asks then gets a new round.
        self.end();
        self.tell(report);
    }

    fn tell(&self, report: DrainReport) {
        let finished = Finished {
            mode: self.mode,
            report,
            at: Instant::now(),
        };
        let last = Last {
            finished,
            permissions: self.permissions,
        };
        if self.with_slot(|slot| slot.last = Some(last)) {
            self.shared
                .signals
                .raise(&self.key.namespace, &self.key.name);
        }
    }

    fn end(&self) {
        self.with_slot(|slot| {
            slot.running = false;
            slot.abort = None;
        });
    }

    /// Changes the slot, unless it has been forgotten or belongs to another round.
    fn with_slot(&self, change: impl FnOnce(&mut Slot)) -> bool {
        match self.shared.nodes().entry(self.key.clone()) {
            Entry::Occupied(mut slot) if slot.get().number == self.number => {
                change(slot.get_mut());
                true
            }
            Entry::Occupied(_) | Entry::Vacant(_) => false,
        }
    }
}

impl Drop for Round {
    /// Also when the round panics or is cut off, the node must not count as busy for ever.
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests;
