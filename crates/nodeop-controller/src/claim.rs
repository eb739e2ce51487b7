//! Who may disturb a node: the claim and the cordon, as annotations of the Node.
//!
//! A node has at most one claim, `operator.kairos.io/claimed-by`: the operation that may cordon, drain and reboot it now.
//! `operator.kairos.io/cordoned-by` says only who made it unschedulable, so that nobody undoes another's cordon. Both are
//! written by one merge patch that the API server refuses unless the Node is the one that was read (uid and
//! resourceVersion): of two that claim at the same moment, one meets a conflict.

use std::fmt;

use api_types::names::{ANNOTATION_CLAIMED_BY, ANNOTATION_CORDONED_BY};
use api_types::nodeop::NodeOp;
use serde_json::{Map, Value, json};

use crate::watched::WatchedNode;

/// The NodeOp behind an annotation: `namespace/name@uid`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Holder {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: another NodeOp of the same name is another holder.
    pub uid: String,
}

impl Holder {
    /// `node_op` as a holder.
    pub fn of(node_op: &NodeOp) -> Self {
        let metadata = &node_op.metadata;
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
        }
    }

    /// Reads an annotation's value. What nobody of ours wrote names no holder.
    pub fn parse(value: &str) -> Option<Self> {
        let (name, uid) = value.rsplit_once('@')?;
        let (namespace, name) = name.split_once('/')?;
        let full = !namespace.is_empty() && !name.is_empty() && !uid.is_empty();
        full.then(|| Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        })
    }

    /// The NodeOp in words, for messages.
    pub fn display(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}@{}", self.namespace, self.name, self.uid)
    }
}

/// Who claims `node`.
pub fn claimed_by(node: &WatchedNode) -> Option<Holder> {
    Holder::parse(node.annotation(ANNOTATION_CLAIMED_BY)?)
}

/// Who made `node` unschedulable, as far as one of us did.
pub fn cordoned_by(node: &WatchedNode) -> Option<Holder> {
    Holder::parse(node.annotation(ANNOTATION_CORDONED_BY)?)
}

/// Every NodeOp that `node` names.
pub fn holders(node: &WatchedNode) -> impl Iterator<Item = Holder> {
    claimed_by(node).into_iter().chain(cordoned_by(node))
}

/// Whether `me` holds all it needs on `node`.
pub fn holds(node: &WatchedNode, me: &Holder, cordon: bool) -> bool {
    claimed_by(node).as_ref() == Some(me) && (node.spec.unschedulable || !cordon)
}

/// The patch by which `me` takes `node`. Whoever the annotations name else must be dead: its cordon is taken over with
/// its claim. A cordon of others, which no annotation names, stays theirs.
pub fn claim_patch(node: &WatchedNode, me: &Holder, cordon: bool) -> Value {
    let mut annotations = Map::new();
    annotations.insert(ANNOTATION_CLAIMED_BY.to_owned(), json!(me.to_string()));
    let mut spec = Map::new();
    let named = node.annotation(ANNOTATION_CORDONED_BY).is_some() || planted!(CordonAdopted);
    if node.spec.unschedulable && named {
        annotations.insert(ANNOTATION_CORDONED_BY.to_owned(), json!(me.to_string()));
    } else if !node.spec.unschedulable && cordon {
        annotations.insert(ANNOTATION_CORDONED_BY.to_owned(), json!(me.to_string()));
        spec.insert("unschedulable".to_owned(), json!(true));
    } else if named {
        // Somebody made it schedulable since: that cordon is over.
        annotations.insert(ANNOTATION_CORDONED_BY.to_owned(), Value::Null);
    }
    guarded(node, &annotations, spec)
}

/// The patch by which `me` lets `node` go, if it holds anything there. With `uncordon` also its cordon is undone; a cordon
/// that `me` did not set is never touched.
pub fn release_patch(node: &WatchedNode, me: &Holder, uncordon: bool) -> Option<Value> {
    let mut annotations = Map::new();
    let mut spec = Map::new();
    if claimed_by(node).as_ref() == Some(me) {
        annotations.insert(ANNOTATION_CLAIMED_BY.to_owned(), Value::Null);
    }
    if uncordon && (cordoned_by(node).as_ref() == Some(me) || planted!(BlindUncordon)) {
        annotations.insert(ANNOTATION_CORDONED_BY.to_owned(), Value::Null);
        if node.spec.unschedulable {
            spec.insert("unschedulable".to_owned(), Value::Null);
        }
    }
    (!annotations.is_empty()).then(|| guarded(node, &annotations, spec))
}

