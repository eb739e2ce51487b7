//! Edits of the upgrade's spec, carried over to its NodeOp once each.
//!
//! The NodeOp's annotation says up to which generation that has happened. So what somebody changes in the NodeOp itself, such as
//! `paused`, stays until the upgrade is edited; and a new version of this controller, whose script may differ, changes
//! nothing in operations that are under way.

use api_types::names::ANNOTATION_UPGRADE_GENERATION;
use api_types::nodeop::{NodeOp, NodeOpSpec};
use kube::ResourceExt as _;
use operator_runtime::merge_patch::difference;
use serde_json::{Map, Value, json};

use super::Snapshot;
use crate::build::command::arguments;
use crate::build::node_op::{generation, node_op};
use crate::status::has_ended;

/// A patch of the NodeOp.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// The NodeOp's namespace.
    pub namespace: String,
    /// The NodeOp's name.
    pub name: String,
    /// A JSON merge patch with the uid and the resourceVersion that it was made for.
    pub patch: Value,
}

/// What follows from the latest edit.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The patch to send.
    pub(super) edit: Option<Edit>,
    /// What does not go through, as a sentence.
    pub(super) refused: Option<String>,
}

pub(super) fn edit(snapshot: &Snapshot<'_>, current: &NodeOp) -> Outcome {
    let latest = generation(snapshot.upgrade);
    // Without the annotation it was kairos-operator that made the NodeOp: its command is another, and it is only followed.
    let carried_over = current.annotations().get(ANNOTATION_UPGRADE_GENERATION);
    let is_done = carried_over.is_none_or(|carried_over| *carried_over == latest);
    let status = current.status.as_ref();
    let over = current.metadata.deletion_timestamp.is_some() || status.is_some_and(has_ended);
    if is_done || over {
        return Outcome::default();
    }
    let wanted = node_op(snapshot.upgrade, snapshot.settings).spec;
    let has_started = status.is_some_and(|status| status.start_time.is_some());
    let (target, refused) = if has_started {
        (
            still_editable(&current.spec, &wanted),
            fixed_fields(&current.spec, &wanted),
        )
    } else {
        (wanted, Vec::new())
    };
    let mut patch = Map::new();
    if let Some(change) = spec_difference(&current.spec, &target) {
        patch.insert("spec".to_owned(), change);
    }
    let mut metadata =
        json!({"uid": current.metadata.uid, "resourceVersion": current.metadata.resource_version});
    if refused.is_empty() {
        metadata["annotations"] = json!({ANNOTATION_UPGRADE_GENERATION: latest});
    }
    let says_something = !patch.is_empty() || refused.is_empty();
    patch.insert("metadata".to_owned(), metadata);
    Outcome {
        edit: says_something.then(|| Edit {
            namespace: current.namespace().unwrap_or_default(),
            name: current.name_any(),
            patch: Value::Object(patch),
        }),
        refused: sentence(&refused),
    }
}

fn spec_difference(before: &NodeOpSpec, after: &NodeOpSpec) -> Option<Value> {
    // A spec that cannot be turned into JSON could not have been read either.
    difference(
        &serde_json::to_value(before).ok()?,
        &serde_json::to_value(after).ok()?,
    )
}

/// The spec of a NodeOp that has started, with what may still change taken from `wanted`.
fn still_editable(current: &NodeOpSpec, wanted: &NodeOpSpec) -> NodeOpSpec {
    NodeOpSpec {
        paused: wanted.paused,
        concurrency: wanted.concurrency.clone(),
        stop_on_failure: wanted.stop_on_failure,
        uncordon_on_failure: wanted.uncordon_on_failure,
        // Whether there is a drain at all depends on the systems, which stay.
        drain_options: match (&current.drain_options, &wanted.drain_options) {
            (Some(_), Some(wanted)) => Some(wanted.clone()),
            (current, _) => current.clone(),
        },
        reboot_timeout_seconds: wanted.reboot_timeout_seconds,
        ..current.clone()
    }
}

/// The fields of the upgrade whose change comes too late, in the words of its spec.
fn fixed_fields(current: &NodeOpSpec, wanted: &NodeOpSpec) -> Vec<&'static str> {
    let checks = |spec: &NodeOpSpec| (spec.preflight.is_some(), spec.verify.is_some());
    let differs = [
        ("image", current.image != wanted.image),
        (
            "imagePullSecrets",
            current.image_pull_secrets != wanted.image_pull_secrets,
        ),
        (
            "nodeSelector",
            current.node_selector != wanted.node_selector,
        ),
        (
            "upgradeActive, upgradeRecovery, force, debug or excludePaths",
            arguments(&current.command) != arguments(&wanted.command)
                || checks(current) != checks(wanted),
        ),
    ];
    differs
        .into_iter()
        .filter_map(|(field, differs)| differs.then_some(field))
        .collect()
}

fn sentence(refused: &[&str]) -> Option<String> {
    (!refused.is_empty()).then(|| {
        format!(
            "the change of {} came after the upgrade had started and is not carried out; create a new NodeOpUpgrade for it",
            refused.join(", ")
        )
    })
}
