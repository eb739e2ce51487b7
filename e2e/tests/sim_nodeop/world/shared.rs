//! The cluster and the controller that all tests of this binary share.

use e2e::cluster::{Cluster, ControlPlane};
use e2e::guard::{ProcessHandle, Signal};
use e2e::operator::{self, Controller};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// Pods of simulated nodes: what becomes of them depends on their image.
const STAGES: &str = include_str!("../stages.yaml");

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
                .control_plane(ControlPlane::Full)
                .simulated_nodes(0)
                .stages(STAGES)
                .start()
                .await
                .unwrap();
            operator::install(&cluster).await.unwrap();
            let controller = Controller::new(&cluster, "nodeop-controller", None)
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

/// While this lives, no controller runs. Other tests just wait that long.
pub(crate) struct WithoutController(MutexGuard<'static, Option<ProcessHandle>>);

pub(crate) async fn without_controller() -> WithoutController {
    let shared = shared().await;
    let mut running = shared.running.lock().await;
    if let Some(process) = running.take() {
        process.signal(Signal::Terminate).unwrap();
        let exit = process.wait().await.unwrap();
        assert!(
            exit.success(),
            "the controller ended with {exit:?}:\n{}",
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

/// Jobs that the controller created in a namespace, by the audit log.
pub(crate) fn jobs_created(namespace: &str) -> usize {
    let shared = SHARED.get().unwrap();
    shared
        .cluster
        .audit()
        .unwrap()
        .service_account(operator::NAMESPACE, "nodeop-controller")
        .namespace(namespace)
        .verb("create")
        .resource("jobs")
        .succeeded()
        .count()
}
