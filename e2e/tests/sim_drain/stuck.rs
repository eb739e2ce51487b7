//! Pods that do not go when they are told to, and names that come back.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use crate::world::{World, eventually, merge};

#[tokio::test]
async fn a_pod_with_a_finalizer_is_waited_for_and_the_finalizer_is_named() {
    let world = World::new("finalizer").await;
    let held = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    world.pod("held", held).await;
    world.drain(json!({"force": true})).await;
    let entry = world.says("finalizers: example.com/hold").await;
    let message = entry.message.unwrap();
    assert!(
        message.contains(&format!("{}/held (terminating for ", world.name())),
        "{message}"
    );
    assert_eq!(world.asked("create", "pods/eviction").len(), 1);
    world.remove_finalizers(world.name(), "held").await;
    world.completes().await;
}

#[tokio::test]
async fn a_pod_stuck_on_a_dead_kubelet_is_named_and_never_evicted_again() {
    let world = World::new("stuck").await;
    let stuck = json!({"spec": {"containers": [{"name": "main", "image": "stuck"}]}});
    world.pod("stuck", stuck).await;
    world.drain(json!({"force": true})).await;
    world.says("its kubelet has not confirmed the end").await;
    assert_eq!(world.asked("create", "pods/eviction").len(), 1);
    // What an administrator does about it.
    let now = DeleteParams::default().grace_period(0);
    world.pods().delete("stuck", &now).await.unwrap();
    world.completes().await;
    assert_eq!(world.asked("create", "pods/eviction").len(), 1);
}

#[tokio::test]
async fn a_pod_that_comes_back_under_the_same_name_is_another_pod() {
    let world = World::new("again").await;
    let held = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    world.pod("db-0", held).await;
    world.drain(json!({"force": true})).await;
    world.says("finalizers: example.com/hold").await;
    world.remove_finalizers(world.name(), "db-0").await;
    // As fast as a controller would be, bound to the node as only a Pod that tolerates the cordon could be.
    let mut again = world.bare_pod("db-0", json!({}));
    merge(
        &mut again,
        json!({"spec": {"tolerations": [{"operator": "Exists"}]}}),
    );
    let again: Pod = serde_json::from_value(again).unwrap();
    eventually("the name is free", async || {
        let created = world.pods().create(&PostParams::default(), &again).await;
        created.ok().map(|_| ())
    })
    .await;
    world.completes().await;
    assert!(!world.is_untouched("db-0").await);
    assert_eq!(world.evicted(), ["db-0", "db-0"]);
}

#[tokio::test]
async fn pods_of_a_namespace_that_is_being_deleted_are_waited_for() {
    let world = World::new("dying").await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let dying = format!("{}-b", world.name());
    let namespace = serde_json::from_value(json!({"metadata": {"name": dying}})).unwrap();
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let held = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    let pod = world.bare_pod("held", held);
    eventually("the namespace takes Pods", async || {
        let pods: Api<Pod> = Api::namespaced(world.client.clone(), &dying);
        let pod = serde_json::from_value(pod.clone()).unwrap();
        let created = pods.create(&PostParams::default(), &pod).await;
        created.ok().map(|_| ())
    })
    .await;
    world.runs(&dying, "held").await;
    namespaces
        .delete(&dying, &DeleteParams::default())
        .await
        .unwrap();
    world.drain(json!({"force": true})).await;
    world.says(&format!("{dying}/held (")).await;
    world.remove_finalizers(&dying, "held").await;
    world.completes().await;
}

#[tokio::test]
async fn a_pod_that_somebody_else_deleted_forbids_nothing() {
    let world = World::new("else").await;
    let stuck = json!({"spec": {"containers": [{"name": "main", "image": "stuck"}]}});
    world.pod("stuck", stuck).await;
    world.delete_pod("stuck").await;
    // Without force a bare Pod would fail the node, but this one is on its way already.
    world.drain(json!({})).await;
    world.says("/stuck (terminating").await;
    let now = DeleteParams::default().grace_period(0);
    world.pods().delete("stuck", &now).await.unwrap();
    world.completes().await;
    assert!(world.asked("create", "pods/eviction").is_empty());
}
