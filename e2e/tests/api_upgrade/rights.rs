//! What the controller may do, by the API server's word: exactly what its table says.

use std::collections::BTreeSet;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

use crate::world::{World, cluster};

const USER: &str = "system:serviceaccount:kairos-operator:upgrade-controller";
const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];
/// Group, resource, and what is allowed in any namespace.
const TABLE: [(&str, &str, &[&str]); 20] = [
    (
        "operator.kairos.io",
        "nodeopupgrades",
        &["get", "list", "watch"],
    ),
    ("operator.kairos.io", "nodeopupgrades/status", &["patch"]),
    (
        "operator.kairos.io",
        "nodeopupgrades/finalizers",
        &["update"],
    ),
    (
        "operator.kairos.io",
        "nodeops",
        &["get", "list", "watch", "create", "patch"],
    ),
    ("operator.kairos.io", "nodeops/status", &[]),
    ("operator.kairos.io", "nodeops/finalizers", &[]),
    ("events.k8s.io", "events", &["create"]),
    ("build.kairos.io", "osartifacts", &[]),
    ("coordination.k8s.io", "leases", &[]),
    ("batch", "jobs", &[]),
    ("apps", "deployments", &[]),
    ("apps", "daemonsets", &[]),
    ("rbac.authorization.k8s.io", "clusterroles", &[]),
    ("rbac.authorization.k8s.io", "clusterrolebindings", &[]),
    ("", "nodes", &[]),
    ("", "pods", &[]),
    ("", "pods/eviction", &[]),
    ("", "secrets", &[]),
    ("", "configmaps", &[]),
    ("", "serviceaccounts/token", &[]),
];

async fn allowed(
    world: &World,
    namespace: &str,
    group: &str,
    resource: &str,
    name: Option<&str>,
) -> BTreeSet<&'static str> {
    let api: Api<SubjectAccessReview> = Api::all(world.client.clone());
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let mut found = BTreeSet::new();
    for verb in VERBS {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(USER.to_owned()),
                groups: Some(vec![
                    "system:serviceaccounts".to_owned(),
                    "system:authenticated".to_owned(),
                ]),
                resource_attributes: Some(ResourceAttributes {
                    group: Some(group.to_owned()),
                    resource: Some(resource.to_owned()),
                    subresource: Some(subresource.to_owned()),
                    namespace: Some(namespace.to_owned()),
                    name: name.map(str::to_owned),
                    verb: Some(verb.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let answer = api.create(&PostParams::default(), &review).await.unwrap();
        if answer.status.unwrap().allowed {
            found.insert(verb);
        }
    }
    found
}

#[tokio::test]
async fn the_controller_may_do_what_its_table_says_and_nothing_else() {
    let world = World::new("rights").await;
    for (group, resource, expected) in TABLE {
        let found = allowed(&world, world.namespace.name(), group, resource, None).await;
        assert_eq!(
            found,
            expected.iter().copied().collect(),
            "{group}/{resource}"
        );
    }
    let own = ("kairos-operator", "coordination.k8s.io", "leases");
    let found = allowed(&world, own.0, own.1, own.2, Some("upgrade-controller")).await;
    assert_eq!(found, ["create", "get", "patch"].into());
    let found = allowed(&world, own.0, own.1, own.2, Some("nodeop-controller")).await;
    assert_eq!(found, ["create"].into());
}

/// What it may do is what it needs: in a whole life it is refused nothing.
#[tokio::test]
async fn the_controller_is_never_forbidden_anything() {
    let world = World::new("need").await;
    world.upgrade("to-v2", "image: i").await;
    world.made("to-v2").await;
    world
        .edit("to-v2", serde_json::json!({"paused": true}))
        .await
        .unwrap();
    world
        .node_op_until("to-v2", "it is paused", |node_op| node_op.spec.paused)
        .await;
    world.report("to-v2", crate::world::COMPLETED).await;
    world.because("to-v2", "Complete", "Completed").await;
    world.event("to-v2", "UpgradeCompleted", "m").await;
    let audit = cluster().await.audit().unwrap();
    let refused = audit.user(USER).code(403);
    assert_eq!(refused.count(), 0, "{:?}", refused.events());
}
