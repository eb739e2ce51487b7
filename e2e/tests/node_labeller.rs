//! The node labeller on real nodes: what its Pods read, as whom, and what follows a reboot without anyone asking.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::cluster::{Cluster, ControlPlane};
use e2e::images::program_with_libraries;
use e2e::nodes::{self, BootState, NodeSpec, RealNodes};
use e2e::operator::{self, Controller, DETECT_NAMESPACE};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

/// Images are pulled, containers started, nodes booted.
const PATIENCE: Duration = Duration::from_mins(2);
const IMAGE: &str = "registry.example.com/kairos/node-labeller:test";
const RECORD: &str = "operator.kairos.io/detected";

fn release(version: &str) -> String {
    format!(
        "KAIROS_ID=\"kairos\"\nKAIROS_FLAVOR=ubuntu\nKAIROS_RELEASE={version}\nKAIROS_VERSION=\"{version} of today\"\n"
    )
}

struct Site {
    client: Client,
}

impl Site {
    async fn node(&self, name: &str) -> Node {
        Api::<Node>::all(self.client.clone())
            .get(name)
            .await
            .unwrap()
    }

    /// Waits until the node looks as wished, and returns it.
    async fn until(&self, name: &str, what: &str, holds: impl Fn(&Node) -> bool) -> Node {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let node = self.node(name).await;
            if holds(&node) {
                return node;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{name}: not {what} within {PATIENCE:?}: {:#?}\n{:#?}\n{:#?}",
                node.metadata.labels,
                node.metadata.annotations,
                self.pods().await
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn pods(&self) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), DETECT_NAMESPACE);
        api.list(&ListParams::default()).await.unwrap().items
    }

    async fn until_no_pod_is_left(&self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let pods = self.pods().await;
            if pods.is_empty() {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{pods:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn annotate(&self, name: &str, key: &str, value: Value) {
        let patch = json!({"metadata": {"annotations": {key: value}}});
        Api::<Node>::all(self.client.clone())
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }
}

/// The labels of the table without their prefix.
fn labels(node: &Node) -> BTreeMap<&str, &str> {
    let labels = node.metadata.labels.as_ref().unwrap();
    labels
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix("kairos.io/")?, value.as_str())))
        .collect()
}

fn record(node: &Node) -> Value {
    let annotations = node.metadata.annotations.as_ref();
    let text = annotations.and_then(|annotations| annotations.get(RECORD));
    text.map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
}

