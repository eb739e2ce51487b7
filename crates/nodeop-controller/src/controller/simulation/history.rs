//! What must hold over everything that was ever written.

mod excuses;
mod objects;
mod rest;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_types::names::{ANNOTATION_CLAIMED_BY, ANNOTATION_REBOOT_AUTHORIZED, FINALIZER_NODEOP};
use api_types::nodeop::{NodeOp, NodeOpStatus, NodePhase, NodeStep, RebootStatus};
use serde::Deserialize as _;
use serde_json::Value;

use excuses::Excuses;
pub(super) use objects::{is_active, is_complete, is_control_plane};

use super::model::{By, Key, Kind, node_of, owner_of, text};
use crate::claim::Holder;
use crate::decide::{holds_slot, is_finished};
use crate::status::is_terminal;

/// UID of a NodeOp, and a node.
type Work = (String, String);

/// Everything ever written, as far as a rule speaks of it; and the rules that were broken.
#[derive(Debug, Default)]
pub(super) struct History {
    violations: Vec<String>,
    jobs: BTreeMap<Work, u32>,
    /// What excuses something.
    pub(super) excuses: Excuses,
    /// Jobs that have been Complete.
    complete: BTreeSet<Work>,
    reboots: BTreeMap<Work, u32>,
    /// Whether two processes have led at once: what one of them has under way, the other does not see.
    pub(super) two_leaders: bool,
    /// Whether a request of a process that had died was still carried out.
    pub(super) late_request: bool,
    /// Nodes that a human cordoned.
    pub(super) human_cordons: BTreeSet<String>,
    /// Phase and step of every entry that was ever written, for the report.
    pub(super) statuses_seen: BTreeSet<String>,
}

type Objects = BTreeMap<Key, Arc<Value>>;

impl History {
    pub(super) fn violation(&mut self, message: String) {
        if self.violations.len() < 5 {
            self.violations.push(message);
        }
    }

    pub(super) fn violations(&self) -> &[String] {
        &self.violations
    }

    /// An agent asks its host to reboot.
    pub(super) fn rebooted(&mut self, uid: &str, node: &str) {
        let count = self
            .reboots
            .entry((uid.to_owned(), node.to_owned()))
            .or_default();
        *count += 1;
        if *count > 1 {
            let message = format!("{node} was rebooted {count} times by one operation");
            self.violation(message);
        }
    }

    /// The proof of work is left on a node whose command has ended so.
    pub(super) fn sentinel(&mut self, node: &str, good: bool) {
        if !good {
            self.violation(format!("{node} has the proof of work that failed"));
        }
    }

    /// Looks at one write that has just happened.
    pub(super) fn written(&mut self, objects: &Objects, key: &Key, before: Option<&Value>, by: By) {
        let after = &objects[key];
        match key.0 {
            Kind::Job => self.job(objects, after, before, by),
            Kind::NodeOp => self.node_op(objects, after, before, by),
            Kind::Node => self.node(objects, &key.2, after, before, by),
            Kind::Pod => self.pod(objects, after, before),
            Kind::Lease => {}
        }
    }

    fn job(&mut self, objects: &Objects, after: &Value, before: Option<&Value>, by: By) {
        let work = (owner_of(after).to_owned(), node_of(after).to_owned());
        if is_complete(after) {
            self.complete.insert(work.clone());
        }
        if before.is_some() || by != By::Controller {
            return;
        }
        let count = self.jobs.entry(work.clone()).or_default();
        *count += 1;
        let count = *count;
        let (uid, node) = &work;
        if count > 1 && !self.excuses.excuse_job(&work, self.two_leaders) {
            self.violation(format!("{node} was given {count} Jobs by one operation"));
        }
        let Some(node_op) = node_op(objects, uid) else {
            return;
        };
        let status = node_op.status.clone().unwrap_or_default();
        // Two leaders at once may disagree on whether the node is there.
        if !self.two_leaders && !status.node_statuses.contains_key(node) {
            self.violation(format!("{node} was given a Job without a reservation"));
        }
        if node_op.spec.disrupts() {
            let holder = claim(objects, node);
            // With a machine that was replaced this moment the claim went too; no cache can show that in time.
            let entry = status.node_statuses.get(node);
            let machine = objects
                .get(&super::model::key(Kind::Node, node))
                .map(|node| text(node, "/status/nodeInfo/systemUUID"));
            let same = entry.and_then(|entry| entry.system_uuid.as_deref()) == machine;
            // Two leaders at once may disagree: one gives the node back while the other one starts its Job.
            if same && !self.two_leaders && holder != Some(Holder::of(&node_op)) {
                self.violation(format!(
                    "{node} was given a Job of {uid} without its claim: {holder:?}"
                ));
            }
        }
        let active = objects
            .iter()
            .filter(|(key, job)| key.0 == Kind::Job && owner_of(job) == uid && is_active(job))
            .filter(|(_, job)| {
                // That of a node which has failed for another reason may take its time to end, and that of a node which was
                // deleted is not waited for.
                let entry = status.node_statuses.get(node_of(job));
                entry.is_some_and(|entry| {
                    !is_finished(entry) && entry.step != Some(NodeStep::NodeGone)
                })
            })
            .count();
        if limit(&node_op).is_some_and(|limit| active > limit) {
            self.violation(format!("{active} Jobs of one operation are active"));
        }
    }

