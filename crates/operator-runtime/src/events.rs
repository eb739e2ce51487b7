//! Publishes Events whose names follow from what they say, so that saying it again after a crash makes no second one.

use crate::client::deadline;
use crate::metrics::{EventLabels, EventOutcome, Metrics};
use crate::names::{cut_text, short_hash};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Events written at the same time; more wait for their turn.
const CONCURRENCY: usize = 4;
/// Events that may wait; more are dropped.
const WAITING: u32 = 1024;
/// Deadline of the write of one Event.
const LIMIT: Duration = Duration::from_secs(5);
/// Limits that the API server sets for events.k8s.io/v1.
const MAX_NAME: usize = 253;
const MAX_NOTE: usize = 1024;
const MAX_REASON: usize = 128;

/// Whether an Event tells of success or of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// Something went as it should.
    Normal,
    /// Somebody should have a look.
    Warning,
}

/// What an Event says.
#[derive(Debug, Clone)]
pub struct Notice {
    /// The object it is about. An Event lives in its namespace, that of a cluster-scoped object in `default`.
    pub regarding: ObjectReference,
    /// A second object that has to do with it.
    pub related: Option<ObjectReference>,
    /// Success or trouble.
    pub kind: NoticeKind,
    /// Why, as a word in upper camel case; at most 128 bytes.
    pub reason: &'static str,
    /// What was done or tried, as a word in upper camel case; at most 128 bytes.
    pub action: &'static str,
    /// A sentence for people; cut to 1 KiB.
    pub note: String,
    /// Tells apart Events of one reason about one object, such as a node name. The same object, reason and key make the same
    /// Event, whatever the note says.
    pub key: String,
}

/// What became of an Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It exists now.
    Created,
    /// It had been published before.
    Repeated,
    /// It could not be written, or too many were waiting; counted and logged. Nothing else depends on it.
    Failed,
}

/// Publishes Events in the name of one process. Clones share its limits.
#[derive(Clone)]
pub struct EventPublisher {
    client: Client,
    controller: String,
    instance: String,
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
    metrics: Metrics,
}

impl std::fmt::Debug for EventPublisher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("EventPublisher")
            .field("controller", &self.controller)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl EventPublisher {
    /// A publisher that reports as the controller's name and this process's identity.
    pub fn new(client: Client, controller: &str, identity: &str, metrics: Metrics) -> Self {
        Self {
            client,
            controller: controller.to_owned(),
            instance: cut_to(identity, MAX_REASON).to_owned(),
            turns: Arc::new(Semaphore::new(CONCURRENCY)),
            places: Arc::new(Semaphore::new(WAITING as usize)),
            metrics,
        }
    }

    /// Publishes one Event in the background. Needs a running tokio runtime.
    ///
    /// A crash may lose it: where that matters, use [`EventPublisher::publish_and_wait`] before recording that it was said.
    pub fn publish(&self, notice: Notice) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            tracing::warn!(
                reason = notice.reason,
                "an event is lost: {WAITING} others are waiting"
            );
            self.count(EventOutcome::failed);
            return;
        };
        let publisher = self.clone();
        tokio::spawn(async move {
            publisher.publish_and_wait(notice).await;
            drop(place);
        });
    }

    /// Publishes one Event, and returns when it is written or given up. Repeating it after a crash makes no second one.
    pub async fn publish_and_wait(&self, notice: Notice) -> Published {
        let event = build(&notice, &self.controller, &self.instance, Timestamp::now());
        let namespace = event.metadata.namespace.as_deref().unwrap_or("default");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let what = format!(
            "publish event {namespace}/{}",
            event.metadata.name.as_deref().unwrap_or_default()
        );
        let parameters = PostParams::default();
        let turn = self.turns.acquire().await;
        let written = deadline(LIMIT, what, api.create(&parameters, &event)).await;
        drop(turn);
        match written {
            Ok(_) => {
                self.count(EventOutcome::created);
                Published::Created
            }
            Err(error) if error.is_already_exists() => {
                self.count(EventOutcome::repeated);
                Published::Repeated
            }
            Err(error) => {
                tracing::warn!(reason = notice.reason, %error, "an event is lost");
                self.count(EventOutcome::failed);
                Published::Failed
            }
        }
    }

    /// Waits until all Events in the background are written or given up, for at most `limit`.
    pub async fn flush(&self, limit: Duration) {
        if tokio::time::timeout(limit, self.places.acquire_many(WAITING))
            .await
            .is_err()
        {
            tracing::warn!("some events are lost: the process ends before they are written");
        }
    }

    fn count(&self, outcome: EventOutcome) {
        self.metrics
            .events
            .get_or_create(&EventLabels { outcome })
            .inc();
    }
}

