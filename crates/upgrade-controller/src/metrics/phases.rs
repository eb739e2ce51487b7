//! NodeOpUpgrades by phase, counted when somebody looks: what was deleted meanwhile is gone from the count.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use api_types::nodeopupgrade::UpgradePhase;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// Every phase with its label value.
const PHASES: [(UpgradePhase, &str); 5] = [
    (UpgradePhase::Initializing, "Initializing"),
    (UpgradePhase::Pending, "Pending"),
    (UpgradePhase::Running, "Running"),
    (UpgradePhase::Completed, "Completed"),
    (UpgradePhase::Failed, "Failed"),
];

/// The UIDs of the NodeOpUpgrades that exist.
type Existing = Box<dyn Fn() -> HashSet<String> + Send + Sync>;

/// The phase of each NodeOpUpgrade by UID, as this process saw it last. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Phases(Arc<Mutex<HashMap<String, UpgradePhase>>>);

impl Phases {
    /// Notes a phase.
    pub fn set(&self, uid: &str, phase: UpgradePhase) {
        self.with(|phases| phases.insert(uid.to_owned(), phase));
    }

    /// A collector that counts those of them that `existing` names. One that has not been looked at yet counts as
    /// Initializing.
    pub fn collector(&self, existing: Existing) -> Box<dyn Collector> {
        Box::new(PhaseCollector {
            phases: self.clone(),
            existing,
        })
    }

    fn with<T>(&self, access: impl FnOnce(&mut HashMap<String, UpgradePhase>) -> T) -> T {
        access(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, existing: &HashSet<String>) -> [(&'static str, i64); 5] {
        self.with(|phases| {
            phases.retain(|uid, _| existing.contains(uid));
            PHASES.map(|(phase, label)| {
                let has = |uid: &&String| phases.get(*uid).copied().unwrap_or_default() == phase;
                let count = existing.iter().filter(has).count();
                (label, i64::try_from(count).unwrap_or(i64::MAX))
            })
        })
    }
}

struct PhaseCollector {
    phases: Phases,
    existing: Existing,
}

impl std::fmt::Debug for PhaseCollector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PhaseCollector")
            .finish_non_exhaustive()
    }
}

impl Collector for PhaseCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let mut family = encoder.encode_descriptor(
            "upgrades",
            "NodeOpUpgrades by phase",
            None,
            MetricType::Gauge,
        )?;
        for (label, count) in self.phases.count(&(self.existing)()) {
            let labels = [("phase", label)];
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn deleted_upgrades_are_not_counted_and_unknown_ones_are_initializing() {
        let phases = Phases::default();
        for (uid, phase) in [
            ("a", UpgradePhase::Running),
            ("b", UpgradePhase::Failed),
            ("gone", UpgradePhase::Running),
        ] {
            phases.set(uid, phase);
        }
        let mut registry = Registry::default();
        let existing = || ["a", "b", "new"].map(str::to_owned).into();
        registry.register_collector(phases.collector(Box::new(existing)));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "upgrades{phase=\"Running\"} 1",
            "upgrades{phase=\"Failed\"} 1",
            "upgrades{phase=\"Initializing\"} 1",
            "upgrades{phase=\"Completed\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert_eq!(phases.with(|phases| phases.len()), 2);
    }
}
