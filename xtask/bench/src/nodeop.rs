//! A NodeOp on many nodes, against its floor.

mod machines;
mod templates;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use api_types::nodeop::{NodeOp, Phase};
use kube::Api;
use kube::api::PostParams;
use serde::Serialize;

use crate::figures::{Spread, slot_delays};
use crate::floor::{self, Floor};
use crate::journal::{Journal, Seen};
use crate::requests::Requests;
use crate::site::Site;
use crate::work::Work;
use crate::{load, process, progress, within};
use machines::Machines;
use templates::Templates;

/// The controller that is measured.
pub const CONTROLLER: &str = "nodeop-controller";
/// What the controller is started with: an image for the agent (simulated nodes run nothing), and a lease that it does not
/// lose where the bench leaves a small machine no time to renew it.
const ARGUMENTS: &[&str] = &[
    "--agent-image=kairos-operator/node-agent:bench",
    "--lease-duration-seconds=120",
    "--lease-renew-deadline-seconds=60",
];
/// How long the whole operation may take.
const PATIENCE: Duration = Duration::from_hours(1);

/// What one run has come to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// What was done.
    #[serde(flatten)]
    pub work: Work,
    /// Seconds by bare requests.
    pub floor_seconds: f64,
    /// Seconds by the controller by seconds by bare requests.
    pub ratio: f64,
    /// Milliseconds from a slot that is free to the Job that uses it, by bare requests.
    pub floor_slot_to_job: Option<Spread>,
    /// CPU seconds of the cluster's programs by bare requests.
    pub floor_cluster_cpu_seconds: BTreeMap<String, f64>,
    /// By the controller.
    #[serde(flatten)]
    pub measured: Measured,
}

/// What the controller has come to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// Seconds from the creation of the NodeOp to the status that says that it has ended.
    pub seconds: f64,
    /// The controller's requests.
    pub requests: Requests,
    /// The controller's requests for each node; Events and leases are not among them.
    pub requests_per_node: f64,
    /// Jobs beyond one for each node.
    pub doubled: usize,
    /// CPU seconds of the controller.
    pub cpu_seconds: f64,
    /// The most memory that the controller had resident, in MiB.
    pub peak_mib: f64,
    /// The memory that it has resident when all is done, in MiB.
    pub resident_mib: f64,
    /// Bytes of the largest status.
    pub status_bytes: usize,
    /// Milliseconds from a slot that is free to the Job that uses it; none where all start at once.
    pub slot_to_job: Option<Spread>,
    /// Milliseconds from the end of a Job to the status that says so.
    pub job_to_status: Option<Spread>,
    /// CPU seconds of the cluster's programs.
    pub cluster_cpu_seconds: BTreeMap<String, f64>,
}

/// A cluster on which runs are made one after the other.
pub struct Bench {
    site: Site,
    templates: Templates,
}

impl Bench {
    /// Starts a cluster, and learns from the controller what it makes for one node.
    pub async fn start(nodes: usize, reboot: bool) -> anyhow::Result<Self> {
        let site = Site::start(nodes, None, &[CONTROLLER]).await?;
        let templates = Templates::learn(&site, reboot).await?;
        Ok(Self { site, templates })
    }

    /// Does the work by bare requests and then by the controller.
    pub async fn run(&self, work: Work) -> anyhow::Result<Run> {
        progress(&format!("{}: floor", work.words()));
        let floor = self.floor(work).await?;
        progress(&format!(
            "{}: {:.1} s by bare requests; controller",
            work.words(),
            floor.taken.as_secs_f64()
        ));
        let measured = measure(&self.site, work).await?;
        let run = Run {
            work,
            floor_seconds: floor.taken.as_secs_f64(),
            ratio: measured.seconds / floor.taken.as_secs_f64(),
            floor_slot_to_job: slots(&floor.seen, work),
            floor_cluster_cpu_seconds: floor.cpu,
            measured,
        };
        progress(&format!(
            "{}: {:.1} s by the controller, {:.2} times the floor",
            work.words(),
            run.measured.seconds,
            run.ratio
        ));
        Ok(run)
    }