/// The Event for a notice. Pure.
fn build(notice: &Notice, controller: &str, instance: &str, now: Timestamp) -> Event {
    let namespace = notice
        .regarding
        .namespace
        .clone()
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or_else(|| "default".to_owned());
    Event {
        metadata: ObjectMeta {
            name: Some(event_name(notice)),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        action: Some(cut_to(notice.action, MAX_REASON).to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(cut_text(&notice.note, MAX_NOTE)),
        reason: Some(cut_to(notice.reason, MAX_REASON).to_owned()),
        regarding: Some(notice.regarding.clone()),
        related: notice.related.clone(),
        reporting_controller: Some(controller.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        type_: Some(
            match notice.kind {
                NoticeKind::Normal => "Normal",
                NoticeKind::Warning => "Warning",
            }
            .to_owned(),
        ),
        ..Event::default()
    }
}

/// The object's name as far as it fits, and a hash of what makes this Event the same as another.
fn event_name(notice: &Notice) -> String {
    let part = |text: &'_ Option<String>| text.clone().unwrap_or_default();
    let object = &notice.regarding;
    let hash = short_hash(&[
        &part(&object.kind),
        &part(&object.namespace),
        &part(&object.name),
        &part(&object.uid),
        notice.reason,
        &notice.key,
    ]);
    // Names of some kinds (roles) hold characters that an Event's name must not.
    let name: String = part(&object.name)
        .chars()
        .map(|character| match character {
            'a'..='z' | '0'..='9' | '.' | '-' => character,
            _ => '-',
        })
        .collect();
    let head = cut_to(&name, MAX_NAME - 1 - hash.len()).trim_matches(['-', '.']);
    if head.is_empty() {
        return hash;
    }
    format!("{head}.{hash}")
}

/// At most `max` bytes of a text, without a mark where it was cut.
fn cut_to(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, ApiServer};
    use serde_json::json;

    fn notice() -> Notice {
        Notice {
            regarding: ObjectReference {
                kind: Some("Sample".to_owned()),
                namespace: Some("team".to_owned()),
                name: Some("first".to_owned()),
                uid: Some("0000-1".to_owned()),
                ..ObjectReference::default()
            },
            related: None,
            kind: NoticeKind::Warning,
            reason: "NodeFailed",
            action: "Run",
            note: "node-1 failed".to_owned(),
            key: "node-1".to_owned(),
        }
    }

    fn named(change: impl FnOnce(&mut Notice)) -> String {
        let mut notice = notice();
        change(&mut notice);
        event_name(&notice)
    }

    #[test]
    fn a_name_follows_from_object_reason_and_key_only() {
        let name = named(|_| ());
        assert!(name.starts_with("first."), "{name}");
        assert_eq!(
            named(|notice| notice.note = "otherwise put".to_owned()),
            name
        );
        assert_ne!(named(|notice| notice.key = "node-2".to_owned()), name);
        assert_ne!(named(|notice| notice.reason = "NodeSkipped"), name);
        assert_ne!(
            named(|notice| notice.regarding.uid = Some("0000-2".to_owned())),
            name
        );
    }

    #[test]
    fn long_and_odd_object_names_make_valid_event_names() {
        let long = named(|notice| notice.regarding.name = Some("n.".repeat(126) + "n"));
        assert!(long.len() <= MAX_NAME, "{}", long.len());
        assert!(!long.contains(".."), "{long}");
        let odd = named(|notice| notice.regarding.name = Some("system:Node".to_owned()));
        assert!(odd.starts_with("system--ode."), "{odd}");
        let none = named(|notice| notice.regarding.name = None);
        assert!(!none.is_empty() && !none.contains('.'), "{none}");
    }

    #[test]
    fn an_event_keeps_the_limits_of_the_api_server() {
        let mut long = notice();
        long.note = "ä".repeat(2000);
        let event = build(&long, "sample-controller", "pod-1", Timestamp::UNIX_EPOCH);
        assert!(event.note.unwrap().len() <= MAX_NOTE);
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        assert_eq!(
            event.reporting_controller.as_deref(),
            Some("sample-controller")
        );
    }

    #[test]
    fn a_cluster_scoped_object_has_its_events_in_default() {
        let mut node = notice();
        node.regarding.namespace = None;
        let event = build(&node, "sample-controller", "pod-1", Timestamp::UNIX_EPOCH);
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
    }

    fn publisher(server: &ApiServer) -> (EventPublisher, Metrics) {
        let metrics = Metrics::new("sample-controller", "1.2.3");
        let publisher = EventPublisher::new(
            server.client(),
            "sample-controller",
            "pod-1",
            metrics.clone(),
        );
        (publisher, metrics)
    }

    fn counted(metrics: &Metrics, outcome: &str) -> bool {
        let line = format!(
            "kubernetes_events_total{{controller=\"sample-controller\",outcome=\"{outcome}\"}} 1\n"
        );
        metrics.encode().unwrap().contains(&line)
    }

    #[tokio::test(start_paused = true)]
    async fn publishing_again_makes_no_second_event() {
        let server = ApiServer::start(|request| match request.earlier {
            0 => Answer::Json(201, request.body.clone()),
            _ => Answer::status(409, "AlreadyExists"),
        });
        let (publisher, metrics) = publisher(&server);
        assert_eq!(
            publisher.publish_and_wait(notice()).await,
            Published::Created
        );
        assert_eq!(
            publisher.publish_and_wait(notice()).await,
            Published::Repeated
        );
        assert!(counted(&metrics, "created") && counted(&metrics, "repeated"));
        let requests = server.requests();
        assert_eq!(
            requests[0].path,
            "/apis/events.k8s.io/v1/namespaces/team/events"
        );
        assert_eq!(
            requests[0].body["metadata"]["name"],
            requests[1].body["metadata"]["name"]
        );
        assert_eq!(requests[0].body["regarding"]["uid"], json!("0000-1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_costs_one_event_and_no_more() {
        let server = ApiServer::start(|_| Answer::Never);
        let (publisher, metrics) = publisher(&server);
        let begun = tokio::time::Instant::now();
        assert_eq!(
            publisher.publish_and_wait(notice()).await,
            Published::Failed
        );
        assert_eq!(begun.elapsed(), LIMIT);
        assert!(counted(&metrics, "failed"));
    }

    #[tokio::test(start_paused = true)]
    async fn flushing_waits_for_events_in_the_background() {
        let server = ApiServer::start(|request| Answer::Json(201, request.body.clone()));
        let (publisher, _) = publisher(&server);
        for node in 0..10 {
            publisher.publish(Notice {
                key: format!("node-{node}"),
                ..notice()
            });
        }
        publisher.flush(LIMIT).await;
        assert_eq!(server.requests().len(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_waiting_events_are_dropped_and_counted() {
        let server = ApiServer::start(|_| Answer::Never);
        let (publisher, metrics) = publisher(&server);
        for node in 0..=WAITING {
            publisher.publish(Notice {
                key: format!("node-{node}"),
                ..notice()
            });
        }
        assert!(counted(&metrics, "failed"));
        tokio::time::sleep(LIMIT / 2).await;
        assert_eq!(server.requests().len(), CONCURRENCY);
    }
}
