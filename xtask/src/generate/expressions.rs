//! Holds every expression of the dashboards and alerts against the list of metrics: names, labels and label values. Whether
//! an expression is PromQL, Prometheus itself says in another test.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::dashboards;
use super::metrics::{self, Group, Kind, Metric, Values};

/// The alert rules, as Prometheus reads them.
const ALERTS: [(&str, &str); 4] = [
    (
        "nodeop",
        include_str!("../../../charts/kairos-operator/alerts/nodeop.yaml"),
    ),
    (
        "upgrade",
        include_str!("../../../charts/kairos-operator/alerts/upgrade.yaml"),
    ),
    (
        "artifact",
        include_str!("../../../charts/kairos-operator/alerts/artifact.yaml"),
    ),
    (
        "labeller",
        include_str!("../../../charts/kairos-operator/alerts/labeller.yaml"),
    ),
];

/// Labels that collecting adds.
const ADDED: [&str; 4] = ["instance", "job", "namespace", "pod"];

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<RuleGroup>,
}

#[derive(Deserialize)]
struct RuleGroup {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: String,
    expr: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

fn rules(text: &str) -> Vec<Rule> {
    let file: RuleFile = serde_saphyr::from_str(text).unwrap();
    file.groups
        .into_iter()
        .flat_map(|group| group.rules)
        .collect()
}

/// What an expression names: metrics, labels to group by, and labels with the value they must have.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    metrics: BTreeSet<String>,
    labels: BTreeSet<String>,
    values: BTreeSet<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    Text(String),
    Sign(char),
}

/// Names, texts and signs. Numbers, durations and Grafana's variables are none of them.
fn tokens(expression: &str) -> Vec<Token> {
    let mut rest = expression;
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let is_word =
            |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | ':' | '.');
        let length = match first {
            '"' => rest[1..].find('"').unwrap() + 2,
            '$' => {
                1 + rest[1..]
                    .find(|letter| !is_word(letter))
                    .unwrap_or(rest.len() - 1)
            }
            letter if is_word(letter) => rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()),
            letter => letter.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        match first {
            '"' => tokens.push(Token::Text(token[1..length - 1].to_owned())),
            letter if letter.is_ascii_alphabetic() || letter == '_' => {
                tokens.push(Token::Name(token.to_owned()));
            }
            letter if letter.is_whitespace() || letter == '$' || letter.is_ascii_digit() => {}
            letter => tokens.push(Token::Sign(letter)),
        }
        rest = after;
    }
    tokens
}

fn named(expression: &str) -> Named {
    let tokens = tokens(expression);
    let mut named = Named::default();
    let (mut in_braces, mut in_labels) = (false, false);
    let mut label = String::new();
    for (index, token) in tokens.iter().enumerate() {
        let next = tokens.get(index + 1);
        match token {
            Token::Sign('{') => in_braces = true,
            Token::Sign('}') => in_braces = false,
            Token::Sign(')') => in_labels = false,
            Token::Sign(_) => {}
            Token::Text(value) => {
                for value in value.split('|') {
                    named.values.insert((label.clone(), value.to_owned()));
                }
            }
            Token::Name(name) if in_braces => label.clone_from(name),
            Token::Name(name) if in_labels => {
                named.labels.insert(name.clone());
            }
            Token::Name(name) => match &**name {
                "by" | "without" | "on" | "ignoring" | "group_left" | "group_right" => {
                    in_labels = true;
                }
                "and" | "or" | "unless" | "bool" | "offset" => {}
                _ if next == Some(&Token::Sign('(')) => {}
                _ if matches!(next, Some(Token::Name(word)) if word == "by" || word == "without") =>
                    {}
                _ => {
                    named.metrics.insert(name.clone());
                }
            },
        }
    }
    named
}

/// What is wrong with an expression.
fn problems(expression: &str, groups: &[Group]) -> Vec<String> {
    let named = named(expression);
    let all = || {
        groups
            .iter()
            .flat_map(|group| group.metrics.iter().map(move |metric| (group, metric)))
    };
    let mut found: Vec<(&Group, &Metric)> = Vec::new();
    let mut problems = Vec::new();
    for name in &named.metrics {
        let is_it = |metric: &Metric| {
            let parts = ["_bucket", "_sum", "_count"];
            metric.name == *name
                || (metric.kind == Kind::Histogram
                    && parts
                        .iter()
                        .any(|part| name.strip_suffix(part) == Some(&metric.name)))
        };
        match all().find(|(_, metric)| is_it(metric)) {
            Some((_, metric)) if metric.kind == Kind::Histogram && metric.name == *name => {
                problems.push(format!(
                    "{name} is a histogram: name its _bucket, _sum or _count"
                ));
            }
            Some(metric) => found.push(metric),
            None => problems.push(format!("no metric {name}")),
        }
    }
    if named.metrics.is_empty() {
        problems.push("no metric at all".to_owned());
    }
    for label in &named.labels {
        let has = |metric: &Metric| {
            metric.labels.contains_key(label) || (label == "le" && metric.kind == Kind::Histogram)
        };
        if !ADDED.contains(&&**label) && !found.iter().all(|(_, metric)| has(metric)) {
            problems.push(format!("no label {label}"));
        }
    }
    for (label, value) in &named.values {
        let has = |(group, metric): &(&Group, &Metric)| match metric.labels.get(label) {
            Some(Values::All(values)) => values.contains(value),
            Some(Values::Words(words)) => words == "own" && group.controllers.contains(value),
            None => false,
        };
        if !found.iter().any(has) {
            problems.push(format!("no label {label} with the value {value}"));
        }
    }
    problems
}

