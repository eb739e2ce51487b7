//! The table of a chart's values, made of the comments in its `values.yaml`.

use std::fmt::Write as _;

use anyhow::{Context, ensure};
use serde_json::Value;

/// A key of the file with its comment.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    path: Vec<String>,
    description: String,
}

/// The rows of a Markdown table: value, default, meaning. Every value must be described, by its own comment or by that
/// of a key above it.
pub(super) fn table(yaml: &str) -> anyhow::Result<String> {
    let values: Value =
        serde_saphyr::from_str(yaml).context("failed to read the values of the chart")?;
    let keys = keys(yaml);
    let mut rows = String::from("| value | default | meaning |\n| --- | --- | --- |\n");
    for key in &keys {
        let below =
            |other: &&Key| other.path.len() > key.path.len() && other.path.starts_with(&key.path);
        let is_section = keys
            .iter()
            .filter(below)
            .any(|other| !other.description.is_empty());
        let is_described_above = keys.iter().any(|other| {
            !other.description.is_empty()
                && key.path.len() > other.path.len()
                && key.path.starts_with(&other.path)
                && !keys.iter().any(|inner| {
                    !inner.description.is_empty()
                        && inner.path.len() > other.path.len()
                        && inner.path.starts_with(&other.path)
                })
        });
        if is_described_above || (is_section && key.description.is_empty()) {
            continue;
        }
        let name = key.path.join(".");
        let pointer = format!("/{}", key.path.join("/"));
        let default = values
            .pointer(&pointer)
            .with_context(|| format!("failed to find the value {name}: indent it by two spaces"))?;
        let has_parts = default.as_object().is_some_and(|map| !map.is_empty());
        ensure!(
            !key.description.is_empty() || (has_parts && !is_section),
            "the value {name} has no comment: say above it what it does"
        );
        if key.description.is_empty() {
            continue;
        }
        let default = if is_section {
            String::new()
        } else {
            format!("`{default}`")
        };
        let description = key.description.replace('|', "\\|");
        writeln!(rows, "| `{name}` | {default} | {description} |").context("failed to write")?;
    }
    Ok(rows)
}

/// Every key in the order of the file, with the comment right above it.
fn keys(yaml: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut above: Vec<(usize, String)> = Vec::new();
    for line in yaml.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(words) = text.strip_prefix('#') {
            comment.push(words.trim());
        } else if let Some((key, _)) = text.split_once(':') {
            above.retain(|(outer, _)| *outer < indent);
            above.push((indent, key.trim().to_owned()));
            keys.push(Key {
                path: above.iter().map(|(_, key)| key.clone()).collect(),
                description: comment.join(" "),
            });
            comment.clear();
        } else {
            comment.clear();
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_described_value_and_a_section_has_no_default() {
        let yaml = "# Not of a key.\n\n# All of it.\npart:\n  # How\n  # many.\n  count: 3\n  \
                    # As Kubernetes has them.\n  limits:\n    cpu: 1\nlist: # no comment above\n";
        let text = table(&yaml.replace("list: # no comment above\n", "")).unwrap();
        let rows: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| `part` |  | All of it. |",
                "| `part.count` | `3` | How many. |",
                "| `part.limits` | `{\"cpu\":1}` | As Kubernetes has them. |",
            ]
        );
    }

    #[test]
    fn a_value_without_a_comment_is_named() {
        let message = table("# Yes.\none: 1\ntwo: 2\n").unwrap_err().to_string();
        assert!(message.contains("two"), "{message}");
    }
}
