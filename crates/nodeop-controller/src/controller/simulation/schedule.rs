//! One schedule: who moves next, what gets lost, who dies. The same choices make the same schedule.

mod rest;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cluster::Cluster;
use super::history::History;
use super::model::{Call, refusal};
use super::process::{Pending, Process, Shared};
use crate::clock::Clock;
use crate::clock::simulated::Simulated;
use ::simulation::{Choices, Outcome};

/// Moves of one schedule before everything is left to come to rest.
const MOVES: usize = 240;
/// What every move begins with.
const STEP: &str = "next";
/// The moves of the schedule itself, as kept choices name them.
const STEPS: [&str; 7] = [
    "an answer",
    "a pass",
    "a watch tells",
    "the world moves",
    "a crash",
    "time passes",
    "the clock jumps",
];
/// What can become of a request.
const FATES: [&str; 8] = [
    "served",
    "request lost",
    "answer lost",
    "no answer",
    "429",
    "500",
    "409",
    "503",
];

struct Schedule {
    shared: Arc<Shared>,
    processes: Vec<Process>,
    clock: Clock,
    simulated: Arc<Simulated>,
    choices: Choices,
    outcome: Outcome,
    next_process: u32,
    unanswered: Vec<Pending>,
    traced: bool,
    /// Whether requests and answers get lost.
    lossy: bool,
}

/// Runs one schedule. With `traced`, tells what happened.
pub(super) fn run(choices: Choices, traced: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut schedule = Schedule::new(choices, traced);
        schedule.disturbed().await;
        schedule.come_to_rest().await;
        schedule.end()
    })
}

impl Schedule {
    fn new(mut choices: Choices, traced: bool) -> Self {
        let (clock, simulated) = Clock::simulated();
        let cluster = Cluster::new(&mut choices, clock.now());
        let shared = Arc::new(Shared {
            cluster: Mutex::new(cluster),
            pending: Mutex::default(),
        });
        let lossy = choices.rarely("losses", 2);
        let mut schedule = Self {
            shared,
            processes: Vec::new(),
            clock,
            simulated,
            choices,
            outcome: Outcome::default(),
            next_process: 0,
            unanswered: Vec::new(),
            traced,
            lossy,
        };
        schedule.start_process(0);
        if schedule.choices.rarely("two leaders", 3) {
            schedule.fault("two leaders");
            schedule.history(|history| history.two_leaders = true);
            schedule.start_process(0);
        }
        schedule
    }

    fn history(&self, change: impl FnOnce(&mut History)) {
        change(&mut self.shared.cluster.lock().unwrap().model.history);
    }

    fn fault(&mut self, what: &'static str) {
        *self.outcome.faults.entry(what).or_default() += 1;
        self.tell(|| format!("fault: {what}"));
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.traced {
            self.outcome.trace.push(what());
        }
    }

    fn start_process(&mut self, lag: usize) {
        let listed = {
            let cluster = self.shared.cluster.lock().unwrap();
            cluster.model.changes.len().saturating_sub(lag)
        };
        let process = Process::start(self.next_process, &self.shared, &self.clock, listed);
        self.next_process += 1;
        self.processes.push(process);
    }

    fn is_broken(&self) -> bool {
        let cluster = self.shared.cluster.lock().unwrap();
        !cluster.model.history.violations().is_empty()
    }

