//! The cluster and the controller that all tests of one binary share.

use e2e::cluster::{Audit, Cluster, ControlPlane};
use e2e::guard::ProcessHandle;
use e2e::operator::{self, AGENT_IMAGE, Controller};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Pods of simulated nodes: what becomes of them depends on their image.
const STAGES: &str = include_str!("../stages.yaml");

struct Shared {
    cluster: Cluster,
    controller: Controller,
    running: RwLock<Running>,
}

/// The controller's process, and since when it is that one.
pub(crate) struct Running {
    process: Option<ProcessHandle>,
    since: Timestamp,
}

impl Running {
    fn start(controller: &Controller, cluster: &Cluster) -> Self {
        Self {
            since: Timestamp::now(),
            process: Some(controller.start(cluster).unwrap()),
        }
    }
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();

async fn shared() -> &'static Shared {
    SHARED
        .get_or_init(|| async {
            let cluster = Cluster::builder()
                .control_plane(ControlPlane::Full)
                .simulated_nodes(0)
                .stages(STAGES)
                // A busy machine must not make nodes lose their heartbeats: the tests say who is Ready.
                .controller_manager_argument("--node-monitor-grace-period=30m")
                .start()
                .await
                .unwrap();
            operator::install(&cluster).await.unwrap();
            let controller = Controller::new(&cluster, "nodeop-controller", None)
                .await
                .unwrap()
                .argument(&format!("--agent-image={AGENT_IMAGE}"));
            let running = RwLock::new(Running::start(&controller, &cluster));
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

/// What the controller's account asked for.
pub(crate) async fn audit() -> Audit {
    let audit = shared().await.cluster.audit().unwrap();
    audit.service_account(operator::NAMESPACE, "nodeop-controller")
}

/// While this lives, the controller is not stopped: for what must happen within a time. One that was just started works.
pub(crate) async fn with_controller() -> RwLockReadGuard<'static, Running> {
    let shared = shared().await;
    let running = shared.running.read().await;
    let leases: Api<Lease> = Api::namespaced(shared.cluster.client().unwrap(), operator::NAMESPACE);
    super::eventually("the controller leads", async || {
        let lease = leases.get_opt("nodeop-controller").await.unwrap()?;
        let renewed = lease.spec?.renew_time?.0;
        (renewed > running.since).then_some(())
    })
    .await;
    running
}

/// While this lives, no controller runs. Other tests just wait that long.
pub(crate) struct WithoutController(RwLockWriteGuard<'static, Running>);

pub(crate) async fn without_controller() -> WithoutController {
    let shared = shared().await;
    let mut running = shared.running.write().await;
    if let Some(process) = running.process.take() {
        process.kill().unwrap();
        process.wait().await.unwrap();
    }
    WithoutController(running)
}

impl Drop for WithoutController {
    fn drop(&mut self) {
        if let Some(shared) = SHARED.get() {
            *self.0 = Running::start(&shared.controller, &shared.cluster);
        }
    }
}
