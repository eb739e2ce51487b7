//! Pods in the shape that the nodeop-controller gives them.

use std::time::{Duration, Instant};

use api_types::names::ANNOTATION_REBOOT_AUTHORIZED;
use e2e::cluster::Cluster;
use e2e::nodes::Node;
use e2e::operator::AGENT_IMAGE;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, LogParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{PATIENCE, SENTINEL};

const INTERVAL: Duration = Duration::from_millis(200);

/// What all have in common.
fn bound(node: &Node) -> Value {
    json!({
        "nodeName": node.name(),
        "tolerations": [{"operator": "Exists"}],
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 5,
    })
}

/// A check's Pod: the host read-only, not privileged.
pub(crate) fn check(node: &Node, script: &str) -> Value {
    let mut spec = bound(node);
    spec["volumes"] =
        json!([{"name": "host-root", "hostPath": {"path": "/", "type": "Directory"}}]);
    spec["containers"] = json!([{
        "name": "nodeop",
        "image": "busybox:latest",
        "command": ["sh", "-c", script],
        "env": [{"name": "HOST_DIR", "value": "/host"}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "runAsUser": 0, "runAsGroup": 0,
            "seLinuxOptions": {"type": "spc_t"},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{
            "name": "host-root", "mountPath": "/host", "readOnly": true, "recursiveReadOnly": "IfPossible",
        }],
    }]);
    spec
}

/// A shell line on the host's files, writable.
pub(crate) fn on_host(node: &Node, script: &str) -> Value {
    let mut spec = check(node, script);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "host-root", "mountPath": "/host"}]);
    spec["containers"][0]["securityContext"] = json!({"privileged": true});
    spec
}

/// The Job's Pod: a command, and then the agent that leaves the proof.
pub(crate) fn work(node: &Node) -> Value {
    let mut spec = on_host(node, "true");
    spec["initContainers"] = spec["containers"].clone();
    spec["containers"] = json!([{
        "name": "agent",
        "image": AGENT_IMAGE,
        "command": ["/node-agent", "sentinel", "--host-root", "/host", "--name", SENTINEL],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "capabilities": {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]},
            "readOnlyRootFilesystem": true,
            "runAsUser": 0, "runAsGroup": 0,
            "seLinuxOptions": {"type": "spc_t"},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "host-root", "mountPath": "/host"}],
    }]);
    spec
}

/// The reboot Pod.
pub(crate) struct AgentPod {
    spec: Value,
    arguments: Vec<String>,
}

impl AgentPod {
    pub(crate) fn new(node: &Node) -> Self {
        let arguments = [
            "/node-agent",
            "reboot",
            "--name",
            SENTINEL,
            "--annotations",
            "/pod-info/annotations",
        ];
        let mut spec = bound(node);
        spec["hostPID"] = json!(true);
        spec["restartPolicy"] = json!("OnFailure");
        spec["volumes"] = json!([{"name": "pod-info", "downwardAPI": {
            "items": [{"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}}],
        }}]);
        Self {
            spec,
            arguments: arguments.map(str::to_owned).to_vec(),
        }
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    pub(crate) fn grace_period(mut self, seconds: u32) -> Self {
        self.spec["terminationGracePeriodSeconds"] = json!(seconds);
        self
    }

    pub(crate) fn spec(mut self) -> Value {
        self.spec["containers"] = json!([{
            "name": "agent",
            "image": AGENT_IMAGE,
            "command": self.arguments,
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": {
                "privileged": true, "readOnlyRootFilesystem": true, "runAsUser": 0, "runAsGroup": 0,
            },
            "volumeMounts": [{"name": "pod-info", "mountPath": "/pod-info", "readOnly": true}],
        }]);
        self.spec
    }
}

/// The Pods of the test.
pub(crate) struct Pods {
    api: Api<Pod>,
}

impl Pods {
    /// In the default namespace, once its account is there: the controller manager makes it a moment after its own start.
    pub(crate) async fn of(cluster: &Cluster) -> Self {
        let client = cluster.client().unwrap();
        let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
        let deadline = Instant::now() + PATIENCE;
        while accounts.get_opt("default").await.unwrap().is_none() {
            assert!(Instant::now() < deadline, "there is no default account");
            tokio::time::sleep(INTERVAL).await;
        }
        Self {
            api: Api::default_namespaced(client),
        }
    }

    pub(crate) async fn create(&self, name: &str, spec: &Value) {
        // An annotation that somebody else put on, and that tries to look like the permission.
        let forged = format!("x\n{ANNOTATION_REBOOT_AUTHORIZED}=\"\"\n");
        let metadata = json!({"name": name, "annotations": {"description": forged}});
        let pod = json!({"metadata": metadata, "spec": spec});
        let pod = serde_json::from_value(pod).unwrap();
        self.api.create(&PostParams::default(), &pod).await.unwrap();
    }

    /// Gives the permission to leave that boot.
    pub(crate) async fn permit(&self, name: &str, boot_id: &str) {
        let annotations = json!({ANNOTATION_REBOOT_AUTHORIZED: boot_id});
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
        self.api
            .patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// Deletes a Pod and waits until it is gone.
    pub(crate) async fn delete(&self, name: &str) {
        self.api
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        while self.api.get_opt(name).await.unwrap().is_some() {
            assert!(Instant::now() < deadline, "Pod {name} does not end");
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Waits until a Pod has ended, in this phase.
    pub(crate) async fn ends(&self, name: &str, phase: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.api.get(name).await.unwrap().status.unwrap_or_default();
            let now = status.phase.as_deref().unwrap_or_default();
            if now == phase {
                return;
            }
            let may_still = matches!(now, "Pending" | "Running") && Instant::now() < deadline;
            assert!(
                may_still,
                "Pod {name} is not {phase}: {status:#?}\n{}",
                self.log(name).await
            );
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Waits until a Pod's log holds a text.
    pub(crate) async fn says(&self, name: &str, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log(name).await;
            if log.contains(text) {
                return;
            }
            if Instant::now() > deadline {
                let status = self.api.get(name).await.unwrap().status;
                panic!("Pod {name} does not say {text:?} but {log:?}: {status:#?}");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// What a Pod has printed so far; nothing while it cannot be asked.
    pub(crate) async fn log(&self, name: &str) -> String {
        let log = self.api.logs(name, &LogParams::default()).await;
        log.unwrap_or_default()
    }

    /// The termination message of a Pod's only container.
    pub(crate) async fn message(&self, name: &str) -> String {
        let pod = serde_json::to_value(self.api.get(name).await.unwrap()).unwrap();
        let message = pod.pointer("/status/containerStatuses/0/state/terminated/message");
        message
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }
}
