//! JSON merge patches, as the API server applies them.

use serde_json::{Value, json};

/// RFC 7396.
pub fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            if let Some(object) = into.as_object_mut() {
                object.remove(name);
            }
        } else {
            merge(&mut into[name.as_str()], value);
        }
    }
}

#[test]
fn a_merge_patch_sets_removes_and_replaces() {
    let mut object = json!({"kept": 1, "gone": 2, "list": [1, 2], "deep": {"kept": true}});
    let patch = json!({"gone": null, "list": [3], "deep": {"new": {"gone": null, "kept": 1}}});
    merge(&mut object, &patch);
    let after = json!({"kept": 1, "list": [3], "deep": {"kept": true, "new": {"kept": 1}}});
    assert_eq!(object, after);
}
