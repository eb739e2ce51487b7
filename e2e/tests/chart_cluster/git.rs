//! The kustomization from a git URL, as people use it who have no checkout.

use std::process::Command;

use e2e::chart;

use crate::site::{Site, run};

#[tokio::test]
async fn plain_apply_works_from_a_git_url() {
    let site = Site::new().await;
    let before = site.everything().await;
    let folder = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(folder.path()).args(arguments);
        git
    };
    // What stands in the checkout now, whether it is committed or not.
    run(git(&["init", "--quiet", "--initial-branch=main", "work"]))
        .await
        .well();
    let mut copy = Command::new("cp");
    copy.arg("-r")
        .arg(chart::root().join("deploy"))
        .arg(folder.path().join("work"));
    run(copy).await.well();
    run(git(&["-C", "work", "add", "."])).await.well();
    let author = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
    let commit = [
        &["-C", "work"],
        &author[..],
        &["commit", "--quiet", "--message=deploy"],
    ]
    .concat();
    run(git(&commit)).await.well();
    run(git(&["clone", "--quiet", "--bare", "work", "operator.git"]))
        .await
        .well();

    // Fetched by git as from any server; a folder is the one that kustomize knows without a network.
    let url = format!("file://{}", folder.path().join("operator.git").display());
    let target = format!("{url}//deploy/default?ref=main");
    site.kubectl(&["apply", "-k", &target]).await.well();
    let words = [
        "delete",
        "-k",
        &target,
        "--ignore-not-found",
        "--timeout=60s",
    ];
    site.kubectl(&words).await.well();
    site.remains(&before, &[]).await;
}
