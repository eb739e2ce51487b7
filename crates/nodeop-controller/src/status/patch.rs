//! The patch that turns one status into the next.

use api_types::nodeop::NodeOpStatus;
use operator_runtime::merge_patch::difference;
use serde_json::{Map, Value, json};

/// A JSON merge patch (RFC 7396) from `before` to `after` that the API server refuses with 409 unless the object still
/// has this uid and resourceVersion: two leaders, or a leader with a stale view, meet a conflict. It holds only what
/// changed, so that one node's progress among thousands is a small request.
pub fn patch_body(
    uid: &str,
    resource_version: &str,
    before: &NodeOpStatus,
    after: &NodeOpStatus,
) -> Result<Value, serde_json::Error> {
    let status = difference(
        &serde_json::to_value(before)?,
        &serde_json::to_value(after)?,
    );
    let resource_version = (!planted!(StatusWithoutVersion)).then_some(resource_version);
    Ok(json!({
        "metadata": {"uid": uid, "resourceVersion": resource_version},
        "status": status.unwrap_or_else(|| Value::Object(Map::new())),
    }))
}
