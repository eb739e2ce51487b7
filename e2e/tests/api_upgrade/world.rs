//! One namespace, and what tests ask and do there. All worlds of this binary share one cluster and one controller.

use std::time::Duration;

use api_types::nodeop::{NodeOp, NodeOpStatus};
use api_types::nodeopupgrade::{NodeOpUpgrade, NodeOpUpgradeStatus};
use e2e::cluster::{Cluster, ControlPlane, TempNamespace};
use e2e::guard::{Exit, ProcessHandle, Signal};
use e2e::operator::{self, Controller};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// The longest that any expected change may take.
const PATIENCE: Duration = Duration::from_secs(30);

struct Shared {
    cluster: Cluster,
    controller: Controller,
    running: Mutex<Option<ProcessHandle>>,
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();

async fn shared() -> &'static Shared {
    SHARED
        .get_or_init(|| async {
            let cluster = Cluster::builder()
                .control_plane(ControlPlane::ApiOnly)
                // The strictest reading of an owner that waits for what it owns.
                .api_server_argument(
                    "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
                )
                .start()
                .await
                .unwrap();
            operator::install_controllers(&cluster, &["upgrade-controller"])
                .await
                .unwrap();
            let controller = Controller::new(&cluster, "upgrade-controller", None)
                .await
                .unwrap();
            let running = Mutex::new(Some(controller.start(&cluster).unwrap()));
            Shared {
                cluster,
                controller,
                running,
            }
        })
        .await
}

pub(crate) async fn cluster() -> &'static Cluster {
    &shared().await.cluster
}

/// The number of SIGTERM.
const TERMINATED: i32 = 15;

/// While this lives, no controller runs. Other tests just wait that long.
pub(crate) struct WithoutController(MutexGuard<'static, Option<ProcessHandle>>);

pub(crate) async fn without_controller() -> WithoutController {
    let shared = shared().await;
    let mut running = shared.running.lock().await;
    if let Some(process) = running.take() {
        process.signal(Signal::Terminate).unwrap();
        let exit = process.wait().await.unwrap();
        // One that was started a moment ago for the test before does not heed the signal yet: it is just ended by it.
        assert!(
            exit.success() || exit == Exit::Signal(TERMINATED),
            "it ended with {exit:?}:\n{}",
            process.log_tail(20)
        );
    }
    WithoutController(running)
}

impl Drop for WithoutController {
    fn drop(&mut self) {
        if let Some(shared) = SHARED.get() {
            *self.0 = Some(shared.controller.start(&shared.cluster).unwrap());
        }
    }
}

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) namespace: TempNamespace,
}

impl World {
    pub(crate) async fn new(prefix: &str) -> Self {
        let cluster = cluster().await;
        Self {
            client: cluster.client().unwrap(),
            namespace: cluster.temp_namespace(prefix).await.unwrap(),
        }
    }

    pub(crate) fn upgrades(&self) -> Api<NodeOpUpgrade> {
        Api::namespaced(self.client.clone(), self.namespace.name())
    }

    pub(crate) fn node_ops(&self) -> Api<NodeOp> {
        Api::namespaced(self.client.clone(), self.namespace.name())
    }

    pub(crate) async fn upgrade(&self, name: &str, spec: &str) -> NodeOpUpgrade {
        let spec: Value = serde_saphyr::from_str(spec).unwrap();
        let upgrade = serde_json::from_value(json!({
            "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOpUpgrade",
            "metadata": {"name": name}, "spec": spec,
        }))
        .unwrap();
        self.upgrades()
            .create(&PostParams::default(), &upgrade)
            .await
            .unwrap()
    }

    /// Waits for the NodeOp of that name.
    pub(crate) async fn made(&self, name: &str) -> NodeOp {
        eventually(&format!("nodeop {name} is there"), async || {
            self.node_ops().get_opt(name).await.unwrap()
        })
        .await
    }

    /// Plays the nodeop-controller.
    pub(crate) async fn report(&self, name: &str, status: &str) -> NodeOpStatus {
        let status: Value = serde_saphyr::from_str(status).unwrap();
        let patch = json!({"status": status});
        let written = self
            .node_ops()
            .patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        written.unwrap().status.unwrap()
    }

    pub(crate) async fn edit(&self, name: &str, spec: Value) -> Result<(), String> {
        let patch = json!({"spec": spec});
        let edited = self
            .upgrades()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        edited.map(|_| ()).map_err(|error| error.to_string())
    }

    pub(crate) async fn delete_node_op(&self, name: &str) {
        self.node_ops()
            .delete(name, &DeleteParams::background())
            .await
            .unwrap();
    }

