//! What an object says of itself.

use serde_json::Value;

use crate::controller::simulation::model::text;

pub(in crate::controller::simulation) fn is_control_plane(node: &Value) -> bool {
    node["metadata"]["labels"]["node-role.kubernetes.io/control-plane"].is_string()
}

fn has_condition(job: &Value, names: &[&str]) -> bool {
    let conditions = job["status"]["conditions"].as_array();
    conditions.is_some_and(|all| {
        all.iter()
            .any(|condition| names.contains(&text(condition, "/type")))
    })
}

pub(in crate::controller::simulation) fn is_complete(job: &Value) -> bool {
    has_condition(job, &["Complete", "SuccessCriteriaMet"])
}

pub(in crate::controller::simulation) fn is_active(job: &Value) -> bool {
    !has_condition(
        job,
        &["Complete", "SuccessCriteriaMet", "Failed", "FailureTarget"],
    )
}
