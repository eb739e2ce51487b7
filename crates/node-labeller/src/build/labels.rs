//! What is written to a Node: the patch that puts labels and annotations on, and the one that takes old ones off.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::outcome::Facts;
use crate::record::{ANNOTATION_DETECTED, Record};

/// The Node as this controller wants it, for a server-side apply. Its uid makes it fit no other Node of that name.
pub fn apply_body(
    name: &str,
    uid: &str,
    facts: &Facts,
    record: &Record,
) -> Result<Value, serde_json::Error> {
    let mut annotations = facts.annotations.clone();
    annotations.insert(
        ANNOTATION_DETECTED.to_owned(),
        serde_json::to_string(record)?,
    );
    Ok(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "uid": uid, "labels": facts.labels, "annotations": annotations},
    }))
}

/// The record alone, for a merge patch: labels stay as they are.
pub fn record_body(uid: &str, record: &Record) -> Result<Value, serde_json::Error> {
    let record = serde_json::to_string(record)?;
    Ok(json!({"metadata": {"uid": uid, "annotations": {(ANNOTATION_DETECTED): record}}}))
}

/// Names of the table that are on a Node and do not belong there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Labels.
    pub labels: Vec<String>,
    /// Annotations.
    pub annotations: Vec<String>,
}

impl Leftovers {
    /// What `metadata`, whose names are those of the table only, has beyond `facts`.
    pub fn of(metadata: &ObjectMeta, facts: &Facts) -> Self {
        let beyond = |present: &Option<BTreeMap<String, String>>,
                      wanted: &BTreeMap<String, String>,
                      is_ours: fn(&str) -> bool| {
            present
                .iter()
                .flat_map(BTreeMap::keys)
                .filter(|name| is_ours(name) && !wanted.contains_key(*name))
                .cloned()
                .collect()
        };
        Self {
            labels: beyond(&metadata.labels, &facts.labels, crate::facts::is_our_label),
            annotations: beyond(
                &metadata.annotations,
                &facts.annotations,
                crate::facts::is_our_annotation,
            ),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }

    /// The merge patch that takes them off. Server-side apply would leave what another manager put there, such as the
    /// labeller of kairos-operator.
    pub fn removal_body(&self, uid: &str) -> Value {
        let nulls = |names: &[String]| -> BTreeMap<String, Value> {
            names
                .iter()
                .map(|name| (name.clone(), Value::Null))
                .collect()
        };
        let mut metadata = json!({"uid": uid});
        for (field, names) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if !names.is_empty() {
                metadata[field] = json!(nulls(names));
            }
        }
        json!({"metadata": metadata})
    }
}

/// How many labels differ between what is there and what is wanted.
pub fn changed_labels(metadata: &ObjectMeta, facts: &Facts) -> usize {
    let empty = BTreeMap::new();
    let present = metadata.labels.as_ref().unwrap_or(&empty);
    let set = facts
        .labels
        .iter()
        .filter(|(name, value)| present.get(*name) != Some(value));
    set.count() + Leftovers::of(metadata, facts).labels.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(labels: &[(&str, &str)]) -> Facts {
        Facts {
            labels: labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            annotations: BTreeMap::new(),
        }
    }

    fn present() -> ObjectMeta {
        ObjectMeta {
            labels: Some(
                facts(&[
                    ("kairos.io/managed", "true"),
                    ("kairos.io/model", "old"),
                    ("kairos.io/nodeop", "not of the table"),
                    ("example.com/model", "of somebody else"),
                ])
                .labels,
            ),
            annotations: Some(
                [
                    ("kairos.io/version", "v1"),
                    ("kairos.io/other", "x"),
                    (ANNOTATION_DETECTED, "{}"),
                ]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn only_names_of_the_table_are_ever_taken_off() {
        let leftovers = Leftovers::of(&present(), &Facts::default());
        insta::assert_json_snapshot!(leftovers.removal_body("uid-1"), @r#"
        {
          "metadata": {
            "annotations": {
              "kairos.io/version": null
            },
            "labels": {
              "kairos.io/managed": null,
              "kairos.io/model": null
            },
            "uid": "uid-1"
          }
        }
        "#);
    }

    #[test]
    fn changed_labels_are_counted_once_each() {
        let wanted = facts(&[("kairos.io/managed", "true"), ("kairos.io/id", "kairos")]);
        assert_eq!(
            changed_labels(&present(), &wanted),
            2,
            "id is new, model goes"
        );
        assert_eq!(
            changed_labels(&present(), &facts(&[("kairos.io/model", "old")])),
            1
        );
    }
}
