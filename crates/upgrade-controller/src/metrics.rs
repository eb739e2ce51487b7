//! What this controller counts. Labels have a fixed set of values, versions apart, of which only so many are told apart;
//! counters are there from the start at 0.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

mod phases;

pub use phases::Phases;

/// Upper bounds of the pass duration's buckets, in seconds.
const PASS_BUCKETS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0, 30.0];
/// Upper bounds of the buckets of one node's upgrade, in seconds.
const NODE_BUCKETS: [f64; 10] = [
    15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0,
];
/// Versions that are told apart; later ones count as [`OTHER_VERSIONS`].
const VERSIONS: usize = 20;
/// Label of versions past that number.
const OTHER_VERSIONS: &str = "other";
/// The longest version that is a label value, in bytes.
const VERSION_BYTES: usize = 64;

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum NodeResult {
    /// It has the new system.
    Upgraded,
    /// There was nothing to do.
    Skipped,
    /// It failed; its status and an Event say why.
    Failed,
}

/// Why a node ended as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum NodeReason {
    /// Upgraded: everything went as it should.
    Done,
    /// Skipped: it has the image's version.
    UpToDate,
    /// Skipped: it is no Kairos.
    NotKairos,
    /// Failed: it was not Ready for too long.
    NotReady,
    /// Failed: the preflight, for example because the image cannot be pulled.
    Preflight,
    /// Failed: its Pods could not be evicted.
    Drain,
    /// Failed: the upgrade itself.
    Upgrade,
    /// Failed: it did not come back from its reboot.
    Reboot,
    /// Failed: it came back with the old system.
    FellBack,
    /// Failed: it came back with another version.
    WrongVersion,
    /// Failed: the verification, otherwise.
    Verify,
    /// Anything else.
    Other,
}

impl NodeResult {
    /// The reasons that this result can have.
    fn reasons(self) -> &'static [NodeReason] {
        match self {
            Self::Upgraded => &[NodeReason::Done],
            Self::Skipped => &[
                NodeReason::UpToDate,
                NodeReason::NotKairos,
                NodeReason::Other,
            ],
            Self::Failed => &[
                NodeReason::NotReady,
                NodeReason::Preflight,
                NodeReason::Drain,
                NodeReason::Upgrade,
                NodeReason::Reboot,
                NodeReason::FellBack,
                NodeReason::WrongVersion,
                NodeReason::Verify,
                NodeReason::Other,
            ],
        }
    }
}

/// Labels of [`Metrics::nodes_ended`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct NodeLabels {
    /// How the node ended.
    pub result: NodeResult,
    /// And why.
    pub reason: NodeReason,
}

/// Label of [`Metrics::errors`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CategoryLabel {
    /// Kind of failure, from [`crate::error::Error::category`].
    pub category: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabel {
    version: String,
}

/// The counters of this controller.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Seconds that one pass over one NodeOpUpgrade took.
    pub pass_seconds: Histogram,
    /// Passes that failed and are tried again.
    pub errors: Family<CategoryLabel, Counter>,
    /// NodeOps created.
    pub node_ops_created: Counter,
    /// Nodes that ended, by result and reason.
    pub nodes_ended: Family<NodeLabels, Counter>,
    /// Seconds from a node's start to its end, of nodes that were upgraded.
    pub node_seconds: Histogram,
    /// Status writes that the API server accepted.
    pub status_writes: Counter,
    /// Status writes that met a newer object and were decided anew.
    pub status_conflicts: Counter,
    versions: Family<VersionLabel, Counter>,
    known_versions: Arc<Mutex<BTreeSet<String>>>,
}

