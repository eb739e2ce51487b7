//! A Pod, cut down to the fields that a drain reads while it is parsed: a list of hundreds stays small.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// Annotation on the API server's copy of a static Pod. Deleting the copy does not end the Pod.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-config-mirror>
const ANNOTATION_MIRROR: &str = "kubernetes.io/config.mirror";

/// API group of NodeOps, as it begins an `apiVersion`.
const OPERATOR_GROUP: &str = "operator.kairos.io/";

/// Who would create the Pod anew: its controller owner, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Controller {
    /// Nobody.
    #[default]
    None,
    /// A DaemonSet, which puts its Pods on cordoned nodes too.
    DaemonSet,
    /// A NodeOp: one of this operator's own Pods.
    NodeOp,
    /// The Job of that UID.
    Job(String),
    /// Anything else.
    Other,
}

/// A deletion that has been asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// When the Pod should be gone: the request's time plus the grace period.
    pub due: Timestamp,
    /// The grace period. 0 once the kubelet has confirmed that the containers ended.
    pub grace: SignedDuration,
}

impl Deletion {
    /// When the deletion was asked for.
    pub fn begun(&self) -> Timestamp {
        self.due.checked_sub(self.grace).unwrap_or(self.due)
    }
}

/// One Pod of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Listed")]
pub struct DrainPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: a Pod that comes under the same name has another.
    pub uid: String,
    /// Who would create it anew.
    pub controller: Controller,
    /// Whether it is the copy of a static Pod.
    pub mirror: bool,
    /// Its deletion, once asked for.
    pub deletion: Option<Deletion>,
    /// What else must happen before it is gone.
    pub finalizers: Vec<String>,
    /// Whether all its containers have ended for good.
    pub finished: bool,
    /// Whether it has emptyDir volumes, whose data its end destroys.
    pub empty_dir: bool,
}

/// The JSON of a Pod; what is not named here is skipped.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Listed {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    namespace: String,
    name: String,
    uid: String,
    owner_references: Vec<OwnerReference>,
    annotations: Option<Annotations>,
    deletion_timestamp: Option<Time>,
    deletion_grace_period_seconds: Option<i64>,
    finalizers: Vec<String>,
}

/// Of the annotations, only whether the one that marks a mirror is there.
struct Annotations {
    mirror: bool,
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keys = BTreeMap::<String, IgnoredAny>::deserialize(deserializer)?;
        Ok(Self {
            mirror: keys.contains_key(ANNOTATION_MIRROR),
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    volumes: Option<Volumes>,
}

/// Of the volumes, only whether one is an emptyDir.
struct Volumes {
    empty_dir: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    empty_dir: Option<IgnoredAny>,
}

impl<'de> Deserialize<'de> for Volumes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Volumes;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a list of volumes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut volumes: A) -> Result<Volumes, A::Error> {
                let mut empty_dir = false;
                while let Some(volume) = volumes.next_element::<Volume>()? {
                    empty_dir |= volume.empty_dir.is_some();
                }
                Ok(Volumes { empty_dir })
            }
        }
        deserializer.deserialize_seq(Any)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
}

impl From<Listed> for DrainPod {
    fn from(pod: Listed) -> Self {
        let metadata = pod.metadata;
        let grace = metadata.deletion_grace_period_seconds.unwrap_or_default();
        Self {
            controller: controller(metadata.owner_references),
            mirror: metadata
                .annotations
                .is_some_and(|annotations| annotations.mirror),
            deletion: metadata.deletion_timestamp.map(|due| Deletion {
                due: due.0,
                grace: SignedDuration::from_secs(grace),
            }),
            finalizers: metadata.finalizers,
            finished: matches!(pod.status.phase.as_str(), "Succeeded" | "Failed"),
            empty_dir: pod.spec.volumes.is_some_and(|volumes| volumes.empty_dir),
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
        }
    }
}

