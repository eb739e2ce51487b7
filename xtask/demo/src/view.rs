//! Live progress: bars on a terminal, a line per change elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use api_types::nodeop::{NodeOpStatus, NodePhase, NodeStatus, NodeStep};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Nodes that get a line of their own on a terminal; more would not fit on it.
const LINES: usize = 20;

/// Where progress is shown.
pub(crate) enum View {
    /// A log: one line per change.
    Plain {
        /// When the operation began.
        start: Instant,
    },
    /// A terminal: one bar for all, one spinner per node while they are few.
    Bars {
        bars: MultiProgress,
        overall: ProgressBar,
        nodes: BTreeMap<String, ProgressBar>,
    },
}

impl View {
    /// The view that fits standard output.
    pub(crate) fn new() -> Self {
        if !std::io::stdout().is_terminal() || std::env::var_os("CI").is_some() {
            return Self::Plain {
                start: Instant::now(),
            };
        }
        let bars = MultiProgress::new();
        let overall = bars.add(ProgressBar::new(0));
        overall.set_style(style("{bar:40} {pos}/{len} nodes done  {elapsed}"));
        Self::Bars {
            bars,
            overall,
            nodes: BTreeMap::new(),
        }
    }

    /// Shows what changed.
    pub(crate) fn show(&mut self, before: &NodeOpStatus, after: &NodeOpStatus) {
        match self {
            Self::Plain { start } => {
                for line in changes(before, after) {
                    println!("{:>6.1} s  {line}", start.elapsed().as_secs_f64());
                }
            }
            Self::Bars {
                bars,
                overall,
                nodes,
            } => {
                overall.set_length(after.node_statuses.len() as u64);
                overall.set_position(
                    after
                        .node_statuses
                        .values()
                        .filter(|node| node.phase.is_terminal())
                        .count() as u64,
                );
                if after.node_statuses.len() > LINES {
                    return;
                }
                for (name, node) in &after.node_statuses {
                    let bar = nodes.entry(name.clone()).or_insert_with(|| {
                        let bar = bars.add(ProgressBar::new_spinner());
                        bar.set_style(style("{spinner} {prefix:20} {msg}"));
                        bar.set_prefix(name.clone());
                        bar
                    });
                    if node.phase.is_terminal() {
                        bar.finish_with_message(words(node));
                    } else {
                        bar.set_message(words(node));
                    }
                }
            }
        }
    }

    /// Moves the spinners.
    pub(crate) fn tick(&self) {
        if let Self::Bars { overall, nodes, .. } = self {
            overall.tick();
            nodes
                .values()
                .filter(|bar| !bar.is_finished())
                .for_each(ProgressBar::tick);
        }
    }

    /// Leaves the last state on the screen.
    pub(crate) fn finish(&self) {
        if let Self::Bars { overall, nodes, .. } = self {
            nodes
                .values()
                .filter(|bar| !bar.is_finished())
                .for_each(ProgressBar::abandon);
            overall.abandon();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A line for the operation and for each node whose entry changed.
fn changes(before: &NodeOpStatus, after: &NodeOpStatus) -> Vec<String> {
    let mut lines = Vec::new();
    if before.message != after.message
        && let Some(message) = &after.message
    {
        lines.push(message.clone());
    }
    for (name, node) in &after.node_statuses {
        let words = words(node);
        if before.node_statuses.get(name).map(self::words).as_ref() != Some(&words) {
            lines.push(format!("{name}: {words}"));
        }
    }
    lines
}

/// Where a node stands, in words.
fn words(node: &NodeStatus) -> String {
    let phase = match (node.phase, node.step) {
        (NodePhase::Completed | NodePhase::Failed, _) | (_, None) => format!("{:?}", node.phase),
        (_, Some(NodeStep::WaitingForReady)) => "waiting until the node is Ready".to_owned(),
        (_, Some(NodeStep::NodeGone)) => "waiting for the node to come back".to_owned(),
        (_, Some(step)) => format!("{step:?}"),
    };
    match node
        .message
        .as_deref()
        .filter(|message| !message.is_empty())
    {
        Some(message) => format!("{phase}  {message}"),
        None => phase,
    }
}

/// A duration as people say it.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(phase: NodePhase, step: Option<NodeStep>) -> NodeStatus {
        NodeStatus {
            phase,
            step,
            ..NodeStatus::default()
        }
    }

    #[test]
    fn only_nodes_that_changed_get_a_line() {
        let mut before = NodeOpStatus::default();
        before.node_statuses.insert(
            "a".into(),
            node(NodePhase::Running, Some(NodeStep::Running)),
        );
        before
            .node_statuses
            .insert("b".into(), node(NodePhase::Pending, None));
        let mut after = before.clone();
        after
            .node_statuses
            .insert("a".into(), node(NodePhase::Completed, None));
        assert_eq!(changes(&before, &after), ["a: Completed"]);
        assert!(changes(&after, &after).is_empty());
    }

    #[test]
    fn the_step_tells_more_than_the_phase() {
        assert_eq!(
            words(&node(NodePhase::Running, Some(NodeStep::Reserved))),
            "Reserved"
        );
        assert_eq!(words(&node(NodePhase::Pending, None)), "Pending");
    }
}
