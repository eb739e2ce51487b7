//! Requests by verb and resource, from the API server's audit log: exact, whatever the machine does meanwhile.

use std::collections::BTreeMap;

use e2e::cluster::AuditEvent;
use serde::Serialize;

use crate::figures::number;

/// Requests of one client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// By verb and resource, such as `create jobs`; leases and Events are not among them.
    pub by_kind: BTreeMap<String, usize>,
    /// Events written.
    pub events: usize,
    /// Requests on leases.
    pub leases: usize,
    /// Answers with a status of 400 and above, by verb, resource and status.
    pub refused: BTreeMap<String, usize>,
}

impl Requests {
    /// Of these entries of the audit log.
    pub fn of(events: &[AuditEvent]) -> Self {
        let mut requests = Self::default();
        for event in events {
            requests.add(event);
        }
        requests
    }

    fn add(&mut self, event: &AuditEvent) {
        let kind = kind(event);
        if event.code() >= 400 {
            *self
                .refused
                .entry(format!("{kind} {}", event.code()))
                .or_default() += 1;
        }
        match event.object_ref.resource.as_str() {
            "leases" => self.leases += 1,
            "events" => self.events += 1,
            _ => *self.by_kind.entry(kind).or_default() += 1,
        }
    }

    /// All but leases and Events.
    pub fn total(&self) -> usize {
        self.by_kind.values().sum()
    }

    /// All but leases and Events, for each of `nodes`.
    pub fn per_node(&self, nodes: usize) -> f64 {
        number(self.total()) / number(nodes)
    }
}

fn kind(event: &AuditEvent) -> String {
    let object = &event.object_ref;
    let dry = if event.request_uri.contains("dryRun=All") {
        " (dry run)"
    } else {
        ""
    };
    match (object.resource.as_str(), object.subresource.as_str()) {
        ("", _) => format!("{} {}", event.verb, path(&event.request_uri)),
        (resource, "") => format!("{} {resource}{dry}", event.verb),
        (resource, part) => format!("{} {resource}/{part}{dry}", event.verb),
    }
}

fn path(uri: &str) -> &str {
    uri.split_once('?').map_or(uri, |(path, _)| path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(verb: &str, resource: &str, part: &str, code: u16, uri: &str) -> AuditEvent {
        serde_json::from_value(json!({
            "stage": "ResponseComplete", "verb": verb, "requestURI": uri, "user": {"username": "u"}, "stageTimestamp": "t",
            "objectRef": {"resource": resource, "subresource": part}, "responseStatus": {"code": code},
        }))
        .unwrap()
    }

    #[test]
    fn events_and_leases_are_counted_apart_and_dry_runs_by_their_name() {
        let mut requests = Requests::default();
        requests.add(&event("create", "jobs", "", 201, "/x"));
        requests.add(&event("create", "jobs", "", 409, "/x"));
        requests.add(&event("patch", "nodeops", "status", 200, "/x"));
        requests.add(&event("create", "pods", "", 201, "/x?&dryRun=All"));
        requests.add(&event("create", "events", "", 201, "/x"));
        requests.add(&event("patch", "leases", "", 200, "/x"));
        requests.add(&event("get", "", "", 200, "/version?x"));
        let expected = [
            ("create jobs", 2),
            ("create pods (dry run)", 1),
            ("get /version", 1),
            ("patch nodeops/status", 1),
        ];
        let expected = expected.map(|(kind, count)| (kind.to_owned(), count));
        assert_eq!(requests.by_kind, expected.into());
        assert_eq!((requests.events, requests.leases), (1, 1));
        assert_eq!(requests.refused, [("create jobs 409".to_owned(), 1)].into());
        assert!((requests.per_node(5) - 1.0).abs() < 1e-9);
    }
}
