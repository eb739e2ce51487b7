//! Registry credentials: the pull Secrets of the `OSArtifact`, merged into one file that all tools read.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Result, WorkerError, file};

/// Names of the two kinds of file that a pull Secret has: today's, and Docker's former one.
const CONFIG_JSON: &str = "config.json";
const CFG: &str = "dockercfg";

/// Merges the Secrets below `folder`, each in a folder of its own, into `target`. The first that knows a registry wins.
/// Returns the names of those that do not exist or hold nothing.
pub(super) fn merge(folder: &Path, secrets: &[String], target: &Path) -> Result<Vec<String>> {
    let mut merged = Map::new();
    let mut missing = Vec::new();
    for (index, name) in secrets.iter().enumerate() {
        let Some(registries) = registries(&folder.join(index.to_string()), name)? else {
            missing.push(name.clone());
            continue;
        };
        for (registry, credentials) in registries {
            merged.entry(registry).or_insert(credentials);
        }
    }
    let text = json!({ "auths": merged }).to_string();
    file("write", target, std::fs::write(target, text))?;
    Ok(missing)
}

fn registries(folder: &Path, secret: &str) -> Result<Option<Map<String, Value>>> {
    for (name, nested) in [(CONFIG_JSON, true), (CFG, false)] {
        let path = folder.join(name);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            text => file("read", &path, text)?,
        };
        let content: Option<Map<String, Value>> = serde_json::from_slice(&text).ok();
        let registries = match content {
            Some(mut content) if nested => content.remove("auths").and_then(|auths| match auths {
                Value::Object(auths) => Some(auths),
                _ => None,
            }),
            content => content,
        };
        return registries.map(Some).ok_or_else(|| {
            // The parser's own words would show parts of the content.
            WorkerError::Input(format!(
                "the pull Secret {secret:?} is not in Docker's format; create it with `kubectl create secret docker-registry`"
            ))
        });
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(contents: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (index, (file, content)) in contents.iter().enumerate() {
            let own = folder.path().join(index.to_string());
            std::fs::create_dir(&own).unwrap();
            if !file.is_empty() {
                std::fs::write(own.join(file), content).unwrap();
            }
        }
        folder
    }

    #[test]
    fn both_formats_are_merged_and_the_first_wins() {
        let folder = secrets(&[
            (
                CONFIG_JSON,
                r#"{"auths": {"a": {"auth": "1"}}, "credHelpers": {}}"#,
            ),
            (CFG, r#"{"a": {"auth": "2"}, "b": {"auth": "3"}}"#),
            ("", ""),
        ]);
        let target = folder.path().join("merged");
        let names = ["one", "two", "three"].map(str::to_owned);
        assert_eq!(merge(folder.path(), &names, &target).unwrap(), ["three"]);
        let merged: Value = serde_json::from_slice(&std::fs::read(target).unwrap()).unwrap();
        assert_eq!(
            merged,
            json!({"auths": {"a": {"auth": "1"}, "b": {"auth": "3"}}})
        );
    }

    #[test]
    fn a_secret_of_another_format_is_named_and_not_shown() {
        let folder = secrets(&[(CONFIG_JSON, "password")]);
        let names = ["one".to_owned()];
        let error = merge(folder.path(), &names, &folder.path().join("merged")).unwrap_err();
        assert!(error.to_string().contains("\"one\""), "{error}");
        assert!(!error.to_string().contains("password"), "{error}");
    }
}
