//! The list of metrics, `xtask/observe/metrics.yaml`, and the page made of it.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Context as _;
use serde::Deserialize;

/// The list of every metric.
const SOURCE: &str = include_str!("../../observe/metrics.yaml");

/// Metrics by who shows them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    pub(super) groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    title: String,
    pub(super) controllers: Vec<String>,
    pub(super) metrics: Vec<Metric>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metric {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    unit: String,
    #[serde(default)]
    buckets: Vec<f64>,
    pub(super) labels: BTreeMap<String, Values>,
    /// How many there are where not every combination of label values exists.
    series: Option<usize>,
    meaning: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// The values of a label: all of them, or words that say how many there may be.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Values {
    All(Vec<String>),
    Words(String),
}

impl Values {
    fn count(&self) -> anyhow::Result<usize> {
        match self {
            Self::All(values) => Ok(values.len()),
            Self::Words(words) if words == "own" => Ok(1),
            Self::Words(words) => words
                .strip_prefix("at most ")
                .and_then(|rest| rest.split_once(':'))
                .and_then(|(number, _)| number.parse().ok())
                .with_context(|| format!("failed to read the label values \"{words}\": write a list, own, or \"at most 5: what they are\"")),
        }
    }

    fn words(&self) -> String {
        match self {
            Self::All(values) => values.join(", "),
            Self::Words(words) if words == "own" => "the controller's name".to_owned(),
            Self::Words(words) => words.clone(),
        }
    }
}

impl Metric {
    /// The largest number of series of one process.
    fn bound(&self) -> anyhow::Result<usize> {
        let mut count = 1;
        for values in self.labels.values() {
            count *= values.count()?;
        }
        // A histogram is its buckets with +Inf, a sum and a count.
        let each = if self.kind == Kind::Histogram {
            self.buckets.len() + 3
        } else {
            1
        };
        Ok(self.series.unwrap_or(count) * each)
    }
}

/// Reads the list.
pub(super) fn list() -> anyhow::Result<List> {
    serde_saphyr::from_str(SOURCE).context("failed to read xtask/observe/metrics.yaml")
}

/// The page.
pub(super) fn page() -> anyhow::Result<String> {
    let list = list()?;
    let mut text = String::from(
        "<!-- Made by `cargo xtask generate` of xtask/observe/metrics.yaml; edits here are lost. -->\n\
         # Metrics\n\n\
         Each controller shows its metrics on `/metrics` of its admin port, in the OpenMetrics format for who asks for it and in\n\
         Prometheus' text format otherwise. Counters and gauges are there from the start at 0, except where the table says\n\
         otherwise. The number of series is the most that one process shows. A test holds this list against what the controllers\n\
         show, and dashboards and alerts name nothing else.\n",
    );
    for group in &list.groups {
        write!(
            text,
            "\n## {}\n\nShown by: {}.\n\n",
            group.title,
            group.controllers.join(", ")
        )?;
        text.push_str("| metric | type | unit | labels | series | meaning |\n| --- | --- | --- | --- | --- | --- |\n");
        for metric in &group.metrics {
            let labels: Vec<String> = metric
                .labels
                .iter()
                .map(|(name, values)| format!("`{name}`: {}", values.words()))
                .collect();
            let kind = format!("{:?}", metric.kind).to_lowercase();
            let unit = if metric.unit.is_empty() {
                "-"
            } else {
                &metric.unit
            };
            let labels = if labels.is_empty() {
                "-".to_owned()
            } else {
                labels.join("; ")
            };
            writeln!(
                text,
                "| `{}` | {kind} | {unit} | {labels} | {} | {} |",
                metric.name,
                metric
                    .bound()
                    .with_context(|| format!("metric {}", metric.name))?,
                metric.meaning.trim()
            )?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_counts_label_values_and_buckets() {
        let metric: Metric = serde_saphyr::from_str(
            "{name: a_seconds, type: histogram, unit: seconds, buckets: [1, 2], labels: {step: [a, b], version: 'at most 3: x'}, \
             meaning: m}",
        )
        .unwrap();
        assert_eq!(metric.bound().unwrap(), 2 * 3 * 5);
    }

    #[test]
    fn values_that_bound_nothing_are_refused() {
        let metric: Metric = serde_saphyr::from_str(
            "{name: a, type: gauge, unit: '', labels: {node: any name}, meaning: m}",
        )
        .unwrap();
        assert!(metric.bound().is_err());
    }

    #[test]
    fn names_say_what_they_count_and_exist_once() {
        let list = list().unwrap();
        let metrics: Vec<&Metric> = list
            .groups
            .iter()
            .flat_map(|group| &group.metrics)
            .collect();
        let names: std::collections::BTreeSet<&str> =
            metrics.iter().map(|metric| &*metric.name).collect();
        assert_eq!(names.len(), metrics.len());
        for metric in metrics {
            let is_counter = metric.kind == Kind::Counter;
            assert_eq!(
                metric.name.ends_with("_total"),
                is_counter,
                "{}",
                metric.name
            );
            let in_seconds = metric.unit == "seconds";
            assert_eq!(
                metric.name.contains("_seconds"),
                in_seconds,
                "{}",
                metric.name
            );
        }
    }
}
