//! Deleting the upgrade stops it, as deleting the NodeOp does.

use e2e::operator::{self, Controller};
use kube::api::DeleteParams;
use serde_json::json;

use crate::{Objects, cluster, eventually};

#[tokio::test]
async fn a_deleted_upgrade_takes_its_node_op_with_it_and_leaves_none_behind() {
    let cluster = cluster().await;
    let controller = Controller::new(&cluster, "upgrade-controller", None)
        .await
        .unwrap();
    let _running = controller.start(&cluster).unwrap();
    let namespace = cluster.temp_namespace("deletion").await.unwrap();
    let objects = Objects::of(&cluster.client().unwrap(), namespace.name());
    let is_gone = async |name: &str| {
        eventually(&format!("nodeop {name} is gone"), async || {
            objects
                .node_ops
                .get_opt(name)
                .await
                .unwrap()
                .is_none()
                .then_some(())
        })
        .await;
    };

    objects.create("background").await;
    objects.made("background").await;
    objects
        .upgrades
        .delete("background", &DeleteParams::background())
        .await
        .unwrap();
    is_gone("background").await;

    // The nodeop-controller gives nodes back before it lets the NodeOp go; whoever deletes in the foreground waits for that.
    objects.create("foreground").await;
    objects.made("foreground").await;
    let held = json!({"metadata": {"finalizers": ["operator.kairos.io/release-nodes"]}});
    objects.patch_node_op("foreground", held).await;
    objects
        .upgrades
        .delete("foreground", &DeleteParams::foreground())
        .await
        .unwrap();
    eventually("the NodeOp is being deleted", async || {
        let found = objects.node_ops.get_opt("foreground").await.unwrap()?;
        found.metadata.deletion_timestamp.map(|_| ())
    })
    .await;
    assert!(
        objects
            .upgrades
            .get_opt("foreground")
            .await
            .unwrap()
            .is_some(),
        "it waits"
    );
    objects
        .patch_node_op("foreground", json!({"metadata": {"finalizers": null}}))
        .await;
    is_gone("foreground").await;
    eventually("the upgrade is gone", async || {
        objects
            .upgrades
            .get_opt("foreground")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;

    // Left behind on purpose, the NodeOp goes on by itself.
    objects.create("orphan").await;
    let made = objects.made("orphan").await;
    objects
        .upgrades
        .delete("orphan", &DeleteParams::orphan())
        .await
        .unwrap();
    eventually("the NodeOp has no owner", async || {
        let found = objects.node_ops.get_opt("orphan").await.unwrap()?;
        found.metadata.owner_references.is_none().then_some(())
    })
    .await;
    assert_eq!(
        objects.node_ops.get("orphan").await.unwrap().metadata.uid,
        made.metadata.uid
    );
    let audit = cluster.audit().unwrap();
    let created = audit.service_account(operator::NAMESPACE, "upgrade-controller");
    assert_eq!(
        created
            .verb("create")
            .resource("nodeops")
            .succeeded()
            .count(),
        3
    );
}
