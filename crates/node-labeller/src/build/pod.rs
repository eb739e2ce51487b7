//! The Pod that looks at one node.
//!
//! It is bound by name, not scheduled, asks for no resources and tolerates every taint, so that it starts on cordoned,
//! tainted and full nodes as well. Its owner is the Node: it goes with it, and a drain of that node takes it for a Pod that
//! somebody looks after.

use std::collections::BTreeMap;

use api_types::names::{LABEL_NODE, VALUE_TRUE};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, HostPathVolumeSource, LocalObjectReference, Pod, PodOS,
    PodSecurityContext, PodSpec, ResourceRequirements, SeccompProfile, SecurityContext, Toleration,
    Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use operator_runtime::names::{cut_with_hash, short_hash};

use super::BuildSettings;
use crate::decide::Probe;
use crate::watched::{ANNOTATION_STATE, ANNOTATION_WITH_MARKERS, WatchedNode};

/// Selects our Pods.
pub const SELECTOR: &str = "app.kubernetes.io/managed-by=node-labeller";

/// A part of the host that the Pod sees. Where it is missing, or something else, its type keeps the Pod from starting;
/// without one a container runtime would create it on the host.
struct HostPath {
    volume: &'static str,
    path: &'static str,
    type_: &'static str,
}

const fn folder(volume: &'static str, path: &'static str) -> HostPath {
    HostPath {
        volume,
        path,
        type_: "Directory",
    }
}

/// What every host has. A link in /etc leads to /usr/lib; the whole of /usr is mounted because some hosts have no
/// /usr/lib. The kernel command line is the host's own file, because a container in a virtual machine has another in its own
/// /proc.
const EVERYWHERE: [HostPath; 3] = [
    folder("etc", "/etc"),
    folder("usr", "/usr"),
    HostPath {
        volume: "cmdline",
        path: "/proc/cmdline",
        type_: "File",
    },
];
/// The folder of marker files. Not every host has it; hence a Pod of its own.
const MARKERS: HostPath = folder("run-cos", "/run/cos");

/// Characters of the node's name that a Pod's name shows; with the rest it stays below the 63 of a host name.
const SHOWN: usize = 40;
const LABEL_VALUE_LENGTH: usize = 63;

/// The name of a node's Pod: derived, so that a node never has two, whoever creates them.
pub fn pod_name(node: &str, uid: &str) -> String {
    // A dot would make a host name of several labels.
    let plain = node.replace('.', "-");
    let shown = plain[..plain.floor_char_boundary(SHOWN)].trim_matches('-');
    format!("detect-{shown}-{}", short_hash(&[uid]))
}

