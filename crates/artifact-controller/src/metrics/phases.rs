//! OSArtifacts by phase, counted when somebody looks: the deletion of the last one brings no pass that would count anew.

use api_types::osartifact::ArtifactPhase;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// Every phase with its label value.
const PHASES: [(ArtifactPhase, &str); 5] = [
    (ArtifactPhase::Pending, "Pending"),
    (ArtifactPhase::Building, "Building"),
    (ArtifactPhase::Exporting, "Exporting"),
    (ArtifactPhase::Ready, "Ready"),
    (ArtifactPhase::Error, "Error"),
];

/// The phase of every OSArtifact that exists.
type Existing = Box<dyn Fn() -> Vec<ArtifactPhase> + Send + Sync>;

/// A collector that counts what `existing` tells.
pub fn phase_collector(existing: Existing) -> Box<dyn Collector> {
    Box::new(PhaseCollector(existing))
}

struct PhaseCollector(Existing);

impl std::fmt::Debug for PhaseCollector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PhaseCollector")
            .finish_non_exhaustive()
    }
}

impl Collector for PhaseCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let existing = (self.0)();
        let mut family = encoder.encode_descriptor(
            "artifacts",
            "OSArtifacts by phase",
            None,
            MetricType::Gauge,
        )?;
        for (phase, label) in PHASES {
            let count = existing.iter().filter(|found| **found == phase).count();
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(family.encode_family(&[("phase", label)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn every_phase_is_counted_also_when_nothing_is_in_it() {
        let mut registry = Registry::default();
        let existing = || {
            vec![
                ArtifactPhase::Error,
                ArtifactPhase::Ready,
                ArtifactPhase::Error,
            ]
        };
        registry.register_collector(phase_collector(Box::new(existing)));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "artifacts{phase=\"Error\"} 2",
            "artifacts{phase=\"Ready\"} 1",
            "artifacts{phase=\"Building\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
