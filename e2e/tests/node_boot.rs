//! Self-test of real nodes: they join, run Pods, pull from open and private registries, reboot, lose power, and leave nothing.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::cluster::{Cluster, ControlPlane};
use e2e::guard::RUN_VARIABLE;
use e2e::nodes::{BootState, End, NodeSpec, RealNodes, Reason, supported};
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use kube::api::{ListParams, LogParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

const PRIVATE_IMAGE: &str = "private-registry.example.com/team/tool:v1";

/// Long enough for a busy machine; a good run needs a few seconds.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn real_nodes_run_pods_reboot_and_leave_nothing_behind() {
    if let Err(Reason::NotRoot) = supported() {
        eprintln!("skipped: real nodes need root");
        return;
    }
    let machine = boot_id_of_this_machine();
    let cluster = Cluster::builder()
        .control_plane(ControlPlane::Full)
        .network_namespace()
        .start()
        .await
        .unwrap();
    let client = cluster.client().unwrap();
    let started = Instant::now();
    let specs = [
        NodeSpec::new("control-1")
            .control_plane()
            .kairos_release("KAIROS_ID=\"kairos\"\n"),
        NodeSpec::new("worker-1").boot_state(BootState::Passive),
        NodeSpec::new("worker-2"),
    ];
    let nodes = RealNodes::start(&cluster.nodes_control_plane().unwrap(), &specs)
        .await
        .unwrap();
    eprintln!(
        "three nodes Ready after {:.1} s",
        started.elapsed().as_secs_f32()
    );

    let pods = Pods {
        api: Api::default_namespaced(client.clone()),
    };
    timed("default service account", default_service_account(&client)).await;
    timed(
        "nodes have their own identity",
        nodes_have_their_own_identity(&client),
    )
    .await;
    timed(
        "a pod runs and its log is read",
        a_pod_runs_and_its_log_is_read(&pods),
    )
    .await;
    a_missing_tag_is_asked_for(&pods).await;
    timed(
        "a private image is pulled with the secret",
        a_private_image_is_pulled_with_the_secret(&client, &nodes, &pods),
    )
    .await;
    timed(
        "a pod reboots its node",
        a_pod_reboots_its_node(&nodes, &pods),
    )
    .await;
    timed(
        "a node loses power and stays off",
        a_node_loses_power_and_stays_off(&nodes),
    )
    .await;
    timed(
        "pods without an image wait",
        pods_without_an_image_wait(&pods),
    )
    .await;
    assert_eq!(boot_id_of_this_machine(), machine);

    let run = Traces {
        folder: cluster.guard().folder().to_owned(),
        name: cluster.guard().run_name(),
    };
    assert!(
        !run.left().is_empty(),
        "a running cluster leaves traces, or this test sees none"
    );
    drop((nodes, pods));
    cluster.guard().stop();
    assert_eq!(run.left(), Vec::<String>::new());
}

async fn nodes_have_their_own_identity(client: &Client) {
    let nodes = Api::<Node>::all(client.clone())
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    let mut identities: Vec<String> = nodes
        .into_iter()
        .filter_map(|node| Some(node.status?.node_info?.system_uuid))
        .collect();
    identities.sort();
    identities.dedup();
    assert_eq!(identities.len(), 3, "{identities:?}");
    let selector = ListParams::default().labels("node-role.kubernetes.io/control-plane");
    let control = Api::<Node>::all(client.clone())
        .list(&selector)
        .await
        .unwrap()
        .items;
    assert_eq!(
        control
            .iter()
            .filter_map(|node| node.metadata.name.as_deref())
            .collect::<Vec<_>>(),
        ["control-1"]
    );
}

async fn a_pod_runs_and_its_log_is_read(pods: &Pods) {
    // The API server by the address of its Service: kube-proxy, routes and forwarding all take part.
    let script = "cat /host/etc/kairos-release; echo | nc -w 5 10.96.0.1 443 && echo reached";
    let mut spec = container("busybox", script);
    spec["nodeName"] = json!("control-1");
    spec["volumes"] = json!([{ "name": "host", "hostPath": { "path": "/" } }]);
    spec["containers"][0]["volumeMounts"] = json!([{ "name": "host", "mountPath": "/host" }]);
    pods.create("hello", &spec).await;
    pods.succeeds("hello").await;
    assert_eq!(pods.log("hello").await, "KAIROS_ID=\"kairos\"\nreached\n");
}

/// Both wait: kubelet backs off some ten seconds after its first attempt.
async fn pods_without_an_image_wait(pods: &Pods) {
    for name in ["missing", "stranger"] {
        pods.waits_for_image(name).await;
    }
}

async fn a_missing_tag_is_asked_for(pods: &Pods) {
    // Like the other one that waits: on a node that stays up.
    let mut spec = container("busybox:no-such-tag", "true");
    spec["nodeName"] = json!("control-1");
    pods.create("missing", &spec).await;
}

async fn a_private_image_is_pulled_with_the_secret(
    client: &Client,
    nodes: &RealNodes,
    pods: &Pods,
) {
    nodes
        .images()
        .put(PRIVATE_IMAGE, nodes.busybox().unwrap())
        .unwrap();
    nodes
        .images()
        .require_password("private-registry.example.com", "kairos", "sesame")
        .unwrap();
    let mut spec = container(PRIVATE_IMAGE, "true");
    spec["nodeName"] = json!("control-1");
    pods.create("stranger", &spec).await;

    let login = json!({ "auths": { "private-registry.example.com": { "username": "kairos", "password": "sesame" } } });
    let secret = json!({
        "metadata": { "name": "login" },
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": { ".dockerconfigjson": login.to_string() },
    });
    let secrets: Api<Secret> = Api::default_namespaced(client.clone());
    secrets
        .create(
            &PostParams::default(),
            &serde_json::from_value(secret).unwrap(),
        )
        .await
        .unwrap();
    let mut spec = container(PRIVATE_IMAGE, "true");
    spec["imagePullSecrets"] = json!([{ "name": "login" }]);
    pods.create("guest", &spec).await;
    pods.succeeds("guest").await;
}

