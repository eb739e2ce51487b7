//! The patch that turns one status into the next.

use api_types::osartifact::OSArtifactStatus;
use serde_json::{Map, Value, json};

/// A JSON merge patch (RFC 7396) from `before` to `after` that the API server refuses with 409 unless the object still
/// has this uid and resourceVersion: two leaders, or a leader with a stale view, meet a conflict.
pub fn patch_body(
    uid: &str,
    resource_version: &str,
    before: &OSArtifactStatus,
    after: &OSArtifactStatus,
) -> Result<Value, serde_json::Error> {
    let (before, after) = (serde_json::to_value(before)?, serde_json::to_value(after)?);
    let mut status = Map::new();
    if let (Value::Object(before), Value::Object(after)) = (before, after) {
        for key in before.keys().filter(|key| !after.contains_key(*key)) {
            status.insert(key.clone(), Value::Null);
        }
        // Lists are replaced as a whole, and there are no maps below.
        status.extend(
            after
                .into_iter()
                .filter(|(key, value)| before.get(key) != Some(value)),
        );
    }
    Ok(json!({
        "metadata": {"uid": uid, "resourceVersion": resource_version},
        "status": status,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::status;

    #[test]
    fn only_what_changed_is_sent_and_what_went_is_null() {
        let before = status("{phase: Building, step: 1/2 a, message: x}");
        let after = status("{phase: Building, step: 2/2 b, planHash: h}");
        let body = patch_body("u", "7", &before, &after).unwrap();
        assert_eq!(
            body,
            json!({"metadata": {"uid": "u", "resourceVersion": "7"},
                   "status": {"step": "2/2 b", "message": null, "planHash": "h"}})
        );
    }
}
