//! The API server's audit log: who asked for what, and what the answer was. Counts of requests come from here, exactly.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

/// Answered requests, in the order of their answers. Each method but the last narrows the selection.
///
/// ```no_run
/// # fn example(cluster: &e2e::cluster::Cluster) -> anyhow::Result<()> {
/// let created = cluster.audit()?.verb("create").resource("jobs").succeeded().count();
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Audit {
    events: Vec<AuditEvent>,
}

/// One request and its answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    stage: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Path and query of the request.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// Who asked.
    pub user: AuditUser,
    /// The program that asked, as it calls itself.
    #[serde(default)]
    pub user_agent: String,
    /// What was asked for; absent for paths that are no objects, such as /readyz.
    #[serde(default)]
    pub object_ref: AuditObject,
    response_status: Option<AuditStatus>,
    /// When the answer was complete (for a watch: when it began), RFC 3339.
    pub stage_timestamp: String,
}

/// Who asked.
#[derive(Debug, Clone, Deserialize)]
pub struct AuditUser {
    /// The user's name, such as `system:serviceaccount:NAMESPACE:NAME`; empty where nobody was recognised.
    #[serde(default)]
    pub username: String,
}

/// What was asked for; fields that do not apply are empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditObject {
    /// Plural name, such as `jobs`.
    pub resource: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object; empty for a create whose name the URL does not hold.
    pub name: String,
    /// API group; empty for core.
    pub api_group: String,
    /// Such as `status`.
    pub subresource: String,
}

#[derive(Debug, Clone, Deserialize)]
struct AuditStatus {
    #[serde(default)]
    code: u16,
}

impl AuditEvent {
    /// HTTP status of the answer; 0 when there was none.
    pub fn code(&self) -> u16 {
        self.response_status
            .as_ref()
            .map_or(0, |status| status.code)
    }

    /// A finished request, or the beginning of a watch (whose end says nothing new).
    fn counts(&self) -> bool {
        (self.verb == "watch") == (self.stage == "ResponseStarted")
    }
}

impl Audit {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        Self::parse(&text(path)?, |_| true)
    }

    pub(super) fn read_of(path: &Path, user: &str) -> anyhow::Result<Self> {
        // Most lines need not be understood for that.
        Ok(Self::parse(&text(path)?, |line| line.contains(user))?.user(user))
    }

    fn parse(text: &str, keep: impl Fn(&str) -> bool) -> anyhow::Result<Self> {
        // The last line may still be being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let events = whole
            .lines()
            .filter(|line| keep(line))
            .map(serde_json::from_str)
            .collect::<Result<Vec<AuditEvent>, _>>()
            .context("a line of the audit log has an unknown shape")?;
        Ok(Self {
            events: events.into_iter().filter(AuditEvent::counts).collect(),
        })
    }

    /// The selected events.
    pub fn events(&self) -> &[AuditEvent] {
        &self.events
    }

    /// How many events are selected.
    pub fn count(&self) -> usize {
        self.events.len()
    }

    /// Those for which `keep` is true.
    #[must_use]
    pub fn filter(mut self, keep: impl Fn(&AuditEvent) -> bool) -> Self {
        self.events.retain(keep);
        self
    }

    /// Those of one user.
    #[must_use]
    pub fn user(self, name: &str) -> Self {
        self.filter(|event| event.user.username == name)
    }

    /// Those of one ServiceAccount.
    #[must_use]
    pub fn service_account(self, namespace: &str, name: &str) -> Self {
        self.user(&format!("system:serviceaccount:{namespace}:{name}"))
    }

    /// Those with this verb.
    #[must_use]
    pub fn verb(self, verb: &str) -> Self {
        self.filter(|event| event.verb == verb)
    }

    /// Those that change something.
    #[must_use]
    pub fn writes(self) -> Self {
        self.filter(|event| !matches!(event.verb.as_str(), "get" | "list" | "watch"))
    }

    /// Those on this resource itself (`jobs`), or on a subresource of it (`nodeops/status`).
    #[must_use]
    pub fn resource(self, resource: &str) -> Self {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        self.filter(|event| {
            event.object_ref.resource == resource && event.object_ref.subresource == subresource
        })
    }

    /// Those in this namespace.
    #[must_use]
    pub fn namespace(self, namespace: &str) -> Self {
        self.filter(|event| event.object_ref.namespace == namespace)
    }

    /// Those on the object of this name.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.filter(|event| event.object_ref.name == name)
    }

    /// Those answered with this HTTP status.
    #[must_use]
    pub fn code(self, code: u16) -> Self {
        self.filter(|event| event.code() == code)
    }

    /// Those answered with a 2xx status.
    #[must_use]
    pub fn succeeded(self) -> Self {
        self.filter(|event| (200..300).contains(&event.code()))
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path)
        .with_context(|| format!("failed to read the audit log {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(stage: &str, verb: &str, resource: &str, code: u16) -> String {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        serde_json::json!({
            "stage": stage, "verb": verb, "requestURI": "/x", "user": {"username": "u"}, "stageTimestamp": "t",
            "objectRef": {"resource": resource, "subresource": subresource}, "responseStatus": {"code": code},
        })
        .to_string()
            + "\n"
    }

    #[test]
    fn a_watch_counts_once_and_an_unfinished_line_not_at_all() {
        let text = line("ResponseStarted", "watch", "jobs", 200)
            + &line("ResponseComplete", "watch", "jobs", 200)
            + &line("ResponseComplete", "create", "jobs", 201)
            + &line("ResponseComplete", "create", "jobs", 409)
            + &line("ResponseComplete", "patch", "nodeops/status", 200)
            + &line("ResponseComplete", "get", "pods", 401).replace("\"username\":\"u\"", "")
            + "{\"stage\":\"Resp";
        let audit = Audit::parse(&text, |_| true).unwrap();
        assert_eq!(audit.count(), 5);
        assert_eq!(audit.clone().code(401).events()[0].user.username, "");
        assert_eq!(audit.clone().verb("watch").count(), 1);
        assert_eq!(audit.clone().writes().count(), 3);
        assert_eq!(
            audit
                .clone()
                .verb("create")
                .resource("jobs")
                .succeeded()
                .count(),
            1
        );
        assert_eq!(audit.clone().resource("nodeops").count(), 0);
        assert_eq!(
            audit.resource("nodeops/status").user("u").code(200).count(),
            1
        );
    }
}
