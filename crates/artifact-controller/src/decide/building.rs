//! Follows the builder Pod.

use std::sync::Arc;

use api_types::conditions::{reasons, types};
use api_types::osartifact::{ArtifactPhase, OSArtifactStatus, StepStatus};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    Action, Decision, Snapshot, builder_pods, cause, delete_job, delete_pod, in_words, left,
};
use crate::plan::Plan;
use crate::recipe::outputs;
use crate::status;
use crate::status::WAITING;
use crate::steps::{COLLECT, PREPARE};
use crate::worker::report;

/// From a reserved build to its files, or to what went wrong.
pub(super) fn follow(
    decision: &mut Decision,
    snapshot: &Snapshot<'_>,
    plan: &Plan,
    now: Timestamp,
) {
    let name = decision.status.builder_pod.clone().unwrap_or_default();
    let (own, others): (Vec<_>, Vec<_>) =
        builder_pods(snapshot).partition(|pod| pod.name_any() == name);
    if let Some(former) = stop_former(decision, snapshot, &others) {
        let message = format!("waiting for {former} of an earlier build to end");
        wait(decision, snapshot, &message, None, now);
        return;
    }
    let Some(pod) = own.first() else {
        missing(decision, snapshot, &name, now);
        return;
    };
    decision.status.builder_node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let containers = containers(pod);
    decision.status.steps = steps(&containers);
    let ended = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default();
    match ended {
        "Succeeded" => finish(decision, plan, pod, now),
        "Failed" => {
            let message = cause::of_failed(pod);
            fail(&mut decision.status, reasons::BUILD_FAILED, &message, now);
        }
        _ => progress(decision, snapshot, pod, &containers, now),
    }
}

/// Deletes what an earlier build left running: two builders would share one volume. Tells what is still there.
fn stop_former(
    decision: &mut Decision,
    snapshot: &Snapshot<'_>,
    others: &[&Arc<Pod>],
) -> Option<String> {
    decision
        .actions
        .extend(others.iter().filter_map(|pod| delete_pod(pod)));
    decision
        .actions
        .extend(snapshot.jobs.iter().filter_map(delete_job));
    let pod = others.first().map(|pod| format!("Pod {}", pod.name_any()));
    pod.or_else(|| {
        snapshot
            .jobs
            .first()
            .map(|job| format!("Job {}", job.name_any()))
    })
}

/// The Pod is not there: not yet, or no more.
fn missing(decision: &mut Decision, snapshot: &Snapshot<'_>, name: &str, now: Timestamp) {
    if decision.status.phase == Some(ArtifactPhase::Building) {
        let message = format!(
            "the builder Pod {name} was deleted before the build was done; set the annotation build.kairos.io/retry to try again"
        );
        fail(&mut decision.status, reasons::BUILD_FAILED, &message, now);
        return;
    }
    let rest = left(snapshot.patience, &decision.status, None, now);
    if rest.is_positive() {
        decision.actions.push(Action::StartBuild(name.to_owned()));
        decision.wake_after = Some(rest);
    } else {
        let before = decision.status.message.clone().unwrap_or_default();
        give_up(decision, snapshot, &before, None, now);
    }
}

/// A builder Pod that has not ended.
fn progress(
    decision: &mut Decision,
    snapshot: &Snapshot<'_>,
    pod: &Arc<Pod>,
    containers: &[(String, Option<ContainerStatus>)],
    now: Timestamp,
) {
    let done = containers
        .iter()
        .take_while(|(_, status)| has_succeeded(status.as_ref()))
        .count();
    let current = containers
        .get(done)
        .map(|(name, _)| format!("{}/{} {name}", done + 1, containers.len()));
    status::step(&mut decision.status, current.clone(), now);
    if let Some(cause) = cause::of_waiting(pod, snapshot.claim.as_deref()) {
        wait(decision, snapshot, &cause, Some(pod), now);
        return;
    }
    let Some((step, (_, container))) = current.zip(containers.get(done)) else {
        wait(decision, snapshot, cause::ALL_ENDED, Some(pod), now);
        return;
    };
    let runs = container
        .as_ref()
        .and_then(|status| status.state.as_ref()?.running.as_ref())
        .is_some();
    if runs {
        run(decision, snapshot, pod, &step, now);
    } else {
        let message = format!("waiting for the container of step {step} to be created");
        wait(decision, snapshot, &message, Some(pod), now);
    }
}

/// A step runs: it may take long, but not for ever.
fn run(
    decision: &mut Decision,
    snapshot: &Snapshot<'_>,
    pod: &Arc<Pod>,
    step: &str,
    now: Timestamp,
) {
    let patience = snapshot.step_patience;
    let rest = left(patience, &decision.status, None, now);
    if rest.is_positive() {
        let state = &mut decision.status;
        status::unfinished(state, ArtifactPhase::Building, reasons::RUNNING, step, now);
        decision.wake_after = Some(rest);
        return;
    }
    decision.actions.extend(delete_pod(pod));
    let message = format!(
        "given up: step {step} has been running for more than {} (--step-deadline-seconds)",
        in_words(patience)
    );
    fail(&mut decision.status, reasons::STUCK, &message, now);
}

