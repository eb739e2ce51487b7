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

/// Events written at the same time; more wait, within their deadline.
const CONCURRENCY: usize = 4;
/// Deadline of one Event, the wait for its turn included.
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
    /// It could not be written; counted and logged. Nothing else depends on it.
    Failed,
}

/// Publishes Events in the name of one process. Clones share its limits.
#[derive(Clone)]
pub struct EventPublisher {
    client: Client,
    controller: String,
    instance: String,
    turns: Arc<Semaphore>,
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
            metrics,
        }
    }

    /// Publishes one Event, and returns when it is written or given up: five seconds at the most.
    pub async fn publish(&self, notice: Notice) -> Published {
        let event = build(&notice, &self.controller, &self.instance, Timestamp::now());
        let namespace = event.metadata.namespace.as_deref().unwrap_or("default");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let what = format!(
            "publish event {namespace}/{}",
            event.metadata.name.as_deref().unwrap_or_default()
        );
        let parameters = PostParams::default();
        let written = deadline(LIMIT, what, async {
            let _turn = self.turns.acquire().await;
            api.create(&parameters, &event).await
        })
        .await;
        let (published, outcome) = match written {
            Ok(_) => (Published::Created, EventOutcome::created),
            Err(error) if error.is_already_exists() => {
                (Published::Repeated, EventOutcome::repeated)
            }
            Err(error) => {
                tracing::warn!(reason = notice.reason, %error, "an event is lost");
                (Published::Failed, EventOutcome::failed)
            }
        };
        self.metrics
            .events
            .get_or_create(&EventLabels { outcome })
            .inc();
        published
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
