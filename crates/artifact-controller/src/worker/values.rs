//! Values of a Dockerfile template: entries of a mounted Secret, and inline values, which win.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Result, WorkerError, file};

/// Reads one value per file, except the links that the kubelet keeps beside them. With `only`, no other key.
pub(super) fn from_secret(
    folder: &Path,
    secret: &str,
    only: Option<&str>,
) -> Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing(secret)),
        entries => file("read", folder, entries)?,
    };
    for entry in entries {
        let entry = file("read", folder, entry)?;
        let Ok(key) = entry.file_name().into_string() else {
            continue;
        };
        if key.starts_with("..") || only.is_some_and(|only| only != key) {
            continue;
        }
        let path = entry.path();
        let bytes = file("read", &path, std::fs::read(&path))?;
        // The value itself is never shown: it is secret.
        let text = String::from_utf8(bytes).map_err(|_| {
            WorkerError::Input(format!(
                "the entry {key:?} of the Secret {secret:?} is binary, and values of a Dockerfile template are text; \
                 remove it, or name one key in dockerfileTemplateValuesFrom.key"
            ))
        })?;
        values.insert(key, text);
    }
    match only {
        Some(key) if values.is_empty() => Err(WorkerError::Input(format!(
            "the Secret {secret:?} of dockerfileTemplateValuesFrom does not exist in this namespace, or has no key {key:?}"
        ))),
        // The mount is optional, so a Secret that does not exist looks like an empty one. An empty one has no use.
        None if values.is_empty() => Err(missing(secret)),
        _ => Ok(values),
    }
}

/// A message with the name of a value wherever it shows the value: Go's own errors quote values, and these are secret.
/// Values of one or two characters hide nothing.
pub(super) fn hide(message: &str, values: &BTreeMap<String, String>) -> String {
    let mut by_length: Vec<(&String, &String)> =
        values.iter().filter(|(_, value)| value.len() > 2).collect();
    by_length.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
    let mut hidden = message.to_owned();
    for (key, value) in by_length {
        hidden = hidden.replace(value.as_str(), &format!("[the value of {key}]"));
    }
    hidden
}

fn missing(secret: &str) -> WorkerError {
    WorkerError::Input(format!(
        "the Secret {secret:?} of dockerfileTemplateValuesFrom does not exist in this namespace, or is empty; create it, or \
         remove the field"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(entries: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (key, value) in entries {
            std::fs::write(folder.path().join(key), value).unwrap();
        }
        folder
    }

    #[test]
    fn each_file_is_a_value_and_the_kubelets_own_are_not() {
        let folder = secret(&[("A", b"x"), ("b.c-d", b""), ("..data", b"no")]);
        let values = from_secret(folder.path(), "values", None).unwrap();
        assert_eq!(
            values,
            [("A".into(), "x".into()), ("b.c-d".into(), String::new())].into()
        );
    }

    #[test]
    fn a_binary_value_is_refused_by_name_and_not_shown() {
        let folder = secret(&[("KEY", b"\xff\xfesecret")]);
        let error = from_secret(folder.path(), "values", None)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("\"KEY\"") && error.contains("binary"),
            "{error}"
        );
        assert!(
            !error.contains("secret\u{0}") && !error.contains("fesecret"),
            "{error}"
        );
    }

    #[test]
    fn one_key_can_be_chosen_and_must_exist() {
        let folder = secret(&[("A", b"x"), ("KEY", b"\xff")]);
        assert_eq!(
            from_secret(folder.path(), "values", Some("A"))
                .unwrap()
                .len(),
            1
        );
        let error = from_secret(folder.path(), "values", Some("Z"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("has no key \"Z\""), "{error}");
    }

    #[test]
    fn a_secret_that_is_missing_is_named() {
        let folder = secret(&[]);
        for path in [folder.path().to_owned(), folder.path().join("nowhere")] {
            let error = from_secret(&path, "values", None).unwrap_err().to_string();
            assert!(error.contains("\"values\""), "{error}");
        }
    }
}