/// The Pod.
pub fn pod(node: &WatchedNode, probe: Probe, settings: &BuildSettings) -> Pod {
    let mut annotations = BTreeMap::from([(ANNOTATION_STATE.to_owned(), node.state.clone())]);
    if probe == Probe::FilesAndMarkers {
        annotations.insert(ANNOTATION_WITH_MARKERS.to_owned(), VALUE_TRUE.to_owned());
    }
    let label = cut_with_hash(node.name(), LABEL_VALUE_LENGTH);
    if label != node.name() {
        annotations.insert(LABEL_NODE.to_owned(), node.name().to_owned());
    }
    let labels = [
        ("app.kubernetes.io/name", "node-labeller-detect"),
        ("app.kubernetes.io/managed-by", "node-labeller"),
        (LABEL_NODE, &label),
    ];
    Pod {
        metadata: ObjectMeta {
            name: Some(node.pod_name.clone()),
            namespace: Some(settings.namespace.clone()),
            labels: Some(
                labels
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            ),
            annotations: Some(annotations),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: node.name().to_owned(),
                uid: node.uid().to_owned(),
                controller: Some(true),
                block_owner_deletion: None,
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(spec(node, probe, settings)),
        status: None,
    }
}

fn spec(node: &WatchedNode, probe: Probe, settings: &BuildSettings) -> PodSpec {
    let host_paths: Vec<HostPath> = EVERYWHERE
        .into_iter()
        .chain((probe == Probe::FilesAndMarkers).then_some(MARKERS))
        .collect();
    let secrets: Vec<LocalObjectReference> = settings
        .image_pull_secrets
        .iter()
        .map(|name| LocalObjectReference { name: name.clone() })
        .collect();
    PodSpec {
        node_name: Some(node.name().to_owned()),
        os: Some(PodOS {
            name: "linux".to_owned(),
        }),
        // Bound Pods are still evicted by NoExecute taints.
        tolerations: Some(vec![Toleration {
            operator: Some("Exists".to_owned()),
            ..Toleration::default()
        }]),
        restart_policy: Some("Never".to_owned()),
        active_deadline_seconds: Some(settings.deadline_seconds),
        // Nothing in it needs time to end.
        termination_grace_period_seconds: Some(1),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        priority_class_name: settings.priority_class_name.clone(),
        image_pull_secrets: Some(secrets).filter(|secrets| !secrets.is_empty()),
        security_context: Some(PodSecurityContext {
            run_as_user: Some(settings.user),
            run_as_group: Some(settings.user),
            run_as_non_root: (settings.user != 0).then_some(true),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(&host_paths, settings)],
        volumes: Some(
            host_paths
                .iter()
                .map(|host| Volume {
                    name: host.volume.to_owned(),
                    host_path: Some(HostPathVolumeSource {
                        path: host.path.to_owned(),
                        type_: Some(host.type_.to_owned()),
                    }),
                    ..Volume::default()
                })
                .collect(),
        ),
        ..PodSpec::default()
    }
}

fn container(host_paths: &[HostPath], settings: &BuildSettings) -> Container {
    let amounts = |amounts: &[(&str, &str)]| {
        let amounts = amounts
            .iter()
            .map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())));
        Some(amounts.collect())
    };
    Container {
        name: "detect".to_owned(),
        image: Some(settings.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["/node-labeller-detect".to_owned()]),
        // What a failing detection says last reaches an Event. Of one that succeeds only the file counts.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        // Requests of zero, or the limit would be the request, and a full node would refuse the Pod.
        resources: Some(ResourceRequirements {
            requests: amounts(&[("cpu", "0"), ("memory", "0")]),
            limits: amounts(&[("memory", "64Mi")]),
            ..ResourceRequirements::default()
        }),
        volume_mounts: Some(
            host_paths
                .iter()
                .map(|host| VolumeMount {
                    name: host.volume.to_owned(),
                    mount_path: format!("/host{}", host.path),
                    read_only: Some(true),
                    recursive_read_only: Some("IfPossible".to_owned()),
                    ..VolumeMount::default()
                })
                .collect(),
        ),
        ..Container::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, settings};

    #[test]
    fn the_pod_that_looks_at_files() {
        insta::assert_yaml_snapshot!(pod(&node("worker.example"), Probe::Files, &settings()));
    }

    #[test]
    fn the_pod_that_looks_at_marker_files_too_and_each_setting() {
        let settings = BuildSettings {
            user: 0,
            image_pull_secrets: vec!["secret".to_owned()],
            priority_class_name: Some("kairos-operations".to_owned()),
            ..settings()
        };
        let node = node(&"n".repeat(100));
        insta::assert_yaml_snapshot!(pod(&node, Probe::FilesAndMarkers, &settings));
    }

    #[test]
    fn names_are_host_names_and_differ_with_the_uid() {
        assert_ne!(pod_name("worker", "one"), pod_name("worker", "another"));
        for name in [&"n.".repeat(126), "a", &format!("{}-.b", "a".repeat(39))] {
            let name = pod_name(name, "uid");
            assert!(name.len() <= 63 && !name.contains('.'), "{name}");
            assert!(!name.contains("--"), "{name}");
        }
    }

    #[test]
    fn every_mount_of_the_host_is_read_only() {
        let pod = pod(&node("a"), Probe::FilesAndMarkers, &settings());
        let spec = pod.spec.unwrap();
        let mounts = spec.containers[0].volume_mounts.clone().unwrap();
        assert_eq!(mounts.len(), spec.volumes.unwrap().len());
        assert!(mounts.iter().all(|mount| mount.read_only == Some(true)));
    }
}
