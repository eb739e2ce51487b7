//! What the operator needs on a cluster: CRDs, namespace, ServiceAccount, rights, and the Deployment where it runs there.

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};

use crate::api::{until, within};

/// Namespace, ServiceAccount and Deployment name, as in deploy/.
pub(crate) const NAMESPACE: &str = "kairos-operator";
pub(crate) const CONTROLLER: &str = "nodeop-controller";
pub(crate) const PRIORITY_CLASS: &str = "kairos-operations";

const OURS: &str = include_str!("../../../deploy/default/namespace.yaml");
/// The same files that `kubectl apply -k deploy/default` installs.
const RIGHTS: [&str; 4] = [
    include_str!("../../../deploy/nodeop-controller/service-account.yaml"),
    include_str!("../../../deploy/nodeop-controller/cluster-role.yaml"),
    include_str!("../../../deploy/nodeop-controller/lease-role.yaml"),
    include_str!("../../../deploy/nodeop-controller/priority-class.yaml"),
];
const DEPLOYMENT: &str = include_str!("../../../deploy/nodeop-controller/deployment.yaml");

const MANAGER: &str = "kairos-demo";

/// Applies the CRDs and waits until the API server serves them.
pub(crate) async fn crds(client: &Client) -> anyhow::Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in api_types::crds::all() {
        let name = crd.name_any();
        let parameters = PatchParams::apply(MANAGER).force();
        within(
            &format!("apply the CRD {name}"),
            api.patch(&name, &parameters, &Patch::Apply(&crd)),
        )
        .await?;
        until(
            &format!("the CRD {name} is served"),
            Duration::from_secs(30),
            async || {
                let crd = within(&format!("get the CRD {name}"), api.get(&name)).await?;
                let conditions = crd
                    .status
                    .and_then(|status| status.conditions)
                    .unwrap_or_default();
                let established = conditions
                    .iter()
                    .any(|known| known.type_ == "Established" && known.status == "True");
                Ok(established.then_some(()))
            },
        )
        .await?;
    }
    Ok(())
}

/// Applies the namespace of the controllers, with its Pod Security level.
pub(crate) async fn namespace(client: &Client) -> anyhow::Result<()> {
    for object in objects(&[OURS])? {
        apply(client, &object).await?;
    }
    Ok(())
}

/// Applies namespace, ServiceAccount, roles and bindings of the controller.
pub(crate) async fn rights(client: &Client) -> anyhow::Result<()> {
    namespace(client).await?;
    for object in objects(&RIGHTS)? {
        apply(client, &object).await?;
    }
    Ok(())
}

/// Applies the controller's Deployment with this image and waits until it is available.
pub(crate) async fn deployment(client: &Client, image: &str) -> anyhow::Result<()> {
    for mut object in objects(&[DEPLOYMENT])? {
        let slot = object
            .data
            .pointer_mut("/spec/template/spec/containers/0/image")
            .context(
                "failed to set the image: deploy/nodeop-controller/deployment.yaml names none",
            )?;
        *slot = image.into();
        apply(client, &object).await?;
    }
    available(client, CONTROLLER).await
}

/// Waits until a controller's Deployment runs as it was applied last.
pub(crate) async fn available(client: &Client, name: &str) -> anyhow::Result<()> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let what = format!(
        "the Deployment {NAMESPACE}/{name} becomes available (see `kubectl -n {NAMESPACE} get pods`)"
    );
    until(&what, Duration::from_mins(3), async || {
        let deployment = within(&format!("get the Deployment {name}"), api.get(name)).await?;
        let current = deployment.metadata.generation;
        let status = deployment.status.unwrap_or_default();
        let available =
            status.observed_generation == current && status.available_replicas >= Some(1);
        Ok(available.then_some(()))
    })
    .await
}

/// Whether the cluster has the controller as a Deployment.
pub(crate) async fn is_deployed(client: &Client) -> anyhow::Result<bool> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let found = within(
        &format!("look for the Deployment {NAMESPACE}/{CONTROLLER}"),
        api.get_opt(CONTROLLER),
    )
    .await?;
    Ok(found.is_some())
}

/// Waits until Pods can be created in a namespace: a new one gets its ServiceAccount `default` a moment later.
pub(crate) async fn default_service_account(
    client: &Client,
    namespace: &str,
) -> anyhow::Result<()> {
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    until(
        &format!("the ServiceAccount {namespace}/default exists"),
        Duration::from_mins(1),
        async || {
            let found = within("get the ServiceAccount default", api.get_opt("default")).await?;
            Ok(found.map(|_| ()))
        },
    )
    .await
}

/// The objects in YAML files with one or more documents.
fn objects(files: &[&str]) -> anyhow::Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for file in files {
        let documents: Vec<DynamicObject> =
            serde_saphyr::from_multiple(file).context("failed to read a manifest in deploy/")?;
        objects.extend(documents);
    }
    Ok(objects)
}

async fn apply(client: &Client, object: &DynamicObject) -> anyhow::Result<()> {
    let types = object
        .types
        .as_ref()
        .context("a manifest in deploy/ has no kind")?;
    let kind = GroupVersionKind::try_from(types)
        .context("a manifest in deploy/ has no valid apiVersion")?;
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let name = object.name_any();
    let parameters = PatchParams::apply(MANAGER).force();
    within(
        &format!("apply the {} {name}", kind.kind),
        api.patch(&name, &parameters, &Patch::Apply(object)),
    )
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_deploy_name_what_the_demo_relies_on() {
        let named: Vec<String> = [objects(&[OURS]), objects(&RIGHTS)]
            .into_iter()
            .flat_map(Result::unwrap)
            .map(|object| {
                format!(
                    "{} {}",
                    object.types.as_ref().unwrap().kind,
                    object.name_any()
                )
            })
            .collect();
        for expected in [
            format!("Namespace {NAMESPACE}"),
            format!("ServiceAccount {CONTROLLER}"),
            format!("PriorityClass {PRIORITY_CLASS}"),
        ] {
            assert!(
                named.contains(&expected),
                "{expected} is not among {named:?}"
            );
        }
    }

    #[test]
    fn the_deployment_has_the_image_where_it_is_replaced() {
        let objects = objects(&[DEPLOYMENT]).unwrap();
        let image = objects[0]
            .data
            .pointer("/spec/template/spec/containers/0/image");
        let image = image.and_then(|image| image.as_str()).unwrap();
        assert!(image.starts_with("nodeop-controller:"), "{image}");
    }
}
