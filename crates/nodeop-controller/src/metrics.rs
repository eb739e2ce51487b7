//! What this controller counts. Every label has a fixed set of values, and counters are there from the start at 0.

use api_types::nodeop::NodeStep;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::drain::metrics::DrainMetrics;

mod operations;

pub use operations::Operations;

/// Upper bounds of the pass duration's buckets, in seconds.
const PASS_BUCKETS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0, 15.0, 60.0];

/// Upper bounds of the buckets for what is done on a node, in seconds.
const STEP_BUCKETS: [f64; 10] = [
    1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
];

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

/// Label of [`Metrics::node_failures`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StepLabel {
    /// The step in which a node failed.
    pub step: &'static str,
}

/// Every step that a node can be in, as labels.
pub const STEPS: [&str; 11] = [
    "waiting_for_ready",
    "node_gone",
    "reserved",
    "preflight",
    "claimed",
    "draining",
    "starting",
    "running",
    "awaiting_reboot",
    "rebooting",
    "verifying",
];

/// The label of a step. An entry without one runs its Job.
pub fn step_label(step: Option<NodeStep>) -> &'static str {
    match step {
        Some(NodeStep::WaitingForReady) => "waiting_for_ready",
        Some(NodeStep::NodeGone) => "node_gone",
        Some(NodeStep::Reserved) => "reserved",
        Some(NodeStep::Preflight) => "preflight",
        Some(NodeStep::Claimed) => "claimed",
        Some(NodeStep::Draining) => "draining",
        Some(NodeStep::Starting) => "starting",
        None | Some(NodeStep::Running) => "running",
        Some(NodeStep::AwaitingReboot) => "awaiting_reboot",
        Some(NodeStep::Rebooting) => "rebooting",
        Some(NodeStep::Verifying) => "verifying",
    }
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
    /// Nodes that failed, by the step they were in.
    pub node_failures: Family<StepLabel, Counter>,
    /// NodeOps by phase, and their nodes by step.
    pub operations: Operations,
    /// Seconds from the cordon to an empty node, or to the failure of its drain.
    pub drain_seconds: Histogram,
    /// Seconds that a node's Job took, all tries together.
    pub job_seconds: Histogram,
    /// Seconds from the permission to reboot to its proof, or to its timeout.
    pub reboot_seconds: Histogram,
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
            node_failures: Family::default(),
            operations: Operations::default(),
            drain_seconds: Histogram::new(STEP_BUCKETS),
            job_seconds: Histogram::new(STEP_BUCKETS),
            reboot_seconds: Histogram::new(STEP_BUCKETS),
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
        for step in STEPS {
            drop(metrics.node_failures.get_or_create(&StepLabel { step }));
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
            "nodes_failed",
            "Nodes that failed, by the step they were in",
            metrics.node_failures.clone(),
        );
        registry.register_collector(metrics.operations.collector());
        registry.register(
            "drain_seconds",
            "Seconds from the cordon to an empty node, or to the failure of its drain",
            metrics.drain_seconds.clone(),
        );
        registry.register(
            "job_seconds",
            "Seconds that a node's Job took, all tries together",
            metrics.job_seconds.clone(),
        );
        registry.register(
            "reboot_seconds",
            "Seconds from the permission to reboot to its proof, or to its timeout",
            metrics.reboot_seconds.clone(),
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
            "nodeop_nodes_failed_total{step=\"draining\"} 0",
            "nodeop_nodes_active{step=\"rebooting\"} 0",
            "nodeop_reboot_seconds_count 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
