//! What this controller counts. Every label has a fixed set of values, and counters are there from the start at 0.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::drain::metrics::DrainMetrics;

/// Upper bounds of the pass duration's buckets, in seconds.
const PASS_BUCKETS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0, 15.0, 60.0];

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum NodeResult {
    /// Its command succeeded.
    Completed,
    /// A preflight said that nothing is to be done.
    Skipped,
    /// It failed; its status and an Event say why.
    Failed,
}

/// Label of [`Metrics::node_results`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// How the node ended.
    pub result: NodeResult,
}

/// Label of [`Metrics::errors`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CategoryLabel {
    /// Kind of failure, from [`crate::error::Error::category`].
    pub category: &'static str,
}

/// The counters of this controller.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Seconds that one pass over one NodeOp took.
    pub pass_seconds: Histogram,
    /// Passes that failed and are tried again.
    pub errors: Family<CategoryLabel, Counter>,
    /// Jobs created.
    pub jobs_created: Counter,
    /// Nodes that ended, by result.
    pub node_results: Family<ResultLabel, Counter>,
    /// Status writes that the API server accepted.
    pub status_writes: Counter,
    /// Status writes that met a newer object and were decided anew.
    pub status_conflicts: Counter,
    /// Drains.
    pub drain: DrainMetrics,
}

impl Metrics {
    /// Registers all metrics of this controller.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            pass_seconds: Histogram::new(PASS_BUCKETS),
            errors: Family::default(),
            jobs_created: Counter::default(),
            node_results: Family::default(),
            status_writes: Counter::default(),
            status_conflicts: Counter::default(),
            drain: DrainMetrics::register(registry),
        };
        for result in [
            NodeResult::Completed,
            NodeResult::Skipped,
            NodeResult::Failed,
        ] {
            drop(metrics.node_results.get_or_create(&ResultLabel { result }));
        }
        for &category in crate::error::CATEGORIES {
            drop(metrics.errors.get_or_create(&CategoryLabel { category }));
        }
        registry.register(
            "reconcile_seconds",
            "Seconds that one pass over one NodeOp took",
            metrics.pass_seconds.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Passes that failed and are tried again, by kind of failure",
            metrics.errors.clone(),
        );
        registry.register("jobs_created", "Jobs created", metrics.jobs_created.clone());
        registry.register(
            "nodes_ended",
            "Nodes that ended, by result",
            metrics.node_results.clone(),
        );
        registry.register(
            "status_writes",
            "Status writes that the API server accepted",
            metrics.status_writes.clone(),
        );
        registry.register(
            "status_conflicts",
            "Status writes that met a newer object and were decided anew",
            metrics.status_conflicts.clone(),
        );
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_there_from_the_start() {
        let mut registry = Registry::default();
        let _metrics = Metrics::register(registry.sub_registry_with_prefix("nodeop"));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "nodeop_jobs_created_total 0",
            "nodeop_nodes_ended_total{result=\"Failed\"} 0",
            "nodeop_reconcile_errors_total{category=\"request\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
