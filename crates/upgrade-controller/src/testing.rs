//! Fixtures for this crate's tests: minimal YAML through the real types.

use api_types::nodeop::{NodeOp, NodeOpStatus};
use api_types::nodeopupgrade::NodeOpUpgrade;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::build::BuildSettings;
use crate::build::node_op::node_op;

/// A NodeOpUpgrade `shop/to-v2` with uid `uid-1`, generation 1 and the given spec.
pub(crate) fn upgrade(spec: &str) -> NodeOpUpgrade {
    let spec: serde_json::Value = serde_saphyr::from_str(spec).unwrap();
    serde_json::from_value(serde_json::json!({
        "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOpUpgrade",
        "metadata": {"name": "to-v2", "namespace": "shop", "uid": "uid-1", "resourceVersion": "1", "generation": 1},
        "spec": spec,
    }))
    .unwrap()
}

/// The NodeOp that the controller has made for it, at second 0, with the given status.
pub(crate) fn made_for(upgrade: &NodeOpUpgrade, status: &str) -> NodeOp {
    let mut made = node_op(upgrade, BuildSettings::default());
    made.metadata.uid = Some("uid-of-node-op".to_owned());
    made.metadata.resource_version = Some("7".to_owned());
    made.metadata.creation_timestamp = Some(Time(at(0)));
    made.status = Some(node_op_status(status));
    made
}

/// A NodeOp's status.
pub(crate) fn node_op_status(status: &str) -> NodeOpStatus {
    serde_saphyr::from_str(status).unwrap()
}

/// The tests' clock: seconds after its start.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}
