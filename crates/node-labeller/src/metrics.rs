//! What this controller counts. Every label has a fixed set of values, and counters are there from the start at 0.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of the detection's buckets, in seconds.
const DETECTION_BUCKETS: [f64; 9] = [0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0];

/// How a detection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum DetectionResult {
    /// The node runs Kairos.
    Kairos,
    /// It does not.
    NotKairos,
    /// Its files say nothing that can be used; an Event says why.
    Problem,
    /// It has no folder of marker files.
    MarkersMissing,
    /// The Pod failed, did not end in time or left no message of ours; an Event says why.
    Failed,
    /// The node changed meanwhile.
    Outdated,
}

const RESULTS: [DetectionResult; 6] = [
    DetectionResult::Kairos,
    DetectionResult::NotKairos,
    DetectionResult::Problem,
    DetectionResult::MarkersMissing,
    DetectionResult::Failed,
    DetectionResult::Outdated,
];

/// Label of [`Metrics::detections`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// How the detection ended.
    pub result: DetectionResult,
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
    /// Nodes with the label that says Kairos.
    pub nodes_managed: Gauge,
    /// Nodes that wait for a Pod.
    pub nodes_waiting: Gauge,
    /// Pods that have not ended.
    pub pods_in_flight: Gauge,
    /// Detections that ended, by result.
    pub detections: Family<ResultLabel, Counter>,
    /// Seconds from the creation of a Pod until its result was read.
    pub detection_seconds: Histogram,
    /// Labels set, changed or removed.
    pub labels_changed: Counter,
    /// Steps that failed and are tried again.
    pub errors: Family<CategoryLabel, Counter>,
}

impl Metrics {
    /// Registers all metrics of this controller.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            nodes_managed: Gauge::default(),
            nodes_waiting: Gauge::default(),
            pods_in_flight: Gauge::default(),
            detections: Family::default(),
            detection_seconds: Histogram::new(DETECTION_BUCKETS),
            labels_changed: Counter::default(),
            errors: Family::default(),
        };
        for result in RESULTS {
            drop(metrics.detections.get_or_create(&ResultLabel { result }));
        }
        for &category in crate::error::CATEGORIES {
            drop(metrics.errors.get_or_create(&CategoryLabel { category }));
        }
        registry.register(
            "nodes_managed",
            "Nodes with the label kairos.io/managed",
            metrics.nodes_managed.clone(),
        );
        registry.register(
            "nodes_waiting",
            "Nodes that wait for a Pod to look at them",
            metrics.nodes_waiting.clone(),
        );
        registry.register(
            "pods_in_flight",
            "Pods that look at a node now",
            metrics.pods_in_flight.clone(),
        );
        registry.register(
            "detections",
            "Detections that ended, by result",
            metrics.detections.clone(),
        );
        registry.register(
            "detection_seconds",
            "Seconds from the creation of a Pod until its result was read",
            metrics.detection_seconds.clone(),
        );
        registry.register(
            "labels_changed",
            "Labels of nodes set, changed or removed",
            metrics.labels_changed.clone(),
        );
        registry.register(
            "errors",
            "Steps that failed and are tried again, by kind of failure",
            metrics.errors.clone(),
        );
        metrics
    }

    /// Counts a detection that ended.
    pub fn count(&self, result: DetectionResult) {
        self.detections.get_or_create(&ResultLabel { result }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_there_from_the_start() {
        let mut registry = Registry::default();
        let _metrics = Metrics::register(registry.sub_registry_with_prefix("labeller"));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "labeller_nodes_managed 0",
            "labeller_detections_total{result=\"NotKairos\"} 0",
            "labeller_labels_changed_total 0",
            "labeller_errors_total{category=\"request\"} 0",
            "labeller_detection_seconds_count 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
