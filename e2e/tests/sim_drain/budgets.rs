//! What budgets (`PodDisruptionBudget`) hold back, and that they are never broken.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use crate::world::World;

/// The longest from the beginning of the drain until a blocker is in the status.
const TOLD_WITHIN_SECONDS: i64 = 5;

#[tokio::test]
async fn a_budget_blocks_is_named_within_five_seconds_and_lets_go_when_it_allows() {
    let world = World::new("budget").await;
    let pods = world.deployment("db", 2, json!({})).await;
    world.budget("db", "db", 2, 0).await;
    world.drain(json!({})).await;
    let budget = format!(
        "(PodDisruptionBudget {}/db allows 0 disruptions)",
        world.name()
    );
    let entry = world.says(&budget).await;
    let message = entry.message.unwrap();
    assert!(message.starts_with("waiting for 2 Pods: "), "{message}");
    let (since, told) = (entry.since.unwrap().0, entry.last_updated.unwrap().0);
    let took = told.duration_since(since).as_secs();
    assert!(took <= TOLD_WITHIN_SECONDS, "told after {took} s");
    world.event(&budget).await;
    assert!(world.evicted().is_empty());
    for pod in &pods {
        assert!(world.is_untouched(pod).await, "{pod}");
    }
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(world.client.clone(), world.name());
    budgets
        .delete("db", &DeleteParams::default())
        .await
        .unwrap();
    world.completes().await;
    let mut pods = pods;
    pods.sort_unstable();
    assert_eq!(world.evicted(), pods);
}

#[tokio::test]
async fn two_budgets_on_one_pod_block_with_the_way_out() {
    let world = World::new("two-budgets").await;
    world.deployment("db", 1, json!({})).await;
    world.budget("db", "db", 0, 1).await;
    world.budget("db-again", "db", 0, 1).await;
    world.drain(json!({})).await;
    world
        .says("more than one PodDisruptionBudget selects it")
        .await;
    assert!(world.evicted().is_empty());
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(world.client.clone(), world.name());
    budgets
        .delete("db-again", &DeleteParams::default())
        .await
        .unwrap();
    world.completes().await;
}

#[tokio::test]
async fn a_budget_that_never_allows_fails_the_node_by_its_timeout_and_uncordons() {
    let world = World::new("timeout").await;
    let pods = world.deployment("db", 1, json!({})).await;
    world.budget("db", "db", 1, 0).await;
    world.drain(json!({"timeoutSeconds": 4})).await;
    let message = world.fails().await;
    assert!(
        message.contains("timeoutSeconds") && message.contains(&pods[0]),
        "{message}"
    );
    crate::world::eventually("the cordon is undone", async || {
        (!world.is_cordoned().await).then_some(())
    })
    .await;
    assert!(world.is_untouched(&pods[0]).await);
}
