//! How long to wait before an object that failed is tried again: exponential, per object, bounded in memory. Pure.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// Delay after the first failure, where nothing else was asked for.
pub const DEFAULT_FIRST_DELAY: Duration = Duration::from_secs(1);
/// Longest delay, where nothing else was asked for.
pub const DEFAULT_LONGEST_DELAY: Duration = Duration::from_mins(5);
/// Number of failing objects remembered, where nothing else was asked for.
pub const DEFAULT_CAPACITY: usize = 4096;

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

/// Counts each object's failures in a row, and derives the next delay from the count.
///
/// The delay doubles with each failure up to the longest one, minus up to a fifth that depends on the key and the
/// count only: objects that failed together are not retried together, and a test sees the same delay each time.
#[derive(Debug)]
pub struct Backoff<K> {
    failures: HashMap<K, Failures>,
    first_delay: Duration,
    longest_delay: Duration,
    capacity: usize,
}

impl<K: Hash + Eq + Clone> Default for Backoff<K> {
    fn default() -> Self {
        Self::new(DEFAULT_FIRST_DELAY, DEFAULT_LONGEST_DELAY, DEFAULT_CAPACITY)
    }
}

impl<K: Hash + Eq + Clone> Backoff<K> {
    /// A backoff with delays from `first_delay` to `longest_delay` that remembers at most `capacity` objects.
    ///
    /// Past the capacity, the object whose failure lies longest back is forgotten, and starts from the first delay.
    pub fn new(first_delay: Duration, longest_delay: Duration, capacity: usize) -> Self {
        Self {
            failures: HashMap::new(),
            first_delay,
            longest_delay,
            capacity: capacity.max(1),
        }
    }

    /// Records a failure of the object, and returns how long to wait before its next try.
    ///
    /// A failure more than twice the longest delay after the one before counts as the first.
    pub fn fail(&mut self, key: &K, now: Instant) -> Duration {
        let forgotten_after = self.longest_delay.saturating_mul(2);
        if !self.failures.contains_key(key) && self.failures.len() >= self.capacity {
            self.make_room(now, forgotten_after);
        }
        let entry = self.failures.entry(key.clone()).or_insert(Failures {
            count: 0,
            last: now,
        });
        if now.saturating_duration_since(entry.last) > forgotten_after {
            entry.count = 0;
        }
        entry.count = entry.count.saturating_add(1);
        entry.last = now;
        let count = entry.count;
        self.delay(key, count)
    }

    /// Forgets the object's failures: call after a success, and when the object is gone.
    pub fn reset(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// Failures in a row of the object that are remembered.
    pub fn failures(&self, key: &K) -> u32 {
        self.failures.get(key).map_or(0, |entry| entry.count)
    }

    fn delay(&self, key: &K, count: u32) -> Duration {
        let doublings = count.saturating_sub(1).min(31);
        let full = self
            .first_delay
            .saturating_mul(1 << doublings)
            .min(self.longest_delay);
        // DefaultHasher::new() has fixed keys: the same object and count give the same jitter in each process.
        let mut hasher = DefaultHasher::new();
        (key, count).hash(&mut hasher);
        let thousandths = u32::try_from(hasher.finish() % 201).unwrap_or(0);
        full.saturating_sub(full / 1000 * thousandths)
    }

    fn make_room(&mut self, now: Instant, forgotten_after: Duration) {
        self.failures
            .retain(|_, entry| now.saturating_duration_since(entry.last) <= forgotten_after);
        if self.failures.len() < self.capacity {
            return;
        }
        let oldest = self
            .failures
            .iter()
            .min_by_key(|(_, entry)| entry.last)
            .map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.failures.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_double_up_to_the_longest() {
        let mut backoff = Backoff::new(SECOND, 60 * SECOND, 10);
        let now = Instant::now();
        for full in [1, 2, 4, 8, 16, 32, 60, 60] {
            let delay = backoff.fail(&"a", now);
            assert!(delay <= full * SECOND, "{delay:?} for {full}");
            assert!(delay >= full * SECOND * 4 / 5, "{delay:?} for {full}");
        }
    }

    #[test]
    fn a_success_starts_over() {
        let mut backoff = Backoff::new(SECOND, 60 * SECOND, 10);
        let now = Instant::now();
        let first = backoff.fail(&"a", now);
        backoff.fail(&"a", now);
        backoff.reset(&"a");
        assert_eq!(backoff.fail(&"a", now), first);
        assert_eq!(backoff.failures(&"a"), 1);
    }

    #[test]
    fn a_failure_long_after_the_last_counts_as_the_first() {
        let mut backoff = Backoff::new(SECOND, 60 * SECOND, 10);
        let now = Instant::now();
        let first = backoff.fail(&"a", now);
        backoff.fail(&"a", now);
        assert_eq!(backoff.fail(&"a", now + 121 * SECOND), first);
    }

    #[test]
    fn objects_that_fail_together_are_not_retried_together() {
        let mut backoff = Backoff::new(60 * SECOND, 60 * SECOND, 100);
        let now = Instant::now();
        let delays: std::collections::HashSet<_> =
            (0..50).map(|object| backoff.fail(&object, now)).collect();
        assert!(delays.len() > 10, "{} different delays", delays.len());
    }

    #[test]
    fn a_full_memory_forgets_the_oldest_failure() {
        let mut backoff = Backoff::new(SECOND, 60 * SECOND, 2);
        let now = Instant::now();
        backoff.fail(&"old", now);
        backoff.fail(&"young", now + SECOND);
        backoff.fail(&"new", now + 2 * SECOND);
        assert_eq!(backoff.failures(&"old"), 0);
        assert_eq!(backoff.failures(&"young"), 1);
        assert_eq!(backoff.failures(&"new"), 1);
    }

    proptest! {
        #[test]
        fn memory_and_delays_stay_bounded(keys in proptest::collection::vec(0_u8..40, 1..300)) {
            let mut backoff = Backoff::new(SECOND, 60 * SECOND, 8);
            let start = Instant::now();
            for (step, key) in keys.iter().enumerate() {
                let now = start + SECOND * u32::try_from(step).unwrap();
                let delay = backoff.fail(key, now);
                prop_assert!(delay >= SECOND * 4 / 5 && delay <= 60 * SECOND);
                prop_assert!(backoff.failures.len() <= 8);
            }
        }
    }
}
