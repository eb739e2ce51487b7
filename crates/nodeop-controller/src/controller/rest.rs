//! How long a NodeOp rests after a pass. Pure.
//!
//! Without a rest each Job that ends would bring a pass over all nodes, and of many slots each that becomes free a write of
//! the status. What happens during a rest is taken up together. It delays only: what is decided, and in which order, stays.

use std::time::Duration;

use api_types::nodeop::NodeOp;
use tokio::time::Instant;

/// For each node of the cluster, because a pass looks at all.
const PER_NODE: Duration = Duration::from_micros(20);
/// For each node that may be worked on at once, where there are more than [`FEW_SLOTS`].
const PER_SLOT: Duration = Duration::from_millis(20);
/// So many slots are given out one by one, each at once. Of more, a tenth at a time.
const FEW_SLOTS: usize = 10;
/// No rest is longer.
const LONGEST: Duration = Duration::from_secs(1);
/// Nor one of an operation that disturbs nodes: its nodes take several steps, and each would wait.
const LONGEST_OF_STEPS: Duration = Duration::from_millis(100);

/// The time after a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// It ends now at the latest.
    until: Instant,
    /// It ends when so many Jobs have, counted from the beginning of the pass.
    enough: usize,
    /// It ends when somebody edits the NodeOp.
    generation: Option<i64>,
}

impl Rest {
    /// After a pass over `node_op` that ended at `now`, in a cluster of so many nodes.
    pub(super) fn after(node_op: &NodeOp, nodes: usize, now: Instant) -> Self {
        let of_nodes = times(PER_NODE, nodes);
        let (of_jobs, enough) = match wait_for(node_op) {
            Wait::Nothing => (Duration::ZERO, 1),
            // The size of the cluster alone is no reason to leave slots empty.
            Wait::Slots(few @ ..=FEW_SLOTS) => (Duration::ZERO, (few / FEW_SLOTS).max(1)),
            Wait::Slots(more) => (times(PER_SLOT, more), more / FEW_SLOTS),
            Wait::End(jobs) => (LONGEST, jobs),
        };
        let longest = if node_op.spec.disrupts() {
            LONGEST_OF_STEPS
        } else {
            LONGEST
        };
        Self {
            until: now + of_nodes.max(of_jobs).min(longest),
            enough,
            generation: node_op.metadata.generation,
        }
    }

    /// What is left of it, as seen from the NodeOp's generation and the number of Jobs that have ended.
    pub(super) fn left(
        &self,
        generation: Option<i64>,
        ended: usize,
        now: Instant,
    ) -> Option<Duration> {
        if ended >= self.enough || generation != self.generation {
            return None;
        }
        let left = self.until.checked_duration_since(now)?;
        (!left.is_zero()).then_some(left)
    }
}

/// What the ends of Jobs are waited for.
enum Wait {
    /// For nothing: no Job runs.
    Nothing,
    /// So that other nodes get these slots.
    Slots(usize),
    /// So that the operation ends: all have started, and so many still run.
    End(usize),
}

fn wait_for(node_op: &NodeOp) -> Wait {
    let status = node_op.status.as_ref();
    let Some(summary) = status.and_then(|status| status.summary.as_ref()) else {
        return Wait::Nothing;
    };
    let count = |number: i64| usize::try_from(number).unwrap_or(0);
    match (count(summary.pending), count(summary.running)) {
        (_, 0) => Wait::Nothing,
        (0, running) => Wait::End(running),
        _ => Wait::Slots(node_op.spec.concurrency.limit(count(summary.total))),
    }
}

fn times(each: Duration, count: usize) -> Duration {
    each.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node_op(concurrency: &str, pending: i64, running: i64, cordon: bool) -> NodeOp {
        serde_saphyr::from_str(&format!(
            "{{apiVersion: operator.kairos.io/v1alpha1, kind: NodeOp, metadata: {{name: op, generation: 3}}, \
              spec: {{command: [run], concurrency: {concurrency}, cordon: {cordon}}}, \
              status: {{summary: {{total: 1000, pending: {pending}, running: {running}}}}}}}"
        ))
        .unwrap()
    }

    fn rest(node_op: &NodeOp, nodes: usize) -> (u128, usize) {
        let now = Instant::now();
        let rest = Rest::after(node_op, nodes, now);
        ((rest.until - now).as_millis(), rest.enough)
    }

    #[test]
    fn few_slots_are_given_out_at_once_and_of_many_a_tenth_at_a_time() {
        assert_eq!(rest(&node_op("1", 50, 1, false), 100), (2, 1));
        assert_eq!(rest(&node_op("10", 50, 10, false), 100), (2, 1));
        assert_eq!(rest(&node_op("10", 50, 10, false), 10_000), (200, 1));
        assert_eq!(rest(&node_op("25", 50, 25, false), 100), (500, 2));
        assert_eq!(rest(&node_op("'10%'", 500, 99, false), 1000), (1000, 10));
        assert_eq!(rest(&node_op("900", 50, 900, false), 1000), (1000, 90));
        assert_eq!(rest(&node_op("100", 500, 100, true), 1000), (100, 10));
    }

    #[test]
    fn where_all_have_started_the_last_ends_it() {
        assert_eq!(rest(&node_op("100", 0, 70, false), 1000), (1000, 70));
        assert_eq!(rest(&node_op("100", 0, 70, true), 1000), (100, 70));
    }

    #[test]
    fn where_nothing_runs_only_the_size_of_the_cluster_counts() {
        assert_eq!(rest(&node_op("100", 7, 0, false), 1000), (20, 1));
        assert_eq!(
            rest(
                &NodeOp::new("op", api_types::nodeop::NodeOpSpec::default()),
                100
            ),
            (2, 1)
        );
    }

    #[test]
    fn it_ends_by_itself_or_with_enough_jobs_or_by_an_edit() {
        let now = Instant::now();
        let rest = Rest::after(&node_op("20", 50, 20, false), 100, now);
        assert_eq!(rest.left(Some(3), 1, now), Some(Duration::from_millis(400)));
        assert_eq!(
            rest.left(Some(3), 1, now + Duration::from_millis(400)),
            None
        );
        assert_eq!(rest.left(Some(4), 1, now), None);
        assert_eq!(rest.left(Some(3), 2, now), None);
    }
}
