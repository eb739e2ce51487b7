//! What a change of status says about time: how long nodes were in a step, and in which step they failed.

use api_types::nodeop::{NodeOpStatus, NodePhase, NodeStatus, NodeStep};
use k8s_openapi::jiff::Timestamp;

/// A node has left a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Left {
    /// The step; nothing where its Job ran without one.
    pub step: Option<NodeStep>,
    /// How long it took, if its beginning is known.
    pub seconds: Option<f64>,
    /// Whether the node failed in it.
    pub failed: bool,
}

/// The steps that nodes have left between `before` and `after`.
pub fn left_steps(before: &NodeOpStatus, after: &NodeOpStatus, now: Timestamp) -> Vec<Left> {
    let mut left = Vec::new();
    for (name, then) in &before.node_statuses {
        if then.phase.is_terminal() {
            continue;
        }
        let Some(entry) = after.node_statuses.get(name) else {
            continue;
        };
        if entry.step == then.step && !entry.phase.is_terminal() {
            continue;
        }
        left.push(Left {
            step: then.step,
            seconds: seconds(then, now),
            failed: entry.phase == NodePhase::Failed,
        });
    }
    left
}

fn seconds(entry: &NodeStatus, now: Timestamp) -> Option<f64> {
    let passed = now.duration_since(entry.since.as_ref()?.0);
    // A clock that went back measures nothing.
    (!passed.is_negative()).then(|| passed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    fn status(yaml: &str) -> NodeOpStatus {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn a_step_is_measured_when_it_is_left_and_not_before() {
        let since = at(0);
        let draining = format!("{{phase: Running, step: Draining, since: '{since}'}}");
        let before = status(&format!(
            "nodeStatuses: {{a: {draining}, b: {draining}, c: {draining}}}"
        ));
        let after = status(&format!(
            "nodeStatuses: {{a: {draining}, b: {{phase: Running, step: Starting}}, c: {{phase: Failed}}}}"
        ));
        let step = Some(NodeStep::Draining);
        let seconds = Some(30.0);
        assert_eq!(
            left_steps(&before, &after, at(30)),
            [
                Left {
                    step,
                    seconds,
                    failed: false
                },
                Left {
                    step,
                    seconds,
                    failed: true
                }
            ]
        );
        assert_eq!(left_steps(&before, &after, at(-5))[0].seconds, None);
    }

    #[test]
    fn a_result_is_measured_once() {
        let before = status("nodeStatuses: {a: {phase: Failed}}");
        assert_eq!(left_steps(&before, &before, at(30)), []);
    }
}
