//! The Lease that holds the control plane's one place (see [`crate::control_plane`]).

use api_types::nodeop::NodeOp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::nodes::Guarded;
use super::{MANAGER, Requests, display, refusal, within};
use crate::claim::Holder;
use crate::control_plane::{LEASE, Place};
use crate::error::{Error, Result};

/// The Lease as it was read.
#[derive(Clone, Debug, Default)]
pub struct PlaceLease {
    /// Who it names.
    pub place: Option<Place>,
    /// Guards the next write; `None` where there is no Lease yet.
    version: Option<String>,
}

/// Reads who has the place.
pub async fn read_place(requests: &Requests) -> Result<PlaceLease> {
    let action = format!("get lease {}/{LEASE}", requests.lease_namespace);
    let Some(lease) = within(requests, &action, api(requests).get_opt(LEASE)).await? else {
        return Ok(PlaceLease::default());
    };
    let identity = lease.spec.and_then(|spec| spec.holder_identity);
    Ok(PlaceLease {
        place: identity.as_deref().and_then(Place::parse),
        version: lease.metadata.resource_version,
    })
}

/// Takes the place for `node`, which was free when `read` was read.
pub async fn take_place(
    requests: &Requests,
    node_op: &NodeOp,
    read: &PlaceLease,
    node: &str,
    now: Timestamp,
) -> Result<Guarded> {
    let action = format!(
        "take lease {}/{LEASE} for nodeop {}",
        requests.lease_namespace,
        display(node_op)
    );
    requests.may_write(&action)?;
    let place = Place {
        holder: Holder::of(node_op),
        node: node.to_owned(),
    };
    let spec = json!({"holderIdentity": place.to_string(), "acquireTime": MicroTime(now)});
    let result = if let Some(version) = &read.version {
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": spec});
        patch_lease(requests, &action, &patch).await
    } else {
        let lease = serde_json::from_value(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": LEASE, "namespace": requests.lease_namespace}, "spec": spec,
        }));
        let lease: Lease = lease.map_err(|source| Error::Serialise {
            name: display(node_op),
            source,
        })?;
        let params = PostParams {
            dry_run: false,
            field_manager: Some(MANAGER.to_owned()),
        };
        within(requests, &action, api(requests).create(&params, &lease))
            .await
            .map(|_| ())
    };
    guarded(result)
}

/// Frees the place if `node_op` still has it: for `node`, or without one for whichever node. Another process that believes
/// to lead may have taken it for the next node already, and works on that.
pub async fn free_place(
    requests: &Requests,
    node_op: &NodeOp,
    node: Option<&str>,
) -> Result<Guarded> {
    let read = read_place(requests).await?;
    let ours = read.place.is_some_and(|place| {
        place.holder == Holder::of(node_op) && node.is_none_or(|node| place.node == node)
    });
    if !ours || planted!(PlaceKept) {
        return Ok(Guarded::Done);
    }
    let action = format!(
        "free lease {}/{LEASE} of nodeop {}",
        requests.lease_namespace,
        display(node_op)
    );
    requests.may_write(&action)?;
    let patch = json!({
        "metadata": {"resourceVersion": read.version}, "spec": {"holderIdentity": null, "acquireTime": null},
    });
    guarded(patch_lease(requests, &action, &patch).await)
}

async fn patch_lease(requests: &Requests, action: &str, patch: &serde_json::Value) -> Result<()> {
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let api = api(requests);
    let patch = Patch::Merge(patch);
    let request = api.patch(LEASE, &params, &patch);
    within(requests, action, request).await.map(|_| ())
}

fn guarded(result: Result<()>) -> Result<Guarded> {
    match result {
        Ok(()) => Ok(Guarded::Done),
        Err(error) if matches!(refusal(&error), Some((404 | 409, _))) => Ok(Guarded::Changed),
        Err(error) => Err(error),
    }
}

fn api(requests: &Requests) -> Api<Lease> {
    Api::namespaced(requests.clients.api.clone(), &requests.lease_namespace)
}

#[cfg(test)]
mod tests {
    use http::{Method, Request, Response};
    use kube::Client;
    use kube::client::Body;

    use super::*;
    use crate::testing::{node_op, requests};

    /// Frees the place of an operation that holds it for `c2`. Whether the Lease was written.
    async fn frees(node: Option<&str>) -> bool {
        let node_op = node_op("command: [run]");
        let holder = format!("{} c2", Holder::of(&node_op));
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": LEASE, "resourceVersion": "7"}, "spec": {"holderIdentity": holder},
        });
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let requests = requests(Client::new(service, "default"));
        let server = tokio::spawn(async move {
            let mut written = false;
            while let Some((request, responder)) = handle.next_request().await {
                written |= request.method() == Method::PATCH;
                let body = Body::from(serde_json::to_vec(&lease).unwrap());
                responder.send_response(Response::new(body));
            }
            written
        });
        let freed = free_place(&requests, &node_op, node).await.unwrap();
        assert_eq!(freed, Guarded::Done);
        drop(requests);
        server.await.unwrap()
    }

    #[tokio::test]
    async fn a_place_that_was_taken_for_the_next_node_is_not_freed_for_the_last_one() {
        assert!(frees(Some("c2")).await);
        assert!(frees(None).await);
        assert!(!frees(Some("c1")).await);
    }
}
