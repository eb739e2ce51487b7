//! Fixtures for this crate's tests.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::build::BuildSettings;
use crate::build::pod::{pod, pod_name};
use crate::decide::Probe;
use crate::record::{Record, jitter};
use crate::watched::{
    WatchedCondition, WatchedContainerState, WatchedContainerStatus, WatchedNode, WatchedPod,
    WatchedTerminated, WatchedWaiting,
};

/// Settings without anything optional.
pub(crate) fn settings() -> BuildSettings {
    BuildSettings {
        image: "registry.example/node-labeller:v1".to_owned(),
        namespace: "looking".to_owned(),
        user: 65_532,
        deadline_seconds: 60,
        image_pull_secrets: Vec::new(),
        priority_class_name: None,
    }
}

/// A Node that is Ready, with Linux, and without a record.
pub(crate) fn node(name: &str) -> WatchedNode {
    let mut node = WatchedNode::default();
    node.metadata.name = Some(name.to_owned());
    node.metadata.uid = Some(format!("uid-of-{name}"));
    node.state = format!("state-of-{name}");
    node.has_linux = true;
    node.pod_name = pod_name(node.name(), node.uid());
    node.jitter = jitter(node.uid());
    node.status.conditions = vec![WatchedCondition {
        type_: "Ready".to_owned(),
        status: "True".to_owned(),
    }];
    node
}

/// The record of a node's present state.
pub(crate) fn record(node: &WatchedNode, at: Timestamp) -> Record {
    Record {
        at,
        of: node.state.clone(),
        by: "a Pod of before".to_owned(),
        result: "Kairos".to_owned(),
        markers: None,
    }
}

/// The Node's Pod, just created.
pub(crate) fn pending(node: &WatchedNode, probe: Probe, created: Timestamp) -> WatchedPod {
    let mut watched = WatchedPod {
        metadata: pod(node, probe, &settings()).metadata,
        ..WatchedPod::default()
    };
    watched.metadata.uid = Some(format!("uid-of-pod-of-{}", node.name()));
    watched.metadata.creation_timestamp = Some(Time(created));
    "Pending".clone_into(&mut watched.status.phase);
    watched.trim();
    watched
}

/// The Node's Pod that succeeded with a message.
pub(crate) fn ended(node: &WatchedNode, probe: Probe, message: &str) -> WatchedPod {
    let mut pod = pending(node, probe, at(0));
    "Succeeded".clone_into(&mut pod.status.phase);
    pod.status.container_statuses = vec![WatchedContainerStatus {
        state: WatchedContainerState {
            waiting: None,
            terminated: Some(WatchedTerminated {
                exit_code: 0,
                reason: Some("Completed".to_owned()),
                message: Some(message.to_owned()),
            }),
        },
    }];
    pod
}

/// The Pod with its container waiting.
pub(crate) fn waiting(mut pod: WatchedPod, reason: &str, message: &str) -> WatchedPod {
    pod.status.container_statuses = vec![WatchedContainerStatus {
        state: WatchedContainerState {
            waiting: Some(WatchedWaiting {
                reason: Some(reason.to_owned()),
                message: Some(message.to_owned()),
            }),
            terminated: None,
        },
    }];
    pod
}

/// The tests' clock: seconds after its start.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}
