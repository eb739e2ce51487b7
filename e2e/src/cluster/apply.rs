//! Manifests into the cluster.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::discovery::{Scope, pinned_kind};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::Condition;
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{Cluster, REQUEST};

/// The field manager of everything this library applies.
const FIELD_MANAGER: &str = "e2e";

/// How long a definition may take until objects of it are accepted.
const ESTABLISHED: Duration = Duration::from_secs(30);

impl Cluster {
    /// Applies every document of a YAML text, in order, by server-side apply. Objects without a namespace go to `default`.
    pub async fn apply_yaml(&self, text: &str) -> anyhow::Result<Vec<DynamicObject>> {
        self.apply_yaml_in("default", text).await
    }

    /// Like [`Self::apply_yaml`]; objects without a namespace go to `namespace`.
    pub async fn apply_yaml_in(
        &self,
        namespace: &str,
        text: &str,
    ) -> anyhow::Result<Vec<DynamicObject>> {
        let client = self.client()?;
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(text).context("the manifests are no YAML")?;
        let mut applied = Vec::new();
        for document in documents.into_iter().filter(|document| !document.is_null()) {
            let object: DynamicObject =
                serde_json::from_value(document).context("a manifest is no Kubernetes object")?;
            let object = apply(&client, namespace, object).await?;
            if object
                .types
                .as_ref()
                .is_some_and(|types| types.kind == "CustomResourceDefinition")
            {
                wait_established(&client, &object.name_any()).await?;
            }
            applied.push(object);
        }
        Ok(applied)
    }

    /// Installs this project's custom resource definitions and waits until objects of them are accepted.
    pub async fn install_crds(&self) -> anyhow::Result<()> {
        let client = self.client()?;
        let definitions = api_types::crds::all();
        for definition in &definitions {
            let object = serde_json::to_value(definition).and_then(serde_json::from_value);
            apply(
                &client,
                "default",
                object.context("failed to write a definition as JSON")?,
            )
            .await?;
        }
        for definition in &definitions {
            wait_established(&client, &definition.name_any()).await?;
        }
        Ok(())
    }
}

async fn apply(
    client: &Client,
    namespace: &str,
    object: DynamicObject,
) -> anyhow::Result<DynamicObject> {
    let name = object
        .meta()
        .name
        .clone()
        .context("a manifest has no metadata.name")?;
    let types = object
        .types
        .clone()
        .with_context(|| format!("the manifest of {name} has no apiVersion and kind"))?;
    let failed = || format!("failed to apply {} {name}", types.kind);
    let kind = types.clone().try_into().with_context(failed)?;
    let (resource, capabilities) = timeout(REQUEST, pinned_kind(client, &kind))
        .await
        .with_context(failed)?
        .with_context(failed)?;
    let namespace = object.namespace().unwrap_or_else(|| namespace.to_owned());
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => Api::namespaced_with(client.clone(), &namespace, &resource),
    };
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    timeout(
        REQUEST,
        api.patch(&name, &parameters, &Patch::Apply(&object)),
    )
    .await
    .with_context(failed)?
    .with_context(failed)
}

async fn wait_established(client: &Client, name: &str) -> anyhow::Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let deadline = Instant::now() + ESTABLISHED;
    loop {
        let failed = || format!("failed to read the definition {name}");
        let definition = timeout(REQUEST, api.get_opt(name))
            .await
            .with_context(failed)?
            .with_context(failed)?;
        if is_crd_established().matches_object(definition.as_ref()) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "the definition {name} was not established within {} s",
                ESTABLISHED.as_secs()
            );
        }
        sleep(Duration::from_millis(50)).await;
    }
}
