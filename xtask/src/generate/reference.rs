//! The reference pages, made of the schemas of the custom resource definitions: what `kubectl explain` says, with defaults
//! and rules, on one page.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::{Map, Value};

/// The page of a definition.
pub(super) fn page(crd: &Value) -> anyhow::Result<String> {
    let version = &crd["spec"]["versions"][0];
    let kind = text(&crd["spec"]["names"]["kind"]);
    let schema = &version["schema"]["openAPIV3Schema"];
    let mut page = format!(
        "<!-- Made by `cargo xtask generate` of the schema of {kind}; edits here are lost. -->\n# {kind}\n\n{}\n\n\
         `apiVersion: {}/{}`, `kind: {kind}`, namespaced.{}\n",
        text(&schema["description"]),
        text(&crd["spec"]["group"]),
        text(&version["name"]),
        short_names(&crd["spec"]["names"]),
    );
    let rules = rules(schema);
    if !rules.is_empty() {
        page.push_str("\nThe API server refuses a manifest, and says:\n\n");
        for rule in rules {
            writeln!(page, "- {rule}")?;
        }
    }
    for part in ["spec", "status"] {
        let fields = &schema["properties"][part];
        write!(page, "\n## {part}\n\n{}\n", text(&fields["description"]))?;
        table(&mut page, part, fields).with_context(|| format!("{kind}.{part}"))?;
    }
    page.push_str(COLUMNS_TEXT);
    Ok(page)
}

const COLUMNS_TEXT: &str = "\nTypes: `[]T` is a list of T, `map of T` an object with keys of one's choice; a Kubernetes type is the one of the same name in \
Kubernetes' own API, and `kubectl explain` does not describe its fields here (they would make the definition five times as large).\n";

fn short_names(names: &Value) -> String {
    let short: Vec<String> = names["shortNames"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|name| format!("`{}`", text(name)))
        .collect();
    if short.is_empty() {
        String::new()
    } else {
        format!(" Short: {}.", short.join(", "))
    }
}

/// The tables of an object's fields and, after it, of the objects in it.
fn table(page: &mut String, path: &str, object: &Value) -> anyhow::Result<()> {
    let fields = object["properties"]
        .as_object()
        .context("the schema has no properties")?;
    let required: Vec<&str> = object["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    page.push_str(
        "\n| field | type | default | rules | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    let mut nested = Vec::new();
    for (name, field) in fields {
        let (kind, inner) = kind(field);
        let default = if let Some(default) = field.get("default") {
            format!("`{default}`")
        } else if required.contains(&&**name) {
            "required".to_owned()
        } else {
            "-".to_owned()
        };
        let mut said = limits(field);
        said.extend(rules(field));
        let said = if said.is_empty() {
            "-".to_owned()
        } else {
            said.join("; ")
        };
        writeln!(
            page,
            "| `{name}` | {kind} | {} | {} | {} |",
            cell(&default),
            cell(&said),
            cell(text(&field["description"]))
        )?;
        if let Some(inner) = inner {
            nested.push((name, inner));
        }
    }
    for (name, (suffix, inner)) in nested {
        let path = format!("{path}.{name}{suffix}");
        write!(page, "\n### {path}\n")?;
        table(page, &path, inner)?;
    }
    Ok(())
}

/// A field's type in words; and, where it holds objects that we describe, what to append to its path and their schema.
fn kind(field: &Value) -> (String, Option<(&'static str, &Value)>) {
    if field["x-kubernetes-int-or-string"] == true {
        return ("integer or string".to_owned(), None);
    }
    if let Some(items) = field.get("items") {
        let (kind, inner) = kind(items);
        return (format!("[]{kind}"), inner.map(|(_, inner)| ("[]", inner)));
    }
    if let Some(values) = field
        .get("additionalProperties")
        .filter(|values| values.is_object())
    {
        let (kind, inner) = kind(values);
        return (
            format!("map of {kind}"),
            inner.map(|(_, inner)| (".*", inner)),
        );
    }
    match field["properties"].as_object() {
        Some(fields) if is_ours(fields) => ("object".to_owned(), Some(("", field))),
        Some(_) => ("Kubernetes type".to_owned(), None),
        None if field["format"].is_string() => {
            let format = text(&field["format"]);
            (format!("{} ({format})", text(&field["type"])), None)
        }
        None => (text(&field["type"]).to_owned(), None),
    }
}

/// Whether an object's fields are described: those of Kubernetes' own types are not.
fn is_ours(fields: &Map<String, Value>) -> bool {
    fields
        .values()
        .any(|field| field["description"].is_string())
}

/// What the schema itself demands of a value.
fn limits(field: &Value) -> Vec<String> {
    let mut limits = Vec::new();
    let inner = field.get("items").unwrap_or(field);
    if let Some(values) = inner["enum"].as_array() {
        let values: Vec<String> = values
            .iter()
            .filter(|value| !value.is_null())
            .map(|value| {
                format!(
                    "`{}`",
                    value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned)
                )
            })
            .collect();
        limits.push(format!("one of {}", values.join(", ")));
    }
    for (key, words) in [
        ("minimum", "at least"),
        ("maximum", "at most"),
        ("minLength", "characters, at least"),
        ("maxLength", "characters, at most"),
        ("minItems", "items, at least"),
        ("maxItems", "items, at most"),
        ("maxProperties", "entries, at most"),
        ("pattern", "matches"),
    ] {
        if let Some(value) = field.get(key) {
            limits.push(format!("{words} `{}`", plain(value)));
        }
    }
    limits
}

/// A limit as people write it: the schema's numbers are all fractions.
fn plain(value: &Value) -> String {
    match (value.as_str(), value.as_f64()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(number)) => number.to_string(),
        (None, None) => value.to_string(),
    }
}

