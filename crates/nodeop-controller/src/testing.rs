//! Fixtures for this crate's tests: minimal YAML through the real types.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api_types::nodeop::NodeOp;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use operator_runtime::client::Clients;
use operator_runtime::lease::Leadership;
use proptest::test_runner::Config as ProptestConfig;

use crate::apply::Requests;
use crate::clock::Clock;
use crate::watched::{WatchedCondition, WatchedJob, WatchedNode};

/// As many random cases as `PROPTEST_CASES` asks for, else `usual`.
pub(crate) fn cases(usual: u32) -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(usual),
    }
}

/// A NodeOp `shop/rollout` with uid `uid-1` and the given spec.
pub(crate) fn node_op(spec: &str) -> NodeOp {
    let spec: serde_json::Value = serde_saphyr::from_str(spec).unwrap();
    serde_json::from_value(serde_json::json!({
        "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp",
        "metadata": {"name": "rollout", "namespace": "shop", "uid": "uid-1", "resourceVersion": "1", "generation": 1},
        "spec": spec,
    }))
    .unwrap()
}

/// A Node that is Ready.
pub(crate) fn node(name: &str, labels: &[(&str, &str)]) -> WatchedNode {
    let mut node = WatchedNode::default();
    node.metadata.name = Some(name.to_owned());
    node.metadata.labels = Some(
        labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    );
    node.status.node_info.system_uuid = format!("machine-of-{name}");
    node.status.conditions = vec![condition("Ready", "True")];
    node
}

/// The same Node, not Ready.
pub(crate) fn not_ready(mut node: WatchedNode) -> WatchedNode {
    node.status.conditions = vec![WatchedCondition {
        message: Some("kubelet stopped".to_owned()),
        ..condition("Ready", "False")
    }];
    node
}

/// A condition without words.
pub(crate) fn condition(type_: &str, status: &str) -> WatchedCondition {
    WatchedCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        ..WatchedCondition::default()
    }
}

/// A Job of that name with that condition, if any.
pub(crate) fn job(name: &str, ended: Option<&str>) -> WatchedJob {
    let mut job = WatchedJob::default();
    job.metadata.name = Some(name.to_owned());
    job.status.conditions = ended
        .map(|type_| WatchedCondition {
            reason: Some("BackoffLimitExceeded".to_owned()),
            ..condition(type_, "True")
        })
        .into_iter()
        .collect();
    job
}

/// Objects by name, as a snapshot holds them.
pub(crate) fn by_name<T>(objects: Vec<T>, name: impl Fn(&T) -> &str) -> BTreeMap<String, Arc<T>> {
    objects
        .into_iter()
        .map(|object| (name(&object).to_owned(), Arc::new(object)))
        .collect()
}

/// The tests' clock: seconds after its start.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// Requests of a process that leads, to a mocked API server.
pub(crate) fn requests(client: Client) -> Requests {
    Requests {
        clients: Clients {
            api: client.clone(),
            without_retry: client,
        },
        timeout: Duration::from_secs(5),
        leadership: Leadership::always(),
        lease_namespace: "kairos-operator".to_owned(),
        clock: Clock::default(),
    }
}
