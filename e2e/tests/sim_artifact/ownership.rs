//! Whose objects are whose.

use api_types::osartifact::ArtifactPhase;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolumeClaim};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::world::{AT_ONCE, World, eventually, reason};

const ISO: &str = "{imageName: quay.io/kairos/opensuse:v3.6.0, iso: true}";

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_that_is_not_ours_is_left_alone_and_told() {
    let world = World::new("taken").await;
    let theirs: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "my"}, "data": {"mine": "yes"}}))
            .unwrap();
    world
        .config_maps()
        .create(&PostParams::default(), &theirs)
        .await
        .unwrap();
    world.create("my", ISO).await;
    let status = world
        .within(AT_ONCE, "my", "told", |status| {
            status
                .conditions
                .iter()
                .any(|found| found.reason == "NameTaken")
        })
        .await;
    assert!(
        status
            .message
            .unwrap()
            .contains("a ConfigMap named my exists"),
        "named"
    );
    assert_eq!(
        world.config_maps().get("my").await.unwrap().data,
        theirs.data
    );
    assert!(world.pod_names().await.is_empty());
    world
        .config_maps()
        .delete("my", &DeleteParams::default())
        .await
        .unwrap();
    world.phase("my", ArtifactPhase::Building).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_not_ours_is_left_alone_and_told() {
    let world = World::new("taken").await;
    let theirs: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": {"name": "my-artifacts"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }))
    .unwrap();
    world
        .claims()
        .create(&PostParams::default(), &theirs)
        .await
        .unwrap();
    world.create("my", ISO).await;
    let status = world
        .within(AT_ONCE, "my", "told", |status| {
            status
                .conditions
                .iter()
                .any(|found| found.reason == "NameTaken")
        })
        .await;
    assert_eq!(reason(&status), "NameTaken");
    assert!(
        world
            .claims()
            .get("my-artifacts")
            .await
            .unwrap()
            .owner_references()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_artifacts_of_one_name_in_two_namespaces_do_not_see_each_other() {
    let (first, second) = (World::new("twin").await, World::new("twin").await);
    for world in [&first, &second] {
        world.create("my", ISO).await;
        world.phase("my", ArtifactPhase::Building).await;
    }
    first.succeed("my", "i").await;
    first.phase("my", ArtifactPhase::Ready).await;
    assert_eq!(
        second.status("my").await.phase,
        Some(ArtifactPhase::Building)
    );
    first.delete("my").await;
    eventually("the first one's Pod is gone", async || {
        first.pod_names().await.is_empty().then_some(())
    })
    .await;
    assert_eq!(second.pod_names().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_removes_what_is_ours_but_a_claim_that_is_to_be_kept() {
    let world = World::new("delete").await;
    for name in ["gone", "kept"] {
        world.create(name, "{imageName: a, iso: true, exporters: [{template: {spec: {containers: [{name: a, image: b}]}}}]}").await;
        world.succeed(name, "i").await;
        world.phase(name, ArtifactPhase::Ready).await;
    }
    world
        .patch(
            "kept",
            json!({"metadata": {"annotations": {"build.kairos.io/retain": "true"}}}),
        )
        .await;
    eventually("the claim has no owner any more", async || {
        world
            .claims()
            .get("kept-artifacts")
            .await
            .unwrap()
            .owner_references()
            .is_empty()
            .then_some(())
    })
    .await;
    for name in ["gone", "kept"] {
        world.delete(name).await;
    }
    eventually("Pods, Jobs and ConfigMaps are gone", async || {
        let jobs = world
            .jobs()
            .list(&kube::api::ListParams::default())
            .await
            .unwrap()
            .items;
        let gone = world.pod_names().await.is_empty() && jobs.is_empty();
        (gone && world.config_maps().get_opt("gone").await.unwrap().is_none()).then_some(())
    })
    .await;
    eventually("one claim is gone", async || {
        // Nothing here takes the finalizer away that protects a claim in use; that it is being deleted is enough.
        let claim = world.claims().get_opt("gone-artifacts").await.unwrap();
        claim
            .is_none_or(|claim| claim.metadata.deletion_timestamp.is_some())
            .then_some(())
    })
    .await;
    assert!(
        world
            .claims()
            .get("kept-artifacts")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_going_away_is_left_in_peace() {
    let world = World::new("ending").await;
    let metadata = json!({"finalizers": ["example.com/hold"]});
    world.pod_security("restricted").await;
    world
        .create_as_is("my", metadata, &json!({"imageName": "a", "iso": true}))
        .await
        .unwrap();
    world
        .within(AT_ONCE, "my", "refused", |status| {
            !status.conditions.is_empty()
        })
        .await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    namespaces
        .delete(world.name(), &DeleteParams::default())
        .await
        .unwrap();
    eventually("the artifact is being deleted", async || {
        world
            .artifacts()
            .get("my")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .map(|_| ())
    })
    .await;
    let before = world.status("my").await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(world.status("my").await, before);
    world
        .patch("my", json!({"metadata": {"finalizers": null}}))
        .await;
}