/// The sentences of the rules that hold here.
fn rules(schema: &Value) -> Vec<String> {
    let rules = schema["x-kubernetes-validations"].as_array();
    rules
        .into_iter()
        .flatten()
        .map(|rule| text(&rule["message"]).to_owned())
        .filter(|message| !message.is_empty())
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn crd(fields: &Value) -> Value {
        json!({"spec": {
            "group": "example.com", "names": {"kind": "Thing", "shortNames": ["th"]},
            "versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"description": "A thing.", "properties": {
                "spec": {"description": "What it is.", "required": ["size"], "properties": fields},
                "status": {"description": "How it is.", "properties": {"phase": {"type": "string", "description": "Where."}}},
            }}}}],
        }})
    }

    #[test]
    fn a_field_has_type_default_rules_and_meaning() {
        let page = page(&crd(&json!({
            "size": {"type": "integer", "minimum": 1.0, "description": "How large,\nin units."},
            "mode": {"type": "string", "enum": ["a", "b"], "default": "a", "description": "One | other."},
            "when": {"type": "string", "description": "When.", "x-kubernetes-validations": [{"rule": "x", "message": "write a time"}]},
        })))
        .unwrap();
        for line in [
            "| `size` | integer | required | at least `1` | How large, in units. |",
            "| `mode` | string | `\"a\"` | one of `a`, `b` | One \\| other. |",
            "| `when` | string | - | write a time | When. |",
        ] {
            assert!(
                page.lines().any(|found| found == line),
                "{line} is missing in\n{page}"
            );
        }
        assert!(page.contains("Short: `th`."), "{page}");
    }

    #[test]
    fn our_own_objects_get_a_table_and_those_of_kubernetes_a_word() {
        let page = page(&crd(&json!({
            "steps": {"type": "array", "description": "d", "items": {"properties": {"name": {"type": "string", "description": "Its name."}}}},
            "pod": {"type": "object", "description": "d", "properties": {"image": {"type": "string"}}},
        })))
        .unwrap();
        assert!(page.contains("| `steps` | []object |"), "{page}");
        assert!(page.contains("\n### spec.steps[]\n"), "{page}");
        assert!(page.contains("| `pod` | Kubernetes type |"), "{page}");
        assert!(!page.contains("`image`"), "{page}");
    }
}