    async fn floor(&self, work: Work) -> anyhow::Result<FloorRun> {
        let site = &self.site;
        let load = site.namespace("load").await?;
        load::fill(&site.client, load.name(), &site.nodes, work.pods_per_node).await?;
        let namespace = site.namespace("floor").await?;
        let floor = Floor {
            client: &site.client,
            namespace: namespace.name(),
            work,
            job: &self.templates.job,
            reboot_pod: self.templates.reboot_pod.as_ref().filter(|_| work.reboot),
        };
        let before = site.cpu_seconds()?;
        let (taken, seen) = floor::run(&floor, &site.nodes).await?;
        let cpu = difference(&before, &site.cpu_seconds()?);
        progress("removing what the floor has made");
        site.clear(namespace).await?;
        site.clear(load).await?;
        Ok(FloorRun { taken, seen, cpu })
    }
}

/// Lets the controller do the work on a cluster of so many nodes.
pub async fn measure(site: &Site, work: Work) -> anyhow::Result<Measured> {
    let load = site.namespace("load").await?;
    load::fill(&site.client, load.name(), &site.nodes, work.pods_per_node).await?;
    let namespace = site.namespace("bench").await?;
    let running = site.controller(CONTROLLER, ARGUMENTS).await?;
    let _machines = Machines::play(site, namespace.name(), work.reboot);
    let journal = Journal::start(&site.client, namespace.name()).await?;
    let requests_before = running.requests_made(site)?;
    let cpu_before = process::cpu_seconds(running.pid())?;
    let cluster_before = site.cpu_seconds()?;

    let start = Instant::now();
    let node_ops: Api<NodeOp> = Api::namespaced(site.client.clone(), namespace.name());
    let node_op = work.node_op(&Site::labels())?;
    within(
        "create the NodeOp",
        node_ops.create(&PostParams::default(), &node_op),
    )
    .await?;
    let seen = journal.ended(PATIENCE, || running.check()).await?;
    let cluster_cpu_seconds = difference(&cluster_before, &site.cpu_seconds()?);
    let Some((end, Phase::Completed)) = seen.ended else {
        bail!("the NodeOp has failed: {:?}", failures(&node_ops).await);
    };
    running.settle(site).await?;
    let requests = running.requests(site, requests_before)?;
    let measured = Measured {
        seconds: end.duration_since(start).as_secs_f64(),
        requests_per_node: requests.per_node(work.nodes),
        requests,
        doubled: seen.doubled(),
        cpu_seconds: process::cpu_seconds(running.pid())? - cpu_before,
        peak_mib: process::peak_mib(running.pid())?,
        resident_mib: process::resident_mib(running.pid())?,
        status_bytes: seen.status_bytes,
        slot_to_job: slots(&seen, work),
        job_to_status: Spread::of(seen.status_delays()),
        cluster_cpu_seconds,
    };
    running.stop().await?;
    progress("removing what the controller has made");
    site.clear(namespace).await?;
    site.clear(load).await?;
    Ok(measured)
}

struct FloorRun {
    taken: Duration,
    seen: Seen,
    cpu: BTreeMap<String, f64>,
}

fn slots(seen: &Seen, work: Work) -> Option<Spread> {
    let starts = seen.jobs.values().map(|job| job.created).collect();
    let ends = seen.jobs.values().filter_map(|job| job.done).collect();
    Spread::of(slot_delays(starts, ends, work.slots()))
}

/// What was added to each of `before`; what came to less than a hundredth of a second is left out.
fn difference(
    before: &BTreeMap<String, f64>,
    after: &BTreeMap<String, f64>,
) -> BTreeMap<String, f64> {
    let added = after.iter().map(|(name, seconds)| {
        let known = before.get(name).copied().unwrap_or_default();
        (name.clone(), ((seconds - known) * 100.0).round() / 100.0)
    });
    added.filter(|(_, seconds)| *seconds > 0.0).collect()
}

async fn failures(node_ops: &Api<NodeOp>) -> Option<String> {
    let read = within("read the NodeOp", node_ops.get(crate::work::NAME)).await;
    read.ok()?.status?.message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_did_nothing_is_left_out_and_a_new_one_counts_from_zero() {
        let before = [("etcd".to_owned(), 3.0), ("kwok".to_owned(), 1.0)].into();
        let after = [
            ("etcd".to_owned(), 4.5),
            ("kwok".to_owned(), 1.0),
            ("new".to_owned(), 2.0),
        ]
        .into();
        let expected = [("etcd".to_owned(), 1.5), ("new".to_owned(), 2.0)].into();
        assert_eq!(difference(&before, &after), expected);
    }
}
