//! Reads and writes the Lease object. Every write is guarded: a creation fails where the Lease exists, a change where its
//! resourceVersion is no longer the one that was read.

use super::LeaseSnapshot;
use crate::client::{CallError, deadline};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use std::time::Duration;

/// Where a Lease without a usable duration is read.
const FALLBACK_DURATION: Duration = Duration::from_secs(15);

/// One Lease on the API server.
#[derive(Clone)]
pub struct LeaseStore {
    api: Api<Lease>,
    namespace: String,
    name: String,
    limit: Duration,
}

impl std::fmt::Debug for LeaseStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("LeaseStore")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a holder writes.
#[derive(Debug, Clone)]
pub(super) struct Claim<'a> {
    pub(super) holder: &'a str,
    pub(super) duration: Duration,
    pub(super) acquired_at: Timestamp,
    pub(super) renewed_at: Timestamp,
    pub(super) transitions: i32,
}

impl LeaseStore {
    /// The Lease of that name; `client` must not retry by itself, `limit` bounds each request.
    pub fn new(client: Client, namespace: &str, name: &str, limit: Duration) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            limit,
        }
    }

    /// The Lease, or `None` where there is none.
    pub(super) async fn read(&self) -> Result<Option<LeaseSnapshot>, CallError> {
        let lease = deadline(self.limit, self.what("read"), self.api.get_opt(&self.name)).await?;
        Ok(lease.as_ref().map(snapshot))
    }

    pub(super) async fn create(&self, claim: &Claim<'_>) -> Result<LeaseSnapshot, CallError> {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(claim.holder.to_owned()),
                lease_duration_seconds: Some(whole_seconds(claim.duration)),
                acquire_time: Some(MicroTime(claim.acquired_at)),
                renew_time: Some(MicroTime(claim.renewed_at)),
                lease_transitions: Some(claim.transitions),
                ..LeaseSpec::default()
            }),
        };
        let parameters = PostParams::default();
        let created = deadline(
            self.limit,
            self.what("create"),
            self.api.create(&parameters, &lease),
        )
        .await?;
        Ok(snapshot(&created))
    }

    /// Changes the Lease, if it still has that resourceVersion. A patch, because a PUT of our type would drop fields that
    /// it does not know.
    pub(super) async fn change(
        &self,
        resource_version: &str,
        claim: &Claim<'_>,
    ) -> Result<LeaseSnapshot, CallError> {
        let patch = json!({
            "metadata": { "resourceVersion": resource_version },
            "spec": {
                "holderIdentity": claim.holder,
                "leaseDurationSeconds": whole_seconds(claim.duration),
                "acquireTime": MicroTime(claim.acquired_at),
                "renewTime": MicroTime(claim.renewed_at),
                "leaseTransitions": claim.transitions,
            },
        });
        let parameters = PatchParams::default();
        let patch = Patch::Merge(&patch);
        let changed = deadline(
            self.limit,
            self.what("renew"),
            self.api.patch(&self.name, &parameters, &patch),
        )
        .await?;
        Ok(snapshot(&changed))
    }

    /// Namespace and name.
    pub(super) fn place(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn what(&self, verb: &str) -> String {
        format!("{verb} lease {}", self.place())
    }
}

fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX).max(1)
}

fn snapshot(lease: &Lease) -> LeaseSnapshot {
    let spec = lease.spec.clone().unwrap_or_default();
    let duration = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
        .map_or(FALLBACK_DURATION, Duration::from_secs);
    LeaseSnapshot {
        resource_version: lease.metadata.resource_version.clone().unwrap_or_default(),
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        duration,
        acquired_at: spec.acquire_time.map(|time| time.0),
        renewed_at: spec.renew_time.map(|time| time.0),
        transitions: spec.lease_transitions.unwrap_or(0),
    }
}
