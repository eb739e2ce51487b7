//! The Pod that reboots a node once it is allowed to.

use api_types::names::{ANNOTATION_REBOOT_AUTHORIZED, LABEL_REBOOT, VALUE_TRUE};
use api_types::nodeop::NodeOp;
use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, DownwardAPIVolumeSource, ObjectFieldSelector, Pod, PodSpec,
    SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::BuildSettings;
use super::agent::agent_container;
use super::job::owner_reference;
use super::names::{labels_and_annotations, reboot_pod_name, sentinel_name};
use super::pod::bound_spec;

/// Volume with the Pod's own annotations, and where it is mounted. The whole folder is mounted: a file mounted by subPath
/// would never change.
const ANNOTATIONS_VOLUME: &str = "pod-info";
const ANNOTATIONS_FOLDER: &str = "/pod-info";
const ANNOTATIONS_FILE: &str = "annotations";
/// How long the Pod may take to end. The agent ends at once, unless it has already called reboot.
const GRACE_SECONDS: i64 = 5;
/// How long a Pod whose reboot was permitted may take to end when its operation is deleted. An agent that has not asked the
/// host ends at once all the same; one that has goes down with the host, which it forces after five minutes. So as long as
/// the Pod is there, a reboot may be under way.
pub const PERMITTED_GRACE_SECONDS: u32 = 330;

/// The reboot Pod of one node. It is created before the Job, so that it is there when the node is drained, and waits for
/// the annotation that allows the reboot. `authorized` is the boot ID that the node may leave, where that was already
/// decided: when a lost Pod is created again.
pub fn reboot_pod(
    node_op: &NodeOp,
    node: &str,
    settings: &BuildSettings,
    authorized: Option<&str>,
) -> Pod {
    let (mut labels, mut annotations) = labels_and_annotations(node_op, node);
    labels.insert(LABEL_REBOOT.to_owned(), VALUE_TRUE.to_owned());
    if let Some(boot_id) = authorized {
        annotations
            .get_or_insert_default()
            .insert(ANNOTATION_REBOOT_AUTHORIZED.to_owned(), boot_id.to_owned());
    }
    Pod {
        metadata: ObjectMeta {
            name: Some(reboot_pod_name(node_op, node)),
            namespace: node_op.metadata.namespace.clone(),
            labels: Some(labels),
            annotations,
            owner_references: Some(vec![owner_reference(node_op)]),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            // The host's process 1 is the way to its root, its boot ID and its own `reboot`.
            host_pid: Some(true),
            // After the reboot the same container starts once more, sees that it has happened, and ends well.
            restart_policy: Some("OnFailure".to_owned()),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            containers: vec![container(node_op, node, settings)],
            volumes: Some(vec![annotations_volume()]),
            ..bound_spec(node_op, node, settings)
        }),
        status: None,
    }
}

fn container(node_op: &NodeOp, node: &str, settings: &BuildSettings) -> Container {
    let arguments = [
        "reboot",
        "--name",
        &sentinel_name(node_op, node),
        "--annotations",
        &format!("{ANNOTATIONS_FOLDER}/{ANNOTATIONS_FILE}"),
    ];
    Container {
        security_context: Some(SecurityContext {
            privileged: Some(true),
            // Whatever user the image names.
            run_as_user: Some(0),
            run_as_group: Some(0),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![VolumeMount {
            name: ANNOTATIONS_VOLUME.to_owned(),
            mount_path: ANNOTATIONS_FOLDER.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        ..agent_container(settings, &arguments)
    }
}

fn annotations_volume() -> Volume {
    Volume {
        name: ANNOTATIONS_VOLUME.to_owned(),
        downward_api: Some(DownwardAPIVolumeSource {
            items: Some(vec![DownwardAPIVolumeFile {
                path: ANNOTATIONS_FILE.to_owned(),
                field_ref: Some(ObjectFieldSelector {
                    field_path: "metadata.annotations".to_owned(),
                    ..ObjectFieldSelector::default()
                }),
                ..DownwardAPIVolumeFile::default()
            }]),
            ..DownwardAPIVolumeSource::default()
        }),
        ..Volume::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node_op;

    fn settings() -> BuildSettings {
        BuildSettings {
            agent_image: "registry.example.com/operator:v1".to_owned(),
            ..BuildSettings::default()
        }
    }

    #[test]
    fn a_reboot_pod_holds_no_permission_no_token_and_no_mount_of_the_host() {
        let op = node_op("command: [run]\nrebootOnSuccess: true");
        insta::assert_yaml_snapshot!(reboot_pod(&op, "worker-1", &settings(), None));
    }

    #[test]
    fn a_pod_that_is_created_again_keeps_the_permission_and_differs_in_nothing_else() {
        let op = node_op("command: [run]\nrebootOnSuccess: true");
        for node in ["worker-1".to_owned(), "n".repeat(100)] {
            let waiting = reboot_pod(&op, &node, &settings(), None);
            let mut again = reboot_pod(&op, &node, &settings(), Some("boot-1"));
            let annotations = again.metadata.annotations.as_mut().unwrap();
            let permission = annotations.remove(ANNOTATION_REBOOT_AUTHORIZED);
            assert_eq!(permission.as_deref(), Some("boot-1"));
            if annotations.is_empty() {
                again.metadata.annotations = None;
            }
            assert_eq!(again, waiting);
        }
    }
}
