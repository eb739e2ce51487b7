//! Creates the objects of a build. A name that is taken counts as done only when its owner is the artifact, by UID;
//! nothing that is not ours is ever overwritten.

use std::fmt::Debug;

use api_types::conditions::reasons;
use api_types::names::{ANNOTATION_ARTIFACT_UID, FINALIZER_KAIROS_OPERATOR_OSARTIFACT};
use api_types::osartifact::{OSArtifact, OSArtifactStatus};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use kube::api::{Patch, PostParams};
use kube::{Api, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{MANAGER, Requests, code, patch_params, refusal, within};
use crate::build::BuildSettings;
use crate::build::claim::{claim, is_ours};
use crate::build::config_map::config_map;
use crate::build::exporter::{exporter_job, mark};
use crate::build::names::claim_name;
use crate::build::pod::builder_pod;
use crate::decide::is_owned;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::recipe::recipe;
use crate::status::Problem;

/// What became of an object that had to exist.
enum Outcome<K> {
    /// It exists, made by this call or before.
    Exists(Box<K>),
    /// It cannot be created.
    Problem(Problem),
    /// Its namespace is going away: nothing is to be done, and nobody to be told.
    Ending,
}

/// Makes sure that claim, `ConfigMap` and builder Pod exist, in this order. `Some` is what is in the way.
pub async fn start_build(
    requests: &Requests,
    settings: &BuildSettings,
    artifact: &OSArtifact,
    plan: &Plan,
    build: &str,
) -> Result<Option<Problem>> {
    let wanted = claim(artifact);
    let ours = |found: &PersistentVolumeClaim| is_ours(artifact, found);
    match create(requests, &wanted, ours).await? {
        Outcome::Exists(_) => {}
        Outcome::Problem(problem) => return Ok(Some(problem)),
        Outcome::Ending => return Ok(None),
    }
    let recipe = recipe(plan, build, &settings.recipe());
    let wanted = config_map(artifact, &recipe);
    let uid = artifact.uid().unwrap_or_default();
    match create(requests, &wanted, |found: &ConfigMap| {
        is_owned(found.owner_references(), &uid)
    })
    .await?
    {
        Outcome::Exists(found) if found.data == wanted.data => {}
        Outcome::Exists(found) => replace(requests, &found, wanted).await?,
        Outcome::Problem(problem) => return Ok(Some(problem)),
        Outcome::Ending => return Ok(None),
    }
    let pod = builder_pod(artifact, plan, build, settings);
    match create(requests, &pod, |found: &Pod| {
        is_owned(found.owner_references(), &uid)
    })
    .await?
    {
        Outcome::Problem(problem) => Ok(Some(problem)),
        Outcome::Exists(_) | Outcome::Ending => Ok(None),
    }
}

/// Makes sure that the Job of an exporter exists.
pub async fn start_exporter(
    requests: &Requests,
    artifact: &OSArtifact,
    status: &OSArtifactStatus,
    index: usize,
    attempt: i64,
) -> Result<Option<Problem>> {
    let Some(exporter) = artifact.spec.exporters.iter().flatten().nth(index) else {
        return Ok(None);
    };
    let build = status.builder_pod.as_deref().unwrap_or_default();
    let run = mark(
        &crate::build::exporter::exporter_hash(exporter, build),
        attempt,
    );
    let job = exporter_job(
        artifact,
        index,
        exporter,
        &run,
        status.builder_node.as_deref(),
    );
    let uid = artifact.uid().unwrap_or_default();
    match create(requests, &job, |found: &Job| {
        is_owned(found.owner_references(), &uid)
    })
    .await?
    {
        Outcome::Problem(problem) => Ok(Some(Problem {
            exporter: Some(index),
            ..problem
        })),
        Outcome::Exists(_) | Outcome::Ending => Ok(None),
    }
}

async fn create<K>(requests: &Requests, wanted: &K, ours: impl Fn(&K) -> bool) -> Result<Outcome<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize,
{
    let namespace = wanted.namespace().unwrap_or_default();
    let name = wanted.name_any();
    let kind = K::kind(&()).into_owned();
    let action = format!("create {} {namespace}/{name}", kind.to_lowercase());
    requests.may_write(&action)?;
    let api: Api<K> = Api::namespaced(requests.clients.api.clone(), &namespace);
    let params = PostParams {
        dry_run: false,
        field_manager: Some(MANAGER.to_owned()),
    };
    let error = match within(requests, &action, api.create(&params, wanted)).await {
        Ok(created) => return Ok(Outcome::Exists(Box::new(created))),
        Err(error) => error,
    };
    let problem = |reason, is_final, message| {
        Ok(Outcome::Problem(Problem {
            reason,
            message,
            is_final,
            exporter: None,
        }))
    };
    let Some(status) = refusal(&error) else {
        return Err(error);
    };
    let message = status.message.clone();
    match status.code {
        409 => {
            let action = format!("get {} {namespace}/{name}", kind.to_lowercase());
            match within(requests, &action, api.get_opt(&name)).await? {
                Some(found) if ours(&found) => Ok(Outcome::Exists(Box::new(found))),
                Some(_) => problem(
                    reasons::NAME_TAKEN,
                    false,
                    format!(
                        "a {kind} named {name} exists that is not this OSArtifact's, and is left alone; delete or rename it, or choose another name for the OSArtifact"
                    ),
                ),
                None => Err(Error::Crossed {
                    name: format!("{kind} {namespace}/{name}"),
                }),
            }
        }
        403 if is_ending(status) => Ok(Outcome::Ending),
        404 => Ok(Outcome::Ending),
        403 => problem(
            reasons::POD_REFUSED,
            false,
            format!("the API server refuses the {kind} {name}: {message}"),
        ),
        400 | 422 => problem(
            reasons::INVALID_SPEC,
            true,
            format!("the API server does not accept the {kind} {name}: {message}"),
        ),
        _ => Err(error),
    }
}

/// Whether the namespace is being deleted.
fn is_ending(status: &kube::core::Status) -> bool {
    let causes = status
        .details
        .as_ref()
        .map(|details| details.causes.as_slice())
        .unwrap_or_default();
    causes
        .iter()
        .any(|cause| cause.reason == "NamespaceTerminating")
        || status.message.contains("because it is being terminated")
}

async fn replace(requests: &Requests, found: &ConfigMap, mut wanted: ConfigMap) -> Result<()> {
    let namespace = wanted.namespace().unwrap_or_default();
    let name = wanted.name_any();
    let action = format!("replace configmap {namespace}/{name}");
    requests.may_write(&action)?;
    wanted.metadata.resource_version = found.resource_version();
    wanted.metadata.uid = found.uid();
    let api: Api<ConfigMap> = Api::namespaced(requests.clients.api.clone(), &namespace);
    let params = PostParams {
        dry_run: false,
        field_manager: Some(MANAGER.to_owned()),
    };
    within(requests, &action, api.replace(&name, &params, &wanted))
        .await
        .map(|_| ())
}

/// Lets a recorded Job be removed after that many seconds.
pub async fn expire(requests: &Requests, namespace: &str, name: &str, seconds: i32) -> Result<()> {
    let action = format!("set the time to live of job {namespace}/{name}");
    requests.may_write(&action)?;
    let api: Api<Job> = Api::namespaced(requests.clients.api.clone(), namespace);
    let body = json!({"spec": {"ttlSecondsAfterFinished": seconds}});
    let patch = Patch::Merge(&body);
    forgive_missing(within(requests, &action, api.patch(name, &patch_params(), &patch)).await)
}

/// Takes the claim out of the artifact's ownership, and notes whose it was.
pub async fn retain(
    requests: &Requests,
    artifact: &OSArtifact,
    claim: &PersistentVolumeClaim,
) -> Result<()> {
    let namespace = artifact.namespace().unwrap_or_default();
    let name = claim_name(&artifact.name_any());
    let action = format!("retain persistentvolumeclaim {namespace}/{name}");
    requests.may_write(&action)?;
    let uid = artifact.uid();
    let owners = claim.owner_references().iter();
    let kept: Vec<_> = owners
        .filter(|owner| Some(&owner.uid) != uid.as_ref())
        .collect();
    let body = json!({"metadata": {
        "uid": claim.uid(), "resourceVersion": claim.resource_version(), "ownerReferences": kept,
        "annotations": {ANNOTATION_ARTIFACT_UID: uid},
    }});
    let api: Api<PersistentVolumeClaim> = Api::namespaced(requests.clients.api.clone(), &namespace);
    let patch = Patch::Merge(&body);
    forgive_missing(within(requests, &action, api.patch(&name, &patch_params(), &patch)).await)
}

/// Lets an artifact go that kairos-operator held. Our own objects go with their owner reference.
pub async fn release(requests: &Requests, artifact: &OSArtifact) -> Result<()> {
    let finalizers = artifact.finalizers();
    let kept: Vec<&String> = finalizers
        .iter()
        .filter(|name| *name != FINALIZER_KAIROS_OPERATOR_OSARTIFACT)
        .collect();
    if kept.len() == finalizers.len() {
        return Ok(());
    }
    let namespace = artifact.namespace().unwrap_or_default();
    let name = artifact.name_any();
    let action = format!("remove kairos-operator's finalizer from osartifact {namespace}/{name}");
    requests.may_write(&action)?;
    let body = json!({"metadata": {
        "uid": artifact.uid(), "resourceVersion": artifact.resource_version(), "finalizers": kept,
    }});
    let api: Api<OSArtifact> = Api::namespaced(requests.clients.api.clone(), &namespace);
    let patch = Patch::Merge(&body);
    forgive_missing(within(requests, &action, api.patch(&name, &patch_params(), &patch)).await)
}

/// 404: gone. 409: changed; the watch event of that change brings another pass.
fn forgive_missing<T>(result: Result<T>) -> Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if matches!(code(&error), Some(404 | 409)) => Ok(()),
        Err(error) => Err(error),
    }
}
