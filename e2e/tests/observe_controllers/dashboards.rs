//! The dashboards as the chart ships them, asked of a real Prometheus.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::prometheus::Prometheus;

const DASHBOARDS: [(&str, &str); 5] = [
    (
        "overview",
        include_str!("../../../charts/kairos-operator/dashboards/overview.json"),
    ),
    (
        "nodeop",
        include_str!("../../../charts/kairos-operator/dashboards/nodeop.json"),
    ),
    (
        "upgrade",
        include_str!("../../../charts/kairos-operator/dashboards/upgrade.json"),
    ),
    (
        "artifact",
        include_str!("../../../charts/kairos-operator/dashboards/artifact.json"),
    ),
    (
        "labeller",
        include_str!("../../../charts/kairos-operator/dashboards/labeller.json"),
    ),
];

/// Grafana puts at least four scrape intervals there; here they are one second apart.
const RATE_INTERVAL: &str = "15s";

struct Query {
    dashboard: &'static str,
    panel: Value,
    legend: String,
    expression: String,
}

fn queries() -> Vec<Query> {
    let mut queries = Vec::new();
    for (dashboard, text) in DASHBOARDS {
        let value: Value = serde_json::from_str(text).unwrap();
        for panel in value["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expression = target["expr"].as_str().unwrap();
                queries.push(Query {
                    dashboard,
                    panel: panel.clone(),
                    legend: target["legendFormat"].as_str().unwrap().to_owned(),
                    expression: expression.replace("$__rate_interval", RATE_INTERVAL),
                });
            }
        }
    }
    queries
}

/// Every query that gives nothing, or nothing that is a number.
pub(crate) async fn panels_without_data(prometheus: &Prometheus) -> Vec<String> {
    let queries = queries();
    assert!(queries.len() > 60, "only {} queries", queries.len());
    let mut empty = Vec::new();
    for query in queries {
        let series = prometheus.query(&query.expression).await;
        let number = |series: &Value| series["value"][1].as_str()?.parse::<f64>().ok();
        let is_number = |series: &Value| number(series).is_some_and(|value| !value.is_nan());
        if !series.iter().any(is_number) {
            let title = &query.panel["title"];
            empty.push(format!("{} {title}: {}", query.dashboard, query.expression));
        }
    }
    empty
}

/// Writes what each panel would draw.
pub(crate) async fn write_values(prometheus: &Prometheus, begun: SystemTime, folder: &Path) {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let (from, to) = (seconds(begun), seconds(SystemTime::now()));
    std::fs::create_dir_all(folder).unwrap();
    for (name, _) in DASHBOARDS {
        let mut drawn = Vec::new();
        for query in queries()
            .into_iter()
            .filter(|query| query.dashboard == name)
        {
            let series = prometheus.query_range(&query.expression, from, to).await;
            drawn.push(json!({
                "panel": query.panel["title"], "unit": query.panel["fieldConfig"]["defaults"]["unit"],
                "place": query.panel["gridPos"], "kind": query.panel["type"], "legend": query.legend, "series": series,
            }));
        }
        let text = serde_json::to_string(&drawn).unwrap();
        std::fs::write(folder.join(format!("{name}.json")), text).unwrap();
    }
}
