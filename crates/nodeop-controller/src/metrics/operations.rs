//! NodeOps by phase and their nodes by step, counted when somebody looks: what was deleted meanwhile is gone from the count,
//! and the age of what is stuck grows without a pass.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use api_types::nodeop::{NodeOpStatus, Phase};
use k8s_openapi::jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{STEPS, step_label};

/// Every phase with its label value.
const PHASES: [(Phase, &str); 4] = [
    (Phase::Pending, "Pending"),
    (Phase::Running, "Running"),
    (Phase::Completed, "Completed"),
    (Phase::Failed, "Failed"),
];

/// Entries beyond twice the number of NodeOps that may stay before those of deleted ones are dropped.
const SPARE: usize = 64;

/// The UIDs of the NodeOps that exist.
type Existing = Box<dyn Fn() -> HashSet<String> + Send + Sync>;

/// Each NodeOp by UID as this process saw it last. Clones share it.
#[derive(Clone, Default)]
pub struct Operations(Arc<Shared>);

#[derive(Default)]
struct Shared {
    seen: Mutex<HashMap<String, Seen>>,
    existing: OnceLock<Existing>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    phase: Phase,
    steps: BTreeMap<&'static str, Nodes>,
}

/// Nodes in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Nodes {
    count: i64,
    oldest: Option<Timestamp>,
}

impl Nodes {
    fn add(&mut self, count: i64, since: Option<Timestamp>) {
        self.count += count;
        self.oldest = [self.oldest, since].into_iter().flatten().min();
    }
}

impl Operations {
    /// Notes where a NodeOp and its nodes stand.
    pub fn note(&self, uid: &str, status: Option<&NodeOpStatus>) {
        let mut seen = Seen::default();
        if let Some(status) = status {
            seen.phase = status.phase.unwrap_or_default();
            let open = status.node_statuses.values();
            for entry in open.filter(|entry| !entry.phase.is_terminal()) {
                let nodes = seen.steps.entry(step_label(entry.step)).or_default();
                nodes.add(1, entry.since.as_ref().map(|since| since.0));
            }
        }
        self.lock().insert(uid.to_owned(), seen);
    }

    /// Forgets those that are gone, where nobody looks and they would add up. `known` is how many there are.
    pub fn prune(&self, known: usize, uids: impl FnOnce() -> HashSet<String>) {
        let mut seen = self.lock();
        if seen.len() > 2 * known + SPARE {
            let uids = uids();
            seen.retain(|uid, _| uids.contains(uid));
        }
    }

    /// From now on only those of them count that this names, and those that have not been looked at yet count as Pending.
    pub fn exist(&self, existing: Existing) {
        // Said once, when the process begins to lead.
        drop(self.0.existing.set(existing));
    }

