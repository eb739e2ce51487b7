//! All that each controller may do, as the API server tells it to the controller's own ServiceAccount.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

use std::collections::BTreeSet;

use e2e::cluster::Cluster;
use e2e::operator::{self, DETECT_NAMESPACE, NAMESPACE};
use k8s_openapi::api::authorization::v1::{
    ResourceRule, SelfSubjectRulesReview, SelfSubjectRulesReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

const CONTROLLERS: [&str; 4] = [
    "nodeop-controller",
    "upgrade-controller",
    "node-labeller",
    "artifact-controller",
];
/// What no controller may touch with any verb.
const NEVER: [&str; 14] = [
    "*",
    "secrets",
    "serviceaccounts",
    "serviceaccounts/token",
    "pods/exec",
    "pods/attach",
    "pods/portforward",
    "pods/ephemeralcontainers",
    "nodes/proxy",
    "roles",
    "rolebindings",
    "clusterroles",
    "clusterrolebindings",
    "customresourcedefinitions",
];
/// Verbs by which rights are widened.
const NEVER_VERBS: [&str; 4] = ["*", "impersonate", "escalate", "bind"];

/// The rules of a controller in a namespace, without those that every account has.
async fn rules(cluster: &Cluster, controller: &str, namespace: &str) -> Vec<ResourceRule> {
    let mut config = cluster.config();
    let user = format!("system:serviceaccount:{NAMESPACE}:{controller}");
    config.auth_info.impersonate = Some(user);
    config.auth_info.impersonate_groups = Some(vec![
        "system:serviceaccounts".to_owned(),
        "system:authenticated".to_owned(),
    ]);
    let api: Api<SelfSubjectRulesReview> = Api::all(Client::try_from(config).unwrap());
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec {
            namespace: Some(namespace.to_owned()),
        },
        ..SelfSubjectRulesReview::default()
    };
    let told = api.create(&PostParams::default(), &review).await.unwrap();
    let status = told.status.unwrap();
    assert!(!status.incomplete, "{:?}", status.evaluation_error);
    let every =
        ["authorization.k8s.io", "authentication.k8s.io"].map(|group| vec![group.to_owned()]);
    let own = |rule: &ResourceRule| {
        rule.api_groups
            .as_ref()
            .is_none_or(|groups| !every.contains(groups))
    };
    status.resource_rules.into_iter().filter(own).collect()
}

/// One line for each group, resource and name.
fn lines(rules: &[ResourceRule]) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for rule in rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let names = rule.resource_names.iter().flatten();
                let names: Vec<&str> = names.map(String::as_str).collect();
                let only = match &names[..] {
                    [] => String::new(),
                    names => format!(" named {}", names.join(", ")),
                };
                let of = if group.is_empty() {
                    String::new()
                } else {
                    format!(".{group}")
                };
                lines.insert(format!("{resource}{of}{only}: {}", rule.verbs.join(", ")));
            }
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn each_controller_may_do_what_is_listed_here_and_nothing_else() {
    let cluster = Cluster::builder().start().await.unwrap();
    operator::install_controllers(&cluster, &CONTROLLERS[..3])
        .await
        .unwrap();
    operator::install_artifact_controller(&cluster)
        .await
        .unwrap();
    let mut listed = Vec::new();
    for controller in CONTROLLERS {
        for namespace in [NAMESPACE, DETECT_NAMESPACE, "default"] {
            let rules = rules(&cluster, controller, namespace).await;
            for rule in &rules {
                for resource in rule.resources.iter().flatten() {
                    assert!(!NEVER.contains(&&**resource), "{controller}: {rule:?}");
                }
                for verb in &rule.verbs {
                    assert!(!NEVER_VERBS.contains(&&**verb), "{controller}: {rule:?}");
                }
            }
            listed.push(format!("{controller} in {namespace}"));
            listed.extend(lines(&rules).iter().map(|line| format!("  {line}")));
        }
    }
    insta::assert_snapshot!(listed.join("\n"));
}
