//! What is made for the Helm chart: its copies of the CRDs and its README; and what the chart renders for kustomize.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, bail};
use serde_json::Value;

use super::{Generated, values};
use crate::workspace::Workspace;

/// The chart's copies of the CRDs. Not the folder `crds` that Helm knows: what is there is installed and never upgraded.
pub(super) const CRDS: &str = "charts/kairos-operator/files/crds";
/// Keeps an object when the chart is uninstalled.
const KEEP: &str = "helm.sh/resource-policy";

const README: &str = include_str!("chart-readme.md");
/// The line of it that the table of values takes the place of.
const TABLE: &str = "VALUES\n";

/// A definition as the chart holds it: kept when the chart is uninstalled, because all objects of its kind go with it.
pub(super) fn crd(definition: &Value) -> anyhow::Result<Value> {
    let mut definition = definition.clone();
    let metadata = definition
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .context("a custom resource definition has no metadata")?;
    let annotations = metadata
        .entry("annotations")
        .or_insert_with(|| Value::Object(serde_json::Map::new()));
    annotations
        .as_object_mut()
        .context("the annotations of a custom resource definition are no map")?
        .insert(KEEP.to_owned(), Value::from("keep"));
    Ok(definition)
}

/// The chart's README.
pub(super) fn readme(workspace: &Workspace) -> anyhow::Result<Generated> {
    let yaml = fs::read_to_string(workspace.root.join("charts/kairos-operator/values.yaml"))
        .context("failed to read the values of the chart")?;
    let Some((before, after)) = README.split_once(TABLE) else {
        bail!("xtask/src/generate/chart-readme.md has no line VALUES: put it where the table goes");
    };
    let table = values::table(&yaml)?;
    Ok(Generated {
        path: "charts/kairos-operator/README.md".to_owned(),
        content: format!(
            "<!-- Made by `cargo xtask generate`; edits here are lost. -->\n{before}{table}{after}"
        ),
    })
}

/// The kustomize components below `deploy`, which helm renders from the chart. Builds helm first, when it is not there yet.
pub(super) fn components(workspace: &Workspace) -> anyhow::Result<Vec<Generated>> {
    let mut build = workspace.cargo([
        "build",
        "--quiet",
        "--package",
        "e2e",
        "--bin",
        "render-deploy",
    ]);
    if !build
        .status()
        .context("failed to start `cargo build`")?
        .success()
    {
        bail!("failed to build render-deploy; rustc says why above");
    }
    let output = workspace
        .program("render-deploy")
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("failed to start render-deploy")?;
    if !output.status.success() {
        bail!("failed to render the chart, see above");
    }
    let files: BTreeMap<String, String> = serde_json::from_slice(&output.stdout)
        .context("failed to read what render-deploy prints")?;
    Ok(files
        .into_iter()
        .map(|(path, content)| Generated { path, content })
        .collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_charts_definitions_are_kept() {
        let kept = crd(&json!({"metadata": {"name": "a", "annotations": {"b": "c"}}})).unwrap();
        assert_eq!(
            kept["metadata"]["annotations"],
            json!({"b": "c", "helm.sh/resource-policy": "keep"})
        );
    }

    #[test]
    fn the_chart_has_the_version_of_the_workspace() {
        let chart = include_str!("../../../charts/kairos-operator/Chart.yaml");
        let chart: Value = serde_saphyr::from_str(chart).unwrap();
        assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    }
}
