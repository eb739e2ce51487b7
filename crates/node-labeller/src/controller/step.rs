//! One step from its begin to its end, as the list of its requests.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use operator_runtime::events::EventPublisher;

use crate::apply::{self, Requests, Written};
use crate::build::BuildSettings;
use crate::decide::{Failure, Step, Verdict};
use crate::error::{Error, Result};
use crate::metrics::DetectionResult;
use crate::outcome::{Facts, Outcome};
use crate::record::Record;
use crate::status;
use crate::watched::{WatchedNode, WatchedPod};

/// What every step shares.
pub(super) struct Context {
    pub(super) requests: Requests,
    pub(super) settings: BuildSettings,
    pub(super) events: EventPublisher,
}

/// What a step has come to.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) pod_name: String,
    /// The node that it was about; empty where there is none.
    pub(super) node_uid: String,
    /// Its name, for the log.
    pub(super) node_name: String,
    pub(super) created: Option<WatchedPod>,
    pub(super) removed: Option<Arc<WatchedPod>>,
    /// The record, and the Node's resourceVersion with it.
    pub(super) written: Option<(Record, String)>,
    pub(super) labels_changed: usize,
    pub(super) result: Option<DetectionResult>,
    /// From the Pod's creation until its result was read.
    pub(super) seconds: Option<f64>,
    pub(super) error: Option<Error>,
    /// The detection told nothing, although every request was answered.
    pub(super) failed: bool,
}

/// Carries out a step.
pub(super) async fn carry_out(context: Arc<Context>, step: Step) -> Done {
    let mut done = Done {
        pod_name: step.pod_name(),
        node_uid: step.node_uid(),
        ..Done::default()
    };
    match step {
        Step::Create { node, probe } => {
            node.name().clone_into(&mut done.node_name);
            match apply::create_pod(&context.requests, &context.settings, &node, probe).await {
                Ok(pod) => done.created = Some(pod),
                Err(error) => {
                    if let Error::Refused { message, .. } = &error {
                        context.events.publish(status::failed(
                            &node,
                            Failure::DetectionRefused,
                            message,
                        ));
                    }
                    done.error = Some(error);
                }
            }
        }
        Step::Conclude { node, pod, verdict } => {
            let now = Timestamp::now();
            done.seconds = pod
                .created()
                .map(|created| now.duration_since(created).as_secs_f64().max(0.0));
            node.name().clone_into(&mut done.node_name);
            if let Err(error) = conclude(&context, &node, &pod, &verdict, now, &mut done).await {
                done.error = Some(error);
                done.seconds = None;
                return done;
            }
            done.result = Some(status::result(&verdict));
            remove(&context, pod, &mut done).await;
        }
        Step::Remove { pod, outdated } => {
            done.result = outdated.then_some(DetectionResult::Outdated);
            remove(&context, pod, &mut done).await;
        }
    }
    done
}

/// Writes down what a Pod told. The Event comes before the record: after a crash in between it is only repeated.
async fn conclude(
    context: &Context,
    node: &Arc<WatchedNode>,
    pod: &WatchedPod,
    verdict: &Verdict,
    now: Timestamp,
    done: &mut Done,
) -> Result<()> {
    let requests = &context.requests;
    if let Some(notice) = status::notice(node, verdict) {
        context.events.publish_and_wait(notice).await;
    }
    let before = node.record.as_ref();
    let (written, record) = match verdict {
        Verdict::Failed(..) => {
            done.failed = true;
            return Ok(());
        }
        Verdict::MarkersMissing => {
            // Without a record there is nothing to correct: the next Pod does not look for them.
            let Some(record) = before.map(|record| record.without_markers(pod)) else {
                return Ok(());
            };
            (apply::write_record(requests, node, &record).await?, record)
        }
        Verdict::Detected(outcome) => {
            let record = Record::new(outcome, pod, before, now);
            let written = match outcome {
                Outcome::Kairos(facts) => apply::label(requests, node, facts, &record).await?,
                Outcome::NotKairos => {
                    apply::label(requests, node, &Facts::default(), &record).await?
                }
                Outcome::Problem { .. } => apply::write_record(requests, node, &record).await?,
            };
            (written, record)
        }
    };
    if let Written::Done {
        labels_changed,
        resource_version,
    } = written
    {
        done.labels_changed = labels_changed;
        done.written = Some((record, resource_version.unwrap_or_default()));
    }
    Ok(())
}

async fn remove(context: &Context, pod: Arc<WatchedPod>, done: &mut Done) {
    let namespace = &context.settings.namespace;
    match apply::remove_pod(&context.requests, &pod.metadata, namespace).await {
        Ok(()) => done.removed = Some(pod),
        Err(error) => done.error = Some(error),
    }
}
