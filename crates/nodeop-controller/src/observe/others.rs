//! What other operations hold: claims and cordons on nodes, active Jobs, the control plane's place.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api_types::names::LABEL_NODE;
use api_types::nodeop::{NodeOp, NodeOpStatus, NodeStatus};
use kube::core::SelectorExt as _;
use kube::runtime::reflector::Store;

use crate::apply::place::PlaceLease;
use crate::apply::{Requests, read_holder};
use crate::claim::{Holder, holders};
use crate::control_plane::{Place, Standing};
use crate::decide::is_finished;
use crate::error::Result;
use crate::status;
use crate::validate::validate;
use crate::watched::{JobOutcome, WatchedJob, WatchedNode};

/// Answers, within one pass, whether a NodeOp that an annotation names still works on a node.
pub(super) struct Others<'a> {
    requests: &'a Requests,
    known: HashMap<Holder, Option<NodeOp>>,
}

impl<'a> Others<'a> {
    pub(super) fn new(requests: &'a Requests) -> Self {
        Self {
            requests,
            known: HashMap::new(),
        }
    }

    /// A holder is alive for a node while it exists, by uid, and has no result for that node. The answer is live: a
    /// claim must not be taken from an operation that a cache does not show yet.
    async fn is_alive(&mut self, holder: &Holder, node: &str) -> Result<bool> {
        if planted!(DeadClaimAssumed) {
            return Ok(false);
        }
        if !self.known.contains_key(holder) {
            let found = read_holder(self.requests, holder).await?;
            self.known.insert(holder.clone(), found);
        }
        let Some(Some(node_op)) = self.known.get(holder) else {
            return Ok(false);
        };
        let entry = node_op
            .status
            .as_ref()
            .and_then(|status| status.node_statuses.get(node));
        Ok(entry.is_some_and(|entry: &NodeStatus| !is_finished(entry)))
    }

    /// The nodes that another living NodeOp has claimed or cordoned.
    pub(super) async fn claims(
        &mut self,
        me: &Holder,
        nodes: &BTreeMap<String, Arc<WatchedNode>>,
    ) -> Result<BTreeMap<String, String>> {
        let mut claims = BTreeMap::new();
        for (name, node) in nodes {
            for holder in holders(node).filter(|holder| holder != me) {
                if self.is_alive(&holder, name).await? {
                    claims.insert(name.clone(), holder.display());
                }
            }
        }
        Ok(claims)
    }

    /// Who has the control plane's place, by the Lease that was read. A NodeOp is reserved for a node before it takes the
    /// place for it: one that is read after the Lease, and works on no such node, took the place too late or has not freed
    /// it.
    pub(super) async fn standing(
        &mut self,
        me: &Holder,
        status: &NodeOpStatus,
        read: &PlaceLease,
    ) -> Result<Standing> {
        let Some(Place { holder, node }) = read.place.clone() else {
            return Ok(Standing::Free);
        };
        let entry = status.node_statuses.get(&node);
        if holder == *me && entry.is_some_and(|entry| !is_finished(entry)) {
            return Ok(Standing::Ours(node));
        }
        Ok(match self.is_alive(&holder, &node).await? {
            false => Standing::Free,
            true if holder == *me => Standing::Ours(node),
            true => Standing::Held(Place { holder, node }),
        })
    }
}

/// Whether the operation has control-plane nodes before it, or on hand.
pub(super) fn concerns_control_plane(
    node_op: &NodeOp,
    nodes: &BTreeMap<String, Arc<WatchedNode>>,
) -> bool {
    let spec = &node_op.spec;
    if !spec.disrupts() || spec.allow_control_plane_parallel {
        return false;
    }
    let Ok(valid) = validate(spec) else {
        return false;
    };
    let entries = node_op.status.as_ref().map(|status| &status.node_statuses);
    let no_labels = BTreeMap::new();
    nodes.values().any(|node| {
        let entry = entries.and_then(|entries| entries.get(node.name()));
        let open = match entry {
            Some(entry) => !is_finished(entry),
            None => valid
                .selector
                .matches(node.metadata.labels.as_ref().unwrap_or(&no_labels)),
        };
        node.is_control_plane() && open
    })
}

/// The nodes on which a Job of another NodeOp is active.
pub(super) fn busy(jobs: &Store<WatchedJob>, node_op: &NodeOp) -> BTreeMap<String, String> {
    let mut busy = BTreeMap::new();
    for job in jobs.state() {
        let foreign = job.controller_owner().is_some_and(|owner| {
            owner.kind == "NodeOp" && Some(&owner.uid) != node_op.metadata.uid.as_ref()
        });
        let going = job.metadata.deletion_timestamp.is_some();
        if !foreign || going || job.outcome() != JobOutcome::Active {
            continue;
        }
        // A name that the label had to cut stands in the annotation.
        let full = job
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(LABEL_NODE));
        let label = job
            .metadata
            .labels
            .as_ref()
            .and_then(|all| all.get(LABEL_NODE));
        if let Some(node) = full.or(label) {
            let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
            let text = format!("{namespace}/{}", job.name());
            busy.insert(node.clone(), status::cut(&text, 200).to_owned());
        }
    }
    busy
}
