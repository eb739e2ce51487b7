//! Tells the controller which NodeOps have news of a drain: each at most a few times a second, however many of its
//! nodes drain at once.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{Stream, stream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Shortest time between two signals for one NodeOp.
const APART: Duration = Duration::from_millis(250);

/// Namespace and name of a NodeOp.
type Name = (String, String);

/// NodeOps with news that nobody has been told yet. Bounded by the number of NodeOps that drain.
#[derive(Debug, Default)]
pub(super) struct Signals {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeSet<Name>,
    told: HashMap<Name, Instant>,
}

enum Next {
    Now(Name),
    At(Instant),
    Nothing,
}

impl Signals {
    /// There is news of that NodeOp.
    pub(super) fn raise(&self, namespace: &str, name: &str) {
        self.lock()
            .waiting
            .insert((namespace.to_owned(), name.to_owned()));
        self.changed.notify_one();
    }

    /// Every NodeOp with news, as `(namespace, name)`; never ends.
    pub(super) fn stream(self: Arc<Self>) -> impl Stream<Item = Name> + Send + 'static {
        stream::unfold(self, |signals| async move {
            loop {
                let changed = signals.changed.notified();
                let next = signals.lock().next(Instant::now());
                match next {
                    Next::Now(name) => return Some((name, signals.clone())),
                    Next::At(instant) => tokio::select! {
                        () = changed => {}
                        () = sleep_until(instant) => {}
                    },
                    Next::Nothing => changed.await,
                }
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one insert or remove, so the content is whole even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self, now: Instant) -> Next {
        self.told
            .retain(|_, told| now.saturating_duration_since(*told) < APART);
        let quiet = |name: &&Name| !self.told.contains_key(*name);
        if let Some(name) = self.waiting.iter().find(quiet).cloned() {
            self.waiting.remove(&name);
            self.told.insert(name.clone(), now);
            return Next::Now(name);
        }
        let first = self
            .waiting
            .iter()
            .filter_map(|name| self.told.get(name))
            .min();
        first.map_or(Next::Nothing, |told| Next::At(*told + APART))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt as _;

    #[tokio::test(start_paused = true)]
    async fn news_in_quick_succession_is_told_once_at_once_and_once_later() {
        let signals = Arc::new(Signals::default());
        let mut stream = Box::pin(Arc::clone(&signals).stream());
        let begin = Instant::now();
        signals.raise("shop", "op");
        assert_eq!(stream.next().await.unwrap().1, "op");
        assert_eq!(Instant::now(), begin);
        for _ in 0..100 {
            signals.raise("shop", "op");
        }
        assert_eq!(stream.next().await.unwrap().1, "op");
        assert_eq!(begin.elapsed(), APART);
        let nothing = tokio::time::timeout(Duration::from_mins(1), stream.next()).await;
        assert!(nothing.is_err(), "{nothing:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_node_op_holds_no_other_up() {
        let signals = Arc::new(Signals::default());
        let mut stream = Box::pin(Arc::clone(&signals).stream());
        signals.raise("shop", "a");
        let begin = Instant::now();
        stream.next().await.unwrap();
        signals.raise("shop", "a");
        signals.raise("shop", "b");
        assert_eq!(stream.next().await.unwrap().1, "b");
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn news_that_comes_while_nobody_listens_is_not_lost() {
        let signals = Arc::new(Signals::default());
        signals.raise("shop", "a");
        signals.raise("shop", "b");
        let names: Vec<String> = Arc::clone(&signals)
            .stream()
            .take(2)
            .map(|(_, name)| name)
            .collect()
            .await;
        assert_eq!(names, ["a", "b"]);
    }
}
