//! The end of the demo as text: output per node, status table, summary.

use api_types::nodeop::{NodeOpStatus, Phase};
use kube::ResourceExt as _;

use crate::operation;
use crate::site::{Operator, Outcome};

/// Rows of the status table; more are counted.
const ROWS: usize = 50;

/// Each node's output, indented below its name.
pub(crate) fn outputs(outputs: &[(String, String)]) -> String {
    let mut text = String::new();
    for (node, output) in outputs {
        text.push_str(node);
        text.push('\n');
        for line in output.lines() {
            text.push_str("    ");
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// One row per node: name, phase, message.
pub(crate) fn table(status: &NodeOpStatus) -> String {
    let width = status
        .node_statuses
        .keys()
        .map(String::len)
        .max()
        .unwrap_or(0)
        .max("NODE".len());
    let mut rows = vec![format!("{:width$}  {:9}  MESSAGE", "NODE", "PHASE")];
    for (name, node) in status.node_statuses.iter().take(ROWS) {
        let message = node.message.as_deref().unwrap_or_default();
        rows.push(
            format!(
                "{name:width$}  {:9}  {message}",
                format!("{:?}", node.phase)
            )
            .trim_end()
            .to_owned(),
        );
    }
    let hidden = status.node_statuses.len().saturating_sub(ROWS);
    if hidden > 0 {
        rows.push(format!("and {hidden} more"));
    }
    rows.join("\n")
}

/// The result in one sentence.
pub(crate) fn summary(name: &str, status: &NodeOpStatus, took: &str) -> String {
    let counts = status.summary.clone().unwrap_or_default();
    let phase = status.phase.unwrap_or_default();
    let message = status.message.as_deref().filter(|_| phase == Phase::Failed);
    // The message of a failure counts nodes itself.
    match message {
        Some(message) => format!("{name} is {phase:?} after {took}: {message}"),
        None => format!(
            "{name} is {phase:?} after {took}: {} of {} nodes done",
            counts.completed + counts.skipped,
            counts.total
        ),
    }
}

/// The end of all stories: one line each.
pub(crate) fn outcomes(outcomes: &[Outcome]) -> String {
    let line = |outcome: &Outcome| {
        let mark = if outcome.is_good { "ok    " } else { "failed" };
        format!("{mark}  {}", outcome.sentence)
    };
    outcomes.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What stays on the user's cluster, and how it goes.
pub(crate) fn left_behind(context: &str, operator: &Operator) -> anyhow::Result<String> {
    let node_op = operation::example()?;
    let (namespace, name) = (node_op.namespace().unwrap_or_default(), node_op.name_any());
    let operator = match operator {
        Operator::All | Operator::Deployed => "and the operator",
        Operator::Here(_) => "the CRDs, and the namespace kairos-operator with its rights",
    };
    Ok(format!(
        "On the cluster of {context} remain the NodeOp, {operator}. Remove them with\n  \
         kubectl --context {context} -n {namespace} delete nodeop {name}\n  \
         kubectl --context {context} delete -k deploy/default"
    ))
}

#[cfg(test)]
mod tests {
    use api_types::nodeop::{NodeCounts, NodePhase, NodeStatus};

    use super::*;

    fn status(nodes: usize) -> NodeOpStatus {
        let node = NodeStatus {
            phase: NodePhase::Failed,
            message: Some("it broke".into()),
            ..NodeStatus::default()
        };
        NodeOpStatus {
            phase: Some(Phase::Failed),
            message: Some("stopped at node-1".into()),
            summary: Some(NodeCounts {
                total: 3,
                completed: 1,
                skipped: 1,
                failed: 1,
                ..NodeCounts::default()
            }),
            node_statuses: (0..nodes)
                .map(|index| (format!("node-{index:03}"), node.clone()))
                .collect(),
            ..NodeOpStatus::default()
        }
    }

    #[test]
    fn the_table_has_a_row_per_node_and_counts_what_it_leaves_out() {
        assert!(table(&status(1)).ends_with("node-000  Failed     it broke"));
        let long = table(&status(ROWS + 2));
        assert_eq!(long.lines().count(), ROWS + 2);
        assert!(long.ends_with("and 2 more"));
    }

    #[test]
    fn the_end_tells_each_story_and_which_failed() {
        let outcome = |sentence: &str, is_good| Outcome {
            sentence: sentence.into(),
            is_good,
        };
        assert_eq!(
            outcomes(&[outcome("it grew", true), outcome("it rotted", false)]),
            "ok      it grew\nfailed  it rotted"
        );
    }

    #[test]
    fn the_summary_of_a_failure_says_why() {
        let text = summary("hello", &status(3), "4.0 s");
        assert_eq!(text, "hello is Failed after 4.0 s: stopped at node-1");
    }
}
