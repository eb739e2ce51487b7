//! What the API server answers to evictions: the bodies from which the nodeop-controller's unit tests read meaning are
//! those of a real API server.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

use e2e::cluster::{Cluster, TempNamespace};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The recorded body of that name.
macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!(
            "../../crates/nodeop-controller/src/drain/answer/bodies/",
            $name,
            ".json"
        ))
    };
}

struct Shop {
    client: Client,
    namespace: TempNamespace,
}

/// What came back: the HTTP code and the body.
struct Answer {
    code: u16,
    body: Value,
}

impl Shop {
    async fn new() -> Self {
        static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
        let cluster = CLUSTER
            .get_or_init(async || Cluster::builder().start().await.unwrap())
            .await;
        let mut config = cluster.config();
        // The usual client repeats a 429 for minutes.
        config.default_retry = false;
        let client = Client::try_from(config).unwrap();
        let namespace = cluster.temp_namespace("eviction").await.unwrap();
        let shop = Self { client, namespace };
        let account = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
        let accounts: Api<ServiceAccount> = shop.api();
        accounts
            .create(&PostParams::default(), &account)
            .await
            .unwrap();
        shop
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), self.namespace.name())
    }

    /// A Pod that runs and is ready, as a kubelet would report it. Returns its UID.
    async fn running_pod(&self, name: &str) -> String {
        let pods: Api<Pod> = self.api();
        let pod = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"app": "db"}},
            "spec": {"nodeName": "worker", "containers": [{"name": "db", "image": "db"}]},
        }))
        .unwrap();
        let created = pods.create(&PostParams::default(), &pod).await.unwrap();
        let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
            .await
            .unwrap();
        created.uid().unwrap()
    }

    /// A budget over those Pods, with the status that the controller manager would give it.
    async fn budget(&self, name: &str, status: Value) {
        let budgets: Api<PodDisruptionBudget> = self.api();
        let budget = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "db"}}},
        }))
        .unwrap();
        budgets
            .create(&PostParams::default(), &budget)
            .await
            .unwrap();
        budgets
            .patch_status(
                name,
                &PatchParams::default(),
                &Patch::Merge(&json!({"status": status})),
            )
            .await
            .unwrap();
    }

    async fn evict(&self, name: &str, delete_options: Value) -> Answer {
        self.evict_in(self.namespace.name(), name, delete_options)
            .await
    }

    async fn evict_in(&self, namespace: &str, name: &str, delete_options: Value) -> Answer {
        let body = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace}, "deleteOptions": delete_options,
        });
        let request = http::Request::post(format!(
            "/api/v1/namespaces/{namespace}/pods/{name}/eviction"
        ))
        .header("content-type", "application/json")
        .body(Body::from(serde_json::to_vec(&body).unwrap()))
        .unwrap();
        let answer = self.client.send(request).await.unwrap();
        let code = answer.status().as_u16();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        Answer {
            code,
            body: serde_json::from_slice(&text).unwrap(),
        }
    }
}

impl Answer {
    /// Fails unless the body is the recorded one. `names` are what differs from run to run, and what stands for it.
    fn is(&self, recorded: &str, names: &[(&str, &str)]) {
        let mut text = self.body.to_string();
        for (name, stands) in names {
            text = text.replace(name, stands);
        }
        let body: Value = serde_json::from_str(&text).unwrap();
        let recorded: Value = serde_json::from_str(recorded).unwrap();
        let pretty = serde_json::to_string_pretty(&body).unwrap();
        assert_eq!(body, recorded, "the API server answered\n{pretty}");
    }
}

