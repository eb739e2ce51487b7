//! One round over one node: list, classify, evict and delete what may go, tell what is left. It ends: every request has a
//! deadline, and after [`BEGINS`] no further one begins.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::answer::Answer;
use super::classify::{Classified, classify};
use super::metrics::DrainMetrics;
use super::page::pods_of;
use super::pod::DrainPod;
use super::words::{self, Left, Reason};
use super::write::{delete, evict};
use super::{DrainReport, DrainState, Mode, Order};
use crate::apply::Requests;

/// Writes in flight, of all rounds together.
const WRITES_IN_FLIGHT: usize = 16;
/// Lists in flight, of all rounds together: an answer holds whole Pods, some 5 to 10 KiB each.
const LISTS_IN_FLIGHT: usize = 4;
/// After this long a round begins no further request, so that its end is near.
const BEGINS: Duration = Duration::from_secs(10);
/// A round that takes longer than this says what it knows so far: who waits shall be told within five seconds.
const INTERIM: Duration = Duration::from_secs(3);
/// From the end of a round to the next, by how many rounds in a row have evicted nothing.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(5),
];
/// The pause when all that was asked for takes effect at once.
const SOON: Duration = Duration::from_millis(100);
/// Failures in a row after which a Pod's failure is named.
const NAMED_AFTER: u32 = 3;

/// What all rounds of the process share.
pub(super) struct Flow {
    pub(super) requests: Requests,
    pub(super) metrics: DrainMetrics,
    lists: Semaphore,
    writes: Semaphore,
    /// Until when the API server wants no evictions.
    paused: Mutex<Option<Instant>>,
}

impl Flow {
    pub(super) fn new(requests: Requests, metrics: DrainMetrics) -> Self {
        Self {
            requests,
            metrics,
            lists: Semaphore::new(LISTS_IN_FLIGHT),
            writes: Semaphore::new(WRITES_IN_FLIGHT),
            paused: Mutex::new(None),
        }
    }

    fn pause(&self, after: Duration) {
        let until = Instant::now() + after;
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        *paused = Some(paused.map_or(until, |known| known.max(until)));
    }

    /// How long the API server still wants no evictions.
    fn pause_left(&self) -> Duration {
        let paused = *self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        paused.map_or(Duration::ZERO, |until| {
            until.saturating_duration_since(Instant::now())
        })
    }
}

/// What one round leaves to the next over the same node. Losing it costs requests, never a decision.
#[derive(Debug, Default)]
pub(super) struct Carry {
    quiet_rounds: usize,
    /// Failures in a row, by Pod UID. Holds only Pods that failed in the last round.
    failing: HashMap<String, u32>,
}

impl Carry {
    fn pause(&mut self, evicted: bool) -> Duration {
        if evicted {
            self.quiet_rounds = 0;
        }
        let pause = PAUSES[self.quiet_rounds.min(PAUSES.len() - 1)];
        self.quiet_rounds = self.quiet_rounds.saturating_add(1);
        pause
    }
}

/// A Pod to end.
struct Task {
    pod: DrainPod,
    finished: bool,
}

/// What became of a task in this round.
enum Attempt {
    Answered(Answer),
    /// Its turn did not come.
    NotBegun,
    /// The API server wanted a pause.
    Paused,
    /// This replica may not write.
    NotLeader,
}

/// Runs one round. `interim` is told what is known when the round takes long.
pub(super) async fn run(
    flow: &Flow,
    node: &str,
    order: &Order,
    carry: &mut Carry,
    interim: &(dyn Fn(DrainReport) + Sync),
) -> DrainReport {
    let begun = Instant::now();
    let report = match listed(flow, node, order).await {
        Ok(classified) => settle(flow, node, order, carry, classified, interim).await,
        Err(why) => unknown(&why, carry),
    };
    if matches!(report.state, DrainState::Unknown(_)) {
        flow.metrics.rounds_failed.inc();
    }
    let seconds = begun.elapsed().as_secs_f64();
    flow.metrics.round_seconds.observe(seconds);
    report
}

async fn listed(flow: &Flow, node: &str, order: &Order) -> Result<Classified, String> {
    let permit = flow.lists.acquire().await;
    let permit = permit.map_err(|_| "the controller is shutting down".to_owned())?;
    let pods = pods_of(&flow.requests, node).await;
    drop(permit);
    let pods = pods.map_err(|error| error.to_string())?;
    Ok(classify(pods, &order.options, &order.own))
}

