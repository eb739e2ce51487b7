//! The conditions behind /readyz: ready when every registered one holds.
//!
//! Typical conditions are filled caches. Leadership is none of them: a standby replica is ready, so that a rolling update
//! can go on and a failover starts from warm caches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The registered conditions of one process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<BTreeMap<&'static str, bool>>>,
}

/// Says that one condition holds from now on.
#[derive(Debug, Clone)]
pub struct ReadinessHandle {
    readiness: Readiness,
    name: &'static str,
}

impl Readiness {
    /// Adds a condition that does not hold yet. Register all conditions before the first `await`, or the process is ready
    /// for a moment without them.
    pub fn register(&self, name: &'static str) -> ReadinessHandle {
        self.with(|conditions| conditions.insert(name, false));
        ReadinessHandle {
            readiness: self.clone(),
            name,
        }
    }

    /// Names of the conditions that do not hold yet, sorted. Empty means ready.
    pub fn missing(&self) -> Vec<&'static str> {
        self.with(|conditions| {
            conditions
                .iter()
                .filter(|(_, holds)| !**holds)
                .map(|(name, _)| *name)
                .collect()
        })
    }

    fn with<T>(&self, access: impl FnOnce(&mut BTreeMap<&'static str, bool>) -> T) -> T {
        access(
            &mut self
                .conditions
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl ReadinessHandle {
    /// The condition holds from now on.
    pub fn set_ready(&self) {
        self.readiness
            .with(|conditions| conditions.insert(self.name, true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_every_condition_holds() {
        let readiness = Readiness::default();
        let nodes = readiness.register("nodes");
        let jobs = readiness.register("jobs");
        assert_eq!(readiness.missing(), ["jobs", "nodes"]);
        nodes.set_ready();
        assert_eq!(readiness.clone().missing(), ["jobs"]);
        jobs.set_ready();
        assert!(readiness.missing().is_empty());
    }
}
