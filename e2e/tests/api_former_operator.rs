//! Our controllers beside kairos-operator, which a test plays by its Lease: they stand by until it has ended, and give way when
//! it begins again. With the rights that `deploy` gives them, against a real API server.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

use std::time::Duration;

use api_types::nodeop::NodeOp;
use api_types::nodeopupgrade::NodeOpUpgrade;
use e2e::cluster::Cluster;
use e2e::operator::{self, Controller, NAMESPACE};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

const NAMES: [&str; 4] = [
    "nodeop-controller",
    "node-labeller",
    "upgrade-controller",
    "artifact-controller",
];
/// The longest that any expected change may take: a Lease expires after 15 s.
const PATIENCE: Duration = Duration::from_secs(90);

/// kairos-operator's Lease, as its manifests name it.
struct Former(Api<Lease>);

impl Former {
    async fn install(client: &Client) -> Self {
        let namespace =
            serde_json::from_value(json!({"metadata": {"name": "operator-system"}})).unwrap();
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        let leases = Api::namespaced(client.clone(), "operator-system");
        let lease =
            serde_json::from_value(json!({"metadata": {"name": "ce9721c3.kairos.io"}})).unwrap();
        leases.create(&PostParams::default(), &lease).await.unwrap();
        Self(leases)
    }

    async fn write(&self, holder: &str) {
        let spec = json!({"spec": {
            "holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": MicroTime(Timestamp::now()),
        }});
        self.0
            .patch(
                "ce9721c3.kairos.io",
                &PatchParams::default(),
                &Patch::Merge(&spec),
            )
            .await
            .unwrap();
    }

    /// Works for that long.
    async fn work(&self, span: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < span {
            self.write("operator-kairos-operator-0").await;
            sleep(Duration::from_secs(2)).await;
        }
    }
}

/// Who holds Leases of ours.
async fn leaders(client: &Client) -> Vec<String> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    let listed = leases
        .list(&kube::api::ListParams::default())
        .await
        .unwrap();
    let held = listed.items.into_iter().filter(|lease| {
        let holder = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_deref());
        holder.is_some_and(|holder| !holder.is_empty())
    });
    held.filter_map(|lease| lease.metadata.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn our_controllers_stand_by_while_kairos_operator_holds_its_lease() {
    let cluster = Cluster::builder().start().await.unwrap();
    operator::install_controllers(&cluster, &NAMES[..3])
        .await
        .unwrap();
    operator::install_artifact_controller(&cluster)
        .await
        .unwrap();
    let client = cluster.client().unwrap();
    let former = Former::install(&client).await;
    let (upgrades, node_ops): (Api<NodeOpUpgrade>, Api<NodeOp>) = (
        Api::namespaced(client.clone(), "default"),
        Api::namespaced(client.clone(), "default"),
    );
    let upgrade = serde_json::from_value(json!({
        "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOpUpgrade", "metadata": {"name": "one"},
        "spec": {"image": "registry.example.com/kairos:v2"},
    }))
    .unwrap();
    upgrades
        .create(&PostParams::default(), &upgrade)
        .await
        .unwrap();
    former.write("operator-kairos-operator-0").await;

    let mut running = Vec::new();
    for name in NAMES {
        let argument = match name {
            "node-labeller" => "--detect-image=detect",
            "artifact-controller" => "--worker-image=worker",
            "nodeop-controller" => "--agent-image=agent",
            _ => "--log-level=info",
        };
        let controller = Controller::new(&cluster, name, None).await.unwrap();
        // Long terms, so that a busy machine does not cost a controller its own Lease.
        let controller = controller
            .argument(argument)
            .argument("--lease-duration-seconds=20")
            .argument("--lease-renew-deadline-seconds=18");
        running.push(controller.start(&cluster).unwrap());
    }
    former.work(Duration::from_secs(20)).await;
    for process in &running {
        let log = process.log_tail(200);
        assert!(
            log.contains("standing by: another operator")
                && log.contains("operator-system/ce9721c3.kairos.io"),
            "{log}"
        );
    }
    assert_eq!(leaders(&client).await, Vec::<String>::new());
    assert!(node_ops.get_opt("one").await.unwrap().is_none());

    // It ends, and its Lease stays behind without renewals.
    let all_lead = async {
        while leaders(&client).await.len() < NAMES.len()
            || node_ops.get_opt("one").await.unwrap().is_none()
        {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(PATIENCE, all_lead).await.unwrap();

    // Somebody starts it again.
    let all_end = async {
        for process in &running {
            let exit = process.wait().await.unwrap();
            assert!(!exit.success());
            // Its last words may be followed by a backtrace.
            let log = process.log_tail(200);
            assert!(
                log.contains("another operator works on the same objects"),
                "{log}"
            );
        }
    };
    tokio::select! {
        () = all_end => {}
        () = former.work(PATIENCE) => panic!("a controller went on beside it"),
    }
}
