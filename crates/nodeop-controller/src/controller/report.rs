//! Tells what a written status says anew: Events, counters, durations.

use api_types::nodeop::{NodeOp, NodeOpStatus, NodeStep};
use k8s_openapi::jiff::Timestamp;

use super::Context;
use crate::metrics::{ResultLabel, StepLabel, step_label};
use crate::status::{self, reports};

/// Publishes and counts what the written status says anew.
pub(super) fn report(context: &Context, node_op: &NodeOp, after: &NodeOpStatus) {
    let empty = NodeOpStatus::default();
    let before = node_op.status.as_ref().unwrap_or(&empty);
    let reports = reports(before, after);
    for result in reports.iter().filter_map(|report| report.result) {
        context
            .metrics
            .node_results
            .get_or_create(&ResultLabel { result })
            .inc();
    }
    for report in reports {
        context.events.publish(report.into_notice(node_op));
    }
}

/// Counts how long nodes were in the steps that they have left.
pub(super) fn measure(context: &Context, node_op: &NodeOp, after: &NodeOpStatus, now: Timestamp) {
    let metrics = &context.metrics;
    let empty = NodeOpStatus::default();
    let before = node_op.status.as_ref().unwrap_or(&empty);
    for left in status::left_steps(before, after, now) {
        if left.failed {
            let step = step_label(left.step);
            metrics
                .node_failures
                .get_or_create(&StepLabel { step })
                .inc();
        }
        let histogram = match left.step {
            Some(NodeStep::Draining) => &metrics.drain_seconds,
            None | Some(NodeStep::Running) => &metrics.job_seconds,
            Some(NodeStep::Rebooting) => &metrics.reboot_seconds,
            _ => continue,
        };
        if let Some(seconds) = left.seconds {
            histogram.observe(seconds);
        }
    }
}
