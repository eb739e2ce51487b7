//! What is left of an operation, and how soon nothing is.

use std::time::Duration;

use api_types::names::{ANNOTATION_CLAIMED_BY, ANNOTATION_CORDONED_BY};
use kube::ResourceExt as _;

use super::{World, is_cordoned, is_reboot_pod_of, with_controller};

impl World {
    /// Whether nothing of any operation is left on these nodes, nor a reboot Pod, nor a finalizer on the NodeOp.
    pub(crate) async fn is_clean(&self, name: &str, nodes: &[String]) -> Result<(), String> {
        let all = self.all_nodes().await;
        let pods = self.pods().await;
        for node in nodes {
            let found = all.iter().find(|found| found.name_any() == *node);
            let found = found.unwrap_or_else(|| panic!("there is no node {node}"));
            let marks = [ANNOTATION_CLAIMED_BY, ANNOTATION_CORDONED_BY];
            if let Some(mark) = marks
                .iter()
                .find(|mark| found.annotations().contains_key(**mark))
            {
                return Err(format!("{node} has {mark}"));
            }
            if is_cordoned(found) {
                return Err(format!("{node} is cordoned"));
            }
            if pods.iter().any(|pod| is_reboot_pod_of(pod, node)) {
                return Err(format!("{node} has a reboot Pod"));
            }
        }
        match self.find(name).await {
            Some(op) if !op.finalizers().is_empty() => {
                Err(format!("{name} has {:?}", op.finalizers()))
            }
            _ => Ok(()),
        }
    }

    /// Waits until nothing is left, for `patience` at most while the controller runs.
    pub(crate) async fn clean_within(&self, patience: Duration, name: &str, nodes: &[String]) {
        let _running = with_controller().await;
        self.clean_until(tokio::time::Instant::now() + patience, name, nodes)
            .await;
    }

    /// Deletes the operation, and waits until nothing is left of it: for `patience` at most, counted from the request,
    /// while the same process of the controller works all the time. A machine on which even the controller's first word
    /// on an operation takes long is given ten times that.
    pub(crate) async fn delete_within(&self, patience: Duration, name: &str, nodes: &[String]) {
        let _running = with_controller().await;
        let begun = tokio::time::Instant::now();
        self.node_op("first-word", "command: [run]\npaused: true")
            .await;
        self.reason("first-word", "Paused").await;
        let patience = patience.max(10 * begun.elapsed());
        self.delete("first-word").await;

        let begun = tokio::time::Instant::now();
        self.delete(name).await;
        self.clean_until(begun + patience, name, nodes).await;
        while self.find(name).await.is_some() {
            assert!(begun.elapsed() < patience, "{name} is still there");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let took = begun.elapsed();
        assert!(took < patience, "clean after {took:?} only");
        eprintln!("{}: clean after {took:?} of {patience:?}", self.name());
    }

    async fn clean_until(&self, deadline: tokio::time::Instant, name: &str, nodes: &[String]) {
        while let Err(left) = self.is_clean(name, nodes).await {
            assert!(
                tokio::time::Instant::now() < deadline,
                "not clean in time: {left}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