async fn a_pod_reboots_its_node(nodes: &RealNodes, pods: &Pods) {
    let node = nodes.get("worker-1").unwrap();
    let before = node.boot_id().unwrap();
    // The second time the file is there, and the Pod ends well.
    let script = "cat /proc/1/root/proc/cmdline; grep -q ok /host/rebooted && exit 0; \
                  echo ok > /host/rebooted; nsenter -m -t 1 -- reboot; sleep 1000";
    let mut spec = container("busybox", script);
    spec["nodeName"] = json!("worker-1");
    spec["hostPID"] = json!(true);
    spec["restartPolicy"] = json!("OnFailure");
    spec["volumes"] = json!([{ "name": "host", "hostPath": { "path": "/usr/local" } }]);
    spec["containers"][0]["securityContext"] = json!({ "privileged": true });
    spec["containers"][0]["volumeMounts"] = json!([{ "name": "host", "mountPath": "/host" }]);
    pods.create("reboot", &spec).await;
    pods.succeeds("reboot").await;
    node.wait_ready(PATIENCE).await.unwrap();
    let boots = node.boots().unwrap();
    assert_eq!(
        boots.iter().map(|boot| boot.end).collect::<Vec<_>>(),
        [Some(End::Reboot), None]
    );
    assert_ne!(node.boot_id().unwrap(), before);
    assert!(pods.log("reboot").await.contains("COS_PASSIVE"));
    assert_eq!(
        node.written_file("/usr/local/rebooted").as_deref(),
        Some("ok\n")
    );
}

async fn a_node_loses_power_and_stays_off(nodes: &RealNodes) {
    let node = nodes.get("worker-2").unwrap();
    let before = node.boot_id().unwrap();
    node.power_cut().await.unwrap();
    assert_eq!(
        node.boots().unwrap().last().unwrap().end,
        Some(End::PowerCut)
    );
    assert!(
        node.power_cut().await.is_err(),
        "a node that is off cannot lose power"
    );
    node.power_on().await.unwrap();
    node.wait_ready(PATIENCE).await.unwrap();
    assert_ne!(node.boot_id().unwrap(), before);
    node.stop().await.unwrap();
    assert_eq!(
        node.boots().unwrap().last().unwrap().end,
        Some(End::PowerOff)
    );
}

/// Says how long a step took, so that a slow one is found.
async fn timed(step: &str, future: impl Future<Output = ()>) {
    let start = Instant::now();
    future.await;
    eprintln!("{step}: {:.1} s", start.elapsed().as_secs_f32());
}

/// A Pod needs its namespace's account, which the controller manager makes a moment after its own start.
async fn default_service_account(client: &Client) {
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
        Api::default_namespaced(client.clone());
    let deadline = Instant::now() + PATIENCE;
    while accounts.get_opt("default").await.unwrap().is_none() {
        assert!(
            Instant::now() < deadline,
            "the controller manager made no default account"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn container(image: &str, script: &str) -> Value {
    json!({
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "containers": [{ "name": "main", "image": image, "command": ["sh", "-c", script] }],
    })
}

struct Pods {
    api: Api<Pod>,
}

impl Pods {
    async fn create(&self, name: &str, spec: &Value) {
        let pod =
            serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap();
        self.api.create(&PostParams::default(), &pod).await.unwrap();
    }

    async fn log(&self, name: &str) -> String {
        self.api.logs(name, &LogParams::default()).await.unwrap()
    }

    async fn succeeds(&self, name: &str) {
        self.until(name, "succeed", |pod| pod["status"]["phase"] == "Succeeded")
            .await;
    }

    async fn waits_for_image(&self, name: &str) {
        let reason = "/status/containerStatuses/0/state/waiting/reason";
        self.until(name, "back off from its image", |pod| {
            pod.pointer(reason) == Some(&json!("ImagePullBackOff"))
        })
        .await;
    }

    async fn until(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let pod = serde_json::to_value(self.api.get(name).await.unwrap()).unwrap();
            if holds(&pod) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "Pod {name} did not {what}: {}",
                pod["status"]
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// What a run leaves on this machine while it lives.
struct Traces {
    folder: PathBuf,
    name: String,
}

impl Traces {
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        if self.folder.exists() {
            left.push(self.folder.display().to_string());
        }
        left.extend(
            names_in(Path::new("/run/netns"))
                .into_iter()
                .filter(|name| name.starts_with(&self.name)),
        );
        let hierarchies = names_in(Path::new("/sys/fs/cgroup"));
        for hierarchy in hierarchies
            .iter()
            .map(|name| Path::new("/sys/fs/cgroup").join(name))
            .chain([PathBuf::from("/sys/fs/cgroup")])
        {
            left.extend(
                names_in(&hierarchy)
                    .into_iter()
                    .filter(|name| name.starts_with(&self.name)),
            );
        }
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        left.extend(
            mounts
                .lines()
                .filter(|line| {
                    line.contains(&self.name) || line.contains(&self.folder.display().to_string())
                })
                .map(str::to_owned),
        );
        let marker = format!("{RUN_VARIABLE}={}\0", self.folder.display());
        for process in names_in(Path::new("/proc")) {
            let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
            if String::from_utf8_lossy(&environment).contains(&marker) {
                left.push(format!("process {process}"));
            }
        }
        left
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn boot_id_of_this_machine() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap()
}
