//! A Deployment with a PodDisruptionBudget, watched at every instant.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::site::Site;

pub(crate) struct Workload {
    fewest: Arc<AtomicUsize>,
    watch: tokio::task::JoinHandle<()>,
    deployments: Api<Deployment>,
}

impl Workload {
    /// `replicas` Pods, of which the budget keeps `minimum`; returns when all are Ready.
    pub(crate) async fn start(site: &Site<'_>, replicas: usize, minimum: usize) -> Self {
        let labels = json!({"app": "shop"});
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
                        "weight": 100, "podAffinityTerm": {
                            "labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}}]}},
                    "containers": [{"name": "main", "image": "busybox", "command": ["sleep", "100000"]}],
                },
            }},
        });
        let budget = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "shop"},
            "spec": {"minAvailable": minimum, "selector": {"matchLabels": labels}},
        });
        let deployments: Api<Deployment> = Api::namespaced(site.client.clone(), &site.namespace);
        let budgets: Api<PodDisruptionBudget> =
            Api::namespaced(site.client.clone(), &site.namespace);
        let params = PostParams::default();
        let budget = serde_json::from_value(budget).unwrap();
        budgets.create(&params, &budget).await.unwrap();
        let deployment = serde_json::from_value(deployment).unwrap();
        deployments.create(&params, &deployment).await.unwrap();

        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        loop {
            let status = deployments
                .get("shop")
                .await
                .unwrap()
                .status
                .unwrap_or_default();
            if status.ready_replicas == i32::try_from(replicas).ok() {
                break;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "the workload never started: {status:?}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let fewest = Arc::new(AtomicUsize::new(usize::MAX));
        let pods = Api::namespaced(site.client.clone(), &site.namespace);
        let watch = tokio::spawn(watch(pods, Arc::clone(&fewest)));
        Self {
            fewest,
            watch,
            deployments,
        }
    }

    /// The fewest Pods that were Ready and not being deleted, at any event so far.
    pub(crate) fn fewest_ready(&self) -> usize {
        self.fewest.load(Ordering::SeqCst)
    }

    pub(crate) async fn stop(self) {
        self.watch.abort();
        self.deployments
            .delete("shop", &DeleteParams::default())
            .await
            .unwrap();
    }
}

async fn watch(pods: Api<Pod>, fewest: Arc<AtomicUsize>) {
    let config = watcher::Config::default().labels("app=shop");
    let mut events = std::pin::pin!(watcher(pods, config).default_backoff());
    let mut ready: HashSet<String> = HashSet::new();
    let mut listed = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => {
                listed = false;
                ready.clear();
            }
            Ok(watcher::Event::InitApply(pod) | watcher::Event::Apply(pod)) => {
                if is_ready(&pod) {
                    ready.insert(pod.name_any());
                } else {
                    ready.remove(&pod.name_any());
                }
            }
            Ok(watcher::Event::InitDone) => listed = true,
            Ok(watcher::Event::Delete(pod)) => {
                ready.remove(&pod.name_any());
            }
            Err(_) => {}
        }
        if listed {
            fewest.fetch_min(ready.len(), Ordering::SeqCst);
        }
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .filter(|condition| condition.type_ == "Ready")
            .any(|condition| condition.status == "True")
}
