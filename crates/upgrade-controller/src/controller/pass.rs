//! One pass over one NodeOpUpgrade, as the list of its steps.

use std::time::Duration;

use api_types::nodeop::{NodeOp, NodePhase};
use api_types::nodeopupgrade::{NodeOpUpgrade, NodeOpUpgradeStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;

use super::{Context, WatchedUpgrade};
use crate::apply::{self, Done};
use crate::decide::{Answer, Ownership, Plan, Snapshot, decide, ownership};
use crate::error::Result;
use crate::metrics::{NodeLabels, NodeResult};
use crate::observe;
use crate::status::{self, Report, Write, reports};

/// An unfinished upgrade is looked at this often even when nothing happens: it heals what an event could not tell.
const RESYNC: Duration = Duration::from_mins(5);
/// How long to wait after a write met a newer object; its watch event usually comes first.
const AFTER_CONFLICT: Duration = Duration::from_millis(200);
/// Requests that one pass may decide on: a creation, and an edit of what it finds.
const ACTIONS: usize = 2;

/// When to look at an upgrade again, if no event comes first.
pub(super) enum Next {
    /// Not at all.
    OnChange,
    /// After this long.
    After(Duration),
    /// After a growing delay: the API server refuses something that only others can mend.
    Refused,
}

/// One pass: observe → decide → apply → report.
pub(super) async fn pass(watched: &WatchedUpgrade, context: &Context) -> Result<Next> {
    let uid = watched.uid().unwrap_or_default();
    if watched.metadata.deletion_timestamp.is_some() {
        // The NodeOp goes by its owner reference, and gives its nodes back by its own finalizer.
        context.memory.forget(&uid);
        return Ok(Next::OnChange);
    }
    if context.memory.has_ended(&uid) {
        return Ok(Next::OnChange);
    }
    let (namespace, name) = (watched.namespace().unwrap_or_default(), watched.name_any());
    let found = observe::upgrade(&context.requests, &namespace, &name, &uid).await?;
    // Another upgrade of this name comes here by its own watch event.
    let Some(upgrade) = found else {
        return Ok(Next::OnChange);
    };
    let before = upgrade.status.clone().unwrap_or_default();
    context.phases.note(&uid, &before, upgrade.spec.paused);
    if status::is_terminal(&before) {
        context.memory.ended(&uid);
        return Ok(Next::OnChange);
    }

    let Some((plan, answer)) = settle(context, &upgrade).await? else {
        return Ok(Next::After(AFTER_CONFLICT));
    };
    let mut held_back = None;
    match plan.write {
        Write::Nothing => {}
        Write::After(delay) => held_back = Some(delay),
        Write::Now => {
            if !write(context, &upgrade, plan.status, plan.refused_edit.as_deref()).await? {
                return Ok(Next::After(AFTER_CONFLICT));
            }
        }
    }
    if matches!(answer, Answer::Refused(_)) {
        return Ok(Next::Refused);
    }
    let delays = [held_back, plan.wake_after].into_iter().flatten();
    let delay = delays
        .filter_map(|delay: SignedDuration| Duration::try_from(delay).ok())
        .min();
    Ok(Next::After(delay.map_or(RESYNC, |delay| delay.min(RESYNC))))
}

/// Observes and decides, and makes the requests that are decided on, until nothing but a status is left to write. Nothing:
/// somebody else has written in between.
async fn settle(context: &Context, upgrade: &NodeOpUpgrade) -> Result<Option<(Plan, Answer)>> {
    let (namespace, name) = (upgrade.namespace().unwrap_or_default(), upgrade.name_any());
    let mut node_op = observe::node_op(&context.requests, &namespace, &name).await?;
    let uid = upgrade.uid().unwrap_or_default();
    let mut answer = Answer::NotAsked;
    for _ in 0..=ACTIONS {
        let is_own = |found: &NodeOp| ownership(found, upgrade) == Ownership::Own;
        if node_op.as_ref().is_some_and(is_own) {
            context.memory.node_op_seen(&uid);
        }
        let snapshot = Snapshot {
            upgrade,
            node_op: node_op.as_ref(),
            node_op_was_seen: context.memory.node_op_was_seen(&uid),
            settings: context.settings,
        };
        let plan = decide(&snapshot, &answer, Timestamp::now());
        let Some(action) = &plan.action else {
            return Ok(Some((plan, answer)));
        };
        match apply::act(&context.requests, action).await? {
            Done::Created(created) => {
                context.metrics.node_ops_created.inc();
                node_op = Some(*created);
            }
            Done::NodeOp(found) => node_op = Some(*found),
            Done::Changed => return Ok(None),
            Done::Refused(words) => answer = Answer::Refused(words),
        }
    }
    // More to do than one pass may: somebody changes the objects at the same time.
    Ok(None)
}

/// Writes the status and reports what it says anew. False: somebody else has written since.
async fn write(
    context: &Context,
    upgrade: &NodeOpUpgrade,
    status: NodeOpUpgradeStatus,
    refused_edit: Option<&str>,
) -> Result<bool> {
    let uid = upgrade.uid().unwrap_or_default();
    let status = NodeOpUpgradeStatus {
        last_updated: Some(Time(Timestamp::now())),
        ..status
    };
    let written = apply::write_status(&context.requests, upgrade, &status).await?;
    if written.is_none() {
        context.metrics.status_conflicts.inc();
        return Ok(false);
    }
    context.metrics.status_writes.inc();
    context.phases.note(&uid, &status, upgrade.spec.paused);
    context.memory.note_starts(&uid, &status.node_statuses);
    let before = upgrade.status.clone().unwrap_or_default();
    for report in reports(&before, &status, refused_edit) {
        count(context, &uid, &report, &status);
        context.events.publish(report.into_notice(upgrade));
    }
    if status::is_terminal(&status) {
        context.memory.ended(&uid);
    }
    Ok(true)
}

/// Counts what a report tells of a node.
fn count(context: &Context, uid: &str, report: &Report, status: &NodeOpUpgradeStatus) {
    let (Some(node), Some((result, reason))) = (&report.node, report.result) else {
        return;
    };
    let metrics = &context.metrics;
    metrics
        .nodes_ended
        .get_or_create(&NodeLabels { result, reason })
        .inc();
    let Some(entry) = status.node_statuses.get(node) else {
        return;
    };
    if entry.phase == NodePhase::Completed {
        metrics.count_version(entry.message.as_deref().unwrap_or_default());
    }
    let ended = entry.last_updated.as_ref();
    let duration = ended.and_then(|ended| context.memory.duration(uid, node, ended.0));
    if let (NodeResult::Upgraded, Some(duration)) = (result, duration) {
        metrics.node_seconds.observe(duration.as_secs_f64());
    }
}
