//! Which Pods go and which stay.

use serde_json::{Value, json};

use crate::world::{World, eventually};

#[tokio::test]
async fn what_the_options_forbid_fails_the_node_before_it_is_cordoned() {
    let world = World::new("forbidden").await;
    let with_data = json!({"volumes": [{"name": "data", "emptyDir": {}}]});
    world.deployment("cache", 1, with_data).await;
    world.pod("bare", json!({})).await;
    world.drain(json!({})).await;
    let message = world.fails().await;
    for words in [
        "/bare (drainOptions.force is false)",
        "(drainOptions.deleteEmptyDirData is false)",
    ] {
        assert!(message.contains(words), "{message}");
    }
    assert!(!world.is_cordoned().await);
    assert!(world.is_untouched("bare").await);
    assert!(world.asked("create", "pods/eviction").is_empty());
    let cordons = world.asked("patch", "nodes");
    assert!(cordons.is_empty(), "{cordons:?}");
}

fn daemon_set(world: &World) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": {
            "metadata": {"labels": {"app": "agent"}},
            "spec": {"nodeSelector": {"test-world": world.name()}, "containers": [{"name": "main", "image": "hangs"}]}}},
    })
}

async fn daemon_pod(world: &World) -> String {
    eventually("the DaemonSet's Pod runs", async || {
        let params = kube::api::ListParams::default().labels("app=agent");
        let pod = world.pods().list(&params).await.unwrap().items.pop()?;
        let running = pod.status?.phase? == "Running";
        running.then_some(pod.metadata.name?)
    })
    .await
}

#[tokio::test]
async fn a_daemon_sets_pod_stays_and_without_leave_to_ignore_it_fails_the_node() {
    let world = World::new("daemon-set").await;
    world.create(daemon_set(&world)).await;
    let pod = daemon_pod(&world).await;
    world.drain(json!({})).await;
    world.completes().await;
    assert!(world.is_untouched(&pod).await);

    let world = World::new("daemon-set").await;
    world.create(daemon_set(&world)).await;
    let pod = daemon_pod(&world).await;
    world.drain(json!({"ignoreDaemonSets": false})).await;
    let message = world.fails().await;
    assert!(
        message.contains("(drainOptions.ignoreDaemonSets is false)"),
        "{message}"
    );
    assert!(world.is_untouched(&pod).await);
}

#[tokio::test]
async fn a_static_pods_mirror_stays() {
    let world = World::new("mirror").await;
    let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "hash"}}});
    world.pod("static", mirror).await;
    world.pod("web", json!({})).await;
    world.drain(json!({"force": true})).await;
    world.completes().await;
    assert!(world.is_untouched("static").await);
    assert_eq!(world.evicted(), ["web"]);
}

#[tokio::test]
async fn the_pod_of_a_completed_job_is_deleted_whatever_the_options_say_of_running_ones() {
    let world = World::new("done").await;
    world
        .create(json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "report"},
            "spec": {"template": {"metadata": {"labels": {"app": "report"}}, "spec": {
                "nodeName": world.node, "restartPolicy": "Never", "volumes": [{"name": "data", "emptyDir": {}}],
                "containers": [{"name": "main", "image": "works"}]}}},
        }))
        .await;
    let params = kube::api::ListParams::default().labels("app=report");
    let pod = eventually("the Job's Pod has succeeded", async || {
        let pod = world.pods().list(&params).await.unwrap().items.pop()?;
        let done = pod.status?.phase? == "Succeeded";
        done.then_some(pod.metadata.name?)
    })
    .await;
    world.drain(json!({})).await;
    world.completes().await;
    assert!(!world.is_untouched(&pod).await);
    assert!(world.evicted().is_empty());
    assert_eq!(world.asked("delete", "pods"), [(pod, 200)]);
}

#[tokio::test]
async fn a_pod_that_tolerates_everything_comes_back_until_the_timeout_names_it() {
    let world = World::new("tolerant").await;
    let tolerant = json!({"tolerations": [{"operator": "Exists"}]});
    world.deployment("sticky", 1, tolerant).await;
    world.drain(json!({"timeoutSeconds": 6})).await;
    let message = world.fails().await;
    assert!(
        message.contains("timeoutSeconds") && message.contains("/sticky-"),
        "{message}"
    );
    assert!(world.evicted().len() > 1, "{:?}", world.evicted());
}

#[tokio::test]
async fn five_hundred_pods_are_evicted_once_each() {
    const PODS: usize = 500;
    let world = World::new("many").await;
    world
        .create(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"},
            "spec": {"replicas": PODS, "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}}, "spec": {
                    "nodeSelector": {"test-world": world.name()}, "containers": [{"name": "main", "image": "hangs"}]}}},
        }))
        .await;
    let running = kube::api::ListParams::default().fields("status.phase=Running");
    eventually("the Pods run", async || {
        let count = world.pods().list(&running).await.unwrap().items.len();
        (count == PODS).then_some(())
    })
    .await;
    world.drain(json!({})).await;
    world.completes().await;
    let mut evicted = world.evicted();
    evicted.dedup();
    assert_eq!(evicted.len(), PODS);
    assert_eq!(world.asked("create", "pods/eviction").len(), PODS);
}
