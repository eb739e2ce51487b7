//! What all Pods of this controller have in common, and the Pod that carries a NodeOp's command on one node.

use api_types::names::{CONTAINER_NAME, ENV_HOST_DIR};
use api_types::nodeop::{NodeOp, NodeOpSpec};
use k8s_openapi::api::core::v1::{
    Container, EnvVar, HostPathVolumeSource, LocalObjectReference, Pod, PodSpec,
    ResourceRequirements, SecurityContext, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::BuildSettings;
use super::agent::sentinel_container;
use super::names::{job_name, labels_and_annotations};

/// Volume that holds the host's root.
const HOST_VOLUME: &str = "host-root";

/// The spec of the Job's Pod. With a reboot the command is the init container, and the main one, our agent, leaves the
/// proof on the host that the command has succeeded.
pub fn pod_spec(node_op: &NodeOp, node: &str, settings: &BuildSettings) -> PodSpec {
    let command = command_container(&node_op.spec, settings);
    let (init_containers, containers) = if node_op.spec.reboot_on_success {
        let agent = sentinel_container(node_op, node, settings);
        if planted!(SentinelBeforeWork) {
            (Some(vec![agent]), vec![command])
        } else {
            (Some(vec![command]), vec![agent])
        }
    } else {
        (None, vec![command])
    };
    PodSpec {
        init_containers,
        containers,
        volumes: Some(vec![host_volume()]),
        ..bound_spec(node_op, node, settings)
    }
}

/// The Pod as a dry run asks the API server about it, before any node is touched.
pub fn rehearsal_pod(node_op: &NodeOp, node: &str, settings: &BuildSettings) -> Pod {
    let (labels, annotations) = labels_and_annotations(node_op, node);
    Pod {
        metadata: ObjectMeta {
            name: Some(job_name(node_op, node)),
            namespace: node_op.metadata.namespace.clone(),
            labels: Some(labels),
            annotations,
            ..ObjectMeta::default()
        },
        spec: Some(pod_spec(node_op, node, settings)),
        status: None,
    }
}

/// The spec that every Pod here starts from, without containers. It is bound by name, not scheduled, so that it starts on
/// cordoned and full nodes as well, and holds no token.
pub(super) fn bound_spec(node_op: &NodeOp, node: &str, settings: &BuildSettings) -> PodSpec {
    PodSpec {
        node_name: Some(node.to_owned()),
        // Bound Pods are still evicted by NoExecute taints.
        tolerations: Some(vec![Toleration {
            operator: Some("Exists".to_owned()),
            ..Toleration::default()
        }]),
        restart_policy: Some("Never".to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        priority_class_name: settings.priority_class_name.clone(),
        image_pull_secrets: pull_secrets(node_op, settings),
        ..PodSpec::default()
    }
}

/// The user's command, privileged, with the host's root.
fn command_container(spec: &NodeOpSpec, settings: &BuildSettings) -> Container {
    Container {
        // What a failing command said last reaches the Pod's status, and from there the NodeOp's.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(SecurityContext {
            privileged: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![host_mount(spec)]),
        ..user_container(spec, settings, None, &spec.command)
    }
}

/// A container for a command of the NodeOp's author: its own image where it has one, else the operation's, else the
/// controller's default.
pub(super) fn user_container(
    spec: &NodeOpSpec,
    settings: &BuildSettings,
    own_image: Option<&String>,
    command: &[String],
) -> Container {
    let image = own_image.or(spec.image.as_ref());
    Container {
        name: CONTAINER_NAME.to_owned(),
        image: Some(image.unwrap_or(&settings.default_image).clone()),
        command: Some(command.to_vec()),
        env: Some(vec![EnvVar {
            name: ENV_HOST_DIR.to_owned(),
            value: Some(spec.host_mount_path.clone()),
            ..EnvVar::default()
        }]),
        resources: Some(small_requests()),
        ..Container::default()
    }
}

/// Enough for the scheduler's books; no limit, because nobody knows what a command needs.
pub(super) fn small_requests() -> ResourceRequirements {
    ResourceRequirements {
        requests: Some(
            [("cpu", "10m"), ("memory", "16Mi")]
                .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
                .into(),
        ),
        ..ResourceRequirements::default()
    }
}

/// The host's root file system.
pub(super) fn host_volume() -> Volume {
    Volume {
        name: HOST_VOLUME.to_owned(),
        host_path: Some(HostPathVolumeSource {
            path: "/".to_owned(),
            type_: Some("Directory".to_owned()),
        }),
        ..Volume::default()
    }
}

/// Mounts [`host_volume`] where the NodeOp wants it, writable.
pub(super) fn host_mount(spec: &NodeOpSpec) -> VolumeMount {
    VolumeMount {
        name: HOST_VOLUME.to_owned(),
        mount_path: spec.host_mount_path.clone(),
        ..VolumeMount::default()
    }
}

/// The NodeOp's pull secrets, then the controller's that it does not name itself.
fn pull_secrets(node_op: &NodeOp, settings: &BuildSettings) -> Option<Vec<LocalObjectReference>> {
    let mut secrets = node_op.spec.image_pull_secrets.clone().unwrap_or_default();
    for name in &settings.image_pull_secrets {
        if !secrets.iter().any(|known| known.name == *name) {
            secrets.push(LocalObjectReference { name: name.clone() });
        }
    }
    Some(secrets).filter(|secrets| !secrets.is_empty())
}
