//! The Job that runs a NodeOp's command on one node.

use api_types::nodeop::NodeOp;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;

use super::BuildSettings;
use super::names::{job_name, labels_and_annotations};
use super::pod::pod_spec;

/// The Job. One Pod at a time (`podReplacementPolicy: Failed` waits until the last one has ended), removed by its TTL.
pub fn job(node_op: &NodeOp, node: &str, settings: &BuildSettings) -> Job {
    let spec = &node_op.spec;
    let (labels, annotations) = labels_and_annotations(node_op, node);
    Job {
        metadata: ObjectMeta {
            name: (!planted!(RandomJobName)).then(|| job_name(node_op, node)),
            generate_name: planted!(RandomJobName).then(|| "job-".to_owned()),
            namespace: node_op.metadata.namespace.clone(),
            labels: Some(labels.clone()),
            annotations: annotations.clone(),
            owner_references: Some(vec![owner_reference(node_op)]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            completions: Some(1),
            parallelism: Some(1),
            backoff_limit: Some(spec.backoff_limit),
            active_deadline_seconds: spec.active_deadline_seconds.map(i64::from),
            ttl_seconds_after_finished: Some(spec.ttl_seconds_after_finished),
            pod_replacement_policy: Some("Failed".to_owned()),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations,
                    ..ObjectMeta::default()
                }),
                spec: Some(pod_spec(node_op, node, settings)),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// Names the NodeOp as controller. Without `blockOwnerDeletion`: it would need a right on the NodeOp's finalizers, and
/// nothing waits for the Jobs.
pub fn owner_reference(node_op: &NodeOp) -> OwnerReference {
    OwnerReference {
        api_version: NodeOp::api_version(&()).into_owned(),
        kind: NodeOp::kind(&()).into_owned(),
        name: node_op.metadata.name.clone().unwrap_or_default(),
        uid: node_op.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node_op;

    #[test]
    fn the_smallest_node_op_gets_every_default() {
        let op = node_op("command: [sh, -c, 'cat /host/etc/os-release']");
        insta::assert_yaml_snapshot!(job(&op, "worker-1", &BuildSettings::default()));
    }

    #[test]
    fn each_field_of_the_spec_and_each_setting_reaches_the_job() {
        let op = node_op(
            "command: [upgrade]
image: registry.example.com/tool:v1
imagePullSecrets: [{name: own}, {name: shared}]
hostMountPath: /mnt/host
backoffLimit: 0
activeDeadlineSeconds: 900
ttlSecondsAfterFinished: 600",
        );
        let settings = BuildSettings {
            default_image: "unused".to_owned(),
            image_pull_secrets: vec!["shared".to_owned(), "everywhere".to_owned()],
            priority_class_name: Some("node-operations".to_owned()),
            agent_image: "unused".to_owned(),
        };
        let name = format!("{}.example.com", "n".repeat(70));
        insta::assert_yaml_snapshot!(job(&op, &name, &settings));
    }

    #[test]
    fn with_a_reboot_the_agent_comes_after_the_command() {
        let op = node_op("command: [upgrade]\nhostMountPath: /mnt/$(HOME)\nrebootOnSuccess: true");
        let settings = BuildSettings {
            agent_image: "registry.example.com/operator:v1".to_owned(),
            ..BuildSettings::default()
        };
        insta::assert_yaml_snapshot!(job(&op, "worker-1", &settings));
    }
}