fn controller(owners: Vec<OwnerReference>) -> Controller {
    let Some(owner) = owners
        .into_iter()
        .find(|owner| owner.controller == Some(true))
    else {
        return Controller::None;
    };
    match owner.kind.as_str() {
        "DaemonSet" => Controller::DaemonSet,
        "Job" => Controller::Job(owner.uid),
        "NodeOp" if owner.api_version.starts_with(OPERATOR_GROUP) => Controller::NodeOp,
        _ => Controller::Other,
    }
}

impl std::fmt::Display for DrainPod {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(pod: serde_json::Value) -> DrainPod {
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_whole_pod_is_cut_down_to_what_a_drain_reads() {
        let pod = parse(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "namespace": "shop", "name": "db-0", "uid": "pod-uid", "labels": {"app": "db"},
                "annotations": {"note": "x"},
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "1"},
                    {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "2", "controller": true}],
                "finalizers": ["example.com/hold"],
                "deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30,
                "managedFields": [{"manager": "kubelet"}]},
            "spec": {"nodeName": "worker", "volumes": [{"name": "a", "hostPath": {"path": "/"}}, {"name": "b", "emptyDir": {}}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1"},
        }));
        let begun: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(pod.deletion.as_ref().unwrap().begun(), begun);
        let expected = DrainPod {
            namespace: "shop".to_owned(),
            name: "db-0".to_owned(),
            uid: "pod-uid".to_owned(),
            controller: Controller::Other,
            mirror: false,
            deletion: pod.deletion.clone(),
            finalizers: vec!["example.com/hold".to_owned()],
            finished: false,
            empty_dir: true,
        };
        assert_eq!(pod, expected);
        assert_eq!(pod.to_string(), "shop/db-0");
    }

    #[test]
    fn a_pod_without_anything_is_none_of_the_special_ones() {
        assert_eq!(parse(json!({"metadata": {}})), DrainPod::default());
    }

    #[test]
    fn the_controller_owner_is_told_apart_by_kind_and_group() {
        let owned = |api_version: &str, kind: &str, controller: bool| {
            parse(json!({"metadata": {"ownerReferences": [
                {"apiVersion": api_version, "kind": kind, "name": "n", "uid": "u", "controller": controller}]}}))
            .controller
        };
        assert_eq!(owned("apps/v1", "DaemonSet", true), Controller::DaemonSet);
        assert_eq!(owned("apps/v1", "DaemonSet", false), Controller::None);
        assert_eq!(
            owned("batch/v1", "Job", true),
            Controller::Job("u".to_owned())
        );
        let ours = "operator.kairos.io/v1alpha1";
        assert_eq!(owned(ours, "NodeOp", true), Controller::NodeOp);
        assert_eq!(owned("example.com/v1", "NodeOp", true), Controller::Other);
        assert_eq!(owned("apps/v1", "ReplicaSet", true), Controller::Other);
    }

    #[test]
    fn a_mirror_is_known_by_its_annotation_whatever_its_value() {
        let pod = parse(json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": ""}}}));
        assert!(pod.mirror);
    }

    #[test]
    fn only_succeeded_and_failed_count_as_finished() {
        for (phase, finished) in [
            ("Succeeded", true),
            ("Failed", true),
            ("Running", false),
            ("Pending", false),
            ("Unknown", false),
        ] {
            let pod = parse(json!({"metadata": {}, "status": {"phase": phase}}));
            assert_eq!(pod.finished, finished, "{phase}");
        }
    }

    #[test]
    fn an_empty_dir_in_memory_counts_and_null_does_not() {
        let with = |volume: serde_json::Value| {
            parse(json!({"metadata": {}, "spec": {"volumes": [volume]}})).empty_dir
        };
        assert!(with(json!({"name": "a", "emptyDir": {"medium": "Memory"}})));
        assert!(!with(json!({"name": "a", "emptyDir": null})));
        assert!(!with(json!({"name": "a", "configMap": {"name": "c"}})));
    }
}
