//! A cluster where the test itself plays the kubelets: Nodes are what it says, and Pods end as it says.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::cluster::{Audit, Cluster};
use e2e::guard::ProcessHandle;
use e2e::operator::{self, Controller, DETECT_NAMESPACE};
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

/// The longest that any expected change may take.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// The record of what was detected.
pub(crate) const RECORD: &str = "operator.kairos.io/detected";
/// What the Pod of a node tells that is no Kairos.
pub(crate) const NOT_KAIROS: &str = "\"not-kairos\"";

/// What the Pod of a Kairos node tells.
pub(crate) fn kairos(boot_state: &str, release: &str) -> String {
    json!({"kairos": {
        "l": {"managed": "true", "boot-state": boot_state, "id": "kairos", "release": release},
        "a": {"version": release},
    }})
    .to_string()
}

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) client: Client,
    pub(crate) controller: Controller,
}

/// Creates what the controller manager would: the account that Pods without one run under.
pub(crate) async fn default_service_account(client: &Client) {
    let account = ServiceAccount {
        metadata: ObjectMeta {
            name: Some("default".to_owned()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    };
    Api::<ServiceAccount>::namespaced(client.clone(), DETECT_NAMESPACE)
        .create(&PostParams::default(), &account)
        .await
        .unwrap();
}

impl World {
    /// A cluster with the labeller's rights, and its controller, not started.
    pub(crate) async fn new(arguments: &[&str]) -> Self {
        let cluster = Cluster::builder().start().await.unwrap();
        operator::install_controllers(&cluster, &["node-labeller"])
            .await
            .unwrap();
        let client = cluster.client().unwrap();
        default_service_account(&client).await;
        let mut controller = Controller::new(&cluster, "node-labeller", None)
            .await
            .unwrap()
            .argument("--detect-image=simulated");
        for argument in arguments {
            controller = controller.argument(argument);
        }
        Self {
            cluster,
            client,
            controller,
        }
    }

    /// The same with a running controller.
    pub(crate) async fn running(arguments: &[&str]) -> (Self, ProcessHandle) {
        let world = Self::new(arguments).await;
        let running = world.start();
        (world, running)
    }

    pub(crate) fn start(&self) -> ProcessHandle {
        self.controller.start(&self.cluster).unwrap()
    }

    pub(crate) fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), DETECT_NAMESPACE)
    }

    /// A Node that has joined and is Ready.
    pub(crate) async fn join(&self, name: &str, labels: &[(&str, &str)]) {
        let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
        let node = json!({"metadata": {"name": name, "labels": labels}});
        let node: Node = serde_json::from_value(node).unwrap();
        self.nodes()
            .create(&PostParams::default(), &node)
            .await
            .unwrap();
        self.report(name, "boot-1", "True").await;
    }

    /// The kubelet reports this boot and readiness.
    pub(crate) async fn report(&self, name: &str, boot_id: &str, ready: &str) {
        let text = "";
        let status = json!({"status": {
            "conditions": [{"type": "Ready", "status": ready, "reason": "Test"}],
            "nodeInfo": {"bootID": boot_id, "osImage": "Kairos", "kubeletVersion": "v1.36.3", "operatingSystem": "linux",
                "architecture": text, "containerRuntimeVersion": text, "kernelVersion": text, "kubeProxyVersion": text,
                "machineID": text, "systemUUID": text},
        }});
        self.nodes()
            .patch_status(name, &PatchParams::default(), &Patch::Strategic(&status))
            .await
            .unwrap();
    }

    pub(crate) async fn node(&self, name: &str) -> Node {
        self.nodes().get(name).await.unwrap()
    }

    /// The labels of a Node that begin with `kairos.io/`, without that.
    pub(crate) async fn labels(&self, name: &str) -> BTreeMap<String, String> {
        let labels = self.node(name).await.metadata.labels.unwrap_or_default();
        labels
            .into_iter()
            .filter_map(|(key, value)| Some((key.strip_prefix("kairos.io/")?.to_owned(), value)))
            .collect()
    }

    pub(crate) async fn record(&self, name: &str) -> Value {
        let annotations = self.node(name).await.metadata.annotations;
        let record = annotations.and_then(|mut annotations| annotations.remove(RECORD));
        record.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
    }

    /// The Pod that looks at a node, if there is one that has not ended.
    pub(crate) async fn pod(&self, node: &str) -> Option<Pod> {
        let pods = self
            .pods()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items;
        pods.into_iter().find(|pod| {
            let is_on = pod.spec.as_ref().unwrap().node_name.as_deref() == Some(node);
            let phase = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            is_on && !matches!(phase, Some("Succeeded" | "Failed"))
        })
    }

    pub(crate) async fn wait_for_pod(&self, node: &str) -> Pod {
        until(&format!("a Pod looks at {node}"), async || {
            self.pod(node).await
        })
        .await
    }

    pub(crate) async fn wait_until_no_pod_is_left(&self) {
        until("no Pod is left", async || {
            let pods = self.pods().list(&ListParams::default()).await.unwrap();
            pods.items.is_empty().then_some(())
        })
        .await;
    }

    /// The next Pod on that node ends well and tells this.
    pub(crate) async fn tell(&self, node: &str, message: &str) {
        let pod = self.wait_for_pod(node).await;
        self.end(&pod, message).await;
    }

    pub(crate) async fn end(&self, pod: &Pod, message: &str) {
        let end = json!({"exitCode": 0, "reason": "Completed", "message": message});
        let status = json!({"phase": "Succeeded", "containerStatuses": [container(&json!({"terminated": end}))]});
        self.set_pod_status(pod, &status).await;
    }

    pub(crate) async fn set_pod_status(&self, pod: &Pod, status: &Value) {
        self.pods()
            .patch_status(
                pod.metadata.name.as_deref().unwrap(),
                &PatchParams::default(),
                &Patch::Merge(json!({"status": status})),
            )
            .await
            .unwrap();
    }

    /// Waits until the record of what the last Pod told is there, with the result.
    pub(crate) async fn wait_for_result(&self, node: &str, result: &str, boots: &str) -> Value {
        until(
            &format!("{node} is found to be {result} ({boots})"),
            async || {
                let record = self.record(node).await;
                (record["result"] == result).then_some(record)
            },
        )
        .await
    }

    /// Waits for an Event about a node, and returns its note.
    pub(crate) async fn wait_for_event(&self, node: &str, reason: &str) -> String {
        let events: Api<Event> = Api::namespaced(self.client.clone(), "default");
        until(&format!("an Event {reason} about {node}"), async || {
            let listed = events.list(&ListParams::default()).await.unwrap().items;
            let found = listed.into_iter().find(|event| {
                let name = event
                    .regarding
                    .as_ref()
                    .and_then(|about| about.name.as_deref());
                name == Some(node) && event.reason.as_deref() == Some(reason)
            });
            found.and_then(|event| event.note)
        })
        .await
    }

    pub(crate) async fn delete_node(&self, name: &str) {
        self.nodes()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    /// What the labeller asked for.
    pub(crate) fn audit(&self) -> Audit {
        audit(&self.cluster)
    }

    /// Waits until the labeller has had the time to see all that was done, by three renewals of its Lease.
    pub(crate) async fn settle(&self) {
        settle(&self.cluster).await;
    }
}

pub(crate) fn audit(cluster: &Cluster) -> Audit {
    let audit = cluster.audit().unwrap();
    audit.service_account(operator::NAMESPACE, "node-labeller")
}

/// Waits for three renewals of the labeller's Lease.
pub(crate) async fn settle(cluster: &Cluster) {
    let renewals = || audit(cluster).verb("patch").resource("leases").count();
    let before = renewals();
    until("the lease is renewed three times", async || {
        (renewals() >= before + 3).then_some(())
    })
    .await;
}

/// Writes of the labeller, leases apart.
pub(crate) fn writes(cluster: &Cluster) -> usize {
    let writes = audit(cluster).writes();
    writes
        .filter(|event| event.object_ref.resource != "leases")
        .count()
}

/// The status of the Pods' container in a state.
pub(crate) fn container(state: &Value) -> Value {
    json!({"name": "detect", "image": "simulated", "imageID": "", "ready": false, "restartCount": 0, "state": state})
}

/// Waits until there is something.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "not within {PATIENCE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