    /// Lets every task run until it waits for somebody.
    async fn settle(&self) {
        self.stamp();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// The API server's clock is its own: it does not jump.
    fn stamp(&self) {
        self.shared.cluster.lock().unwrap().model.time = self.clock.now();
    }

    async fn disturbed(&mut self) {
        self.stamp();
        for _ in 0..MOVES {
            if self.is_broken() || self.choices.are_used_up(STEP) {
                return;
            }
            self.disturbed_move().await;
            self.settle().await;
        }
    }

    async fn disturbed_move(&mut self) {
        let waiting = !self.shared.pending.lock().unwrap().is_empty();
        let answer = if waiting { 60 } else { 0 };
        let weights = [answer, 16, 14, 20, 1, 2, 1];
        let name = |index: usize| STEPS[index].to_owned();
        match self.choices.pick(STEP, &weights, name) {
            0 => self.answer(false),
            1 => self.pass(),
            2 => self.deliver(),
            3 => self.world(false),
            4 => self.crash(),
            5 => {
                let seconds = [1, 5, 31, 130, 700][self.choices.index("how long", 5)];
                self.tell(|| format!("{seconds} s pass"));
                self.stamp();
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            }
            _ => {
                self.fault("clock jump");
                let seconds = i64::from(self.choices.draw("how far", 7200)) - 3600;
                self.simulated.jump(seconds);
            }
        }
    }

    fn world(&mut self, calm: bool) {
        let before = self.shared.cluster.lock().unwrap().model.changes.len();
        self.shared
            .cluster
            .lock()
            .unwrap()
            .step(&mut self.choices, calm);
        let cluster = self.shared.cluster.lock().unwrap();
        let told: Vec<String> = cluster.model.changes[before..]
            .iter()
            .map(|change| {
                format!(
                    "world: {:?} {} {}",
                    change.key.0,
                    change.key.2,
                    short(&change.object, change.gone)
                )
            })
            .collect();
        drop(cluster);
        if self.traced {
            self.outcome.trace.extend(told);
        }
    }

    fn pass(&mut self) {
        let index = self.process();
        let idle = self.processes[index].idle(&self.shared);
        if idle.is_empty() {
            return;
        }
        let name = |index: usize| idle[index].metadata.name.clone().unwrap_or_default();
        let chosen = self.choices.pick("operation", &vec![1; idle.len()], name);
        let chosen = Arc::clone(&idle[chosen]);
        let id = self.processes[index].id;
        self.tell(|| {
            format!(
                "process {id}: pass over {}",
                chosen.metadata.name.as_deref().unwrap_or_default()
            )
        });
        self.processes[index].begin(chosen);
    }

    fn process(&mut self) -> usize {
        self.choices.index("process", self.processes.len())
    }

    fn deliver(&mut self) {
        let index = self.process();
        let watch = self.choices.index("watch", 5);
        let shared = Arc::clone(&self.shared);
        let id = self.processes[index].id;
        if watch == 4 {
            for watch in 0..4 {
                self.processes[index].deliver(&shared, watch, usize::MAX);
            }
        } else {
            let most = 1 + self.choices.index("how many", 4);
            self.processes[index].deliver(&shared, watch, most);
        }
        self.tell(|| format!("process {id}: watch {watch} tells"));
    }

    fn answer(&mut self, calm: bool) {
        let pending = {
            let mut pending = self.shared.pending.lock().unwrap();
            let name = |index: usize| {
                // Two that look the same are told apart by their place.
                let name = pending[index].name();
                let same = pending[..index].iter();
                let same = same.filter(|earlier| earlier.name() == name).count();
                format!("{name} {same}")
            };
            let index = if calm {
                0
            } else {
                let weights = vec![1; pending.len()];
                self.choices.pick("request", &weights, name)
            };
            pending.remove(index)
        };
        self.outcome.requests += 1;
        let fate = if calm || !self.lossy {
            0
        } else {
            let weights = [60, 1, 2, 1, 1, 1, 1, 1];
            let name = |index: usize| FATES[index].to_owned();
            self.choices.pick("fate", &weights, name)
        };
        if fate > 0 {
            self.fault(FATES[fate]);
        }
        let (id, request) = (pending.process, pending.call.clone());
        self.tell(|| format!("process {id}: {}", in_words(&request)));
        let told = match fate {
            0 => Some(self.serve(&request)),
            1 => None,
            2 => {
                self.serve(&request);
                None
            }
            3 => {
                // Its deadline ends it.
                self.unanswered.push(pending);
                return;
            }
            4 => Some(refusal(429, "TooManyRequests")),
            5 => Some(refusal(500, "InternalError")),
            6 if request.method != "GET" => Some(refusal(409, "Conflict")),
            _ => Some(refusal(503, "ServiceUnavailable")),
        };
        if let Some((code, _)) = &told {
            let code = *code;
            self.tell(|| format!("  answer {code}"));
        }
        pending.answer(told);
    }

    fn serve(&self, call: &Call) -> super::model::Answer {
        self.shared.cluster.lock().unwrap().model.serve(call)
    }

    fn crash(&mut self) {
        self.fault("crash");
        let index = self.process();
        let process = self.processes.remove(index);
        let id = process.id;
        process.kill();
        let mut lost = Vec::new();
        self.shared.pending.lock().unwrap().retain_mut(|pending| {
            if pending.process == id {
                lost.push(pending.call.clone());
            }
            pending.process != id
        });
        for call in lost {
            // It may have been on its way already.
            if self.choices.rarely("it still arrives", 2) {
                self.tell(|| format!("  still arrives: {}", in_words(&call)));
                self.history(|history| history.late_request = true);
                self.serve(&call);
            }
        }
        let lag = self.choices.index("lag", 12);
        self.start_process(lag);
    }

    fn end(mut self) -> Outcome {
        for process in self.processes.drain(..) {
            process.kill();
        }
        let mut cluster = self.shared.cluster.lock().unwrap();
        let history = &mut cluster.model.history;
        self.outcome.violations = history.violations().to_vec();
        self.outcome.states = std::mem::take(&mut history.statuses_seen);
        for (what, count) in std::mem::take(&mut cluster.disturbances) {
            *self.outcome.faults.entry(what).or_default() += count;
        }
        self.outcome.choices = self.choices.taken().to_vec();
        self.outcome.told = self.choices.told().to_vec();
        self.outcome
    }
}

fn in_words(call: &Call) -> String {
    let path = call.path.rsplit("/namespaces/").next().unwrap_or_default();
    let mut body = call.body.to_string();
    if call.method == "POST" {
        body = super::model::text(&call.body, "/metadata/name").to_owned();
    }
    format!("{} {path} {}{body}", call.method, call.query)
}

fn short(object: &serde_json::Value, gone: bool) -> String {
    if gone {
        return "gone".to_owned();
    }
    format!("{} {}", object["status"], object["spec"]["unschedulable"])
}
