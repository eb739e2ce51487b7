//! The API server with the CRDs installed, and what tests ask of it.

use std::time::Duration;

use api_types::crds;
use e2e::cluster::Cluster;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use tokio::sync::OnceCell;

/// How long a changed CRD may take until the API server goes by it.
pub(crate) const CRD_DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn resource(kind: &str) -> ApiResource {
    let (group, version) = if kind == "OSArtifact" {
        ("build.kairos.io", "v1alpha2")
    } else {
        ("operator.kairos.io", "v1alpha1")
    };
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// Installs a CRD as client-side `kubectl apply` does, and waits until it is served.
pub(crate) async fn install(client: &Client, crd: &CustomResourceDefinition) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut crd = crd.clone();
    let whole = serde_json::to_string(&crd).unwrap();
    crd.annotations_mut().insert(
        "kubectl.kubernetes.io/last-applied-configuration".to_owned(),
        whole,
    );
    let name = crd.name_any();
    api.patch(
        &name,
        &PatchParams::apply("install").force(),
        &Patch::Apply(&crd),
    )
    .await
    .unwrap();
    let established = kube::runtime::wait::await_condition(
        api,
        &name,
        kube::runtime::conditions::is_crd_established(),
    );
    tokio::time::timeout(CRD_DEADLINE, established)
        .await
        .unwrap()
        .unwrap();
}

/// The API server of this binary, with the CRDs installed as client-side `kubectl apply` does.
pub(crate) async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let start = async || {
        let cluster = Cluster::builder().start().await.unwrap();
        let client = cluster.client().unwrap();
        for crd in crds::all() {
            install(&client, &crd).await;
        }
        cluster
    };
    CLUSTER.get_or_init(start).await
}

/// What `kubectl apply` sends for a new object: unknown fields are an error.
pub(crate) async fn create(
    client: &Client,
    namespace: &str,
    manifest: &Value,
    dry_run: bool,
) -> kube::Result<DynamicObject> {
    let api_version = manifest["apiVersion"].as_str().unwrap();
    let root = if api_version.contains('/') {
        "apis"
    } else {
        "api"
    };
    let plural = manifest["kind"].as_str().unwrap().to_lowercase() + "s";
    let dry_run = if dry_run { "&dryRun=All" } else { "" };
    let path = format!(
        "/{root}/{api_version}/namespaces/{namespace}/{plural}?fieldValidation=Strict{dry_run}"
    );
    let request = http::Request::post(path).header("content-type", "application/json");
    client
        .request(request.body(serde_json::to_vec(manifest).unwrap()).unwrap())
        .await
}
