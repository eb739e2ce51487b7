//! What a cache shows of a node that seems to be back from its reboot is asked for again.
//!
//! A cache may lag behind: it may show the boot *before* the one that the command ended in, as after a power loss while the
//! command ran, and that differs from the boot to leave as well as the one after it does. Success is claimed of the Node as
//! the API server holds it now.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use api_types::nodeop::{NodeOp, NodeOpStatus, NodeStatus, NodeStep};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Api;

use super::{Pods, READS_IN_FLIGHT};
use crate::apply::{Requests, within};
use crate::build::names::reboot_pod_name;
use crate::claim::{Holder, claimed_by};
use crate::decide::{holds_slot, is_finished, may_reboot};
use crate::error::Result;
use crate::watched::WatchedNode;

/// Replaces each Node that would prove a reboot by what the API server holds.
pub(super) async fn confirm(
    requests: &Requests,
    status: &NodeOpStatus,
    nodes: &mut BTreeMap<String, Arc<WatchedNode>>,
) -> Result<()> {
    let back = status
        .node_statuses
        .iter()
        .filter(|(name, entry)| nodes.get(*name).is_some_and(|node| seems_back(entry, node)))
        .map(|(name, _)| name.clone());
    let back = back.collect();
    replace(requests, back, nodes).await
}

/// Replaces each Node at work that a cache shows as claimed by `node_op`, and whose claim this process does not know of: it
/// may have been given back before a result that could not be written, by this process or the one before. A Job would run on
/// a node that is not ours. Returns those that are claimed.
pub(super) async fn confirm_claims(
    requests: &Requests,
    node_op: &NodeOp,
    status: &NodeOpStatus,
    known: &HashSet<String>,
    nodes: &mut BTreeMap<String, Arc<WatchedNode>>,
) -> Result<Vec<String>> {
    let me = Holder::of(node_op);
    let is_ours = |node: &Arc<WatchedNode>| claimed_by(node).as_ref() == Some(&me);
    let unknown: Vec<String> = status
        .node_statuses
        .iter()
        .filter(|(name, entry)| !is_finished(entry) && !known.contains(*name))
        .filter(|(name, _)| nodes.get(*name).is_some_and(is_ours))
        .map(|(name, _)| name.clone())
        .collect();
    replace(requests, unknown.clone(), nodes).await?;
    let confirmed = |name: &String| nodes.get(name).is_some_and(is_ours);
    Ok(unknown.into_iter().filter(confirmed).collect())
}

/// The boot of each of the nodes `names`, as the API server has it now. The Nodes are replaced too: beside an older one that a
/// cache shows, of an earlier boot or of another machine by that name, this boot would mean something else.
pub(super) async fn boots(
    requests: &Requests,
    names: Vec<String>,
    nodes: &mut BTreeMap<String, Arc<WatchedNode>>,
) -> Result<BTreeMap<String, String>> {
    replace(requests, names.clone(), nodes).await?;
    let boot = |name: String| {
        let boot = nodes.get(&name)?.status.node_info.boot_id.clone();
        Some((name, boot))
    };
    Ok(names.into_iter().filter_map(boot).collect())
}

/// Replaces each Node whose reboot Pod is gone while it may reboot: the Pod may have gone with its host, and another watch
/// tells that.
pub async fn confirm_up(
    requests: &Requests,
    node_op: &NodeOp,
    pods: &Pods,
    nodes: &mut BTreeMap<String, Arc<WatchedNode>>,
) -> Result<()> {
    let entries = node_op
        .status
        .iter()
        .flat_map(|status| &status.node_statuses);
    let gone = entries
        .filter(|(name, entry)| {
            may_reboot(entry) && !pods.contains_key(&reboot_pod_name(node_op, name))
        })
        .map(|(name, _)| name.clone());
    replace(requests, gone.collect(), nodes).await
}

/// Replaces each Node that is about to get its result, or to be withdrawn, and that no cache shows as ours, or not at all. A
/// cache that was filled late, in a process that has just begun, may not show the claim of the one before; the node would get
/// its result, and the control plane's place be free, without being given back. Whether one of them is claimed after all.
pub async fn confirm_unclaimed(
    requests: &Requests,
    node_op: &NodeOp,
    after: &NodeOpStatus,
    nodes: &mut BTreeMap<String, Arc<WatchedNode>>,
) -> Result<bool> {
    if !node_op.spec.disrupts() {
        return Ok(false);
    }
    let me = Holder::of(node_op);
    let is_ours = |node: &Arc<WatchedNode>| claimed_by(node).as_ref() == Some(&me);
    let before = node_op
        .status
        .iter()
        .flat_map(|status| &status.node_statuses);
    let ending: Vec<String> = before
        .filter(|(_, entry)| holds_slot(entry))
        .filter(|(name, _)| after.node_statuses.get(*name).is_none_or(is_finished))
        .filter(|(name, _)| nodes.get(*name).is_none_or(|node| !is_ours(node)))
        .map(|(name, _)| name.clone())
        .collect();
    replace(requests, ending.clone(), nodes).await?;
    Ok(ending
        .iter()
        .any(|name| nodes.get(name).is_some_and(is_ours)))
}

async fn replace(
    requests: &Requests,
    names: Vec<String>,
    nodes: &mut BTreeMap<String, Arc<WatchedNode>>,
) -> Result<()> {
    let api: Api<WatchedNode> = Api::all(requests.clients.api.clone());
    let reads: Vec<_> = names
        .into_iter()
        .map(|name| read(requests, api.clone(), name))
        .collect();
    let found: Vec<(String, Option<WatchedNode>)> = stream::iter(reads)
        .buffer_unordered(READS_IN_FLIGHT)
        .try_collect()
        .await?;
    for (name, node) in found {
        match node {
            Some(node) => nodes.insert(name, Arc::new(node)),
            None => nodes.remove(&name),
        };
    }
    Ok(())
}

