//! `docs/migrate.md`, followed from kairos-operator to ours and back.

use std::time::{Duration, Instant};

use api_types::names::FINALIZER_KAIROS_OPERATOR_NODEOP;
use api_types::nodeop::{NodeOp, Phase};
use api_types::nodeopupgrade::NodeOpUpgrade;
use e2e::chart;
use e2e::guard::ProcessHandle;
use e2e::operator::{DETECT_NAMESPACE, NAMESPACE};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::documents::pages::{Piece, pieces};
use crate::documents::shell::Shell;
use crate::site::{Site, eventually};

const PAGE: &str = "docs/migrate.md";
/// Commands that the page warns of, or that belong to the repository of kairos-operator.
const NOT_RUN: [&str; 3] = [
    "kubectl delete -k config/default\n",
    "kubectl delete -k deploy/default\n",
    "kubectl apply -k config/crd\n",
];
const CONTROLLERS: [(&str, &str); 4] = [
    ("nodeop-controller", "--shutdown-grace-seconds=1"),
    ("upgrade-controller", "--shutdown-grace-seconds=1"),
    ("artifact-controller", "--worker-image=worker"),
    ("node-labeller", "--detect-image=detect"),
];

#[tokio::test]
async fn the_migration_guide_leads_there_and_back_without_running_anything_twice() {
    let site = Site::new().await;
    let before = site.everything().await;
    let shell = Shell::new(&site);
    site.restricted_namespace().await;
    shell.run(PAGE, "kubectl apply -k deploy/crds").await;
    site.cluster
        .apply_yaml(include_str!("left_behind.yaml"))
        .await
        .unwrap();
    objects(&site).await;

    let text = std::fs::read_to_string(chart::root().join(PAGE)).unwrap();
    let mut running: Vec<ProcessHandle> = Vec::new();
    for piece in pieces(&text) {
        let Piece::Commands(commands) = piece else {
            panic!("a manifest that nobody tries")
        };
        if NOT_RUN.contains(&&*commands) {
            continue;
        }
        let stop = commands.contains("scale deployment --all");
        if commands.contains("nodeops,nodeopupgrades -A -o jsonpath") {
            // One that has not been deleted, and has a concurrency to be rewritten.
            site.create(
                "default",
                node_op("share", &json!({"concurrency": "25%", "paused": true})),
            )
            .await;
        }
        shell
            .run(
                PAGE,
                &commands
                    .replace("NAMESPACE", "default")
                    .replace("nodeop NAME", "nodeop done")
                    .replace("nodeopupgrade NAME", "nodeopupgrade up"),
            )
            .await;
        if commands.contains("kubectl apply -k deploy/default") {
            for (name, argument) in CONTROLLERS {
                running.push(site.start(name, &[argument]).await);
            }
            taken_over(&site).await;
        }
        if stop {
            for process in running.drain(..) {
                process.kill().unwrap();
            }
        }
    }
    assert!(running.is_empty(), "the page does not stop ours");
    let jobs: Api<Job> = Api::all(site.client.clone());
    let names: Vec<String> = jobs
        .list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    assert_eq!(names, ["old-job"], "Jobs of ours");

    // Its own finalizer would be taken off by kairos-operator, which is not here.
    let let_go = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let api: Api<NodeOp> = Api::namespaced(site.client.clone(), "default");
    api.patch("under-way", &PatchParams::default(), &let_go)
        .await
        .unwrap();
    site.delete("default", "nodeop", "share").await;
    site.delete("default", "nodeop", "under-way").await;
    // The garbage collector is often quicker; without the definition of its owner, it takes its time.
    let gone = "kubectl delete job old-job --namespace default --ignore-not-found";
    shell.run("the end", gone).await;
    let delete = "kubectl delete -k deploy/default --ignore-not-found --timeout=60s";
    shell.run("the end", delete).await;
    for name in [NAMESPACE, "operator-system", DETECT_NAMESPACE] {
        site.delete_namespace(name).await;
    }
    site.remains(&before, &[]).await;
}

/// NodeOps and a NodeOpUpgrade with what kairos-operator has written: one that is done, whose Job is gone, and one with a
/// Job under way.
async fn objects(site: &Site) {
    let finalizers = json!([FINALIZER_KAIROS_OPERATOR_NODEOP]);
    for (name, status) in [
        (
            "done",
            json!({"phase": "Completed", "nodeStatuses": {
                "simulated-0": {"phase": "Completed", "jobName": "done-job", "rebootStatus": "completed"},
            }}),
        ),
        (
            "under-way",
            json!({"phase": "Running", "nodeStatuses": {
                "simulated-0": {"phase": "Running", "jobName": "old-job", "rebootStatus": "not-requested"},
                "simulated-1": {"phase": "Pending"},
            }}),
        ),
    ] {
        let mut manifest = node_op(name, &json!({}));
        manifest["metadata"]["finalizers"] = finalizers.clone();
        let created = site.create("default", manifest).await;
        let api: Api<NodeOp> = Api::namespaced(site.client.clone(), "default");
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
        if name == "under-way" {
            site.create("default", old_job(&created.uid().unwrap()))
                .await;
        }
    }
    let upgrade = json!({
        "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOpUpgrade", "metadata": {"name": "up"},
        "spec": {"image": "quay.io/kairos/opensuse:v3.6.0"},
    });
    site.create("default", upgrade).await;
    let api: Api<NodeOpUpgrade> = Api::namespaced(site.client.clone(), "default");
    let status = json!({"status": {"phase": "Completed", "nodeOpName": "up"}});
    api.patch_status("up", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
}

fn node_op(name: &str, more: &Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp", "metadata": {"name": name},
        "spec": {"command": ["run"]},
    });
    for (key, value) in more.as_object().unwrap() {
        manifest["spec"][key] = value.clone();
    }
    manifest
}

/// A Job as kairos-operator makes them.
fn old_job(owner: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": "old-job", "labels": {"kairos.io/nodeop": "under-way", "kairos.io/node": "simulated-0"},
            "ownerReferences": [{
                "apiVersion": "operator.kairos.io/v1alpha1", "kind": "NodeOp", "name": "under-way", "uid": owner,
                "controller": true,
            }],
        },
        "spec": {"template": {"spec": {
            "restartPolicy": "Never", "nodeName": "simulated-0",
            "containers": [{"name": "nodeop", "image": "busybox", "command": ["run"]}],
        }}},
    })
}

/// Within half a minute each Lease has a holder; and what was there is judged, not run.
async fn taken_over(site: &Site) {
    let begun = Instant::now();
    let leases: Api<Lease> = Api::namespaced(site.client.clone(), NAMESPACE);
    eventually("each Lease has a holder", async || {
        let listed = leases.list(&ListParams::default()).await.unwrap();
        let held = listed.items.iter().filter(|lease| {
            let holder = lease
                .spec
                .as_ref()
                .and_then(|spec| spec.holder_identity.as_deref());
            holder.is_some_and(|holder| !holder.is_empty())
        });
        (held.count() == CONTROLLERS.len()).then_some(())
    })
    .await;
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
    let api: Api<NodeOp> = Api::namespaced(site.client.clone(), "default");
    for (name, phase) in [("done", Phase::Completed), ("under-way", Phase::Failed)] {
        eventually("what kairos-operator began is judged", async || {
            let status = api.get(name).await.unwrap().status.unwrap();
            let adopted = status
                .conditions
                .iter()
                .any(|condition| condition.reason == "Adopted");
            (status.phase == Some(phase) && adopted).then_some(())
        })
        .await;
    }
}
