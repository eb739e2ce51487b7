//! What drains count. Every label has a fixed set of values, and counters are there from the start at 0.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::answer::{Answer, Outcome};

/// Upper bounds of the round duration's buckets, in seconds.
const ROUND_BUCKETS: [f64; 8] = [0.01, 0.05, 0.2, 1.0, 3.0, 10.0, 30.0, 120.0];

/// Label of [`DrainMetrics::evictions`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// What the API server answered.
    pub outcome: Outcome,
}

/// The counters of drains.
#[derive(Clone, Debug)]
pub struct DrainMetrics {
    /// Evictions asked for, by answer. A Pod that a budget holds back counts once per round.
    pub evictions: Family<OutcomeLabel, Counter>,
    /// Deletions of finished Pods that the API server accepted.
    pub finished_pods_deleted: Counter,
    /// Rounds that could not find out how far their node is.
    pub rounds_failed: Counter,
    /// Seconds that one round over one node took, without the wait for its turn.
    pub round_seconds: Histogram,
}

impl DrainMetrics {
    /// Registers the metrics of drains.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            evictions: Family::default(),
            finished_pods_deleted: Counter::default(),
            rounds_failed: Counter::default(),
            round_seconds: Histogram::new(ROUND_BUCKETS),
        };
        for outcome in Outcome::ALL {
            drop(metrics.evictions.get_or_create(&OutcomeLabel { outcome }));
        }
        registry.register(
            "evictions",
            "Evictions asked for, by answer",
            metrics.evictions.clone(),
        );
        registry.register(
            "finished_pods_deleted",
            "Deletions of finished Pods that the API server accepted",
            metrics.finished_pods_deleted.clone(),
        );
        registry.register(
            "drain_rounds_failed",
            "Rounds over one node that could not find out how far it is",
            metrics.rounds_failed.clone(),
        );
        registry.register(
            "drain_round_seconds",
            "Seconds that one round over one node took",
            metrics.round_seconds.clone(),
        );
        metrics
    }

    /// Counts one eviction.
    pub(super) fn evicted(&self, answer: &Answer) {
        let label = OutcomeLabel {
            outcome: answer.outcome(),
        };
        self.evictions.get_or_create(&label).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_there_from_the_start() {
        let mut registry = Registry::default();
        let _metrics = DrainMetrics::register(registry.sub_registry_with_prefix("nodeop"));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for outcome in Outcome::ALL {
            let line = format!("nodeop_evictions_total{{outcome=\"{outcome:?}\"}} 0");
            assert!(text.contains(&line), "{line} is missing in\n{text}");
        }
        assert!(
            text.contains("nodeop_finished_pods_deleted_total 0"),
            "{text}"
        );
    }
}
