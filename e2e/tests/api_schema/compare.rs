//! Whether what was written is there.

use api_types::{NodeOp, NodeOpUpgrade, OSArtifact};
use serde_json::Value;

/// Everything that was written is there, and goes through our types without a loss.
pub(crate) fn kept(kind: &str, wanted: &Value, object: &Value) -> Result<(), String> {
    if let Some(path) = missing(wanted, object, "") {
        return Err(format!("{path} was not kept"));
    }
    let typed = match kind {
        "NodeOp" => round_trip::<NodeOp>(object),
        "NodeOpUpgrade" => round_trip::<NodeOpUpgrade>(object),
        _ => round_trip::<OSArtifact>(object),
    }?;
    missing(object, &typed, "").map_or(Ok(()), |path| Err(format!("{path} is lost by our types")))
}

pub(crate) fn round_trip<T: serde::de::DeserializeOwned + serde::Serialize>(
    object: &Value,
) -> Result<Value, String> {
    let typed: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(typed).map_err(|error| error.to_string())
}

/// The path of the first thing in `wanted` that `found` has not, or has otherwise.
pub(crate) fn missing(wanted: &Value, found: &Value, path: &str) -> Option<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().find_map(|(name, value)| {
            missing(
                value,
                found.get(name).unwrap_or(&Value::Null),
                &format!("{path}.{name}"),
            )
        }),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            let pairs = wanted.iter().zip(found).enumerate();
            pairs.into_iter().find_map(|(index, (wanted, found))| {
                missing(wanted, found, &format!("{path}[{index}]"))
            })
        }
        // A quantity may be written as a number; Kubernetes' types write it as a string.
        (Value::Number(wanted), Value::String(found)) if wanted.to_string() == *found => None,
        _ => (wanted != found).then(|| format!("{path} = {wanted} (found {found})")),
    }
}

/// JSON merge patch (RFC 7386), to know what an edit should leave.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    target.remove(name);
                } else {
                    merge(target.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}
