//! Names and labels of the objects that belong to one node of one NodeOp.

use std::collections::BTreeMap;

use api_types::names::{LABEL_NODE, LABEL_NODEOP};
use api_types::nodeop::NodeOp;
use operator_runtime::names::{cut_with_hash, short_hash};

use super::check_pod::Check;

/// A label value holds at most 63 characters.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
const LABEL_VALUE_LENGTH: usize = 63;
/// Characters of the NodeOp's and of the node's name that a Job's name shows. With the hash it stays below the 63
/// characters of a label value less the suffix that the Job controller appends for Pods.
const SHOWN: usize = 22;

/// The Job's name for one node: derived, so that a second attempt to create it meets the first. The hash covers the
/// NodeOp's uid and the whole node name, so names that differ only past the cut do not clash, and neither does a new
/// NodeOp of an old name.
pub fn job_name(node_op: &NodeOp, node: &str) -> String {
    let uid = node_op.metadata.uid.as_deref().unwrap_or_default();
    let shown = |name: &str| {
        // A dot would make a Pod hostname of several labels.
        let plain = name.replace('.', "-");
        plain[..plain.floor_char_boundary(SHOWN)]
            .trim_matches('-')
            .to_owned()
    };
    let name = node_op.metadata.name.as_deref().unwrap_or_default();
    format!(
        "{}-{}-{}",
        shown(name),
        shown(node),
        short_hash(&[uid, node])
    )
}

/// Name of the Pod that runs a check on one node. A Pod's name may be longer than a label.
pub fn check_pod_name(node_op: &NodeOp, node: &str, check: Check) -> String {
    let suffix = match check {
        Check::Preflight => "preflight",
        Check::Verify => "verify",
    };
    format!("{}-{suffix}", job_name(node_op, node))
}

/// How the name of every reboot Pod ends.
pub const REBOOT_POD_SUFFIX: &str = "-reboot";

/// Name of the Pod that reboots one node.
pub fn reboot_pod_name(node_op: &NodeOp, node: &str) -> String {
    format!("{}{REBOOT_POD_SUFFIX}", job_name(node_op, node))
}

/// How the name of every sentinel ends.
pub const SENTINEL_SUFFIX: &str = "-reboot-pending";

/// Name of the file on the host which says that the command has succeeded and the reboot has not happened yet.
pub fn sentinel_name(node_op: &NodeOp, node: &str) -> String {
    format!("{}{SENTINEL_SUFFIX}", job_name(node_op, node))
}

/// Labels of an object for one node, and the annotations that hold in full what a label had to cut.
pub fn labels_and_annotations(
    node_op: &NodeOp,
    node: &str,
) -> (BTreeMap<String, String>, Option<BTreeMap<String, String>>) {
    let mut labels = BTreeMap::new();
    let mut annotations = BTreeMap::new();
    let name = node_op.metadata.name.as_deref().unwrap_or_default();
    for (key, value) in [(LABEL_NODEOP, name), (LABEL_NODE, node)] {
        let label = cut_with_hash(value, LABEL_VALUE_LENGTH);
        if label != value {
            annotations.insert(key.to_owned(), value.to_owned());
        }
        labels.insert(key.to_owned(), label);
    }
    (
        labels,
        Some(annotations).filter(|annotations| !annotations.is_empty()),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::node_op;

    #[test]
    fn names_that_differ_only_past_the_cut_stay_apart_and_valid() {
        let mut op = node_op("command: [run]");
        op.metadata.name = Some("o".repeat(253));
        let long = "n.".repeat(126);
        let nodes = [format!("{long}a"), format!("{long}b"), "short".to_owned()];
        let names: BTreeSet<String> = nodes.iter().map(|node| job_name(&op, node)).collect();
        assert_eq!(names.len(), 3);
        for name in names {
            assert!(
                name.len() <= 57,
                "{name}: a Pod of this Job would exceed 63 characters"
            );
            assert!(
                name.chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                "{name}"
            );
        }
    }

    #[test]
    fn every_object_of_a_node_has_a_name_of_its_own_that_begins_with_the_jobs() {
        let mut op = node_op("command: [run]");
        op.metadata.name = Some("o".repeat(253));
        let node = "n.".repeat(126) + "a";
        let job = job_name(&op, &node);
        let names = BTreeSet::from([
            job.clone(),
            check_pod_name(&op, &node, Check::Preflight),
            check_pod_name(&op, &node, Check::Verify),
            reboot_pod_name(&op, &node),
            sentinel_name(&op, &node),
        ]);
        assert_eq!(names.len(), 5);
        assert!(names.iter().all(|name| name.starts_with(&job)), "{names:?}");
    }

    #[test]
    fn another_uid_makes_another_name() {
        let op = node_op("command: [run]");
        let mut again = op.clone();
        again.metadata.uid = Some("another".to_owned());
        assert_ne!(job_name(&op, "node"), job_name(&again, "node"));
    }

    #[test]
    fn a_cut_label_keeps_the_full_name_in_an_annotation() {
        let op = node_op("command: [run]");
        let node = "n".repeat(100);
        let (labels, annotations) = labels_and_annotations(&op, &node);
        assert!(labels[LABEL_NODE].len() <= 63);
        assert_eq!(annotations.unwrap().get(LABEL_NODE), Some(&node));
        assert_eq!(labels_and_annotations(&op, "short").1, None);
    }
}
