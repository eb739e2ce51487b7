//! What is to be done on the nodes, and the objects that it takes: those that the controller itself made for one node, so
//! that the floor creates the same.

use anyhow::Context as _;
use api_types::names::ANNOTATION_REBOOT_AUTHORIZED;
use api_types::nodeop::NodeOp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use serde_json::{Value, json};

/// Name of the NodeOp, in a namespace of its own.
pub const NAME: &str = "operation";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Work {
    /// Nodes in the cluster; each is worked on.
    pub nodes: usize,
    /// Nodes at once; 0 is all.
    pub concurrency: usize,
    /// Pods on each node.
    pub pods_per_node: usize,
    /// Whether each node is emptied of them first.
    pub drain: bool,
    /// Whether each node is rebooted.
    pub reboot: bool,
}

impl Work {
    /// How many nodes are worked on at once.
    pub fn slots(&self) -> usize {
        match self.concurrency {
            0 => self.nodes,
            limit => limit,
        }
    }

    /// Whether each node is claimed.
    pub fn disrupts(&self) -> bool {
        self.drain || self.reboot
    }

    /// In words, for progress lines.
    pub fn words(&self) -> String {
        let mut words = format!("{} nodes", self.nodes);
        if self.pods_per_node > 0 {
            words = format!("{words}, {} Pods on each", self.pods_per_node);
        }
        words = match self.concurrency {
            0 => format!("{words}, all at once"),
            limit => format!("{words}, {limit} at once"),
        };
        for (is_asked, word) in [(self.drain, ", drained"), (self.reboot, ", rebooted")] {
            words += if is_asked { word } else { "" };
        }
        words
    }

    /// The NodeOp that does it, on the nodes with these labels.
    pub fn node_op(&self, labels: &Value) -> anyhow::Result<NodeOp> {
        let mut spec = json!({
            "command": ["true"], "image": "bench", "concurrency": self.concurrency,
            "nodeSelector": {"matchLabels": labels}, "rebootOnSuccess": self.reboot,
        });
        if self.drain {
            spec["drainOptions"] = json!({"enabled": true});
        }
        let node_op = json!({
            "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp",
            "metadata": {"name": NAME}, "spec": spec,
        });
        serde_json::from_value(node_op).context("failed to write the NodeOp")
    }
}

/// An object that the controller made for one node, to be made for others.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    name: String,
    node: String,
}

impl Template {
    /// From an object as the API server returned it, for `node`. The owner, and what the API server and the Job controller
    /// have added, is left out.
    pub fn of(mut object: Value, name: &str, node: &str) -> anyhow::Result<Self> {
        for field in [
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "managedFields",
            "namespace",
            "ownerReferences",
            "finalizers",
        ] {
            remove(&mut object["metadata"], field);
        }
        remove(
            &mut object["metadata"]["annotations"],
            ANNOTATION_REBOOT_AUTHORIZED,
        );
        remove(&mut object, "status");
        remove(&mut object["spec"], "selector");
        for label in [
            "controller-uid",
            "batch.kubernetes.io/controller-uid",
            "job-name",
            "batch.kubernetes.io/job-name",
        ] {
            remove(&mut object["metadata"]["labels"], label);
            remove(&mut object["spec"]["template"]["metadata"]["labels"], label);
        }
        if object["spec"]["template"].is_null() {
            remove(&mut object["spec"], "template");
        }
        Ok(Self {
            text: serde_json::to_string(&object).context("failed to write a template")?,
            name: name.to_owned(),
            node: node.to_owned(),
        })
    }

    /// The Job for another node, under the name that [`Self::name_for`] tells.
    pub fn job(&self, node: &str) -> anyhow::Result<Job> {
        serde_json::from_str(&self.for_node(node)).context("failed to make a Job of its template")
    }

    /// The Pod for another node.
    pub fn pod(&self, node: &str) -> anyhow::Result<Pod> {
        serde_json::from_str(&self.for_node(node)).context("failed to make a Pod of its template")
    }

    /// The object's name for another node.
    pub fn name_for(&self, node: &str) -> String {
        self.name.replace(&self.node, node)
    }

    fn for_node(&self, node: &str) -> String {
        self.text.replace(&self.node, node)
    }
}

fn remove(object: &mut Value, field: &str) {
    if let Value::Object(fields) = object {
        fields.remove(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_makes_the_same_job_for_another_node() {
        let job = json!({
            "metadata": {"name": "operation-node-00000-1a2b", "uid": "x", "resourceVersion": "7",
                "ownerReferences": [{"apiVersion": "v", "kind": "NodeOp", "name": "operation", "uid": "y"}],
                "labels": {"kairos.io/node": "node-00000", "controller-uid": "x"}},
            "spec": {"backoffLimit": 6, "selector": {"matchLabels": {"controller-uid": "x"}},
                "template": {"metadata": {"labels": {"job-name": "operation-node-00000-1a2b", "kept": "yes"}},
                    "spec": {"nodeName": "node-00000", "containers": []}}},
            "status": {"succeeded": 1},
        });
        let template = Template::of(job, "operation-node-00000-1a2b", "node-00000").unwrap();
        let job = template.job("node-00017").unwrap();
        assert_eq!(
            job.metadata.name.as_deref(),
            Some("operation-node-00017-1a2b")
        );
        assert_eq!(template.name_for("node-00017"), "operation-node-00017-1a2b");
        assert_eq!(job.metadata.uid, None);
        assert_eq!(job.metadata.owner_references, None);
        assert_eq!(job.metadata.labels.unwrap().len(), 1);
        let spec = job.spec.unwrap();
        assert_eq!((spec.backoff_limit, spec.selector), (Some(6), None));
        assert_eq!(spec.template.metadata.unwrap().labels.unwrap().len(), 1);
        assert_eq!(
            spec.template.spec.unwrap().node_name.as_deref(),
            Some("node-00017")
        );
        assert_eq!(job.status, None);
    }

    #[test]
    fn work_without_a_limit_has_a_slot_for_each_node() {
        let mut work = Work {
            nodes: 7,
            concurrency: 0,
            pods_per_node: 2,
            drain: true,
            reboot: false,
        };
        assert_eq!(work.slots(), 7);
        assert_eq!(
            work.words(),
            "7 nodes, 2 Pods on each, all at once, drained"
        );
        work.concurrency = 3;
        assert_eq!(work.slots(), 3);
        assert!(work.node_op(&json!({"a": "b"})).unwrap().spec.drains());
    }
}
