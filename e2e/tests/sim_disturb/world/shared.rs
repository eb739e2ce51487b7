//! The cluster and the controller that all tests of one binary share.

use e2e::cluster::{Audit, Cluster, ControlPlane};
use e2e::guard::ProcessHandle;
use e2e::operator::{self, AGENT_IMAGE, Controller};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Pods of simulated nodes: what becomes of them depends on their image.
const STAGES: &str = include_str!("../stages.yaml");

struct Shared {
    cluster: Cluster,
    controller: Controller,
    running: RwLock<Option<ProcessHandle>>,
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
            let running = RwLock::new(Some(controller.start(&cluster).unwrap()));
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

/// While this lives, the controller is not stopped: for what must happen within a time.
pub(crate) async fn with_controller() -> RwLockReadGuard<'static, Option<ProcessHandle>> {
    shared().await.running.read().await
}

/// While this lives, no controller runs. Other tests just wait that long.
pub(crate) struct WithoutController(RwLockWriteGuard<'static, Option<ProcessHandle>>);

pub(crate) async fn without_controller() -> WithoutController {
    let shared = shared().await;
    let mut running = shared.running.write().await;
    if let Some(process) = running.take() {
        process.kill().unwrap();
        process.wait().await.unwrap();
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
