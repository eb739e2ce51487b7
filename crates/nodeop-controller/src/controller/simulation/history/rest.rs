//! What must hold when everything has come to rest.

use api_types::names::{ANNOTATION_CLAIMED_BY, ANNOTATION_CORDONED_BY};
use api_types::nodeop::{NodeOp, NodePhase};
use serde_json::Value;

use super::{FINALIZER_NODEOP, History, Holder, Kind, Objects, is_terminal, text, typed};
use crate::control_plane::Place;

impl History {
    /// Looks at what is left.
    pub(in crate::controller::simulation) fn at_rest(&mut self, objects: &Objects) {
        let node_ops: Vec<NodeOp> = objects
            .iter()
            .filter(|(key, _)| key.0 == Kind::NodeOp)
            .map(|(_, object)| typed(object))
            .collect();
        for node_op in &node_ops {
            let name = node_op.metadata.name.clone().unwrap_or_default();
            if !node_op.status.as_ref().is_some_and(is_terminal) {
                self.violation(format!("{name} never ended: {:?}", node_op.status));
            }
            let finalizers = node_op.metadata.finalizers.iter().flatten();
            if finalizers.clone().any(|name| name == FINALIZER_NODEOP) {
                self.violation(format!("{name} still has our finalizer"));
            }
        }
        for (key, object) in objects {
            match key.0 {
                Kind::Node => self.node_at_rest(&node_ops, &key.2, object),
                Kind::Pod if key.2.ends_with("-reboot") => {
                    self.violation(format!("the reboot Pod {} is left", key.2));
                }
                Kind::Lease => {
                    let place = Place::parse(text(object, "/spec/holderIdentity"));
                    // Taken after the end it holds nothing: its NodeOp does not work on that node.
                    let late = self.two_leaders || self.late_request;
                    if let Some(place) = place
                        && !late
                        && node_ops
                            .iter()
                            .any(|node_op| Holder::of(node_op) == place.holder)
                    {
                        self.violation(format!("the control plane's place is left with {place}"));
                    }
                }
                _ => {}
            }
        }
    }

    fn node_at_rest(&mut self, node_ops: &[NodeOp], name: &str, node: &Value) {
        let annotations = &node["metadata"]["annotations"];
        if let Some(holder) = annotations[ANNOTATION_CLAIMED_BY].as_str() {
            self.violation(format!("{name} is left with the claim of {holder}"));
        }
        let cordoned = node["spec"]["unschedulable"] == true;
        if !cordoned || self.human_cordons.contains(name) {
            return;
        }
        let failed = node_ops.iter().any(|node_op| {
            annotations[ANNOTATION_CORDONED_BY].as_str()
                == Some(Holder::of(node_op).to_string().as_str())
                && node_op
                    .status
                    .as_ref()
                    .and_then(|status| status.node_statuses.get(name))
                    .is_some_and(|entry| entry.phase == NodePhase::Failed)
        });
        if !failed {
            self.violation(format!("{name} is left cordoned: {annotations}"));
        }
    }
}
