//! Contenders against a model of the API server, in any order of steps: clocks that run differently, requests and answers
//! that are lost or late, processes that are killed and started again. Never do two lead at the same time.

use super::{Decision, Elector, LeaseSnapshot, Terms};
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use std::time::{Duration, Instant};

const TERMS: Terms = Terms {
    duration: Duration::from_secs(15),
    renew_deadline: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};

/// What happens to a write.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Answered,
    RequestLost,
    AnswerLost,
    /// Given up by the sender; reaches the server later, if at all.
    Late,
    /// Reaches the server, and is answered, later.
    Slow,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Look,
    Write(Fate),
    SlowWriteArrives,
    LateWriteArrives,
    Restart,
    Release,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    after: Duration,
    who: usize,
    action: Action,
}

/// A write on its way.
#[derive(Debug, Clone)]
struct Request {
    /// `None` creates.
    resource_version: Option<String>,
    lease: LeaseSnapshot,
}

struct Contender {
    elector: Elector,
    /// Local time per true time, in thousandths.
    speed: u32,
    offset: Duration,
    slow: Option<(Request, Instant)>,
}

struct World {
    origin: Instant,
    time: Duration,
    version: u64,
    lease: Option<LeaseSnapshot>,
    late: Vec<Request>,
    contenders: Vec<Contender>,
}

impl World {
    fn new(clocks: &[(u32, u64)]) -> Self {
        let contender = |(index, (speed, offset)): (usize, &(u32, u64))| Contender {
            elector: Elector::new(format!("c{index}"), TERMS),
            speed: *speed,
            offset: Duration::from_secs(*offset),
            slow: None,
        };
        Self {
            origin: Instant::now(),
            time: Duration::ZERO,
            version: 0,
            lease: None,
            late: Vec::new(),
            contenders: clocks.iter().enumerate().map(contender).collect(),
        }
    }

    fn clock(&self, who: usize) -> Instant {
        let contender = &self.contenders[who];
        self.origin + contender.offset + self.time * contender.speed / 1000
    }

    fn leads(&self, who: usize) -> bool {
        let until = self.contenders[who].elector.leads_until();
        until.is_some_and(|until| self.clock(who) < until)
    }

    fn leaders(&self) -> usize {
        (0..self.contenders.len())
            .filter(|who| self.leads(*who))
            .count()
    }

    /// The server: accepts a creation where nothing is, a change of the version that is there.
    fn apply(&mut self, request: &Request) -> Option<LeaseSnapshot> {
        let current = self
            .lease
            .as_ref()
            .map(|lease| lease.resource_version.clone());
        if current != request.resource_version {
            return None;
        }
        self.version += 1;
        let lease = LeaseSnapshot {
            resource_version: self.version.to_string(),
            ..request.lease.clone()
        };
        self.lease = Some(lease.clone());
        Some(lease)
    }

    /// A moment that no other write carries.
    fn stamp(&mut self) -> Timestamp {
        self.version += 1;
        Timestamp::from_microsecond(i64::try_from(self.version).unwrap()).unwrap()
    }

    fn request(&mut self, who: usize, holder: Option<String>) -> Request {
        let stamp = self.stamp();
        let elector = &self.contenders[who].elector;
        Request {
            resource_version: elector.lease().map(|lease| lease.resource_version.clone()),
            lease: LeaseSnapshot {
                resource_version: String::new(),
                holder,
                duration: TERMS.duration,
                acquired_at: Some(elector.acquired_at().unwrap_or(stamp)),
                renewed_at: Some(stamp),
                transitions: 0,
            },
        }
    }

    fn answer(&mut self, who: usize, request: &Request, sent_at: Instant) {
        let written = self.apply(request);
        let elector = &mut self.contenders[who].elector;
        match written {
            Some(lease) => elector.wrote(lease, request.lease.acquired_at.unwrap(), sent_at),
            None => elector.write_failed(),
        }
    }

