//! What a controller shows on /metrics against `xtask/observe/metrics.yaml`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use e2e::assets::debian_program;
use serde::Deserialize;

const LIST: &str = include_str!("../../../xtask/observe/metrics.yaml");

#[derive(Deserialize)]
struct List {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    controllers: Vec<String>,
    metrics: Vec<Metric>,
}

#[derive(Clone, Deserialize)]
struct Metric {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    buckets: Vec<f64>,
    labels: BTreeMap<String, Values>,
    series: Option<usize>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Values {
    All(Vec<String>),
    Words(String),
}

impl Metric {
    /// Whether its series are known before anything has happened. Others are not shown before their first one.
    fn is_known(&self) -> bool {
        self.labels.values().all(|values| match values {
            Values::All(_) => true,
            Values::Words(words) => words == "own" || words.starts_with("at most 1:"),
        })
    }
}

type Labels = BTreeMap<String, String>;

/// What /metrics shows, by the name of the family as the list has it.
#[derive(Default)]
struct Shown {
    kinds: BTreeMap<String, String>,
    /// Sets of labels, without those of buckets.
    series: BTreeMap<String, BTreeSet<Labels>>,
    buckets: BTreeMap<String, BTreeSet<String>>,
    values: Vec<(String, f64)>,
}

fn listed(controller: &str) -> BTreeMap<String, Metric> {
    let list: List = serde_saphyr::from_str(LIST).unwrap();
    let groups = list.groups.into_iter();
    let own = groups.filter(|group| group.controllers.iter().any(|name| name == controller));
    own.flat_map(|group| group.metrics)
        .map(|metric| (metric.name.clone(), metric))
        .collect()
}

/// Reads the `OpenMetrics` text.
fn read(text: &str) -> Shown {
    let mut shown = Shown::default();
    let mut family = (String::new(), String::new());
    for line in text.lines() {
        if let Some(words) = line.strip_prefix("# TYPE ") {
            let (name, kind) = words.split_once(' ').unwrap();
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            family = (format!("{name}{suffix}"), kind.to_owned());
            shown.kinds.insert(family.0.clone(), family.1.clone());
        }
        if line.starts_with('#') {
            continue;
        }
        let (name, mut labels, value) = sample(line);
        let of_family = name
            .strip_prefix(&*family.0)
            .unwrap_or_else(|| panic!("{name} belongs to no family"));
        if of_family == "_bucket" {
            let bound = labels.remove("le").unwrap();
            let buckets = shown.buckets.entry(family.0.clone()).or_default();
            buckets.insert(bound);
        }
        shown
            .series
            .entry(family.0.clone())
            .or_default()
            .insert(labels);
        shown.values.push((line.to_owned(), value));
    }
    shown
}

/// Name, labels and value of a line. No value of ours holds a comma, a quote or a brace.
fn sample(line: &str) -> (String, Labels, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').unwrap();
    let labels = labels
        .split(',')
        .filter(|label| !label.is_empty())
        .map(|label| {
            let (name, value) = label.split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('"').to_owned())
        });
    (name.to_owned(), labels.collect(), value.parse().unwrap())
}

/// Before anything has happened: exactly the families of the list, every series that can be known beforehand, and
/// counters at 0 where nothing can have been counted yet.
pub(crate) fn check_at_the_start(controller: &str, text: &str) {
    let (listed, shown) = (listed(controller), read(text));
    let known = listed.iter().filter(|(_, metric)| metric.is_known());
    let known: BTreeSet<&String> = known.map(|(name, _)| name).collect();
    let shown_names: BTreeSet<&String> = shown.kinds.keys().collect();
    assert_eq!(
        shown_names, known,
        "{controller}: the list and /metrics differ"
    );
    check_families(controller, &listed, &shown);
    for (name, metric) in &listed {
        if !metric.is_known() {
            continue;
        }
        let all: usize = metric
            .labels
            .values()
            .map(|values| values_of(values).max(1))
            .product();
        let there = shown.series.get(name).map_or(0, BTreeSet::len);
        assert_eq!(
            there,
            metric.series.unwrap_or(all),
            "{controller}: {name} does not have all its series from the start"
        );
    }
    for (line, value) in &shown.values {
        let may_count = [
            "leader_election_",
            "process_",
            "build_info",
            "kubernetes_events",
        ];
        assert!(
            *value == 0.0 || may_count.iter().any(|start| line.starts_with(start)),
            "{controller}: {line}, although nothing has happened"
        );
    }
}

/// After work: nothing that is not in the list, and no more series than it says.
pub(crate) fn check_bounds(controller: &str, text: &str) {
    let (listed, shown) = (listed(controller), read(text));
    for name in shown.kinds.keys() {
        assert!(
            listed.contains_key(name),
            "{controller}: {name} is not in the list"
        );
    }
    check_families(controller, &listed, &shown);
}

fn values_of(values: &Values) -> usize {
    match values {
        Values::All(values) => values.len(),
        Values::Words(words) => words
            .strip_prefix("at most ")
            .map_or(1, |rest| rest.split_once(':').unwrap().0.parse().unwrap()),
    }
}

fn check_families(controller: &str, listed: &BTreeMap<String, Metric>, shown: &Shown) {
    for (name, metric) in listed {
        let Some(kind) = shown.kinds.get(name) else {
            assert!(!metric.is_known(), "{controller}: {name} is not shown");
            continue;
        };
        assert_eq!(kind, &metric.kind, "{controller}: type of {name}");
        let bounds = shown.buckets.get(name).cloned().unwrap_or_default();
        let bounds: Vec<f64> = bounds
            .iter()
            .filter(|bound| *bound != "+Inf")
            .map(|bound| bound.parse().unwrap())
            .collect();
        let mut sorted = bounds;
        sorted.sort_by(f64::total_cmp);
        if metric.kind == "histogram" {
            assert_eq!(sorted, metric.buckets, "{controller}: buckets of {name}");
        }
        let series = shown.series.get(name).cloned().unwrap_or_default();
        let most: usize = metric.labels.values().map(values_of).product();
        let most = metric.series.unwrap_or(most).max(1);
        assert!(
            series.len() <= most,
            "{controller}: {name} has {} series",
            series.len()
        );
        for labels in &series {
            let names: Vec<&String> = labels.keys().collect();
            let expected: Vec<&String> = metric.labels.keys().collect();
            assert_eq!(names, expected, "{controller}: labels of {name}");
            for (label, value) in labels {
                let fits = match &metric.labels[label] {
                    Values::All(values) => values.contains(value),
                    Values::Words(words) if words == "own" => value == controller,
                    Values::Words(_) => true,
                };
                assert!(fits, "{controller}: {name} has {label}={value}");
            }
        }
    }
}

/// Prometheus' own lint of the text format.
pub(crate) fn check_lint(controller: &str, text: &str) {
    let program = debian_program("prometheus", "promtool").unwrap();
    let mut child = Command::new(program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    let words = String::from_utf8_lossy(&words);
    assert!(
        output.status.success() && words.trim().is_empty(),
        "promtool check metrics of {controller}:\n{words}"
    );
}
