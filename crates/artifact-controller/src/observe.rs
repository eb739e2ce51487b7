//! Reads what one pass needs: the artifact itself live, because its status says what may be created; the rest from
//! caches, where "not there" is asked again if a verdict hangs on it.

use std::sync::Arc;

use api_types::names::LABEL_ARTIFACT;
use api_types::osartifact::{ArtifactPhase, OSArtifact};
use futures::future;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Resource, ResourceExt as _};

use crate::apply::{Requests, within};
use crate::build::names::claim_name;
use crate::decide::is_owned;
use crate::error::Result;

/// The watched objects, all with the artifact's label.
#[derive(Clone)]
pub struct Caches {
    /// Builder Pods, and Pods of exporters.
    pub pods: Store<Pod>,
    /// Exporter Jobs.
    pub jobs: Store<Job>,
    /// Volume claims.
    pub claims: Store<PersistentVolumeClaim>,
}

impl Caches {
    /// Waits until they hold what is there; false when a watch has ended.
    pub async fn filled(&self) -> bool {
        let filled = future::join3(
            self.pods.wait_until_ready(),
            self.jobs.wait_until_ready(),
            self.claims.wait_until_ready(),
        );
        let (pods, jobs, claims) = filled.await;
        pods.is_ok() && jobs.is_ok() && claims.is_ok()
    }
}

/// What [`crate::decide::Snapshot`] is made of.
#[derive(Debug, Default)]
pub struct Observed {
    /// The claim of the artifact's name.
    pub claim: Option<Arc<PersistentVolumeClaim>>,
    /// Pods with its label.
    pub pods: Vec<Arc<Pod>>,
    /// Jobs that are its own.
    pub jobs: Vec<Arc<Job>>,
}

/// The artifact as the API server holds it, if it is still the one of that UID.
pub async fn artifact(
    requests: &Requests,
    namespace: &str,
    name: &str,
    uid: &str,
) -> Result<Option<OSArtifact>> {
    let api: Api<OSArtifact> = Api::namespaced(requests.clients.api.clone(), namespace);
    let action = format!("get osartifact {namespace}/{name}");
    let found = within(requests, &action, api.get_opt(name)).await?;
    Ok(found.filter(|found| found.uid().as_deref() == Some(uid)))
}

/// Reads the snapshot for `artifact`.
pub async fn observe(
    requests: &Requests,
    caches: &Caches,
    artifact: &OSArtifact,
) -> Result<Observed> {
    let namespace = artifact.namespace().unwrap_or_default();
    let name = artifact.name_any();
    let uid = artifact.uid().unwrap_or_default();
    let claim = ObjectRef::new(&claim_name(&name)).within(&namespace);
    let mut pods: Vec<Arc<Pod>> = labelled(&caches.pods, &namespace, &name);
    if let Some(pod) = confirm_missing(requests, artifact, &pods).await? {
        pods.push(Arc::new(pod));
    }
    let jobs = labelled(&caches.jobs, &namespace, &name);
    Ok(Observed {
        claim: caches.claims.get(&claim),
        pods,
        jobs: jobs
            .into_iter()
            .filter(|job| is_owned(job.owner_references(), &uid))
            .collect(),
    })
}

/// Objects of one namespace: two artifacts of one name in two namespaces never see each other.
fn labelled<K>(store: &Store<K>, namespace: &str, name: &str) -> Vec<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let mut found = store.state();
    found.retain(|object| {
        object.namespace().as_deref() == Some(namespace)
            && object
                .labels()
                .get(LABEL_ARTIFACT)
                .is_some_and(|label| label == name)
    });
    found
}

/// Asks the API server about the builder Pod that the status says is there and no cache shows.
async fn confirm_missing(
    requests: &Requests,
    artifact: &OSArtifact,
    pods: &[Arc<Pod>],
) -> Result<Option<Pod>> {
    let status = artifact.status.as_ref();
    let building = status.is_some_and(|status| status.phase == Some(ArtifactPhase::Building));
    let name = status
        .and_then(|status| status.builder_pod.clone())
        .unwrap_or_default();
    if !building || name.is_empty() || pods.iter().any(|pod| pod.name_any() == name) {
        return Ok(None);
    }
    let namespace = artifact.namespace().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(requests.clients.api.clone(), &namespace);
    let action = format!("get pod {namespace}/{name}");
    within(requests, &action, api.get_opt(&name)).await
}
