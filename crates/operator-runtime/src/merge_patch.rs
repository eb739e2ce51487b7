//! JSON merge patches (RFC 7396) that hold only what changed. Pure.
//!
//! A controller that writes one node's progress into a status of thousands sends a small request, and leaves alone what
//! it does not know.

use serde_json::{Map, Value};

/// The merge patch from one value to another, or nothing where they are equal. Lists are replaced as a whole.
pub fn difference(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return Some(after.clone());
    };
    let mut patch = Map::new();
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in after {
        let change = match before.get(key) {
            None => Some(value.clone()),
            Some(known) => difference(known, value),
        };
        if let Some(change) = change {
            patch.insert(key.clone(), change);
        }
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// RFC 7396, section 2.
    fn merge(target: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        let object = target.as_object_mut().unwrap();
        for (key, value) in patch {
            if value.is_null() {
                object.remove(key);
            } else {
                merge(object.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
            proptest::collection::vec("[a-c]", 0..3).prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            proptest::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
        })
    }

    #[test]
    fn equal_values_need_no_patch() {
        let value = json!({"a": [1], "b": {"c": "d"}});
        assert_eq!(difference(&value, &value.clone()), None);
    }

    proptest! {
        #[test]
        fn applying_the_patch_yields_the_new_value(before in tree(), after in tree()) {
            let mut merged = before.clone();
            if let Some(patch) = difference(&before, &after) {
                merge(&mut merged, &patch);
            }
            prop_assert_eq!(merged, after);
        }
    }
}
