//! The clocks of a process: wall time for what is written and compared across machines, and time that never goes back for
//! what this process remembers.

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

/// Where a process reads the time. Clones read the same clock.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// By how many seconds the wall clock of a simulated process is off; real ones follow their machine.
    #[cfg(test)]
    simulated: Option<std::sync::Arc<simulated::Simulated>>,
}

impl Clock {
    /// The wall clock. It may jump in either direction.
    pub fn now(&self) -> Timestamp {
        #[cfg(test)]
        if let Some(simulated) = &self.simulated {
            return simulated.now();
        }
        Timestamp::now()
    }

    /// Time since some moment of this process, for ages.
    pub fn instant(&self) -> Instant {
        Instant::now()
    }
}

#[cfg(test)]
pub(crate) mod simulated {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use k8s_openapi::jiff::{SignedDuration, Timestamp};
    use tokio::time::Instant;

    use super::Clock;

    /// A wall clock that follows the time of the tokio runtime, and can be put forward and back.
    #[derive(Debug)]
    pub(crate) struct Simulated {
        begun: Instant,
        jumped: AtomicI64,
    }

    impl Simulated {
        pub(super) fn now(&self) -> Timestamp {
            let seconds = 1_800_000_000 + self.jumped.load(Ordering::Relaxed);
            let base = Timestamp::from_second(seconds).unwrap();
            base + SignedDuration::try_from(self.begun.elapsed()).unwrap()
        }

        pub(crate) fn jump(&self, seconds: i64) {
            self.jumped.fetch_add(seconds, Ordering::Relaxed);
        }
    }

    impl Clock {
        /// A clock that begins at a fixed time, and what moves it.
        pub(crate) fn simulated() -> (Self, Arc<Simulated>) {
            let simulated = Arc::new(Simulated {
                begun: Instant::now(),
                jumped: AtomicI64::new(0),
            });
            let clock = Self {
                simulated: Some(Arc::clone(&simulated)),
            };
            (clock, simulated)
        }
    }
}