    fn node_op(&mut self, objects: &Objects, after: &Value, before: Option<&Value>, by: By) {
        let Some(before) = before else {
            return;
        };
        if by == By::Controller && is_held(before) && !is_held(after) {
            self.let_go(objects, &typed(after));
        }
        if before["status"] == after["status"] {
            return;
        }
        let (before, after) = (typed(before), typed(after));
        let (was, is) = (
            before.status.unwrap_or_default(),
            after.status.clone().unwrap_or_default(),
        );
        for entry in is.node_statuses.values() {
            self.statuses_seen
                .insert(format!("{:?}/{:?}", entry.phase, entry.step));
        }
        if is_terminal(&was) && was.phase != is.phase {
            self.violation(format!("a result was taken back: {:?}", is.phase));
        }
        self.results(objects, &after, &was, &is);
        let work = |node: &String| (after.metadata.uid.clone().unwrap_or_default(), node.clone());
        for (name, entry) in &is.node_statuses {
            self.excuses.note(work(name), entry);
        }
        let slots = is
            .node_statuses
            .iter()
            .filter(|(name, entry)| {
                holds_slot_really(entry) && !self.excuses.excuse_slot(&work(name))
            })
            .count();
        if limit(&after).is_some_and(|limit| slots > limit) {
            self.violation(format!("{slots} nodes are worked on at once"));
        }
    }

    /// Our finalizer goes: nothing of ours may be left that nobody else gives back.
    fn let_go(&mut self, objects: &Objects, node_op: &NodeOp) {
        let me = Holder::of(node_op);
        let nodes = objects.keys().filter(|key| key.0 == Kind::Node);
        for key in nodes {
            if !self.two_leaders && claim(objects, &key.2).as_ref() == Some(&me) {
                let name = &key.2;
                self.violation(format!("{} goes and still claims {name}", me.display()));
            }
        }
    }

    fn results(
        &mut self,
        objects: &Objects,
        node_op: &NodeOp,
        was: &NodeOpStatus,
        is: &NodeOpStatus,
    ) {
        for (name, entry) in &was.node_statuses {
            let kept = is.node_statuses.get(name);
            if is_finished(entry) && kept.is_none_or(|kept| kept.phase != entry.phase) {
                self.violation(format!("the result of {name} was lost: {kept:?}"));
            }
        }
        for (name, entry) in &is.node_statuses {
            let then = was.node_statuses.get(name);
            let proven = |entry: &api_types::nodeop::NodeStatus| {
                entry.reboot_status == Some(RebootStatus::Completed)
            };
            let node = objects.get(&super::model::key(Kind::Node, name));
            if proven(entry) && !then.is_some_and(proven) {
                let boot = node.map(|node| text(node, "/status/nodeInfo/bootID"));
                if boot == entry.boot_id.as_deref() {
                    self.violation(format!("the reboot of {name} counts without a new boot"));
                }
            }
            let new = is_finished(entry) && !then.is_some_and(is_finished);
            // Two leaders at once may disagree: one claims the node while the other one writes its result.
            let ours = claim(objects, name) == Some(Holder::of(node_op));
            if new && ours && !self.two_leaders {
                self.violation(format!("{name} has a result and is still claimed"));
            }
            let work = (
                node_op.metadata.uid.clone().unwrap_or_default(),
                name.clone(),
            );
            let deleted = entry
                .message
                .as_deref()
                .is_some_and(|message| message.starts_with("Job was deleted"));
            if new
                && deleted
                && entry
                    .job_name
                    .as_deref()
                    .is_some_and(|job| objects.contains_key(&super::model::key(Kind::Job, job)))
            {
                self.violation(format!("{name} failed for a deleted Job that is there"));
            }
            if new
                && entry.phase == NodePhase::Completed
                && !entry
                    .message
                    .as_deref()
                    .is_some_and(|message| message.starts_with("Skipped"))
                && !self.complete.contains(&work)
            {
                self.violation(format!("{name} is completed without a complete Job"));
            }
        }
    }

