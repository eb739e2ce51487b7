//! The Pod that carries a NodeOp's command on one node.

use api_types::names::{CONTAINER_NAME, ENV_HOST_DIR};
use api_types::nodeop::NodeOp;
use k8s_openapi::api::core::v1::{
    Container, EnvVar, HostPathVolumeSource, LocalObjectReference, Pod, PodSpec,
    ResourceRequirements, SecurityContext, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::BuildSettings;
use super::names::{job_name, labels_and_annotations};

/// Volume that holds the host's root.
const HOST_VOLUME: &str = "host-root";

/// The Pod's spec. It is bound by name, not scheduled, so that it starts on cordoned and full nodes as well.
pub fn pod_spec(node_op: &NodeOp, node: &str, settings: &BuildSettings) -> PodSpec {
    let spec = &node_op.spec;
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
        containers: vec![Container {
            name: CONTAINER_NAME.to_owned(),
            image: Some(
                spec.image
                    .clone()
                    .unwrap_or_else(|| settings.default_image.clone()),
            ),
            command: Some(spec.command.clone()),
            env: Some(vec![EnvVar {
                name: ENV_HOST_DIR.to_owned(),
                value: Some(spec.host_mount_path.clone()),
                ..EnvVar::default()
            }]),
            // What a failing command said last reaches the Pod's status, and from there the NodeOp's.
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            security_context: Some(SecurityContext {
                privileged: Some(true),
                ..SecurityContext::default()
            }),
            resources: Some(ResourceRequirements {
                requests: Some(
                    [("cpu", "10m"), ("memory", "16Mi")]
                        .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
                        .into(),
                ),
                ..ResourceRequirements::default()
            }),
            volume_mounts: Some(vec![VolumeMount {
                name: HOST_VOLUME.to_owned(),
                mount_path: spec.host_mount_path.clone(),
                ..VolumeMount::default()
            }]),
            ..Container::default()
        }],
        volumes: Some(vec![Volume {
            name: HOST_VOLUME.to_owned(),
            host_path: Some(HostPathVolumeSource {
                path: "/".to_owned(),
                type_: Some("Directory".to_owned()),
            }),
            ..Volume::default()
        }]),
        ..PodSpec::default()
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