impl Metrics {
    /// Registers all metrics of this controller.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            pass_seconds: Histogram::new(PASS_BUCKETS),
            errors: Family::default(),
            node_ops_created: Counter::default(),
            nodes_ended: Family::default(),
            node_seconds: Histogram::new(NODE_BUCKETS),
            status_writes: Counter::default(),
            status_conflicts: Counter::default(),
            versions: Family::default(),
            known_versions: Arc::default(),
        };
        for result in [
            NodeResult::Upgraded,
            NodeResult::Skipped,
            NodeResult::Failed,
        ] {
            for &reason in result.reasons() {
                let labels = NodeLabels { result, reason };
                drop(metrics.nodes_ended.get_or_create(&labels));
            }
        }
        for &category in crate::error::CATEGORIES {
            drop(metrics.errors.get_or_create(&CategoryLabel { category }));
        }
        registry.register(
            "reconcile_seconds",
            "Seconds that one pass over one NodeOpUpgrade took",
            metrics.pass_seconds.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Passes that failed and are tried again, by kind of failure",
            metrics.errors.clone(),
        );
        registry.register(
            "nodeops_created",
            "NodeOps created",
            metrics.node_ops_created.clone(),
        );
        registry.register(
            "nodes_ended",
            "Nodes that ended, by result and reason",
            metrics.nodes_ended.clone(),
        );
        registry.register(
            "node_seconds",
            "Seconds from a node's start to its end, of nodes that were upgraded while this process ran",
            metrics.node_seconds.clone(),
        );
        registry.register(
            "versions_seen",
            "Nodes that ended at a version, by that version; past twenty versions the rest counts as other",
            metrics.versions.clone(),
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

    /// Counts the version that a node's message names, if it names one.
    pub fn count_version(&self, message: &str) {
        let Some(version) = version_in(message) else {
            return;
        };
        let version = &version[..version.floor_char_boundary(VERSION_BYTES)];
        let mut known = self
            .known_versions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let version = if known.contains(version) || known.len() < VERSIONS {
            known.insert(version.to_owned());
            version
        } else {
            OTHER_VERSIONS
        };
        self.versions
            .get_or_create(&VersionLabel {
                version: version.to_owned(),
            })
            .inc();
    }
}

/// The version in the script's words «already at VERSION» and «at VERSION», whatever stands before them.
fn version_in(message: &str) -> Option<&str> {
    let (before, version) = message.split_once("at ")?;
    let is_script = before.is_empty() || before.ends_with(' ');
    let end = version.find([' ', ';', ',']).unwrap_or(version.len());
    let version = &version[..end];
    let is_version = version.chars().any(|character| character.is_ascii_digit());
    (is_script && is_version).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn counters_are_there_from_the_start() {
        let mut registry = Registry::default();
        let _metrics = Metrics::register(registry.sub_registry_with_prefix("upgrade"));
        let text = text(&registry);
        for line in [
            "upgrade_nodeops_created_total 0",
            "upgrade_nodes_ended_total{result=\"Failed\",reason=\"FellBack\"} 0",
            "upgrade_nodes_ended_total{result=\"Skipped\",reason=\"UpToDate\"} 0",
            "upgrade_nodes_ended_total{result=\"Upgraded\",reason=\"Done\"} 0",
            "upgrade_reconcile_errors_total{category=\"request\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn the_version_is_read_from_the_scripts_words() {
        for (message, version) in [
            (
                "Skipped: already at v3.4.2-k3sv1.32.4+k3s1",
                Some("v3.4.2-k3sv1.32.4+k3s1"),
            ),
            ("Skipped: already at v2 (booted passive)", Some("v2")),
            ("at v2; the boot state is unknown", Some("v2")),
            ("at an unknown version", None),
            ("Skipped: not a Kairos node", None),
            ("", None),
        ] {
            assert_eq!(version_in(message), version, "{message}");
        }
    }

    #[test]
    fn the_number_of_versions_is_bounded() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        for number in 0..100 {
            metrics.count_version(&format!("at v{number}"));
        }
        metrics.count_version("at v0");
        let text = text(&registry);
        assert_eq!(text.matches("versions_seen_total{").count(), VERSIONS + 1);
        assert!(
            text.contains("versions_seen_total{version=\"other\"} 80"),
            "{text}"
        );
        assert!(
            text.contains("versions_seen_total{version=\"v0\"} 2"),
            "{text}"
        );
    }
}
