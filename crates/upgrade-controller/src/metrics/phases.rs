//! NodeOpUpgrades by phase, and how long they have stood still, found out when somebody looks: what was deleted meanwhile
//! is gone from the count, and what stands still grows older without a pass.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use api_types::nodeop::NodeStatus;
use api_types::nodeopupgrade::{NodeOpUpgradeStatus, UpgradePhase};
use k8s_openapi::jiff::Timestamp;
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

/// Entries beyond twice the number of NodeOpUpgrades that may stay before those of deleted ones are dropped.
const SPARE: usize = 64;

/// The UIDs of the NodeOpUpgrades that exist.
type Existing = Box<dyn Fn() -> HashSet<String> + Send + Sync>;

/// Each NodeOpUpgrade by UID, as this process saw it last. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Phases(Arc<Mutex<HashMap<String, Seen>>>);

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    phase: UpgradePhase,
    /// When a node last ended or came to another step, of an upgrade that is to go on.
    moved: Option<Timestamp>,
}

impl Phases {
    /// Notes where an upgrade stands. One that is paused may stand still.
    pub fn note(&self, uid: &str, status: &NodeOpUpgradeStatus, paused: bool) {
        let phase = status.phase.unwrap_or_default();
        let goes_on = phase == UpgradePhase::Running && !paused;
        let times = status.node_statuses.values().filter_map(moved);
        let moved = times.max().filter(|_| goes_on);
        self.with(|seen| seen.insert(uid.to_owned(), Seen { phase, moved }));
    }

    /// Forgets those that are gone, where nobody looks and they would add up. `known` is how many there are.
    pub fn prune(&self, known: usize, uids: impl FnOnce() -> HashSet<String>) {
        self.with(|seen| {
            if seen.len() > 2 * known + SPARE {
                let uids = uids();
                seen.retain(|uid, _| uids.contains(uid));
            }
        });
    }

    /// A collector that counts those of them that `existing` names. One that has not been looked at yet counts as
    /// Initializing.
    pub fn collector(&self, existing: Existing) -> Box<dyn Collector> {
        Box::new(PhaseCollector {
            phases: self.clone(),
            existing,
        })
    }

    fn with<T>(&self, access: impl FnOnce(&mut HashMap<String, Seen>) -> T) -> T {
        access(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, existing: &HashSet<String>) -> ([(&'static str, i64); 5], Option<Timestamp>) {
        self.with(|seen| {
            seen.retain(|uid, _| existing.contains(uid));
            let counts = PHASES.map(|(phase, label)| {
                let of = |uid: &String| {
                    seen.get(uid)
                        .map_or(UpgradePhase::default(), |seen| seen.phase)
                };
                let count = existing.iter().filter(|uid| of(uid) == phase).count();
                (label, i64::try_from(count).unwrap_or(i64::MAX))
            });
            (counts, seen.values().filter_map(|seen| seen.moved).min())
        })
    }
}

/// When a node ended, or came to the step it is in.
fn moved(entry: &NodeStatus) -> Option<Timestamp> {
    let time = if entry.phase.is_terminal() {
        &entry.last_updated
    } else {
        &entry.since
    };
    time.as_ref().map(|time| time.0)
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
        let (counts, stands_since) = self.phases.count(&(self.existing)());
        for (label, count) in counts {
            let labels = [("phase", label)];
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        let age = |since| Timestamp::now().duration_since(since).as_secs_f64();
        let gauge = ConstGauge::new(stands_since.map_or(0.0, age).max(0.0));
        gauge.encode(encoder.encode_descriptor(
            "standstill_seconds",
            "Seconds since a node ended or came to another step, of the upgrade under way where that is longest ago; \
             0 where none is under way, or all are paused",
            None,
            gauge.metric_type(),
        )?)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::ToSpan as _;
    use prometheus_client::registry::Registry;

    use super::*;

    fn note(phases: &Phases, uid: &str, paused: bool, yaml: &str) {
        let status: NodeOpUpgradeStatus = serde_saphyr::from_str(yaml).unwrap();
        phases.note(uid, &status, paused);
    }

    fn text(phases: &Phases, existing: &'static [&'static str]) -> String {
        let mut registry = Registry::default();
        let existing = || existing.iter().map(|uid| (*uid).to_owned()).collect();
        registry.register_collector(phases.collector(Box::new(existing)));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    fn standstill(phases: &Phases) -> f64 {
        let text = text(phases, &["a", "b"]);
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("standstill_seconds "));
        line.unwrap().parse().unwrap()
    }

    #[test]
    fn what_is_gone_is_forgotten_also_where_nobody_looks() {
        let phases = Phases::default();
        for index in 0..1000 {
            phases.note(
                &format!("uid-{index}"),
                &NodeOpUpgradeStatus::default(),
                false,
            );
            phases.prune(1, || ["uid-0".to_owned()].into());
        }
        assert!(phases.with(|seen| seen.len()) <= 2 + SPARE);
        assert!(phases.with(|seen| seen.contains_key("uid-0")));
    }

    #[test]
    fn deleted_upgrades_are_not_counted_and_unknown_ones_are_initializing() {
        let phases = Phases::default();
        note(&phases, "a", false, "phase: Running");
        note(&phases, "b", false, "phase: Failed");
        note(&phases, "gone", false, "phase: Running");
        let text = text(&phases, &["a", "b", "new"]);
        for line in [
            "upgrades{phase=\"Running\"} 1",
            "upgrades{phase=\"Failed\"} 1",
            "upgrades{phase=\"Initializing\"} 1",
            "upgrades{phase=\"Completed\"} 0",
            "standstill_seconds 0.0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert_eq!(phases.with(|phases| phases.len()), 2);
    }

    #[test]
    fn an_upgrade_stands_still_since_its_last_node_moved_unless_it_is_paused_or_over() {
        let phases = Phases::default();
        let minutes_ago = |minutes: i64| Timestamp::now() - minutes.minutes();
        let status = |phase: &str| {
            format!(
                "phase: {phase}\nnodeStatuses:\n  one: {{phase: Completed, lastUpdated: '{}'}}\n  \
                 two: {{phase: Running, step: Draining, since: '{}', lastUpdated: '{}'}}",
                minutes_ago(90),
                minutes_ago(60),
                minutes_ago(1)
            )
        };
        note(&phases, "a", false, &status("Running"));
        assert!((3600.0..3610.0).contains(&standstill(&phases)));
        for (paused, phase) in [(true, "Running"), (false, "Failed")] {
            note(&phases, "a", paused, &status(phase));
            assert!(standstill(&phases).abs() < 0.1);
        }
    }
}
