//! What becomes of labels when nodes, Pods and other labellers do what they seldom do.

use std::time::Duration;

use e2e::operator::{DETECT_NAMESPACE, NAMESPACE};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::world::{NOT_KAIROS, World, container, kairos, writes};

/// What the labeller of kairos-operator left: an update by another field manager, with labels that ours would not set.
async fn labelled_by_kairos_operator(world: &World, name: &str) {
    let old = json!({"metadata": {
        "labels": {"kairos.io/managed": "true", "kairos.io/id": "old", "kairos.io/model": "old", "kairos.io/boot-state": "old"},
        "annotations": {"kairos.io/version": "old", "kairos.io/home-url": "old"},
    }});
    let parameters = PatchParams {
        field_manager: Some("kairos-node-labeler".to_owned()),
        ..PatchParams::default()
    };
    world
        .nodes()
        .patch(name, &parameters, &Patch::Merge(&old))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_a_former_labeller_do_not_stay_and_those_of_others_do() {
    let (world, _running) = World::running(&[]).await;
    let others = [("kairos.io/nodeop", "x"), ("example.com/model", "mine")];
    for node in ["kairos", "plain"] {
        world.join(node, &others).await;
        labelled_by_kairos_operator(&world, node).await;
    }
    world.tell("kairos", &kairos("active", "v2")).await;
    world.tell("plain", NOT_KAIROS).await;
    world.wait_for_result("kairos", "Kairos", "").await;
    world.wait_for_result("plain", "NotKairos", "").await;
    let expected = [
        ("boot-state", "active"),
        ("id", "kairos"),
        ("managed", "true"),
        ("nodeop", "x"),
        ("release", "v2"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(world.labels("kairos").await, expected.into());
    let annotations = world.node("kairos").await.metadata.annotations.unwrap();
    assert_eq!(annotations["kairos.io/version"], "v2");
    assert!(!annotations.contains_key("kairos.io/home-url"));
    let plain = world.node("plain").await.metadata;
    let left = plain.labels.unwrap();
    assert_eq!(left["kairos.io/nodeop"], "x");
    assert_eq!(left["example.com/model"], "mine");
    assert!(!left.contains_key("kairos.io/managed") && !left.contains_key("kairos.io/model"));
    let annotations = plain.annotations.unwrap();
    assert_eq!(annotations.len(), 1, "the record alone: {annotations:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_is_followed_and_what_was_seen_before_it_is_not_believed() {
    let (world, running) = World::running(&[]).await;
    world.join("node", &[]).await;
    world.tell("node", &kairos("active", "v1")).await;
    world.wait_for_result("node", "Kairos", "first").await;
    world.wait_until_no_pod_is_left().await;
    world.report("node", "boot-2", "True").await;
    let early = world.wait_for_pod("node").await;
    // The Pod ends, and the node comes back as something else before a labeller has read what it told.
    running.kill().unwrap();
    running.wait().await.unwrap();
    world.end(&early, &kairos("passive", "v-wrong")).await;
    world.report("node", "boot-3", "True").await;
    let _again = world.start();
    let late = crate::world::until("another Pod looks at the node", async || {
        let pod = world.pod("node").await?;
        (pod.metadata.uid != early.metadata.uid).then_some(pod)
    })
    .await;
    assert_eq!(world.labels("node").await["release"], "v1");
    world.end(&late, &kairos("passive", "v3")).await;
    crate::world::until("the labels follow", async || {
        (world.labels("node").await["release"] == "v3").then_some(())
    })
    .await;
    assert_eq!(world.labels("node").await["boot-state"], "passive");
    let wrong = world.audit().writes().resource("nodes").count();
    assert_eq!(wrong, 2, "one write per boot that was believed");
    assert_eq!(
        world.node("node").await.metadata.name.as_deref(),
        Some("node")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_makes_an_event_and_never_a_label() {
    let (world, _running) = World::running(&[]).await;
    for node in ["void", "broken", "failing", "unpullable"] {
        world.join(node, &[]).await;
    }
    world
        .tell(
            "void",
            r#"{"kairos":{"l":{"managed":"true","boot-state":"active","nodeop":"x"}}}"#,
        )
        .await;
    let note = world.wait_for_event("void", "DetectionMessageVoid").await;
    assert!(
        note.contains("kairos.io/nodeop=x does not belong on a node"),
        "{note}"
    );

    let problem = json!({"problem": {"reason": "ReleaseFileTooLarge", "note": "kairos-release is larger than 64 KiB"}});
    world.tell("broken", &problem.to_string()).await;
    let note = world.wait_for_event("broken", "ReleaseFileTooLarge").await;
    assert!(
        note.starts_with("kairos-release is larger than 64 KiB"),
        "{note}"
    );
    world
        .wait_for_result("broken", "ReleaseFileTooLarge", "")
        .await;

    let pod = world.wait_for_pod("failing").await;
    let end = json!({"terminated": {"exitCode": 139, "reason": "Error", "message": "segmentation fault"}});
    let status = json!({"phase": "Failed", "containerStatuses": [container(&end)]});
    world.set_pod_status(&pod, &status).await;
    let note = world.wait_for_event("failing", "DetectionFailed").await;
    assert!(
        note.contains("exit code 139 (Error): segmentation fault"),
        "{note}"
    );

    let pod = world.wait_for_pod("unpullable").await;
    let waiting = json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}});
    let status = json!({"phase": "Failed", "reason": "DeadlineExceeded", "containerStatuses": [container(&waiting)]});
    world.set_pod_status(&pod, &status).await;
    let note = world
        .wait_for_event("unpullable", "DetectionTimedOut")
        .await;
    assert!(note.contains("ImagePullBackOff: no such image"), "{note}");

    for node in ["void", "broken", "failing", "unpullable"] {
        assert!(world.labels(node).await.is_empty(), "{node}");
    }
    // What failed is tried again after a while; what the files say is not.
    let again = world.wait_for_pod("failing").await;
    world.end(&again, &kairos("active", "v1")).await;
    world
        .wait_for_result("failing", "Kairos", "the second time")
        .await;
    assert!(world.pod("broken").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_ready_linux_nodes_of_the_selector_are_looked_at() {
    let (world, _running) = World::running(&["--node-selector=look=yes"]).await;
    let yes = ("look", "yes");
    world
        .join("elsewhere", &[("kairos.io/managed", "true")])
        .await;
    world
        .join("windows", &[yes, ("kubernetes.io/os", "windows")])
        .await;
    world
        .join("virtual", &[yes, ("type", "virtual-kubelet")])
        .await;
    world.join("down", &[yes]).await;
    world.report("down", "boot-1", "Unknown").await;
    world.join("selected", &[yes]).await;
    world.tell("selected", &kairos("active", "v1")).await;
    world.wait_for_result("selected", "Kairos", "").await;
    world.settle().await;
    let writes = world.audit().writes();
    for node in ["elsewhere", "windows", "virtual"] {
        assert_eq!(
            writes.clone().resource("nodes").name(node).count(),
            0,
            "{node}"
        );
        assert!(world.record(node).await.is_null());
    }
    // "down" was Ready for a moment: a Pod may have been bound to it, and waits there.
    let nodes: Vec<String> = world
        .pods()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
        .into_iter()
        .filter_map(|pod| pod.spec?.node_name)
        .collect();
    assert!(nodes.iter().all(|node| node == "down"), "{nodes:?}");
    assert_eq!(
        world.labels("elsewhere").await.len(),
        1,
        "its labels stay as they are"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_goes_is_forgotten_and_one_that_comes_back_is_looked_at_anew() {
    let (world, _running) = World::running(&[]).await;
    world.join("node", &[]).await;
    world.tell("node", &kairos("active", "v1")).await;
    world.wait_for_result("node", "Kairos", "").await;
    world.delete_node("node").await;
    world.join("node", &[]).await;
    world.wait_for_pod("node").await;
    // It goes under the Pod: the Pod is removed, and whatever it tells makes no Node.
    world.delete_node("node").await;
    world.wait_until_no_pod_is_left().await;
    assert!(world.nodes().get_opt("node").await.unwrap().is_none());
    world.join("node", &[]).await;
    world.tell("node", NOT_KAIROS).await;
    world.wait_for_result("node", "NotKairos", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn marker_files_are_looked_at_where_the_command_line_does_not_tell() {
    let (world, _running) = World::running(&[]).await;
    world.join("trusted", &[]).await;
    world.join("bare", &[]).await;
    for node in ["trusted", "bare"] {
        let first = world.wait_for_pod(node).await;
        assert!(!mounts_markers(&first));
        world.end(&first, &kairos("unknown", "v1")).await;
        world.wait_for_result(node, "Kairos", "").await;
    }
    let second = wait_for_markers(&world, "trusted").await;
    world.end(&second, &kairos("passive", "v1")).await;
    crate::world::until("the boot state is known", async || {
        (world.labels("trusted").await["boot-state"] == "passive").then_some(())
    })
    .await;
    let second = wait_for_markers(&world, "bare").await;
    let waiting = container(&json!({"waiting": {"reason": "ContainerCreating"}}));
    let status =
        json!({"phase": "Failed", "reason": "DeadlineExceeded", "containerStatuses": [waiting]});
    world.set_pod_status(&second, &status).await;
    crate::world::until("the folder is known to be missing", async || {
        (world.record("bare").await["markers"] == "missing").then_some(())
    })
    .await;
    assert_eq!(world.labels("bare").await["boot-state"], "unknown");
    world.wait_until_no_pod_is_left().await;
    // After a reboot the one is asked for its marker files at once, so that its label never says unknown in between.
    world.report("trusted", "boot-2", "True").await;
    world.report("bare", "boot-2", "True").await;
    assert!(mounts_markers(&world.wait_for_pod("trusted").await));
    assert!(!mounts_markers(&world.wait_for_pod("bare").await));
}

async fn wait_for_markers(world: &World, node: &str) -> k8s_openapi::api::core::v1::Pod {
    crate::world::until("a Pod looks at marker files", async || {
        world.pod(node).await.filter(mounts_markers)
    })
    .await
}

fn mounts_markers(pod: &k8s_openapi::api::core::v1::Pod) -> bool {
    let volumes = pod.spec.as_ref().unwrap().volumes.as_ref().unwrap();
    volumes.iter().any(|volume| {
        let path = volume.host_path.as_ref().map(|host| host.path.as_str());
        path == Some("/run/cos")
    })
}

/// The namespace of the Pods must let them mount the host; where it does not, the node's Event says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_pod_security_is_told_and_gone_when_it_is_mended() {
    let world = World::new(&[]).await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let level = async |level: &str| {
        let patch = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
        namespaces
            .patch(
                DETECT_NAMESPACE,
                &PatchParams::default(),
                &Patch::Merge(&patch),
            )
            .await
            .unwrap();
    };
    level("restricted").await;
    let _running = world.start();
    world.join("node", &[]).await;
    let note = world.wait_for_event("node", "DetectionRefused").await;
    assert!(note.contains("hostPath"), "{note}");
    level("privileged").await;
    world.tell("node", &kairos("active", "v1")).await;
    world.wait_for_result("node", "Kairos", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_labeller_writes_nothing_but_its_lease_and_a_restart_detects_nothing() {
    let (world, running) = World::running(&[]).await;
    for (node, message) in [
        ("kairos", kairos("active", "v1")),
        ("plain", NOT_KAIROS.to_owned()),
    ] {
        world.join(node, &[]).await;
        world.tell(node, &message).await;
    }
    world.wait_for_result("kairos", "Kairos", "").await;
    world.wait_for_result("plain", "NotKairos", "").await;
    world.wait_until_no_pod_is_left().await;
    let before = writes(&world.cluster);
    // Heartbeats, a short loss of readiness and labels of others are nothing new.
    world.report("kairos", "boot-1", "False").await;
    world.report("kairos", "boot-1", "True").await;
    world.settle().await;
    running.kill().unwrap();
    running.wait().await.unwrap();
    let _again = world.start();
    world.settle().await;
    assert_eq!(writes(&world.cluster), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_resync_period_a_node_is_looked_at_again() {
    let (world, _running) = World::running(&["--resync-seconds=10"]).await;
    world.join("node", &[]).await;
    world.tell("node", &kairos("active", "v1")).await;
    let record = world.wait_for_result("node", "Kairos", "").await;
    world.tell("node", NOT_KAIROS).await;
    let again = world.wait_for_result("node", "NotKairos", "").await;
    let at = |record: &serde_json::Value| {
        let text = record["at"].as_str().unwrap().to_owned();
        text.parse::<k8s_openapi::jiff::Timestamp>().unwrap()
    };
    let apart = Duration::try_from(at(&again).duration_since(at(&record))).unwrap();
    assert!(apart >= Duration::from_secs(9), "{apart:?}");
    assert!(world.labels("node").await.is_empty());
}

/// What its token can do, asked of the API server itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_labeller_may_do_what_it_does_and_nothing_else() {
    let world = World::new(&[]).await;
    let may = async |verb: &str, group: &str, resource: &str, namespace: &str| {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(format!("system:serviceaccount:{NAMESPACE}:node-labeller")),
                resource_attributes: Some(ResourceAttributes {
                    verb: Some(verb.to_owned()),
                    group: Some(group.to_owned()),
                    resource: Some(resource.to_owned()),
                    namespace: Some(namespace.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(world.client.clone());
        let answer = api.create(&PostParams::default(), &review).await.unwrap();
        answer.status.unwrap().allowed
    };
    for verb in ["list", "watch", "patch"] {
        assert!(may(verb, "", "nodes", "").await, "{verb} nodes");
    }
    for verb in ["get", "create", "update", "delete", "deletecollection"] {
        assert!(!may(verb, "", "nodes", "").await, "{verb} nodes");
    }
    for verb in ["list", "watch", "create", "delete"] {
        assert!(may(verb, "", "pods", DETECT_NAMESPACE).await, "{verb} pods");
        assert!(
            !may(verb, "", "pods", "default").await,
            "{verb} pods elsewhere"
        );
        assert!(
            !may(verb, "", "pods", NAMESPACE).await,
            "{verb} pods elsewhere"
        );
    }
    for resource in ["secrets", "configmaps", "serviceaccounts"] {
        assert!(
            !may("get", "", resource, DETECT_NAMESPACE).await,
            "{resource}"
        );
    }
}