/// One cluster for all that follows: its start is most of the time.
#[tokio::test(flavor = "multi_thread")]
async fn real_nodes_are_labelled_with_what_they_are_and_again_after_a_reboot() {
    nodes::supported().unwrap();
    let cluster = Cluster::builder()
        .control_plane(ControlPlane::Full)
        .network_namespace()
        .start()
        .await
        .unwrap();
    let specs = [
        NodeSpec::new("kairos")
            .kairos_release(release("v3.5.0"))
            .boot_state(BootState::Active),
        NodeSpec::new("trusted-boot")
            .kairos_release(release("v3.5.0"))
            .boot_state(BootState::Unknown)
            .marker(BootState::Active),
        NodeSpec::new("without-markers")
            .kairos_release(release("v3.4.0"))
            .boot_state(BootState::Unknown),
        NodeSpec::new("debian"),
        NodeSpec::new("broken").kairos_release("KAIROS_ID=$(id)\n"),
    ];
    let nodes = RealNodes::start(&cluster.nodes_control_plane().unwrap(), &specs)
        .await
        .unwrap();
    let detect = operator::binary("node-labeller-detect").unwrap();
    let image = program_with_libraries("/node-labeller-detect", &detect).unwrap();
    nodes.images().put(IMAGE, image).unwrap();
    operator::install_controllers(&cluster, &["node-labeller"])
        .await
        .unwrap();
    let site = Site {
        client: cluster.client().unwrap(),
    };
    // A taint that evicts, and a cordon: neither keeps a Pod of the labeller away.
    let hostile = json!({"spec": {"unschedulable": true, "taints": [
        {"key": "stay-away", "effect": "NoExecute"}, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}});
    Api::<Node>::all(site.client.clone())
        .patch("kairos", &PatchParams::default(), &Patch::Merge(&hostile))
        .await
        .unwrap();
    let controller = Controller::new(&cluster, "node-labeller", None)
        .await
        .unwrap()
        .argument(&format!("--detect-image={IMAGE}"))
        .argument("--detect-deadline-seconds=10");
    let running = controller.start(&cluster).unwrap();

    labels_kairos_nodes_by_their_own_files(&site).await;
    leaves_a_node_without_kairos_unlabelled(&site).await;
    tells_of_a_file_that_cannot_be_read(&site).await;
    finds_out_that_there_are_no_marker_files_and_makes_none(&site, &nodes).await;
    site.until_no_pod_is_left().await;
    is_idle_afterwards(&cluster).await;
    follows_a_reboot_into_another_version(&site, &nodes).await;
    looks_at_a_node_again_that_was_registered_anew(&site, &nodes).await;
    assert!(running.exit().is_none(), "{}", running.log_tail(20));
}

/// The boot state of one is on its kernel command line, that of the other in its marker files.
async fn labels_kairos_nodes_by_their_own_files(site: &Site) {
    for (name, markers) in [("kairos", json!(null)), ("trusted-boot", json!("read"))] {
        let node = site
            .until(name, "labelled with its boot state", |node| {
                labels(node).get("boot-state") == Some(&"active")
            })
            .await;
        let expected = [
            ("boot-state", "active"),
            ("flavor", "ubuntu"),
            ("id", "kairos"),
            ("managed", "true"),
            ("release", "v3.5.0"),
        ];
        assert_eq!(labels(&node), expected.into(), "{name}");
        let annotations = node.metadata.annotations.as_ref().unwrap();
        assert_eq!(annotations["kairos.io/version"], "v3.5.0 of today");
        assert_eq!(record(&node)["markers"], markers, "{name}");
    }
}

async fn leaves_a_node_without_kairos_unlabelled(site: &Site) {
    let node = site
        .until("debian", "looked at", |node| !record(node).is_null())
        .await;
    assert_eq!(record(&node)["result"], "NotKairos");
    assert!(labels(&node).is_empty(), "{:?}", labels(&node));
}

async fn tells_of_a_file_that_cannot_be_read(site: &Site) {
    let node = site
        .until("broken", "looked at", |node| !record(node).is_null())
        .await;
    assert_eq!(record(&node)["result"], "ReleaseFileMalformed");
    assert!(labels(&node).is_empty(), "{:?}", labels(&node));
    let events: Api<Event> = Api::namespaced(site.client.clone(), "default");
    let events = events.list(&ListParams::default()).await.unwrap().items;
    let told: Vec<_> = events
        .iter()
        .filter(|event| event.reason.as_deref() == Some("ReleaseFileMalformed"))
        .collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    let regarding = told[0].regarding.as_ref().unwrap();
    assert_eq!(regarding.name.as_deref(), Some("broken"));
    assert_eq!(regarding.uid, node.metadata.uid);
    let words = told[0].note.as_deref().unwrap();
    assert!(words.contains("no plain assignment in line 1"), "{words}");
}

/// The kubelet refuses to mount a folder that is missing; nothing creates it.
async fn finds_out_that_there_are_no_marker_files_and_makes_none(site: &Site, nodes: &RealNodes) {
    let node = site
        .until("without-markers", "settled", |node| {
            record(node)["markers"] == "missing"
        })
        .await;
    assert_eq!(labels(&node).get("boot-state"), Some(&"unknown"));
    assert_eq!(labels(&node).get("release"), Some(&"v3.4.0"));
    let name = nodes.get("without-markers").unwrap().name();
    let looks = json!({
        "metadata": {"name": "looks", "namespace": DETECT_NAMESPACE},
        "spec": {
            "nodeName": name, "restartPolicy": "Never",
            "containers": [{"name": "looks", "image": "busybox",
                "command": ["sh", "-c", "test -d /host/run && ! test -e /host/run/cos"],
                "volumeMounts": [{"name": "run", "mountPath": "/host/run"}]}],
            "volumes": [{"name": "run", "hostPath": {"path": "/run"}}],
        },
    });
    let api: Api<Pod> = Api::namespaced(site.client.clone(), DETECT_NAMESPACE);
    let pod: Pod = serde_json::from_value(looks).unwrap();
    api.create(&kube::api::PostParams::default(), &pod)
        .await
        .unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let pod = api.get("looks").await.unwrap();
        let phase = pod
            .status
            .and_then(|status| status.phase)
            .unwrap_or_default();
        if phase == "Succeeded" {
            break;
        }
        assert_ne!(
            phase, "Failed",
            "the folder /run/cos was created on the node"
        );
        assert!(tokio::time::Instant::now() < deadline, "{phase}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    api.delete("looks", &kube::api::DeleteParams::default())
        .await
        .unwrap();
}

/// Real kubelets go on writing to their Nodes; the labeller does not.
async fn is_idle_afterwards(cluster: &Cluster) {
    let all_writes = || {
        let audit = cluster.audit().unwrap();
        let ours = audit.service_account(operator::NAMESPACE, "node-labeller");
        ours.writes()
            .filter(|event| event.object_ref.resource != "leases")
            .count()
    };
    let renewals = || {
        let audit = cluster.audit().unwrap();
        let ours = audit.service_account(operator::NAMESPACE, "node-labeller");
        ours.writes().resource("leases").count()
    };
    let (before, renewed) = (all_writes(), renewals());
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while renewals() < renewed + 3 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the lease is not renewed"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(
        all_writes(),
        before,
        "an idle labeller writes nothing but its lease"
    );
}

async fn follows_a_reboot_into_another_version(site: &Site, nodes: &RealNodes) {
    let (kairos, trusted) = (
        nodes.get("kairos").unwrap(),
        nodes.get("trusted-boot").unwrap(),
    );
    for node in [kairos, trusted] {
        node.stop().await.unwrap();
    }
    kairos
        .change_system(&release("v3.6.0"), BootState::Passive)
        .unwrap();
    trusted
        .change_system(&release("v3.6.0"), BootState::Unknown)
        .unwrap();
    trusted.change_marker(BootState::Recovery).unwrap();
    for node in [kairos, trusted] {
        node.power_on().await.unwrap();
    }
    for (name, boot_state) in [("kairos", "passive"), ("trusted-boot", "recovery")] {
        let labelled = site
            .until(name, "labelled as its new system", |node| {
                labels(node).get("release") == Some(&"v3.6.0")
            })
            .await;
        assert_eq!(
            labels(&labelled).get("boot-state"),
            Some(&boot_state),
            "{name}: both change in one write"
        );
        let annotations = labelled.metadata.annotations.as_ref().unwrap();
        assert_eq!(annotations["kairos.io/version"], "v3.6.0 of today");
    }
    site.until_no_pod_is_left().await;
}

/// As after `kubectl delete node`: the kubelet registers it again at its next start, and nothing of the old Node is left.
async fn looks_at_a_node_again_that_was_registered_anew(site: &Site, nodes: &RealNodes) {
    let api: Api<Node> = Api::all(site.client.clone());
    let before = site.node("kairos").await.metadata.uid;
    site.annotate("kairos", "test/of-the-old-node", json!("yes"))
        .await;
    let node = nodes.get("kairos").unwrap();
    node.stop().await.unwrap();
    api.delete("kairos", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    node.power_on().await.unwrap();
    node.wait_ready(PATIENCE).await.unwrap();
    let labelled = site
        .until("kairos", "labelled", |node| {
            labels(node).get("boot-state") == Some(&"passive")
        })
        .await;
    assert_ne!(labelled.metadata.uid, before);
    site.until_no_pod_is_left().await;
}