fn guarded(
    node: &WatchedNode,
    annotations: &Map<String, Value>,
    spec: Map<String, Value>,
) -> Value {
    let mut patch = json!({"metadata": {
        "uid": node.metadata.uid,
        "resourceVersion": node.metadata.resource_version,
        "annotations": annotations,
    }});
    if planted!(ClaimWithoutVersion) {
        patch = json!({"metadata": {"annotations": annotations}});
    }
    if !spec.is_empty() {
        patch["spec"] = Value::Object(spec);
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node;

    fn me() -> Holder {
        Holder::parse("shop/rollout@uid-1").unwrap()
    }

    fn annotated(pairs: &[(&str, &str)], unschedulable: bool) -> WatchedNode {
        let mut node = node("a", &[]);
        node.metadata.uid = Some("node-uid".to_owned());
        node.metadata.resource_version = Some("7".to_owned());
        node.metadata.annotations = Some(
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        );
        node.spec.unschedulable = unschedulable;
        node
    }

    #[test]
    fn a_holder_reads_back_what_it_writes_and_refuses_garbage() {
        assert_eq!(Holder::parse(&me().to_string()), Some(me()));
        for garbage in ["", "shop/rollout", "rollout@uid", "/x@u", "a/@u", "a/b@"] {
            assert_eq!(Holder::parse(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn a_claim_cordons_a_schedulable_node_in_the_same_patch() {
        let patch = claim_patch(&annotated(&[], false), &me(), true);
        assert_eq!(
            patch,
            json!({
                "metadata": {"uid": "node-uid", "resourceVersion": "7", "annotations": {
                    ANNOTATION_CLAIMED_BY: "shop/rollout@uid-1", ANNOTATION_CORDONED_BY: "shop/rollout@uid-1"}},
                "spec": {"unschedulable": true},
            })
        );
    }

    #[test]
    fn a_humans_cordon_is_left_as_it_is_and_survives_the_release() {
        let patch = claim_patch(&annotated(&[], true), &me(), true);
        assert_eq!(
            patch["metadata"]["annotations"],
            json!({ANNOTATION_CLAIMED_BY: "shop/rollout@uid-1"})
        );
        assert_eq!(patch.get("spec"), None);
        let claimed = annotated(&[(ANNOTATION_CLAIMED_BY, "shop/rollout@uid-1")], true);
        let release = release_patch(&claimed, &me(), true).unwrap();
        assert_eq!(release.get("spec"), None);
    }

    #[test]
    fn the_cordon_of_a_dead_claim_is_taken_over_with_it() {
        let dead = [
            (ANNOTATION_CLAIMED_BY, "shop/old@uid-0"),
            (ANNOTATION_CORDONED_BY, "shop/old@uid-0"),
        ];
        let patch = claim_patch(&annotated(&dead, true), &me(), true);
        let annotations = &patch["metadata"]["annotations"];
        assert_eq!(annotations[ANNOTATION_CORDONED_BY], "shop/rollout@uid-1");
        assert_eq!(patch.get("spec"), None, "it is unschedulable already");
    }

    #[test]
    fn a_claim_without_cordon_takes_a_dead_cordon_over_too_and_sets_none() {
        let dead = [(ANNOTATION_CORDONED_BY, "shop/old@uid-0")];
        let patch = claim_patch(&annotated(&dead, true), &me(), false);
        assert_eq!(
            patch["metadata"]["annotations"][ANNOTATION_CORDONED_BY],
            "shop/rollout@uid-1"
        );
        let patch = claim_patch(&annotated(&[], false), &me(), false);
        assert_eq!(patch.get("spec"), None);
    }

    #[test]
    fn a_release_undoes_only_what_is_ours() {
        let ours = [
            (ANNOTATION_CLAIMED_BY, "shop/rollout@uid-1"),
            (ANNOTATION_CORDONED_BY, "shop/rollout@uid-1"),
        ];
        let kept = release_patch(&annotated(&ours, true), &me(), false).unwrap();
        assert_eq!(
            kept["metadata"]["annotations"],
            json!({ANNOTATION_CLAIMED_BY: null})
        );
        let undone = release_patch(&annotated(&ours, true), &me(), true).unwrap();
        assert_eq!(undone["spec"], json!({"unschedulable": null}));
        let others = [
            (ANNOTATION_CLAIMED_BY, "shop/rollout@uid-2"),
            (ANNOTATION_CORDONED_BY, "shop/other@uid-1x"),
        ];
        assert_eq!(release_patch(&annotated(&others, true), &me(), true), None);
    }

    #[test]
    fn a_cordon_that_somebody_removed_is_set_again_by_the_next_claim() {
        let ours = [
            (ANNOTATION_CLAIMED_BY, "shop/rollout@uid-1"),
            (ANNOTATION_CORDONED_BY, "shop/rollout@uid-1"),
        ];
        let node = annotated(&ours, false);
        assert!(!holds(&node, &me(), true));
        let patch = claim_patch(&node, &me(), true);
        assert_eq!(patch["spec"], json!({"unschedulable": true}));
    }
}
