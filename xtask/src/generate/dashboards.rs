//! Grafana dashboards, made of `xtask/observe/dashboards/*.yaml`: what they show is written there, how Grafana wants it said
//! stands here.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

/// Name and source of each dashboard.
pub(super) const SOURCES: [(&str, &str); 5] = [
    (
        "overview",
        include_str!("../../observe/dashboards/overview.yaml"),
    ),
    (
        "nodeop",
        include_str!("../../observe/dashboards/nodeop.yaml"),
    ),
    (
        "upgrade",
        include_str!("../../observe/dashboards/upgrade.yaml"),
    ),
    (
        "artifact",
        include_str!("../../observe/dashboards/artifact.yaml"),
    ),
    (
        "labeller",
        include_str!("../../observe/dashboards/labeller.yaml"),
    ),
];

/// The width of a page, in Grafana's columns.
const COLUMNS: u32 = 24;
/// A label by which our dashboards find each other.
const TAG: &str = "kairos-operator";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dashboard {
    title: String,
    uid: String,
    description: String,
    pub(super) rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    title: String,
    pub(super) panels: Vec<Panel>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Panel {
    title: String,
    description: String,
    /// As Grafana names it: `short`, `s`, `bytes`, `ops` and so on.
    unit: String,
    width: u32,
    #[serde(default)]
    kind: Kind,
    /// Expressions by legend.
    pub(super) queries: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Timeseries,
    Stat,
}

impl Kind {
    fn height(self) -> u32 {
        match self {
            Self::Timeseries => 8,
            Self::Stat => 4,
        }
    }
}

/// Reads a source.
pub(super) fn read(name: &str, source: &str) -> anyhow::Result<Dashboard> {
    serde_saphyr::from_str(source)
        .with_context(|| format!("failed to read xtask/observe/dashboards/{name}.yaml"))
}

/// The JSON that Grafana imports.
pub(super) fn json(name: &str, source: &str) -> anyhow::Result<String> {
    let dashboard = read(name, source)?;
    let mut page = Page::default();
    for row in &dashboard.rows {
        page.row(row)?;
    }
    let value = json!({
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": [TAG],
        "schemaVersion": 39,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [{
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
        }]},
        "links": [{
            "type": "dashboards", "title": "Kairos operator", "tags": [TAG], "asDropdown": true, "includeVars": true,
            "keepTime": true,
        }],
        "panels": page.panels,
    });
    let text = serde_json::to_string_pretty(&value).context("failed to write a dashboard")?;
    Ok(text + "\n")
}

/// Places panels from left to right and from top to bottom.
#[derive(Default)]
struct Page {
    panels: Vec<Value>,
    y: u32,
}

impl Page {
    fn row(&mut self, row: &Row) -> anyhow::Result<()> {
        let id = self.panels.len() + 1;
        self.panels.push(json!({
            "id": id, "type": "row", "title": row.title, "collapsed": false, "panels": [],
            "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": self.y},
        }));
        self.y += 1;
        let (mut x, mut height) = (0, 0);
        for panel in &row.panels {
            panel.check()?;
            if x + panel.width > COLUMNS {
                self.y += height;
                (x, height) = (0, 0);
            }
            let place = json!({"h": panel.kind.height(), "w": panel.width, "x": x, "y": self.y});
            self.panels.push(panel.json(self.panels.len() + 1, &place));
            x += panel.width;
            height = height.max(panel.kind.height());
        }
        self.y += height;
        Ok(())
    }
}

impl Panel {
    fn check(&self) -> anyhow::Result<()> {
        let is_said = |text: &str| !text.trim().is_empty();
        ensure!(
            is_said(&self.title) && is_said(&self.description) && is_said(&self.unit),
            "the panel \"{}\" needs a title, a description and a unit",
            self.title
        );
        ensure!(
            (1..=COLUMNS).contains(&self.width) && (1..=26).contains(&self.queries.len()),
            "the panel \"{}\" needs a width of 1 to {COLUMNS} and 1 to 26 queries",
            self.title
        );
        Ok(())
    }

    fn json(&self, id: usize, place: &Value) -> Value {
        let source = json!({"type": "prometheus", "uid": "${datasource}"});
        let targets: Vec<Value> = ('A'..='Z')
            .zip(&self.queries)
            .map(|(letter, (legend, expression))| {
                json!({
                    "refId": letter.to_string(), "datasource": source, "expr": expression, "legendFormat": legend,
                    "range": self.kind == Kind::Timeseries, "instant": self.kind == Kind::Stat,
                })
            })
            .collect();
        let (kind, defaults, options) = match self.kind {
            Kind::Timeseries => (
                "timeseries",
                json!({"unit": self.unit, "min": 0, "custom": {"lineWidth": 1, "fillOpacity": 10, "showPoints": "auto"}}),
                json!({
                    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
                    "tooltip": {"mode": "multi", "sort": "desc"},
                }),
            ),
            Kind::Stat => (
                "stat",
                json!({"unit": self.unit, "min": 0}),
                json!({
                    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
                    "colorMode": "none", "graphMode": "none", "textMode": "value",
                }),
            ),
        };
        json!({
            "id": id, "type": kind, "title": self.title, "description": self.description, "datasource": source,
            "gridPos": place, "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options,
            "targets": targets,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(width: u32, description: &str) -> String {
        format!(
            "{{title: t, uid: u, description: d, rows: [{{title: r, panels: [\
             {{title: one, description: '{description}', unit: s, width: {width}, queries: {{a: up}}}},\
             {{title: two, description: x, unit: s, width: 12, queries: {{a: up, b: up}}}}]}}]}}"
        )
    }

    #[test]
    fn panels_stand_side_by_side_as_far_as_the_page_is_wide() {
        for (width, place) in [(12, [12, 1]), (13, [0, 9])] {
            let text = json("x", &source(width, "x")).unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            let panel = &value["panels"][2];
            assert_eq!(
                [&panel["gridPos"]["x"], &panel["gridPos"]["y"]],
                [place[0], place[1]]
            );
            assert_eq!(panel["targets"][1]["refId"], "B");
        }
    }

    #[test]
    fn a_panel_without_a_description_is_refused() {
        let message = json("x", &source(12, " ")).unwrap_err().to_string();
        assert!(message.contains("\"one\""), "{message}");
    }

    #[test]
    fn dashboards_have_ids_of_their_own() {
        let uid = |(name, source): (&str, &str)| read(name, source).unwrap().uid;
        let uids: std::collections::BTreeSet<String> = SOURCES.map(uid).into();
        assert_eq!(uids.len(), SOURCES.len());
    }
}