    /// Waits for a status that `holds`, and returns it.
    pub(crate) async fn until(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&NodeOpUpgradeStatus) -> bool,
    ) -> NodeOpUpgradeStatus {
        let mut last = NodeOpUpgradeStatus::default();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            last = self
                .upgrades()
                .get(name)
                .await
                .unwrap()
                .status
                .unwrap_or_default();
            if holds(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{what}: not within {PATIENCE:?}; the status is {last:#?}")
    }

    /// Waits until that condition is True for that reason.
    pub(crate) async fn because(
        &self,
        name: &str,
        condition: &str,
        reason: &str,
    ) -> NodeOpUpgradeStatus {
        self.until(
            name,
            &format!("{condition} because of {reason}"),
            |status| {
                let found = status
                    .conditions
                    .iter()
                    .find(|found| found.type_ == condition);
                found.is_some_and(|found: &Condition| {
                    found.status == "True" && found.reason == reason
                })
            },
        )
        .await
    }

    /// Waits until the NodeOp is as it is to be.
    pub(crate) async fn node_op_until(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&NodeOp) -> bool,
    ) -> NodeOp {
        eventually(what, async || {
            let found = self.node_ops().get_opt(name).await.unwrap()?;
            holds(&found).then_some(found)
        })
        .await
    }

    /// Waits for an Event about that NodeOpUpgrade, with that reason and those words.
    pub(crate) async fn event(&self, name: &str, reason: &str, words: &str) {
        let events: Api<Event> = Api::namespaced(self.client.clone(), self.namespace.name());
        eventually(&format!("an Event {reason} with \"{words}\""), async || {
            let listed = events.list(&ListParams::default()).await.unwrap();
            let matches = |event: &Event| {
                let regarding = event.regarding.as_ref().unwrap();
                event.reason.as_deref() == Some(reason)
                    && event.note.as_ref().is_some_and(|note| note.contains(words))
                    && regarding.name.as_deref() == Some(name)
                    && regarding.kind.as_deref() == Some("NodeOpUpgrade")
            };
            listed.items.iter().any(matches).then_some(())
        })
        .await;
    }

    /// NodeOps that the controller created here, by the audit log.
    pub(crate) async fn node_ops_created(&self) -> usize {
        let audit = cluster().await.audit().unwrap();
        audit
            .service_account(operator::NAMESPACE, "upgrade-controller")
            .namespace(self.namespace.name())
            .verb("create")
            .resource("nodeops")
            .succeeded()
            .count()
    }
}

/// Polls until there is something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{what}: not within {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A NodeOp's status at work on node b, with a done and a waiting one beside it.
pub(crate) const RUNNING: &str = "
phase: Running
startTime: 2026-01-01T00:00:00Z
observedGeneration: 1
message: 1 of 3 nodes completed, 1 running, 0 failed
summary: {total: 3, pending: 1, running: 1, completed: 1, failed: 0, skipped: 0, done: 1/3}
conditions:
  - {type: Complete, status: 'False', reason: Running, message: m, lastTransitionTime: 2026-01-01T00:00:00Z}
  - {type: Failed, status: 'False', reason: Running, message: m, lastTransitionTime: 2026-01-01T00:00:00Z}
  - {type: Progressing, status: 'True', reason: Running, message: m, lastTransitionTime: 2026-01-01T00:00:00Z}
nodeStatuses:
  a: {phase: Completed, rebootStatus: completed, message: at v2}
  b: {phase: Running, step: Draining, since: 2026-01-01T00:00:00Z, message: waiting for 1 Pod}
";

/// Its end.
pub(crate) const COMPLETED: &str = "
phase: Completed
startTime: 2026-01-01T00:00:00Z
completionTime: 2026-01-01T00:10:00Z
observedGeneration: 1
message: all 3 nodes completed (1 skipped)
summary: {total: 3, pending: 0, running: 0, completed: 3, failed: 0, skipped: 1, done: 3/3}
conditions:
  - {type: Complete, status: 'True', reason: Completed, message: m, lastTransitionTime: 2026-01-01T00:10:00Z}
  - {type: Failed, status: 'False', reason: Completed, message: m, lastTransitionTime: 2026-01-01T00:00:00Z}
  - {type: Progressing, status: 'False', reason: Completed, message: m, lastTransitionTime: 2026-01-01T00:10:00Z}
nodeStatuses:
  a: {phase: Completed, rebootStatus: completed, message: at v2}
  b: {phase: Completed, rebootStatus: completed, message: at v2}
  c: {phase: Completed, message: 'Skipped: already at v2'}
";