async fn read(
    requests: &Requests,
    api: Api<WatchedNode>,
    name: String,
) -> Result<(String, Option<WatchedNode>)> {
    let action = format!("get node {name}");
    let mut node = within(requests, &action, api.get_opt(&name)).await?;
    if let Some(node) = &mut node {
        node.trim();
    }
    Ok((name, node))
}

fn seems_back(entry: &NodeStatus, node: &WatchedNode) -> bool {
    let boot = &node.status.node_info.boot_id;
    entry.step == Some(NodeStep::Rebooting)
        && !is_finished(entry)
        && !boot.is_empty()
        && entry.boot_id.as_ref() != Some(boot)
        && node.readiness().is_ok()
}

#[cfg(test)]
mod tests {

    use api_types::nodeop::NodePhase;
    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;

    use super::*;
    use crate::testing::{by_name, node};

    const BEFORE: &str = "00000000-0000-4000-8000-000000000000";
    const LEFT: &str = "11111111-1111-4111-8111-111111111111";

    fn in_boot(name: &str, boot: &str) -> WatchedNode {
        let mut node = node(name, &[]);
        node.status.node_info.boot_id = boot.to_owned();
        node
    }

    fn entry(step: NodeStep) -> NodeStatus {
        NodeStatus {
            phase: NodePhase::Running,
            step: Some(step),
            boot_id: Some(LEFT.to_owned()),
            ..NodeStatus::default()
        }
    }

    /// An API server that holds each Node in the boot to leave. Returns the names it was asked for.
    async fn asked_for(confirm: impl AsyncFnOnce(&Requests)) -> Vec<String> {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let client = Client::new(service, "default");
        let requests = crate::testing::requests(client);
        let server = tokio::spawn(async move {
            let mut asked = Vec::new();
            while let Some((request, responder)) = handle.next_request().await {
                let name = request.uri().path().rsplit('/').next().unwrap().to_owned();
                let body = serde_json::to_vec(&in_boot(&name, LEFT)).unwrap();
                responder.send_response(Response::new(Body::from(body)));
                asked.push(name);
            }
            asked
        });
        confirm(&requests).await;
        drop(requests);
        server.await.unwrap()
    }

    #[tokio::test]
    async fn a_boot_that_only_a_late_cache_shows_proves_no_reboot() {
        let mut nodes = by_name(
            vec![
                in_boot("late", BEFORE),
                in_boot("up", LEFT),
                in_boot("other", BEFORE),
            ],
            WatchedNode::name,
        );
        let status = NodeOpStatus {
            node_statuses: [
                ("late", NodeStep::Rebooting),
                ("up", NodeStep::Rebooting),
                ("other", NodeStep::Running),
            ]
            .map(|(name, step)| (name.to_owned(), entry(step)))
            .into(),
            ..NodeOpStatus::default()
        };
        let asked = asked_for(async |requests| {
            confirm(requests, &status, &mut nodes).await.unwrap();
        })
        .await;
        assert_eq!(asked, ["late"], "only who would be proven is asked for");
        assert_eq!(nodes["late"].status.node_info.boot_id, LEFT);
        assert_eq!(nodes["other"].status.node_info.boot_id, BEFORE);
    }

    #[tokio::test]
    async fn before_a_node_ends_a_claim_that_no_cache_shows_is_asked_for() {
        let mut node_op = NodeOp::new("op", api_types::nodeop::NodeOpSpec::default());
        node_op.metadata.namespace = Some("shop".to_owned());
        node_op.metadata.uid = Some("uid".to_owned());
        node_op.spec.cordon = true;
        let mut held = node("held", &[]);
        let claim = (
            api_types::names::ANNOTATION_CLAIMED_BY.to_owned(),
            "shop/op@uid".to_owned(),
        );
        held.metadata.annotations = Some([claim].into());
        let names = ["late", "withdrawn", "working", "ended"];
        let others = names.iter().map(|name| node(name, &[]));
        let mut nodes = by_name(others.chain([held]).collect(), WatchedNode::name);
        let mut before = BTreeMap::from([
            ("held".to_owned(), entry(NodeStep::Draining)),
            ("late".to_owned(), entry(NodeStep::Draining)),
            ("withdrawn".to_owned(), entry(NodeStep::Reserved)),
            ("working".to_owned(), entry(NodeStep::Draining)),
            ("gone".to_owned(), entry(NodeStep::Draining)),
        ]);
        let failed = NodeStatus {
            phase: NodePhase::Failed,
            ..NodeStatus::default()
        };
        before.insert("ended".to_owned(), failed.clone());
        let mut after = NodeOpStatus {
            node_statuses: before.clone(),
            ..NodeOpStatus::default()
        };
        for name in ["held", "late", "gone"] {
            after.node_statuses.insert(name.to_owned(), failed.clone());
        }
        after.node_statuses.remove("withdrawn");
        node_op.status = Some(NodeOpStatus {
            node_statuses: before,
            ..NodeOpStatus::default()
        });
        let mut asked = asked_for(async |requests| {
            let claimed = confirm_unclaimed(requests, &node_op, &after, &mut nodes).await;
            assert!(!claimed.unwrap());
        })
        .await;
        asked.sort();
        assert_eq!(asked, ["gone", "late", "withdrawn"]);
    }
}
