//! `kubectl apply -k deploy/default`, as people type it.

use crate::site::Site;

#[tokio::test]
async fn plain_apply_works_twice_and_delete_leaves_nothing() {
    let site = Site::new().await;
    let before = site.everything().await;
    // Client-side: kubectl keeps a copy of each object in an annotation, which ends at 256 KiB.
    site.kubectl(&["apply", "-k", "deploy/default"])
        .await
        .well();
    let again = site
        .kubectl(&["apply", "-k", "deploy/default"])
        .await
        .well();
    for line in again.text.lines() {
        assert!(line.ends_with("unchanged"), "{line}");
    }
    for controller in [
        "nodeop-controller",
        "upgrade-controller",
        "artifact-controller",
        "node-labeller",
    ] {
        let deployment = format!("deployment/{controller}");
        let words = [
            "rollout",
            "status",
            &deployment,
            "--namespace=kairos-operator",
            "--timeout=120s",
        ];
        site.kubectl(&words).await.well();
    }
    let said = site
        .kubectl(&[
            "delete",
            "-k",
            "deploy/default",
            "--ignore-not-found",
            "--timeout=60s",
        ])
        .await
        .well();
    eprintln!("kubectl delete -k took {:.1} s", said.took.as_secs_f32());
    site.remains(&before, &[]).await;
}

#[tokio::test]
async fn an_image_that_is_set_reaches_the_pods_that_a_controller_makes() {
    let site = Site::new().await;
    let folder = tempfile::tempdir_in(e2e::chart::root().join("target")).unwrap();
    let kustomization =
        std::fs::read_to_string(e2e::chart::root().join("deploy/default/kustomization.yaml"))
            .unwrap();
    let deploy = e2e::chart::root().join("deploy");
    for entry in std::fs::read_dir(&deploy).unwrap() {
        let from = entry.unwrap().path();
        let into = folder.path().join(from.file_name().unwrap());
        std::fs::create_dir(&into).unwrap();
        for file in std::fs::read_dir(&from).unwrap() {
            let file = file.unwrap().path();
            std::fs::copy(&file, into.join(file.file_name().unwrap())).unwrap();
        }
    }
    let images = "images:\n- name: node-labeller\n  newName: example.com/labeller\n  newTag: v2\n\
                  - name: artifact-controller\n  newName: example.com/artifacts\n";
    let path = folder.path().join("default");
    std::fs::write(
        path.join("kustomization.yaml"),
        format!("{kustomization}{images}"),
    )
    .unwrap();
    let built = site
        .kubectl(&["kustomize", path.to_str().unwrap()])
        .await
        .well()
        .text;
    for (variable, image) in [
        ("DETECT_IMAGE", "example.com/labeller:v2"),
        ("WORKER_IMAGE", "example.com/artifacts:"),
    ] {
        let (_, after) = built.split_once(&format!("- name: {variable}\n")).unwrap();
        let value = after.lines().next().unwrap();
        assert!(value.contains(image), "{variable}: {value}");
    }
}