    /// A collector that counts them.
    pub fn collector(&self) -> Box<dyn Collector> {
        Box::new(OperationCollector(self.clone()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Seen>> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> (BTreeMap<&'static str, i64>, BTreeMap<&'static str, Nodes>) {
        let existing = self.0.existing.get().map(|existing| existing());
        let existing = existing.unwrap_or_default();
        let mut seen = self.lock();
        seen.retain(|uid, _| existing.contains(uid));
        let phases = PHASES.map(|(phase, label)| {
            let has =
                |uid: &&String| seen.get(*uid).map_or(Phase::default(), |seen| seen.phase) == phase;
            let count = existing.iter().filter(has).count();
            (label, i64::try_from(count).unwrap_or(i64::MAX))
        });
        let mut steps: BTreeMap<&'static str, Nodes> =
            STEPS.map(|step| (step, Nodes::default())).into();
        for (step, nodes) in seen.values().flat_map(|seen| &seen.steps) {
            steps
                .entry(step)
                .or_default()
                .add(nodes.count, nodes.oldest);
        }
        (phases.into(), steps)
    }
}

impl std::fmt::Debug for Operations {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Operations").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct OperationCollector(Operations);

impl Collector for OperationCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let (phases, steps) = self.0.count();
        let now = Timestamp::now();
        let mut family =
            encoder.encode_descriptor("nodeops", "NodeOps by phase", None, MetricType::Gauge)?;
        for (phase, count) in phases {
            ConstGauge::new(count).encode(family.encode_family(&[("phase", phase)])?)?;
        }
        let mut family = encoder.encode_descriptor(
            "nodes_active",
            "Nodes that are being worked on or waited for, by step",
            None,
            MetricType::Gauge,
        )?;
        for (step, nodes) in &steps {
            ConstGauge::new(nodes.count).encode(family.encode_family(&[("step", *step)])?)?;
        }
        let mut family = encoder.encode_descriptor(
            "nodes_oldest_seconds",
            "Seconds that the node which is longest in this step has been in it; 0 where no node is",
            None,
            MetricType::Gauge,
        )?;
        for (step, nodes) in &steps {
            let age = nodes
                .oldest
                .map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64());
            ConstGauge::new(age.max(0.0)).encode(family.encode_family(&[("step", *step)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use api_types::nodeop::NodeStep;
    use k8s_openapi::jiff::ToSpan as _;
    use prometheus_client::registry::Registry;

    use super::*;

    const ALL_STEPS: [NodeStep; 11] = [
        NodeStep::Reserved,
        NodeStep::WaitingForReady,
        NodeStep::NodeGone,
        NodeStep::Preflight,
        NodeStep::Claimed,
        NodeStep::Draining,
        NodeStep::Starting,
        NodeStep::Running,
        NodeStep::AwaitingReboot,
        NodeStep::Rebooting,
        NodeStep::Verifying,
    ];

    fn status(yaml: &str) -> NodeOpStatus {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn text(operations: &Operations) -> String {
        let mut registry = Registry::default();
        registry.register_collector(operations.collector());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    fn value(text: &str, series: &str) -> f64 {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is missing in\n{text}"))
            .parse()
            .unwrap()
    }

    #[test]
    fn nodes_are_counted_by_step_over_all_operations_and_the_oldest_is_told() {
        let operations = Operations::default();
        let since = Timestamp::now() - 90.minutes();
        let later = Timestamp::now() - 1.minutes();
        operations.note(
            "a",
            Some(&status(&format!(
                "phase: Running\nnodeStatuses:\n  n1: {{phase: Running, step: Draining, since: '{later}'}}\n  \
                 n2: {{phase: Completed}}\n  n3: {{phase: Running}}"
            ))),
        );
        operations.note(
            "b",
            Some(&status(&format!(
                "phase: Running\nnodeStatuses: {{n4: {{phase: Running, step: Draining, since: '{since}'}}}}"
            ))),
        );
        operations.note("gone", Some(&status("phase: Failed")));
        operations.exist(Box::new(|| ["a", "b", "new"].map(str::to_owned).into()));
        let text = text(&operations);
        for (series, expected) in [
            ("nodeops{phase=\"Running\"}", 2.0),
            ("nodeops{phase=\"Pending\"}", 1.0),
            ("nodeops{phase=\"Failed\"}", 0.0),
            ("nodes_active{step=\"draining\"}", 2.0),
            ("nodes_active{step=\"running\"}", 1.0),
            ("nodes_active{step=\"rebooting\"}", 0.0),
            ("nodes_oldest_seconds{step=\"rebooting\"}", 0.0),
            ("nodes_oldest_seconds{step=\"running\"}", 0.0),
        ] {
            assert!(
                (value(&text, series) - expected).abs() < 0.1,
                "{series} in\n{text}"
            );
        }
        let age = value(&text, "nodes_oldest_seconds{step=\"draining\"}");
        assert!((5400.0..5410.0).contains(&age), "{age}");
    }

    #[test]
    fn what_is_gone_is_forgotten_also_where_nobody_looks() {
        let operations = Operations::default();
        for index in 0..1000 {
            operations.note(&format!("uid-{index}"), None);
            operations.prune(1, || ["uid-0".to_owned()].into());
        }
        assert!(operations.lock().len() <= 2 + SPARE);
        assert!(operations.lock().contains_key("uid-0"));
    }

    #[test]
    fn a_process_that_does_not_lead_counts_nothing_and_shows_every_series() {
        let text = text(&Operations::default());
        for (_, phase) in PHASES {
            let count = value(&text, &format!("nodeops{{phase=\"{phase}\"}}"));
            assert!(count.abs() < 0.1, "{phase}");
        }
        for step in ALL_STEPS.map(|step| step_label(Some(step))) {
            assert!(STEPS.contains(&step));
            value(&text, &format!("nodes_active{{step=\"{step}\"}}"));
            value(&text, &format!("nodes_oldest_seconds{{step=\"{step}\"}}"));
        }
    }
}
