//! Every command and every manifest in the documentation, run as it is written there.

pub(crate) mod pages;
pub(crate) mod shell;

use std::collections::BTreeSet;
use std::path::Path;

use e2e::chart;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use crate::site::{Site, eventually};
use pages::{Piece, pieces};
use shell::Shell;

/// The pages in the order in which somebody might read them, the one that takes the operator off again last.
const PAGES: [&str; 14] = [
    "README.md",
    "CONTRIBUTING.md",
    "ARCHITECTURE.md",
    "SECURITY.md",
    "docs/osartifacts.md",
    "docs/templates.md",
    "docs/defects.md",
    "docs/metrics.md",
    "docs/performance.md",
    "docs/runbooks/nodeop.md",
    "docs/runbooks/upgrade.md",
    "docs/runbooks/artifact.md",
    "docs/runbooks/labeller.md",
    "charts/kairos-operator/README.md",
];
/// Pages with a test of their own, or made of what is tested elsewhere.
const OTHER_PAGES: [&str; 5] = [
    "CHANGELOG.md",
    "docs/migrate.md",
    "docs/reference/nodeop.md",
    "docs/reference/nodeopupgrade.md",
    "docs/reference/osartifact.md",
];
/// Commands that would undo what the others need: the beginning of each, and the test that runs it.
const ELSEWHERE: [(&str, &str); 4] = [
    (
        "kubectl apply -k deploy/default",
        "plain_apply_works_twice_and_delete_leaves_nothing",
    ),
    (
        "kubectl delete -k deploy/default",
        "kubectl_delete_waits_for_a_drain_without_its_controller_and_the_readme_ends_it",
    ),
    (
        "helm install kairos-operator charts/kairos-operator --namespace kairos-operator --create-namespace --take-ownership",
        "definitions_that_somebody_else_installed_are_taken_over_when_told",
    ),
    (
        "kubectl delete --cascade=foreground",
        "deleting_a_node_op_ends_its_jobs",
    ),
];
const NAMESPACE: &str = "default";

#[tokio::test]
async fn every_command_and_manifest_of_the_documents_works() {
    let site = Site::new().await;
    let shell = Shell::new(&site);
    let install = read("README.md")
        .into_iter()
        .find_map(|piece| match piece {
            Piece::Commands(commands) if commands.starts_with("helm install") => Some(commands),
            _ => None,
        })
        .unwrap();
    shell.run("README.md", &install).await;
    // The Pods of simulated nodes run nothing.
    let controllers = start(&site).await;
    let mut known = BTreeSet::from([install]);
    for page in PAGES {
        objects(&shell).await;
        for piece in read(page) {
            match piece {
                Piece::Manifest(manifest) => {
                    shell.apply(page, &whole(&manifest)).await;
                    known.insert(manifest);
                }
                Piece::Commands(commands) => {
                    let elsewhere = ELSEWHERE
                        .iter()
                        .any(|(known, _)| commands.starts_with(known));
                    if elsewhere || !known.insert(commands.clone()) {
                        continue;
                    }
                    shell.run(page, &filled(&site, &commands).await).await;
                    if commands.contains("delete nodeop NAME") {
                        objects(&shell).await;
                    }
                }
            }
        }
    }
    for controller in &controllers {
        controller.kill().unwrap();
    }
    let tried = known.len();
    eprintln!(
        "{tried} commands, blocks and manifests of {} pages were tried",
        PAGES.len()
    );
    assert!(tried > 60, "only {tried} pieces were found");
}

fn read(page: &str) -> Vec<Piece> {
    pieces(&std::fs::read_to_string(chart::root().join(page)).unwrap())
}

/// The controllers as processes.
async fn start(site: &Site) -> Vec<e2e::guard::ProcessHandle> {
    vec![
        site.start("nodeop-controller", &["--shutdown-grace-seconds=1"])
            .await,
        site.start("artifact-controller", &["--worker-image=worker"])
            .await,
        site.start("upgrade-controller", &[]).await,
        site.start("node-labeller", &["--detect-image=detect"])
            .await,
    ]
}

