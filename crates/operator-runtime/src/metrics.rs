//! The registry behind /metrics: what the process is and uses, leadership, Events; and the controller's own metrics.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric,
};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::sync::{Arc, Mutex, PoisonError};

mod classic;

/// All metrics of one process. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    /// Leadership of this process.
    pub(crate) leadership: LeadershipMetrics,
    /// Events published.
    pub(crate) events: Family<EventLabels, Counter>,
}

/// Leadership of this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeadershipMetrics {
    /// 1 while this process leads.
    pub(crate) leading: Gauge,
    /// Times this process began or ceased to lead.
    pub(crate) transitions: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct EventLabels {
    pub(crate) outcome: EventOutcome,
}

/// What became of an Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(
    non_camel_case_types,
    reason = "the derive takes label values from the variant names"
)]
pub(crate) enum EventOutcome {
    created,
    repeated,
    failed,
}

impl Metrics {
    /// A registry with the metrics of the chassis, each present from the start. The label `controller` tells whose they
    /// are, however they are collected.
    pub fn new(name: &'static str, version: &'static str) -> Self {
        let mut whole = Registry::default();
        let registry = whole.sub_registry_with_label(("controller".into(), name.into()));
        registry.register(
            "build",
            "Version of this binary",
            Info::new([("version", version)]),
        );
        registry.register_collector(Box::new(Process));

        let leadership = LeadershipMetrics::default();
        registry.register(
            "leader_election_leading",
            "1 while this process leads, else 0",
            leadership.leading.clone(),
        );
        registry.register(
            "leader_election_transitions",
            "Times this process began or ceased to lead",
            leadership.transitions.clone(),
        );

        let events = Family::<EventLabels, Counter>::default();
        for outcome in [
            EventOutcome::created,
            EventOutcome::repeated,
            EventOutcome::failed,
        ] {
            drop(events.get_or_create(&EventLabels { outcome }));
        }
        registry.register(
            "kubernetes_events",
            "Events published, by outcome: created, repeated (it existed already) or failed",
            events.clone(),
        );
        Self {
            registry: Arc::new(Mutex::new(whole)),
            leadership,
            events,
        }
    }

    /// Lets the controller register its metrics; each name gets the prefix and an underscore before it.
    pub fn register<T>(&self, prefix: &str, register: impl FnOnce(&mut Registry) -> T) -> T {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        register(registry.sub_registry_with_prefix(prefix))
    }

    /// All metrics in the `OpenMetrics` text format.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }

    /// All metrics in Prometheus' own text format, for who does not ask for `OpenMetrics`.
    pub fn encode_classic(&self) -> Result<String, std::fmt::Error> {
        self.encode().map(|text| classic::from_open_metrics(&text))
    }
}

/// Reads what the process uses from /proc at each scrape; what cannot be read is left out.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        if let Some(bytes) = resident_bytes(&read("/proc/self/status")) {
            let gauge = ConstGauge::new(bytes);
            gauge.encode(encoder.encode_descriptor(
                "process_resident_memory_bytes",
                "Memory of this process that is in RAM",
                None,
                gauge.metric_type(),
            )?)?;
        }
        if let Some(seconds) = cpu_seconds(&read("/proc/self/stat")) {
            let counter = ConstCounter::new(seconds);
            counter.encode(encoder.encode_descriptor(
                "process_cpu_seconds",
                "CPU time this process has used, in user and kernel mode",
                None,
                counter.metric_type(),
            )?)?;
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            let gauge = ConstGauge::new(u64::try_from(files.count()).unwrap_or(u64::MAX));
            gauge.encode(encoder.encode_descriptor(
                "process_open_fds",
                "File descriptors this process has open",
                None,
                gauge.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

/// `VmRSS` of /proc/PID/status, which is in KiB whatever the page size.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// utime and stime of /proc/PID/stat, which Linux gives in hundredths of a second (`USER_HZ`) on all our platforms.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field, the program's name in parentheses, may contain blanks.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u32>);
    let user = times.next()?.ok()?;
    let kernel = times.next()?.ok()?;
    Some((f64::from(user) + f64::from(kernel)) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_of_the_chassis_are_there_from_the_start() {
        let text = Metrics::new("sample-controller", "1.2.3").encode().unwrap();
        for line in [
            "build_info{controller=\"sample-controller\",version=\"1.2.3\"} 1",
            "leader_election_leading{controller=\"sample-controller\"} 0",
            "leader_election_transitions_total{controller=\"sample-controller\"} 0",
            "kubernetes_events_total{controller=\"sample-controller\",outcome=\"created\"} 0",
            "kubernetes_events_total{controller=\"sample-controller\",outcome=\"repeated\"} 0",
            "kubernetes_events_total{controller=\"sample-controller\",outcome=\"failed\"} 0",
            "# EOF",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is missing in\n{text}"
            );
        }
    }

    #[test]
    fn the_process_shows_what_it_uses() {
        let text = Metrics::new("sample-controller", "1.2.3").encode().unwrap();
        for name in [
            "process_resident_memory_bytes{controller=\"sample-controller\"} ",
            "process_cpu_seconds_total{controller=\"sample-controller\"} ",
            "process_open_fds{controller=\"sample-controller\"} ",
        ] {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            let value: f64 = line[name.len()..].parse().unwrap();
            assert!(value >= 0.0, "{line}");
        }
    }

    #[test]
    fn a_controllers_metrics_have_its_prefix() {
        let metrics = Metrics::new("sample-controller", "1.2.3");
        let counter = metrics.register("sample", |registry| {
            let counter = Counter::<u64>::default();
            registry.register("results", "Results", counter.clone());
            counter
        });
        counter.inc();
        let text = metrics.encode().unwrap();
        assert!(text.contains("\nsample_results_total 1\n"), "{text}");
    }

    #[test]
    fn a_program_name_with_blanks_does_not_shift_the_fields() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 100 1000 10";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(
            resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"),
            Some(2_097_152)
        );
    }
}
