//! The Pods that this controller creates itself: checks and reboots.

use std::sync::Arc;

use api_types::names::ANNOTATION_REBOOT_AUTHORIZED;
use api_types::nodeop::NodeOp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;

use super::{MANAGER, Requests, display, namespace, refusal, within};
use crate::error::{Error, Result};
use crate::status::StartProblem;
use crate::watched::WatchedPod;

/// What became of a Pod that must exist.
#[derive(Debug)]
pub enum PodThere {
    /// It exists and is ours.
    Exists(Arc<WatchedPod>),
    /// It cannot be created.
    Problem(StartProblem),
}

/// Makes sure that `pod` exists. A name that is taken counts only when the Pod's controller is this NodeOp, by uid.
pub async fn create_pod(requests: &Requests, node_op: &NodeOp, pod: &Pod) -> Result<PodThere> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let action = format!("create pod {}/{name}", namespace(node_op));
    requests.may_write(&action)?;
    let api: Api<Pod> = Api::namespaced(requests.clients.api.clone(), namespace(node_op));
    let params = PostParams {
        dry_run: false,
        field_manager: Some(MANAGER.to_owned()),
    };
    let error = match within(requests, &action, api.create(&params, pod)).await {
        Ok(created) => return Ok(PodThere::Exists(Arc::new(created.into()))),
        Err(error) => error,
    };
    match refusal(&error) {
        Some((409, _)) => meet(requests, &api, node_op, &name).await,
        Some((400 | 422, message)) => Ok(PodThere::Problem(StartProblem::Final(format!(
            "Pod refused: {message}"
        )))),
        Some((403, message)) => Ok(PodThere::Problem(StartProblem::Passing(format!(
            "Pod refused: {message}"
        )))),
        _ => Err(error),
    }
}

async fn meet(
    requests: &Requests,
    api: &Api<Pod>,
    node_op: &NodeOp,
    name: &str,
) -> Result<PodThere> {
    let action = format!("get pod {}/{name}", namespace(node_op));
    let Some(found) = within(requests, &action, api.get_opt(name)).await? else {
        return Err(Error::Crossed {
            name: format!("{}/{name}", namespace(node_op)),
        });
    };
    let pod = WatchedPod::from(found);
    let ours = pod
        .controller_owner()
        .is_some_and(|owner| Some(&owner.uid) == node_op.metadata.uid.as_ref());
    if ours {
        return Ok(PodThere::Exists(Arc::new(pod)));
    }
    Ok(PodThere::Problem(StartProblem::Final(format!(
        "a Pod named {name} exists that is not this NodeOp's; delete it and create a new NodeOp"
    ))))
}

/// Deletes exactly this Pod: one of the same name that came since is another one.
pub async fn delete_pod(requests: &Requests, node_op: &NodeOp, pod: &WatchedPod) -> Result<()> {
    delete_pod_within(requests, node_op, pod, None).await
}

/// The same, with another grace period than the Pod's own.
pub async fn delete_pod_within(
    requests: &Requests,
    node_op: &NodeOp,
    pod: &WatchedPod,
    grace_seconds: Option<u32>,
) -> Result<()> {
    let name = pod.name();
    let action = format!("delete pod {}/{name}", namespace(node_op));
    requests.may_write(&action)?;
    let api: Api<Pod> = Api::namespaced(requests.clients.api.clone(), namespace(node_op));
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: pod.metadata.uid.clone(),
            resource_version: None,
        }),
        grace_period_seconds: grace_seconds,
        ..DeleteParams::default()
    };
    match within(requests, &action, api.delete(name, &params)).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(refusal(&error), Some((404 | 409, _))) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Tells the reboot Pod that it may end `boot`. A Pod that is gone is made anew by a later pass.
pub async fn authorize(
    requests: &Requests,
    node_op: &NodeOp,
    pod: &WatchedPod,
    boot: &str,
) -> Result<()> {
    let name = pod.name();
    let action = format!(
        "authorise the reboot of nodeop {} in pod {name}",
        display(node_op)
    );
    requests.may_write(&action)?;
    let patch = json!({"metadata": {
        "uid": pod.metadata.uid,
        "annotations": {ANNOTATION_REBOOT_AUTHORIZED: boot},
    }});
    let api: Api<Pod> = Api::namespaced(requests.clients.api.clone(), namespace(node_op));
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(&patch);
    match within(requests, &action, api.patch_metadata(name, &params, &patch)).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(refusal(&error), Some((404 | 409, _))) => Ok(()),
        Err(error) => Err(error),
    }
}