    fn write(&mut self, who: usize, fate: Fate) {
        let now = self.clock(who);
        if self.contenders[who].slow.is_some()
            || self.contenders[who].elector.needs_read() && self.leads(who)
        {
            return;
        }
        match self.contenders[who].elector.decide(now) {
            Decision::WaitUntil(_) => {}
            Decision::Lost(_) => self.contenders[who].elector.resign(),
            Decision::Create | Decision::Acquire | Decision::Renew => {
                let me = self.contenders[who].elector.me().to_owned();
                let request = self.request(who, Some(me));
                match fate {
                    Fate::Answered => self.answer(who, &request, now),
                    Fate::Slow => self.contenders[who].slow = Some((request, now)),
                    Fate::RequestLost => self.contenders[who].elector.write_failed(),
                    Fate::AnswerLost => {
                        self.apply(&request);
                        self.contenders[who].elector.write_failed();
                    }
                    Fate::Late => {
                        self.late.push(request);
                        self.contenders[who].elector.write_failed();
                    }
                }
            }
        }
    }

    fn act(&mut self, step: Step) {
        self.time += step.after;
        let who = step.who % self.contenders.len();
        match step.action {
            Action::Look => {
                let (lease, now) = (self.lease.clone(), self.clock(who));
                self.contenders[who].elector.observe(lease, now);
            }
            Action::Write(fate) => self.write(who, fate),
            Action::SlowWriteArrives => {
                if let Some((request, sent_at)) = self.contenders[who].slow.take() {
                    self.answer(who, &request, sent_at);
                }
            }
            Action::LateWriteArrives => {
                if !self.late.is_empty() {
                    let request = self.late.remove(0);
                    self.apply(&request);
                }
            }
            Action::Restart => {
                let contender = &mut self.contenders[who];
                contender.elector = Elector::new(contender.elector.me(), TERMS);
                if let Some((request, _)) = contender.slow.take() {
                    self.late.push(request);
                }
            }
            Action::Release => {
                if self.leads(who) && self.contenders[who].slow.is_none() {
                    let request = self.request(who, None);
                    self.contenders[who].elector.resign();
                    self.apply(&request);
                }
            }
        }
    }
}

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => Just(Action::Look),
        8 => Just(Action::Write(Fate::Answered)),
        1 => Just(Action::Write(Fate::RequestLost)),
        2 => Just(Action::Write(Fate::AnswerLost)),
        2 => Just(Action::Write(Fate::Late)),
        2 => Just(Action::Write(Fate::Slow)),
        2 => Just(Action::SlowWriteArrives),
        2 => Just(Action::LateWriteArrives),
        1 => Just(Action::Restart),
        1 => Just(Action::Release),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0_u64..6000, 0_usize..3, actions()).prop_map(|(after, who, action)| Step {
        after: Duration::from_millis(after),
        who,
        action,
    });
    proptest::collection::vec(step, 0..120)
}

/// Up to three clocks, each up to 5 % too slow or too fast and up to a day apart.
fn clocks() -> impl Strategy<Value = Vec<(u32, u64)>> {
    proptest::collection::vec((950_u32..1050, 0_u64..86_400), 2..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn two_never_lead_at_the_same_time(clocks in clocks(), steps in steps()) {
        let mut world = World::new(&clocks);
        for step in steps {
            world.act(step);
            prop_assert!(world.leaders() <= 1, "two leaders after {step:?} at {:?}", world.time);
        }
    }

    #[test]
    fn whoever_survives_leads_within_twenty_seconds(clocks in clocks(), steps in steps(), survivor in 0_usize..3) {
        let mut world = World::new(&clocks);
        for step in steps {
            world.act(step);
        }
        let who = survivor % clocks.len();
        world.contenders[who].slow = None;
        if !world.leads(who) {
            world.contenders[who].elector.resign();
        }
        let killed_at = world.time;
        while !world.leads(who) {
            let after = TERMS.retry / 2;
            world.act(Step { after, who, action: Action::Look });
            world.act(Step { after, who, action: Action::Write(Fate::Answered) });
            prop_assert!(world.time <= killed_at + Duration::from_secs(20), "nobody leads");
        }
    }
}

#[test]
fn the_model_lets_contenders_lead_in_turn() {
    // Guards the properties above against a model in which nobody ever leads.
    let mut world = World::new(&[(1000, 0), (1000, 500)]);
    let step = |who, action| Step {
        after: Duration::from_secs(1),
        who,
        action,
    };
    world.act(step(0, Action::Look));
    world.act(step(0, Action::Write(Fate::Answered)));
    assert!(world.leads(0));
    world.act(step(1, Action::Look));
    world.act(step(1, Action::Write(Fate::Answered)));
    assert!(!world.leads(1));
    world.act(step(0, Action::Release));
    world.act(step(1, Action::Look));
    world.act(step(1, Action::Write(Fate::Answered)));
    assert!(world.leads(1) && !world.leads(0));
}
