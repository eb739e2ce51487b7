//! Self-tests of control planes and simulated nodes.

use std::time::{Duration, Instant};

use e2e::cluster::{Cluster, ControlPlane};
use e2e::guard::Process;
use e2e::proxy::{FaultProxy, Moment, Verdict};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::sync::OnceCell;

/// Shared by the tests that need an API server only.
static API_SERVER: OnceCell<Cluster> = OnceCell::const_new();

async fn api_server() -> &'static Cluster {
    API_SERVER
        .get_or_init(|| async { Cluster::builder().start().await.unwrap() })
        .await
}

async fn client_of(kubeconfig: &std::path::Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
}

/// A ServiceAccount `robot` that may do everything with ConfigMaps of its namespace.
const ROBOT: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: robot}
rules: [{apiGroups: [''], resources: [configmaps], verbs: ['*']}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: robot}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: robot}
subjects: [{kind: ServiceAccount, name: robot}]
";

#[tokio::test]
async fn two_clusters_run_side_by_side() {
    let (one, two) = tokio::join!(Cluster::builder().start(), Cluster::builder().start());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.url(), two.url());
    let maps =
        |cluster: &Cluster| Api::<ConfigMap>::namespaced(cluster.client().unwrap(), "default");
    maps(&one)
        .create(&PostParams::default(), &config_map("only-in-one"))
        .await
        .unwrap();
    assert!(maps(&one).get_opt("only-in-one").await.unwrap().is_some());
    assert!(maps(&two).get_opt("only-in-one").await.unwrap().is_none());
    let folder = one.folder().to_owned();
    assert!(folder.exists());
    drop(one);
    assert!(!folder.exists(), "a dropped cluster leaves nothing");
}

#[tokio::test]
async fn the_audit_log_counts_the_requests_of_a_service_account() {
    let cluster = api_server().await;
    let namespace = cluster.temp_namespace("audit").await.unwrap();
    cluster
        .apply_yaml_in(namespace.name(), ROBOT)
        .await
        .unwrap();
    let kubeconfig = cluster
        .service_account_kubeconfig(namespace.name(), "robot")
        .await
        .unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client_of(&kubeconfig).await, namespace.name());
    maps.create(&PostParams::default(), &config_map("first"))
        .await
        .unwrap();
    maps.create(&PostParams::default(), &config_map("first"))
        .await
        .unwrap_err();
    maps.create(&PostParams::default(), &config_map("second"))
        .await
        .unwrap();
    maps.list(&ListParams::default()).await.unwrap();
    let asked = cluster
        .audit()
        .unwrap()
        .service_account(namespace.name(), "robot");
    let created = asked.clone().verb("create").resource("configmaps");
    assert_eq!(created.count(), 3);
    assert_eq!(created.clone().succeeded().count(), 2);
    assert_eq!(created.code(409).count(), 1);
    assert_eq!(asked.verb("list").namespace(namespace.name()).count(), 1);
}

#[tokio::test]
async fn the_proxy_counts_writes_and_cuts_them_before_or_after_the_api_server() {
    let cluster = api_server().await;
    let namespace = cluster.temp_namespace("proxy").await.unwrap();
    cluster
        .apply_yaml_in(namespace.name(), ROBOT)
        .await
        .unwrap();
    let proxy = FaultProxy::start(
        cluster,
        |path| path.contains("/configmaps"),
        |write, moment| match (write.number, moment) {
            (2, Moment::Before) | (3, Moment::After) => Verdict::Cut,
            _ => Verdict::Pass,
        },
    )
    .await
    .unwrap();
    let kubeconfig = cluster
        .service_account_kubeconfig_via(&proxy.url(), namespace.name(), "robot")
        .await
        .unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client_of(&kubeconfig).await, namespace.name());
    let parameters = PostParams::default();
    maps.create(&parameters, &config_map("passed"))
        .await
        .unwrap();
    maps.create(&parameters, &config_map("cut-before"))
        .await
        .unwrap_err();
    maps.create(&parameters, &config_map("cut-after"))
        .await
        .unwrap_err();
    let names: Vec<_> = maps
        .list(&ListParams::default())
        .await
        .unwrap()
        .into_iter()
        .map(|map| map.metadata.name.unwrap())
        .collect();
    assert_eq!(names, ["cut-after", "passed"]);
    assert_eq!(proxy.writes(), 3, "reads are not counted");
}

#[tokio::test]
async fn the_api_server_comes_back_with_its_objects() {
    let cluster = Cluster::builder().start().await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client().unwrap(), "default");
    maps.create(&PostParams::default(), &config_map("kept"))
        .await
        .unwrap();
    cluster.restart_api_server().await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client().unwrap(), "default");
    assert!(maps.get_opt("kept").await.unwrap().is_some());
}

#[tokio::test]
async fn the_custom_resources_are_accepted() {
    let cluster = api_server().await;
    cluster.install_crds().await.unwrap();
    let list = cluster.apply_yaml("apiVersion: operator.kairos.io/v1alpha1\nkind: NodeOp\nmetadata: {name: first}\nspec: {command: [\"true\"]}\n");
    assert_eq!(list.await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_failed_start_shows_the_end_of_the_log() {
    let error = Cluster::builder()
        .api_server_argument("--no-such-flag")
        .start()
        .await
        .err()
        .unwrap();
    assert!(
        format!("{error:#}").contains("unknown flag: --no-such-flag"),
        "{error:#}"
    );
}

#[tokio::test]
async fn a_job_on_simulated_nodes_completes() {
    let cluster = Cluster::builder()
        .control_plane(ControlPlane::Full)
        .simulated_nodes(3)
        .start()
        .await
        .unwrap();
    let namespace = cluster.temp_namespace("simulated").await.unwrap();
    let jobs: Api<Job> = Api::namespaced(cluster.client().unwrap(), namespace.name());
    let job = json!({
        "metadata": {"name": "work"},
        "spec": {"completions": 3, "parallelism": 3, "template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "work", "image": "busybox"}],
        }}},
    });
    jobs.create(
        &PostParams::default(),
        &serde_json::from_value(job).unwrap(),
    )
    .await
    .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while jobs
        .get("work")
        .await
        .unwrap()
        .status
        .and_then(|status| status.succeeded)
        != Some(3)
    {
        assert!(
            Instant::now() < deadline,
            "the Job is not complete within 60 s"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_control_plane_in_a_network_namespace_is_reached_by_the_forwarder() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: network namespaces cannot be made here");
        return;
    }
    let cluster = Cluster::builder()
        .network_namespace()
        .start()
        .await
        .unwrap();
    let name = cluster.network_namespace().unwrap().to_owned();
    assert!(std::path::Path::new("/run/netns").join(&name).exists());
    assert!(
        cluster.url().starts_with("https://127.0.0.1:"),
        "{}",
        cluster.url()
    );
    assert_eq!(cluster.inner_url(), "https://10.99.0.1:6443");
    cluster.client().unwrap().apiserver_version().await.unwrap();
    let inside = Process::new("inside", ["ip", "-brief", "address", "show", "nodes"], "")
        .network_namespace(&name);
    let inside = cluster.spawn(inside).unwrap();
    assert!(inside.wait().await.unwrap().success());
    assert!(
        inside.log_tail(1).contains("10.99.0.1/24"),
        "{}",
        inside.log_tail(1)
    );
    drop(cluster);
    assert!(!std::path::Path::new("/run/netns").join(&name).exists());
}