    fn node(
        &mut self,
        objects: &Objects,
        name: &str,
        after: &Value,
        before: Option<&Value>,
        by: By,
    ) {
        let cordoned = |node: &Value| node["spec"]["unschedulable"] == true;
        let freed = before.is_some_and(cordoned) && !cordoned(after);
        if by == By::Controller && freed && self.human_cordons.contains(name) {
            self.violation(format!("the cordon that a human set on {name} was removed"));
        }
        if by != By::Controller {
            return;
        }
        let holder = |node: &Value| {
            Holder::parse(node["metadata"]["annotations"][ANNOTATION_CLAIMED_BY].as_str()?)
        };
        let then = before.and_then(holder);
        if let Some(then) = then
            && let Some(now) = holder(after)
            && then != now
            && is_at_work(objects, &then, name)
        {
            self.violation(format!(
                "{} takes {name} from {}, which works on it",
                now.display(),
                then.display()
            ));
        }
        let mut claimed: Vec<(&str, Holder)> = objects
            .iter()
            .filter(|(key, node)| key.0 == Kind::Node && is_control_plane(node))
            .filter_map(|(key, _)| Some((key.2.as_str(), claim(objects, &key.2)?)))
            .collect();
        if claimed.len() > 1 {
            claimed.retain(|(name, holder)| is_at_work(objects, holder, name));
        }
        let disturbed: Vec<&str> = claimed.iter().map(|(name, _)| *name).collect();
        if disturbed.len() > 1 {
            self.violation(format!(
                "control-plane nodes {disturbed:?} are disturbed at once"
            ));
        }
    }

    fn pod(&mut self, objects: &Objects, after: &Value, before: Option<&Value>) {
        let permission = |pod: &Value| {
            pod["metadata"]["annotations"][ANNOTATION_REBOOT_AUTHORIZED]
                .as_str()
                .map(str::to_owned)
        };
        let Some(boot) = permission(after) else {
            return;
        };
        if before.and_then(permission).as_ref() == Some(&boot) {
            return;
        }
        let work = (owner_of(after).to_owned(), node_of(after).to_owned());
        if !self.complete.contains(&work) {
            self.violation(format!("{} may reboot before its Job was complete", work.1));
        }
        let Some(node_op) = node_op(objects, &work.0) else {
            return;
        };
        let status = node_op.status.unwrap_or_default();
        let recorded = status
            .node_statuses
            .get(&work.1)
            .and_then(|entry| entry.boot_id.clone());
        if recorded != Some(boot) {
            self.violation(format!(
                "{} may leave a boot that the status does not record",
                work.1
            ));
        }
    }
}

fn typed(object: &Value) -> NodeOp {
    NodeOp::deserialize(object).unwrap()
}

/// Whether our finalizer is on it.
fn is_held(node_op: &Value) -> bool {
    let finalizers = node_op["metadata"]["finalizers"].as_array();
    finalizers.is_some_and(|all| all.iter().any(|name| name == FINALIZER_NODEOP))
}

fn node_op(objects: &Objects, uid: &str) -> Option<NodeOp> {
    objects
        .iter()
        .find(|(key, object)| key.0 == Kind::NodeOp && text(object, "/metadata/uid") == uid)
        .map(|(_, object)| typed(object))
}

fn claim(objects: &Objects, node: &str) -> Option<Holder> {
    let node = objects.get(&super::model::key(Kind::Node, node))?;
    Holder::parse(node["metadata"]["annotations"][ANNOTATION_CLAIMED_BY].as_str()?)
}

fn is_at_work(objects: &Objects, holder: &Holder, node: &str) -> bool {
    node_op(objects, &holder.uid)
        .and_then(|node_op| node_op.status)
        .and_then(|status| status.node_statuses.get(node).cloned())
        .is_some_and(|entry| !is_finished(&entry))
}

/// As the rule is, whatever a planted mistake makes of it.
fn holds_slot_really(entry: &api_types::nodeop::NodeStatus) -> bool {
    holds_slot(entry)
        || (!is_finished(entry)
            && matches!(entry.step, Some(NodeStep::Rebooting | NodeStep::Verifying)))
}

fn limit(node_op: &NodeOp) -> Option<usize> {
    let value = serde_json::to_value(&node_op.spec.concurrency).unwrap();
    value
        .as_u64()
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|limit| *limit > 0)
}
