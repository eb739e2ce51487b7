//! What this controller counts. Every label has a fixed set of values, and counters are there from the start at 0.

use api_types::conditions::reasons;
use api_types::osartifact::OSArtifactStatus;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::steps::STEP_NAMES;

mod phases;

pub use phases::phase_collector;

/// Upper bounds of the buckets of passes, in seconds.
const PASS_BUCKETS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0, 15.0, 60.0];
/// Upper bounds of the buckets of builds and exporters, in seconds: from a second to some hours.
const BUILD_BUCKETS: [f64; 9] = [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14400.0];
/// What a step of the user's is called: names of importers are theirs to choose.
const IMPORTER: &str = "importer";
/// The step of a failure after the build.
pub const EXPORTER: &str = "exporter";
/// The step of a failure before the first one.
pub const NO_STEP: &str = "none";
/// What is none of the known words.
const OTHER: &str = "other";
/// The outputs that bytes are counted by.
const KINDS: [&str; 7] = [
    "image",
    "iso",
    "cloudImage",
    "azureImage",
    "gceImage",
    "netboot",
    OTHER,
];
/// The reasons that failures are counted by.
const FAILURE_REASONS: [&str; 5] = [
    reasons::INVALID_SPEC,
    reasons::BUILD_FAILED,
    reasons::EXPORT_FAILED,
    reasons::STUCK,
    OTHER,
];

/// Label of [`Metrics::errors`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CategoryLabel {
    /// Kind of failure, from [`crate::error::Error::category`].
    pub category: &'static str,
}

/// Label of [`Metrics::step_seconds`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StepLabel {
    /// The step.
    pub step: &'static str,
}

/// Label of [`Metrics::bytes`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// The output.
    pub kind: &'static str,
}

/// Label of [`Metrics::failures`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FailureLabel {
    /// The step that failed, or "exporter", or "none".
    pub step: &'static str,
    /// The reason of the condition.
    pub reason: &'static str,
}

/// The counters of this controller.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Seconds that one pass over one artifact took.
    pub pass_seconds: Histogram,
    /// Passes that failed and are tried again.
    pub errors: Family<CategoryLabel, Counter>,
    /// Seconds that steps of finished builds took.
    pub step_seconds: Family<StepLabel, Histogram>,
    /// Seconds from the first step to the last, of builds that succeeded.
    pub build_seconds: Histogram,
    /// Bytes built.
    pub bytes: Family<KindLabel, Counter>,
    /// Builds and exporters that failed.
    pub failures: Family<FailureLabel, Counter>,
    /// Seconds that exporters took.
    pub exporter_seconds: Histogram,
    /// Status writes that the API server accepted.
    pub status_writes: Counter,
    /// Status writes that met a newer object and were decided anew.
    pub status_conflicts: Counter,
}

/// The step as a label.
pub fn step_label(name: &str) -> &'static str {
    STEP_NAMES
        .into_iter()
        .find(|step| *step == name)
        .unwrap_or(IMPORTER)
}

fn kind_label(name: &str) -> &'static str {
    KINDS
        .into_iter()
        .find(|kind| *kind == name)
        .unwrap_or(OTHER)
}

/// The reason of a condition as a label.
pub fn reason_label(reason: &str) -> &'static str {
    let mut known = FAILURE_REASONS.into_iter();
    known.find(|known| *known == reason).unwrap_or(OTHER)
}

impl Metrics {
    /// Registers all metrics of this controller.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            pass_seconds: Histogram::new(PASS_BUCKETS),
            errors: Family::default(),
            step_seconds: Family::new_with_constructor(|| Histogram::new(BUILD_BUCKETS)),
            build_seconds: Histogram::new(BUILD_BUCKETS),
            bytes: Family::default(),
            failures: Family::default(),
            exporter_seconds: Histogram::new(BUILD_BUCKETS),
            status_writes: Counter::default(),
            status_conflicts: Counter::default(),
        };
        for &category in crate::error::CATEGORIES {
            drop(metrics.errors.get_or_create(&CategoryLabel { category }));
        }
        for step in STEP_NAMES.into_iter().chain([IMPORTER]) {
            drop(metrics.step_seconds.get_or_create(&StepLabel { step }));
        }
        for kind in KINDS {
            drop(metrics.bytes.get_or_create(&KindLabel { kind }));
        }
        for step in STEP_NAMES.into_iter().chain([IMPORTER, EXPORTER, NO_STEP]) {
            for reason in FAILURE_REASONS {
                drop(
                    metrics
                        .failures
                        .get_or_create(&FailureLabel { step, reason }),
                );
            }
        }
        registry.register(
            "reconcile_seconds",
            "Seconds that one pass over one OSArtifact took",
            metrics.pass_seconds.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Passes that failed and are tried again, by kind of failure",
            metrics.errors.clone(),
        );
        registry.register(
            "step_seconds",
            "Seconds that steps of finished builds took",
            metrics.step_seconds.clone(),
        );
        registry.register(
            "build_seconds",
            "Seconds that successful builds took",
            metrics.build_seconds.clone(),
        );
        registry.register(
            "built_bytes",
            "Bytes of built files, by output",
            metrics.bytes.clone(),
        );
        registry.register(
            "failures",
            "Builds and exporters that failed, by step and reason",
            metrics.failures.clone(),
        );
        registry.register(
            "exporter_seconds",
            "Seconds that exporters took",
            metrics.exporter_seconds.clone(),
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

    /// Counts a build that has just succeeded.
    pub fn built(&self, status: &OSArtifactStatus) {
        for file in &status.artifacts {
            let kind = kind_label(&file.kind);
            let bytes = u64::try_from(file.bytes).unwrap_or_default();
            self.bytes.get_or_create(&KindLabel { kind }).inc_by(bytes);
        }
        let mut whole = 0.0;
        for step in &status.steps {
            if let (Some(start), Some(end)) = (&step.started_at, &step.finished_at) {
                let seconds = end.0.duration_since(start.0).as_secs_f64();
                whole += seconds;
                let step = step_label(&step.name);
                self.step_seconds
                    .get_or_create(&StepLabel { step })
                    .observe(seconds);
            }
        }
        self.build_seconds.observe(whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_there_from_the_start_and_names_of_importers_are_no_labels() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(registry.sub_registry_with_prefix("artifact"));
        let status = crate::testing::status("steps: [{name: my-own-importer, startedAt: '2026-01-01T00:00:00Z', finishedAt: '2026-01-01T00:00:02Z'}]
artifacts: [{file: my.iso, kind: iso, bytes: 12, sha256: ''}]");
        metrics.built(&status);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "artifact_reconcile_errors_total{category=\"request\"} 0",
            "artifact_failures_total{step=\"build-iso\",reason=\"BuildFailed\"} 0",
            "artifact_failures_total{step=\"exporter\",reason=\"ExportFailed\"} 0",
            "artifact_built_bytes_total{kind=\"image\"} 0",
            "artifact_built_bytes_total{kind=\"iso\"} 12",
            "artifact_step_seconds_count{step=\"importer\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
