//! The Pods that only look at a node: before the operation, and after it.

use api_types::names::{LABEL_PREFLIGHT, VALUE_TRUE};
use api_types::nodeop::NodeOp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, VolumeMount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::BuildSettings;
use super::agent::root_with_host_files;
use super::job::owner_reference;
use super::names::{check_pod_name, labels_and_annotations};
use super::pod::{bound_spec, host_mount, host_volume, user_container};

/// Which of a NodeOp's two checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// Before anything is touched: a termination message together with exit code 0 means that the node is skipped for
    /// that reason, silence and exit code 0 means go, everything else is a failure.
    Preflight,
    /// After the command and the reboot: exit code 0 means that the node is done.
    Verify,
}

/// What the two kinds of commands have in common.
struct CheckCommand<'a> {
    command: &'a [String],
    image: Option<&'a String>,
    /// In seconds, from the Pod's start on its node.
    active_deadline: i32,
}

/// The Pod of that check on one node; none where the NodeOp has no such check. It sees the host's root read-only and is
/// not privileged.
pub fn check_pod(
    node_op: &NodeOp,
    node: &str,
    settings: &BuildSettings,
    check: Check,
) -> Option<Pod> {
    let asked = command_of(node_op, check)?;
    let (mut labels, annotations) = labels_and_annotations(node_op, node);
    if check == Check::Preflight {
        labels.insert(LABEL_PREFLIGHT.to_owned(), VALUE_TRUE.to_owned());
    }
    let container = Container {
        termination_message_policy: Some(termination_message_policy(check).to_owned()),
        security_context: Some(root_with_host_files()),
        volume_mounts: Some(vec![VolumeMount {
            read_only: Some(true),
            // What is mounted below the host's root too, where kernel and runtime can.
            recursive_read_only: Some("IfPossible".to_owned()),
            ..host_mount(&node_op.spec)
        }]),
        ..user_container(&node_op.spec, settings, asked.image, asked.command)
    };
    Some(Pod {
        metadata: ObjectMeta {
            name: Some(check_pod_name(node_op, node, check)),
            namespace: node_op.metadata.namespace.clone(),
            labels: Some(labels),
            annotations,
            owner_references: Some(vec![owner_reference(node_op)]),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            active_deadline_seconds: Some(i64::from(asked.active_deadline)),
            containers: vec![container],
            volumes: Some(vec![host_volume()]),
            ..bound_spec(node_op, node, settings)
        }),
        status: None,
    })
}

fn command_of(node_op: &NodeOp, check: Check) -> Option<CheckCommand<'_>> {
    let spec = &node_op.spec;
    match check {
        Check::Preflight => spec.preflight.as_ref().map(|check| CheckCommand {
            command: &check.command,
            image: check.image.as_ref(),
            active_deadline: check.active_deadline_seconds,
        }),
        Check::Verify => spec.verify.as_ref().map(|check| CheckCommand {
            command: &check.command,
            image: check.image.as_ref(),
            active_deadline: check.active_deadline_seconds,
        }),
    }
}

/// A preflight speaks by its message: what a failing one printed must never be taken for a reason to skip, so its log
/// does not get there. Of a failed verification the last words are the explanation.
fn termination_message_policy(check: Check) -> &'static str {
    match check {
        Check::Preflight => "File",
        Check::Verify => "FallbackToLogsOnError",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node_op;

    #[test]
    fn a_preflight_pod_only_looks_and_speaks_by_its_message() {
        let op = node_op("command: [run]\npreflight: {command: [sh, -c, 'test -e /host/etc']}");
        let pod = check_pod(&op, "worker-1", &BuildSettings::default(), Check::Preflight);
        insta::assert_yaml_snapshot!(pod);
    }

    #[test]
    fn a_verify_pod_has_its_own_image_and_deadline_and_the_controllers_settings() {
        let op = node_op(
            "command: [run]
image: registry.example.com/tool:v1
imagePullSecrets: [{name: own}]
hostMountPath: /mnt/host
verify: {command: [check], image: 'registry.example.com/check:v2', activeDeadlineSeconds: 7}",
        );
        let settings = BuildSettings {
            image_pull_secrets: vec!["everywhere".to_owned()],
            priority_class_name: Some("node-operations".to_owned()),
            ..BuildSettings::default()
        };
        let node = format!("{}.example.com", "n".repeat(70));
        insta::assert_yaml_snapshot!(check_pod(&op, &node, &settings, Check::Verify));
    }

    #[test]
    fn a_check_without_image_takes_the_operations() {
        let op = node_op("command: [run]\nimage: tool:v1\nverify: {command: [check]}");
        let pod = check_pod(&op, "worker-1", &BuildSettings::default(), Check::Verify).unwrap();
        let image = pod.spec.unwrap().containers[0].image.clone();
        assert_eq!(image.as_deref(), Some("tool:v1"));
    }

    #[test]
    fn what_is_not_asked_for_is_not_built() {
        let op = node_op("command: [run]\npreflight: {command: [check]}");
        let settings = BuildSettings::default();
        assert_eq!(check_pod(&op, "worker-1", &settings, Check::Verify), None);
        let op = node_op("command: [run]\nverify: {command: [check]}");
        assert_eq!(
            check_pod(&op, "worker-1", &settings, Check::Preflight),
            None
        );
    }
}