/// Decides what the list means, and ends Pods where that is asked for.
async fn settle(
    flow: &Flow,
    node: &str,
    order: &Order,
    carry: &mut Carry,
    classified: Classified,
    interim: &(dyn Fn(DrainReport) + Sync),
) -> DrainReport {
    let longest = PAUSES[PAUSES.len() - 1];
    if classified.is_empty() {
        return quiet(DrainState::Drained, longest);
    }
    if !classified.forbidden.is_empty() {
        let message = words::forbidden(&classified.forbidden);
        return quiet(DrainState::Forbidden(message), longest);
    }
    if order.mode == Mode::Check {
        return quiet(found(&classified), longest);
    }
    let mut tasks = tasks(classified.evict, classified.delete);
    // Those that failed come last, so that they cannot keep the others from their turn.
    tasks.sort_by_key(|task| carry.failing.get(&task.pod.uid).copied().unwrap_or(0));
    let now = flow.requests.clock.now();
    let terminating: Vec<Left> = classified
        .terminating
        .iter()
        .map(|pod| Left {
            reason: Reason::of_deletion(pod, now),
            pod: pod.to_string(),
        })
        .collect();

    let attempts = end_all(flow, order, &tasks, |attempts| {
        interim(waiting(terminating.clone(), &tasks, attempts, order, carry).0);
    })
    .await;
    if attempts
        .iter()
        .any(|attempt| matches!(attempt, Attempt::NotLeader))
    {
        return unknown("this replica is not the leader", carry);
    }
    count_failures(carry, &tasks, &attempts);
    let ended = |attempt: &&Attempt| matches!(attempt, Attempt::Answered(Answer::Accepted));
    let evicted = attempts.iter().filter(ended).count();
    let (mut report, at_once) = waiting(terminating, &tasks, &attempts, order, carry);
    let pause = carry.pause(evicted > 0);
    report.next_after = if at_once {
        SOON
    } else {
        pause.max(flow.pause_left())
    };
    if evicted > 0 {
        tracing::info!(node, evicted, state = ?report.state, "evicted pods");
    }
    report
}

fn tasks(evict: Vec<DrainPod>, delete: Vec<DrainPod>) -> Vec<Task> {
    let task = |finished| move |pod| Task { pod, finished };
    let evict = evict.into_iter().map(task(false));
    evict.chain(delete.into_iter().map(task(true))).collect()
}

/// Ends Pods, some at a time; tells `interim` once what is known when that takes long.
async fn end_all(
    flow: &Flow,
    order: &Order,
    tasks: &[Task],
    interim: impl Fn(&[Attempt]),
) -> Vec<Attempt> {
    let begun = Instant::now();
    let mut attempts: Vec<Attempt> = tasks.iter().map(|_| Attempt::NotBegun).collect();
    let work: Vec<_> = tasks
        .iter()
        .enumerate()
        .map(|(index, task)| async move { (index, end_one(flow, order, task, begun).await) })
        .collect();
    let mut results = stream::iter(work).buffer_unordered(WRITES_IN_FLIGHT);
    let mut told = false;
    let tell = sleep(INTERIM);
    tokio::pin!(tell);
    loop {
        tokio::select! {
            // In this order, so that a simulated schedule repeats.
            biased;
            result = results.next() => match result {
                Some((index, attempt)) => attempts[index] = attempt,
                None => return attempts,
            },
            () = &mut tell, if !told => {
                told = true;
                interim(&attempts);
            }
        }
    }
}

async fn end_one(flow: &Flow, order: &Order, task: &Task, begun: Instant) -> Attempt {
    let Ok(_permit) = flow.writes.acquire().await else {
        return Attempt::NotBegun;
    };
    if begun.elapsed() >= BEGINS {
        return Attempt::NotBegun;
    }
    if flow.pause_left() > Duration::ZERO {
        return Attempt::Paused;
    }
    if !flow.requests.leadership.is_leading() {
        return Attempt::NotLeader;
    }
    let answer = if task.finished {
        let answer = delete(&flow.requests, &task.pod).await;
        if answer == Answer::Accepted {
            flow.metrics.finished_pods_deleted.inc();
        }
        answer
    } else {
        let answer = evict(&flow.requests, &task.pod, &order.options).await;
        flow.metrics.evicted(&answer);
        answer
    };
    if let Answer::Throttled { after } = answer {
        flow.pause(after);
    }
    tracing::debug!(pod = %task.pod, ?answer, "asked a pod to end");
    Attempt::Answered(answer)
}

