//! A clean cluster for each test, whatever the one before it left or was stopped in.

use std::collections::BTreeSet;

use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::ApiResource;
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::site::{Site, eventually};

/// What Kubernetes itself keeps writing.
const EVER_NEW: [&str; 5] = ["Event", "Lease", "EndpointSlice", "Endpoints", "APIService"];

/// An object, and how it is spoken of.
struct Found {
    resource: ApiResource,
    namespace: Option<String>,
    object: DynamicObject,
}

impl Found {
    fn line(&self) -> String {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        let (kind, name) = (&self.resource.kind, self.object.name_any());
        format!("{kind} {namespace}/{name}")
    }
}

impl Site {
    /// Every object of the cluster as KIND NAMESPACE/NAME, without what Kubernetes itself keeps writing.
    pub(crate) async fn everything(&self) -> BTreeSet<String> {
        self.objects().await.iter().map(Found::line).collect()
    }

    /// Removes all that is there beside `clean`, and waits until it is gone.
    pub(crate) async fn sweep(&self, clean: &BTreeSet<String>) {
        eventually("what an earlier test left is gone", async || {
            let objects = self.objects().await;
            let left: Vec<&Found> = objects
                .iter()
                .filter(|found| !clean.contains(&found.line()))
                .collect();
            for found in &left {
                self.remove(found).await;
            }
            left.is_empty().then_some(())
        })
        .await;
    }

    async fn remove(&self, found: &Found) {
        let resource = &found.resource;
        let api: Api<DynamicObject> = match &found.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        };
        let name = found.object.name_any();
        // Either may meet an object that has just gone; one that has not is met again.
        api.delete(&name, &DeleteParams::background()).await.ok();
        if resource.group.ends_with(".kairos.io") {
            let let_go = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            api.patch(&name, &PatchParams::default(), &let_go)
                .await
                .ok();
        }
    }

    async fn objects(&self) -> Vec<Found> {
        let discovery = Discovery::new(self.client.clone()).run().await.unwrap();
        let mut all = Vec::new();
        for (resource, capabilities) in discovery
            .groups()
            .flat_map(kube::discovery::ApiGroup::recommended_resources)
        {
            if !capabilities.supports_operation(verbs::LIST) || EVER_NEW.contains(&&*resource.kind)
            {
                continue;
            }
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            // A kind whose definition is being removed is listed no more.
            let Ok(objects) = api.list(&ListParams::default()).await else {
                continue;
            };
            all.extend(objects.items.into_iter().map(|object| {
                Found {
                    resource: resource.clone(),
                    namespace: (capabilities.scope == Scope::Namespaced)
                        .then(|| object.namespace().unwrap_or_default()),
                    object,
                }
            }));
        }
        all
    }
}