/// Every expression with where it stands.
fn expressions() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (name, source) in dashboards::SOURCES {
        let dashboard = dashboards::read(name, source).unwrap();
        let panels = dashboard.rows.into_iter().flat_map(|row| row.panels);
        for expression in panels.flat_map(|panel| panel.queries.into_values()) {
            all.push((format!("dashboard {name}"), expression));
        }
    }
    for (name, text) in ALERTS {
        for rule in rules(text) {
            all.push((format!("alert {} of {name}", rule.alert), rule.expr));
        }
    }
    all
}

#[test]
fn names_labels_and_values_are_told_apart() {
    let named = named(
        "sum by (le, step) (rate(a_bucket{step=~\"x|y\", kind!=\"z\"}[$__rate_interval])) / 2.5 > 0 or absent(b)",
    );
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(named.metrics, set(&["a_bucket", "b"]));
    assert_eq!(named.labels, set(&["le", "step"]));
    let value = |label: &str, value: &str| (label.to_owned(), value.to_owned());
    let values = [value("step", "x"), value("step", "y"), value("kind", "z")];
    assert_eq!(named.values, values.into());
}

#[test]
fn what_is_not_in_the_list_is_noticed() {
    let groups = metrics::list().unwrap().groups;
    for (expression, words) in [
        ("sum(nodeop_nodes_activ)", "no metric nodeop_nodes_activ"),
        ("sum by (phase) (nodeop_nodes_active)", "no label phase"),
        ("nodeop_nodes_active{step=\"drained\"}", "the value drained"),
        ("build_info{controller=\"labeller\"}", "the value labeller"),
        ("rate(nodeop_job_seconds[5m])", "is a histogram"),
        ("sum by (le) (nodeop_nodes_active)", "no label le"),
        ("1 > 0", "no metric at all"),
    ] {
        let found = problems(expression, &groups).join("; ");
        assert!(found.contains(words), "{expression}: {found}");
    }
}

#[test]
fn dashboards_and_alerts_name_only_metrics_and_labels_that_there_are() {
    let groups = metrics::list().unwrap().groups;
    let expressions = expressions();
    assert!(
        expressions.len() > 80,
        "only {} expressions",
        expressions.len()
    );
    let wrong: Vec<String> = expressions
        .iter()
        .flat_map(|(place, expression)| {
            let problems = problems(expression, &groups);
            problems
                .into_iter()
                .map(move |problem| format!("{place}: {problem} in {expression}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_metric_is_on_a_dashboard() {
    let groups = metrics::list().unwrap().groups;
    let named: BTreeSet<String> = expressions()
        .iter()
        .filter(|(place, _)| place.starts_with("dashboard"))
        .flat_map(|(_, expression)| named(expression).metrics)
        .collect();
    let is_shown = |metric: &&Metric| named.iter().any(|name| name.starts_with(&*metric.name));
    let metrics = groups.iter().flat_map(|group| &group.metrics);
    let hidden: Vec<&str> = metrics
        .filter(|metric| !is_shown(metric))
        .map(|metric| &*metric.name)
        .collect();
    assert!(hidden.is_empty(), "no panel shows {hidden:?}");
}

#[test]
fn every_alert_says_what_it_means_and_has_a_section_in_its_runbook() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (page, text) in ALERTS {
        let path = format!("docs/runbooks/{page}.md");
        let runbook = std::fs::read_to_string(root.join(&path)).unwrap();
        for rule in rules(text) {
            let said = |key: &str| {
                rule.annotations
                    .get(key)
                    .is_some_and(|text| text.len() > 10)
            };
            assert!(said("summary") && said("description"), "{}", rule.alert);
            assert!(
                ["warning", "critical"].contains(&&*rule.labels["severity"]),
                "{}",
                rule.alert
            );
            let anchor = rule.alert.to_lowercase();
            assert_eq!(rule.annotations["runbook_url"], format!("{path}#{anchor}"));
            let heading = format!("\n## {}\n", rule.alert);
            assert!(
                runbook.contains(&heading),
                "{path} has no section {}",
                rule.alert
            );
        }
    }
}
