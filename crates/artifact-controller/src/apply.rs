//! Carries out a decision: the status write, then what follows it. Decides nothing.

mod objects;

use std::future::Future;
use std::time::Duration;

use api_types::osartifact::{OSArtifact, OSArtifactStatus};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::{Api, ResourceExt as _};
use operator_runtime::client::{Clients, deadline};
use operator_runtime::lease::Leadership;

use crate::error::{Error, Result};
use crate::status::patch_body;

pub use objects::{expire, release, retain, start_build, start_exporter};

/// Field manager of our writes.
const MANAGER: &str = "artifact-controller";

/// How requests are made.
#[derive(Clone)]
pub struct Requests {
    /// Clients for the API server.
    pub clients: Clients,
    /// The longest wait for one answer.
    pub timeout: Duration,
    /// Whether this replica may write.
    pub leadership: Leadership,
}

impl Requests {
    /// Refuses to go on with a write when this replica has lost the lease, as after a long freeze.
    fn may_write(&self, action: &str) -> Result<()> {
        if self.leadership.is_leading() {
            return Ok(());
        }
        Err(Error::NotLeader {
            action: action.to_owned(),
        })
    }
}

/// Awaits one request for at most the timeout.
pub async fn within<T>(
    requests: &Requests,
    action: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T> {
    Ok(deadline(requests.timeout, action, request).await?)
}

/// The API server's answer, if it answered with an error.
fn refusal(error: &Error) -> Option<&kube::core::Status> {
    match error {
        Error::Request(call) => call.status(),
        _ => None,
    }
}

fn code(error: &Error) -> Option<u16> {
    refusal(error).map(|status| status.code)
}

fn patch_params() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// Writes `after` over the status of `artifact`. `None`: somebody else has written since, decide anew.
pub async fn write_status(
    requests: &Requests,
    artifact: &OSArtifact,
    after: &OSArtifactStatus,
) -> Result<Option<OSArtifact>> {
    let namespace = artifact.namespace().unwrap_or_default();
    let name = artifact.name_any();
    let action = format!("write the status of osartifact {namespace}/{name}");
    requests.may_write(&action)?;
    let before = artifact.status.clone().unwrap_or_default();
    let uid = artifact.uid().unwrap_or_default();
    let version = artifact.resource_version().unwrap_or_default();
    let body = patch_body(&uid, &version, &before, after).map_err(|source| Error::Serialise {
        name: format!("{namespace}/{name}"),
        source,
    })?;
    let api: Api<OSArtifact> = Api::namespaced(requests.clients.api.clone(), &namespace);
    let patch = Patch::Merge(&body);
    let params = patch_params();
    match within(requests, &action, api.patch_status(&name, &params, &patch)).await {
        Ok(written) => Ok(Some(written)),
        // 404: deleted meanwhile. 409: changed meanwhile.
        Err(error) if matches!(code(&error), Some(404 | 409)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes the object of that name, if it is still the one of that UID.
pub async fn delete<K>(requests: &Requests, namespace: &str, name: &str, uid: &str) -> Result<()>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let action = format!("delete {} {namespace}/{name}", K::kind(&()).to_lowercase());
    requests.may_write(&action)?;
    let api: Api<K> = Api::namespaced(requests.clients.api.clone(), namespace);
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match within(requests, &action, api.delete(name, &params)).await {
        Ok(_) => Ok(()),
        // 404: gone. 409: another object has the name now.
        Err(error) if matches!(code(&error), Some(404 | 409)) => Ok(()),
        Err(error) => Err(error),
    }
}
