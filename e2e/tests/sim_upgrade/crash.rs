//! The controller killed (kill -9) before and after each of its writes, and started again: the upgrade ends as if nothing had
//! happened, and its NodeOp is created once.

use std::sync::{Arc, Mutex};

use e2e::cluster::Cluster;
use e2e::guard::ProcessHandle;
use e2e::operator::{self, Controller};
use e2e::proxy::{FaultProxy, Moment, Verdict, Write};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::{Objects, cluster, eventually};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kill {
    /// Before the API server gets the n-th write.
    Before(usize),
    /// After the API server has done it, before the answer arrives.
    After(usize),
}

#[derive(Default)]
struct Aim {
    kill: Option<Kill>,
    /// Number of the last write of the runs before.
    base: usize,
    victim: Option<ProcessHandle>,
}

struct Rig {
    proxy: FaultProxy,
    controller: Controller,
    aim: Arc<Mutex<Aim>>,
    cluster: Cluster,
}

/// Kills the controller when its write is the one that is aimed at, and lets nothing of it pass any more.
fn shoot(aim: &Mutex<Aim>, write: &Write, moment: Moment) -> Verdict {
    let mut aim = aim.lock().unwrap();
    let number = write.number.saturating_sub(aim.base);
    let hit = match aim.kill {
        Some(Kill::Before(wanted)) => moment == Moment::Before && number == wanted,
        Some(Kill::After(wanted)) => moment == Moment::After && number == wanted,
        None => false,
    };
    if !hit {
        return Verdict::Pass;
    }
    aim.kill = None;
    if let Some(victim) = aim.victim.take() {
        victim.kill().unwrap();
    }
    Verdict::Cut
}

fn status(phase: &str, complete: &str) -> Value {
    let condition = |name: &str, value: &str| json!({"type": name, "status": value, "reason": phase, "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    json!({
        "phase": phase, "startTime": "2026-01-01T00:00:00Z", "message": phase,
        "conditions": [condition("Complete", complete), condition("Failed", "False"), condition("Progressing", "True")],
        "nodeStatuses": {"a": {"phase": phase}},
    })
}

impl Rig {
    async fn start() -> Self {
        let cluster = cluster().await;
        let aim = Arc::new(Mutex::new(Aim::default()));
        let hook = Arc::clone(&aim);
        let counts = |path: &str| !path.contains("/leases");
        let proxy = FaultProxy::start(&cluster, counts, move |write, moment| {
            shoot(&hook, write, moment)
        });
        let proxy = proxy.await.unwrap();
        let controller = Controller::new(&cluster, "upgrade-controller", Some(&proxy.url()))
            .await
            .unwrap();
        Self {
            proxy,
            controller,
            aim,
            cluster,
        }
    }

    /// One upgrade's life: made, edited, started, done. Returns how many writes the controller made, and whether it was killed.
    async fn run(&self, what: &str, kill: Option<Kill>) -> (usize, bool) {
        let namespace = self.cluster.temp_namespace("crash").await.unwrap();
        let objects = Objects::of(&self.cluster.client().unwrap(), namespace.name());
        objects.create("op").await;
        let base = self.proxy.writes();
        let first = self.controller.start(&self.cluster).unwrap();
        *self.aim.lock().unwrap() = Aim {
            kill,
            base,
            victim: Some(first.clone()),
        };
        let running = Mutex::new(first.clone());
        let phase = async |wanted: &str| {
            eventually(&format!("{what}: {wanted}"), async || {
                self.revive(&running);
                let status = objects.upgrades.get("op").await.unwrap().status?;
                (format!("{:?}", status.phase?) == wanted).then_some(())
            })
            .await;
        };

        let made = eventually("the NodeOp is there", async || {
            self.revive(&running);
            objects.node_ops.get_opt("op").await.unwrap()
        })
        .await;
        phase("Initializing").await;
        let edit = json!({"spec": {"paused": true}});
        objects
            .upgrades
            .patch("op", &PatchParams::default(), &Patch::Merge(&edit))
            .await
            .unwrap();
        eventually("the edit is carried over", async || {
            self.revive(&running);
            objects
                .node_ops
                .get("op")
                .await
                .unwrap()
                .spec
                .paused
                .then_some(())
        })
        .await;
        objects.report("op", status("Running", "False")).await;
        phase("Running").await;
        objects.report("op", status("Completed", "True")).await;
        phase("Completed").await;

        let killed = first.exit().is_some();
        // The Events of the end are on their way; SIGTERM lets them out.
        let last = running.lock().unwrap().clone();
        last.signal(e2e::guard::Signal::Terminate).unwrap();
        last.wait().await.unwrap();
        let node_op = objects.node_ops.get("op").await.unwrap();
        assert_eq!(
            node_op.metadata.uid, made.metadata.uid,
            "{what}: the NodeOp is another one"
        );
        let audit = self.cluster.audit().unwrap();
        let created = audit
            .service_account(operator::NAMESPACE, "upgrade-controller")
            .namespace(namespace.name())
            .verb("create")
            .resource("nodeops")
            .succeeded();
        assert!(
            created.count() <= 1,
            "{what}: {} NodeOps created",
            created.count()
        );
        (self.proxy.writes() - base, killed)
    }

    /// Starts the controller again when it has ended.
    fn revive(&self, running: &Mutex<ProcessHandle>) {
        let mut running = running.lock().unwrap();
        if running.exit().is_some() {
            *running = self.controller.start(&self.cluster).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_or_after_any_write_changes_nothing() {
    let rig = Rig::start().await;
    let (writes, _) = rig.run("calm", None).await;
    assert!(writes >= 7, "an undisturbed run makes only {writes} writes");
    let mut killed = 0;
    for write in 1..=writes {
        for kill in [Kill::Before(write), Kill::After(write)] {
            killed += usize::from(rig.run(&format!("{kill:?}"), Some(kill)).await.1);
        }
    }
    // The last writes are Events, whose number may differ by what one pass sees together.
    assert!(
        killed + 4 >= 2 * writes,
        "only {killed} kills for {writes} writes"
    );
    eprintln!("{killed} kills before and after {writes} writes");
}
