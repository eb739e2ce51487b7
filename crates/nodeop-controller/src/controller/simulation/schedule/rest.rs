//! The end of a schedule: faults are over.

use std::sync::Arc;
use std::time::Duration;

use super::Schedule;

/// Rounds within which everything must come to rest.
const ROUNDS: usize = 400;

impl Schedule {
    /// Faults are over: everything that was asked for must come to its end.
    pub(super) async fn come_to_rest(&mut self) {
        self.tell(|| "calm".to_owned());
        self.shared.cluster.lock().unwrap().calm_down();
        let mut quiet = 0;
        for round in 0..ROUNDS {
            if self.is_broken() {
                return;
            }
            let before = self.shared.cluster.lock().unwrap().model.changes.len();
            let shared = Arc::clone(&self.shared);
            for index in 0..self.processes.len() {
                for watch in 0..4 {
                    self.processes[index].deliver(&shared, watch, usize::MAX);
                }
                for node_op in self.processes[index].idle(&shared) {
                    self.processes[index].begin(node_op);
                }
            }
            self.settle().await;
            while !self.shared.pending.lock().unwrap().is_empty() {
                self.answer(true);
                self.settle().await;
            }
            for _ in 0..4 {
                self.world(true);
            }
            let after = self.shared.cluster.lock().unwrap().model.changes.len();
            let moves = before != after || self.shared.cluster.lock().unwrap().is_busy();
            quiet = if moves { 0 } else { quiet + 1 };
            if quiet > 3 && self.is_over() {
                break;
            }
            self.stamp();
            // Long waits now and then, for what ends by a deadline; in between, what was just learnt is still fresh.
            let seconds = if moves || round % 4 > 0 { 3 } else { 60 };
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
        let mut cluster = self.shared.cluster.lock().unwrap();
        let model = &mut cluster.model;
        let objects = std::mem::take(&mut model.objects);
        model.history.at_rest(&objects);
    }

    fn is_over(&self) -> bool {
        let cluster = self.shared.cluster.lock().unwrap();
        cluster
            .model
            .all(super::super::model::Kind::NodeOp)
            .all(|(_, node_op)| {
                let phase = super::super::model::text(node_op, "/status/phase");
                let held = node_op["metadata"]["finalizers"]
                    .as_array()
                    .is_some_and(|all| !all.is_empty());
                matches!(phase, "Completed" | "Failed") && !held
            })
    }
}