/// What the commands speak of.
async fn objects(shell: &Shell) {
    let examples = ["nodeop", "nodeopupgrade", "osartifact"]
        .map(|name| format!(" -f deploy/examples/{name}.yaml"));
    shell
        .run(
            "the examples",
            &format!("kubectl apply{}", examples.concat()),
        )
        .await;
}

/// A piece of a manifest made whole.
fn whole(manifest: &str) -> String {
    if manifest.starts_with("spec:") {
        let head =
            "apiVersion: build.kairos.io/v1alpha2\nkind: OSArtifact\nmetadata:\n  name: piece\n";
        return format!("{head}{manifest}");
    }
    manifest.to_owned()
}

/// The commands with names of the cluster in the place of those in capitals.
async fn filled(site: &Site, commands: &str) -> String {
    let mut text = commands
        .replace("NAMESPACE", NAMESPACE)
        .replace("kairos.io/NAME-", "kairos.io/release-")
        .replace("v1.33.x", "v1.33.0")
        .replace("vX", "v0.1.0");
    for (kind, name) in [
        ("nodeopupgrade", "to-v3.6.0"),
        ("nodeop", "hello"),
        ("involvedObject.name", "hello"),
        ("osartifact", "my-artifact"),
        ("artifact", "my-artifact"),
        ("node", "simulated-0"),
    ] {
        for between in [" ", "/", "="] {
            text = text.replace(
                &format!("{kind}{between}NAME"),
                &format!("{kind}{between}{name}"),
            );
        }
    }
    text = text.replace("NODE", "simulated-0");
    if text.contains("JOB") {
        let jobs: Api<Job> = Api::namespaced(site.client.clone(), NAMESPACE);
        let found = eventually("a Job of the NodeOp", async || {
            let of = ListParams::default().labels("kairos.io/nodeop=hello");
            jobs.list(&of).await.unwrap().items.pop()
        });
        text = text.replace("JOB", &found.await.name_any());
    }
    if text.contains("POD") {
        let label = if text.contains("STEP") {
            "build.kairos.io/artifact"
        } else {
            "kairos.io/nodeop=hello"
        };
        let pods: Api<Pod> = Api::namespaced(site.client.clone(), NAMESPACE);
        let found = eventually("a Pod to read the log of", async || {
            pods.list(&ListParams::default().labels(label))
                .await
                .unwrap()
                .items
                .into_iter()
                .find(|pod| pod.metadata.deletion_timestamp.is_none())
        });
        let pod = found.await;
        let step = pod
            .spec
            .iter()
            .flat_map(|spec| &spec.containers)
            .next()
            .unwrap();
        text = text
            .replace("POD", &pod.name_any())
            .replace("STEP", &step.name);
    }
    text
}

#[test]
fn no_page_is_left_out() {
    let mut found = BTreeSet::new();
    for folder in [
        "",
        "docs",
        "docs/reference",
        "docs/runbooks",
        "charts/kairos-operator",
    ] {
        for entry in std::fs::read_dir(chart::root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if Path::new(&name)
                .extension()
                .is_some_and(|found| found == "md")
            {
                found.insert(
                    format!("{folder}/{name}")
                        .trim_start_matches('/')
                        .to_owned(),
                );
            }
        }
    }
    let known: BTreeSet<String> = PAGES
        .iter()
        .chain(&OTHER_PAGES)
        .map(|&page| page.to_owned())
        .collect();
    assert_eq!(found, known);
}

#[test]
fn what_is_run_elsewhere_has_its_test() {
    let mut sources = String::new();
    for folder in ["chart_cluster", "sim_nodeop"] {
        for entry in std::fs::read_dir(chart::root().join("e2e/tests").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && path.file_name().unwrap() != "documents.rs" {
                sources.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    for (command, test) in ELSEWHERE {
        assert!(
            sources.contains(&format!("fn {test}(")),
            "{command}: there is no test {test}"
        );
    }
}