fn count_failures(carry: &mut Carry, tasks: &[Task], attempts: &[Attempt]) {
    let earlier = std::mem::take(&mut carry.failing);
    for (task, attempt) in tasks.iter().zip(attempts) {
        let before = earlier.get(&task.pod.uid).copied().unwrap_or(0);
        let times = match attempt {
            Attempt::Answered(Answer::Failed { .. }) => before.saturating_add(1),
            Attempt::Answered(_) => 0,
            Attempt::NotBegun | Attempt::Paused | Attempt::NotLeader => before,
        };
        if times > 0 {
            carry.failing.insert(task.pod.uid.clone(), times);
        }
    }
}

/// The report on what is left, and whether all of that goes without a grace period.
fn waiting(
    mut left: Vec<Left>,
    tasks: &[Task],
    attempts: &[Attempt],
    order: &Order,
    carry: &Carry,
) -> (DrainReport, bool) {
    let instant = order.options.grace_period_seconds == Some(0);
    let mut at_once = left.is_empty();
    for (task, attempt) in tasks.iter().zip(attempts) {
        let Some(reason) = reason(task, attempt, carry) else {
            continue;
        };
        let ends = reason == Reason::Terminating && task.pod.finalizers.is_empty();
        at_once &= ends && (instant || task.finished);
        left.push(Left {
            reason,
            pod: task.pod.to_string(),
        });
    }
    let blocked = left
        .iter()
        .filter(|left| matches!(left.reason, Reason::Blocked(_)))
        .count();
    let message = if left.is_empty() {
        "all Pods are gone, looking once more".to_owned()
    } else {
        words::waiting(&left)
    };
    let state = DrainState::Waiting {
        message,
        blocked,
        remaining: left.len(),
    };
    let report = DrainReport {
        state,
        blockers: words::blockers(&left),
        next_after: PAUSES[0],
    };
    (report, at_once)
}

/// What a task's Pod waits for; `None`: it is gone.
fn reason(task: &Task, attempt: &Attempt, carry: &Carry) -> Option<Reason> {
    let answer = match attempt {
        Attempt::Answered(answer) => answer,
        Attempt::Paused => return Some(Reason::Throttled),
        Attempt::NotBegun | Attempt::NotLeader => return Some(Reason::NotYet),
    };
    Some(match answer {
        Answer::Gone => return None,
        Answer::Accepted => Reason::Terminating,
        Answer::Blocked { why } => Reason::Blocked(why.clone()),
        Answer::Throttled { .. } => Reason::Throttled,
        Answer::Changed => Reason::NotYet,
        Answer::NamespaceTerminating => Reason::NamespaceTerminating,
        Answer::Failed { why } => {
            let times = carry.failing.get(&task.pod.uid).copied().unwrap_or(0);
            if times < NAMED_AFTER {
                Reason::NotYet
            } else {
                Reason::Failing {
                    why: why.clone(),
                    times,
                }
            }
        }
    })
}

fn found(classified: &Classified) -> DrainState {
    let Classified {
        forbidden: _,
        evict,
        delete,
        terminating,
    } = classified;
    let pods = evict.iter().chain(delete).chain(terminating);
    let mut names: Vec<String> = pods.map(ToString::to_string).collect();
    names.sort_unstable();
    DrainState::Waiting {
        message: words::found(&names),
        blocked: 0,
        remaining: names.len(),
    }
}

fn quiet(state: DrainState, next_after: Duration) -> DrainReport {
    DrainReport {
        state,
        blockers: None,
        next_after,
    }
}

fn unknown(why: &str, carry: &mut Carry) -> DrainReport {
    let state = DrainState::Unknown(operator_runtime::names::cut_text(why, words::LONGEST));
    quiet(state, carry.pause(false))
}

#[cfg(test)]
mod tests;