/// A budget that allows nothing: as many healthy Pods as it needs.
fn exhausted() -> Value {
    json!({"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1})
}

#[tokio::test]
async fn an_accepted_eviction_keeps_uid_and_grace_period() {
    let shop = Shop::new().await;
    let uid = shop.running_pod("db-0").await;
    let answer = shop
        .evict(
            "db-0",
            json!({"preconditions": {"uid": uid}, "gracePeriodSeconds": 7}),
        )
        .await;
    assert_eq!(answer.code, 201);
    answer.is(recorded!("accepted"), &[]);
    let pod: Pod = shop.api().get("db-0").await.unwrap();
    assert!(pod.metadata.deletion_timestamp.is_some());
    assert_eq!(pod.metadata.deletion_grace_period_seconds, Some(7));
}

#[tokio::test]
async fn a_budget_that_allows_nothing_is_named_in_the_causes() {
    let shop = Shop::new().await;
    shop.running_pod("db-0").await;
    shop.budget("db", exhausted()).await;
    let answer = shop.evict("db-0", json!({})).await;
    assert_eq!(answer.code, 429);
    answer.is(recorded!("blocked"), &[]);
}

#[tokio::test]
async fn a_new_budget_refuses_until_its_controller_has_seen_it() {
    let shop = Shop::new().await;
    shop.running_pod("db-0").await;
    shop.budget("db", json!({"observedGeneration": 0})).await;
    let answer = shop.evict("db-0", json!({})).await;
    assert_eq!(answer.code, 429);
    answer.is(recorded!("still_processed"), &[]);
}

#[tokio::test]
async fn a_budget_that_cannot_be_computed_says_why() {
    let shop = Shop::new().await;
    shop.running_pod("db-0").await;
    let mut status = exhausted();
    status["conditions"] = json!([{
        "type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "lastTransitionTime": "2026-01-01T00:00:00Z",
        "message": "found no controllers for pod \"db-0\"",
    }]);
    shop.budget("db", status).await;
    let answer = shop.evict("db-0", json!({})).await;
    assert_eq!(answer.code, 429);
    answer.is(recorded!("failed_sync"), &[]);
}

#[tokio::test]
async fn two_budgets_on_one_pod_are_a_500_that_says_so() {
    let shop = Shop::new().await;
    shop.running_pod("db-0").await;
    shop.budget("db", exhausted()).await;
    shop.budget("db-again", exhausted()).await;
    let answer = shop.evict("db-0", json!({})).await;
    assert_eq!(answer.code, 500);
    answer.is(recorded!("several_budgets"), &[]);
}

#[tokio::test]
async fn a_budget_that_keeps_too_many_evictions_in_mind_is_a_403() {
    let shop = Shop::new().await;
    shop.running_pod("db-0").await;
    let disrupted: serde_json::Map<String, Value> = (0..2001)
        .map(|index| (format!("gone-{index}"), json!("2026-01-01T00:00:00Z")))
        .collect();
    let mut status = exhausted();
    status["disruptionsAllowed"] = json!(1);
    status["disruptedPods"] = Value::Object(disrupted);
    shop.budget("db", status).await;
    let answer = shop.evict("db-0", json!({})).await;
    assert_eq!(answer.code, 403);
    answer.is(recorded!("too_many_disrupted"), &[]);
}

#[tokio::test]
async fn a_pod_that_is_gone_is_a_404() {
    let shop = Shop::new().await;
    let answer = shop.evict("db-0", json!({})).await;
    assert_eq!(answer.code, 404);
    answer.is(recorded!("gone"), &[]);
}

#[tokio::test]
async fn another_pod_of_the_same_name_is_a_409_and_stays() {
    let shop = Shop::new().await;
    let uid = shop.running_pod("db-0").await;
    let wanted = "00000000-0000-0000-0000-000000000000";
    let answer = shop
        .evict("db-0", json!({"preconditions": {"uid": wanted}}))
        .await;
    assert_eq!(answer.code, 409);
    answer.is(
        recorded!("other_pod"),
        &[(wanted, "UID-WANTED"), (&uid, "UID-FOUND")],
    );
    let pod: Pod = shop.api().get("db-0").await.unwrap();
    assert!(pod.metadata.deletion_timestamp.is_none());
}

#[tokio::test]
async fn an_eviction_in_a_namespace_that_is_being_deleted_is_a_403() {
    let shop = Shop::new().await;
    shop.running_pod("db-0").await;
    let namespaces: Api<Namespace> = Api::all(shop.client.clone());
    let name = shop.namespace.name();
    namespaces
        .delete(name, &DeleteParams::default())
        .await
        .unwrap();
    let answer = shop.evict("db-0", json!({})).await;
    assert_eq!(answer.code, 403);
    answer.is(recorded!("namespace_terminating"), &[(name, "shop")]);
}