/// Nothing runs: say why, and give up after a while.
fn wait(
    decision: &mut Decision,
    snapshot: &Snapshot<'_>,
    message: &str,
    pod: Option<&Arc<Pod>>,
    now: Timestamp,
) {
    let later = pod.and_then(|pod| cause::since(pod));
    let rest = left(snapshot.patience, &decision.status, later, now);
    if !rest.is_positive() {
        give_up(decision, snapshot, message, pod, now);
        return;
    }
    let phase = if pod.is_some() {
        ArtifactPhase::Building
    } else {
        ArtifactPhase::Pending
    };
    // A container that is about to be created is no trouble yet.
    let reason = if cause::is_usual(message) {
        reasons::RUNNING
    } else {
        WAITING
    };
    status::unfinished(&mut decision.status, phase, reason, message, now);
    decision.wake_after = Some(rest);
}

fn give_up(
    decision: &mut Decision,
    snapshot: &Snapshot<'_>,
    message: &str,
    pod: Option<&Arc<Pod>>,
    now: Timestamp,
) {
    // Otherwise it would build after all, when nobody waits for it, and keep the volume.
    decision.actions.extend(pod.and_then(delete_pod));
    let message = format!(
        "given up after {} without progress: {message}",
        in_words(snapshot.patience)
    );
    fail(&mut decision.status, reasons::STUCK, &message, now);
}

fn fail(state: &mut OSArtifactStatus, reason: &str, message: &str, now: Timestamp) {
    status::unfinished(state, ArtifactPhase::Error, reason, message, now);
}

/// The Pod has succeeded: what counts is what the collector measured.
fn finish(decision: &mut Decision, plan: &Plan, pod: &Arc<Pod>, now: Timestamp) {
    let state = &mut decision.status;
    let files = last_words(pod, COLLECT).and_then(|message| report::read(message, &plan.name));
    let expected = outputs(plan).len();
    match files {
        Some(files) if files.len() == expected && files.iter().all(|file| file.bytes > 0) => {
            state.artifacts = files;
            let note = last_words(pod, PREPARE).unwrap_or_default().trim();
            status::step(state, None, now);
            status::set(state, types::BUILT, true, reasons::COMPLETED, note, now);
            status::unfinished(state, ArtifactPhase::Exporting, reasons::RUNNING, "", now);
            // Exporters are looked at in the next pass, when this is acknowledged.
        }
        _ => {
            let message = format!(
                "the builder Pod {} succeeded, and its list of files is missing or incomplete; set the annotation build.kairos.io/retry to build again",
                pod.name_any()
            );
            fail(state, reasons::BUILD_FAILED, &message, now);
        }
    }
}

fn last_words<'a>(pod: &'a Pod, container: &str) -> Option<&'a str> {
    let status = pod.status.as_ref()?;
    let mut all = status
        .init_container_statuses
        .iter()
        .flatten()
        .chain(status.container_statuses.iter().flatten());
    let found = all.find(|status| status.name == container)?;
    found
        .state
        .as_ref()?
        .terminated
        .as_ref()?
        .message
        .as_deref()
}

/// Each container in the order in which they run, with its status if the kubelet has given one.
fn containers(pod: &Pod) -> Vec<(String, Option<ContainerStatus>)> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let status = pod.status.as_ref();
    let statuses: Vec<&ContainerStatus> = status
        .into_iter()
        .flat_map(|status| {
            status
                .init_container_statuses
                .iter()
                .flatten()
                .chain(status.container_statuses.iter().flatten())
        })
        .collect();
    let names = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers);
    names
        .map(|container| {
            let found = statuses.iter().find(|status| status.name == container.name);
            (
                container.name.clone(),
                found.map(|status| (*status).clone()),
            )
        })
        .collect()
}

fn has_succeeded(status: Option<&ContainerStatus>) -> bool {
    let terminated = status.and_then(|status| status.state.as_ref()?.terminated.as_ref());
    terminated.is_some_and(|terminated| terminated.exit_code == 0)
}

/// Those that have begun.
fn steps(containers: &[(String, Option<ContainerStatus>)]) -> Vec<StepStatus> {
    let begun = containers.iter().filter_map(|(name, status)| {
        let state = status.as_ref()?.state.as_ref()?;
        if let Some(terminated) = &state.terminated {
            return Some(StepStatus {
                name: name.clone(),
                started_at: terminated.started_at.clone(),
                finished_at: terminated.finished_at.clone(),
            });
        }
        let running = state.running.as_ref()?;
        Some(StepStatus {
            name: name.clone(),
            started_at: running.started_at.clone(),
            finished_at: None,
        })
    });
    begun.collect()
}
