//! Writes what a namespace holds into a folder, for whoever has to find out why a test failed.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use futures::TryFutureExt;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{DynamicObject, ListParams, LogParams};
use kube::discovery::{ApiGroup, Scope, oneshot, verbs};
use kube::{Api, Client, ResourceExt};
use tokio::time::timeout;

use super::REQUEST;

/// Lines of each container's log that are kept.
const LOG_LINES: i64 = 1000;

/// Dumps a namespace below `target/e2e-dumps` and returns the folder. What cannot be read is left out, and named.
pub(super) async fn write(client: &Client, namespace: &str) -> anyhow::Result<PathBuf> {
    let folder = target_folder().join("e2e-dumps").join(namespace);
    fs::create_dir_all(&folder)
        .with_context(|| format!("failed to create {}", folder.display()))?;
    // Group by group: one that is just being installed must not hide the others.
    let groups = timeout(REQUEST, client.list_api_groups()).await??.groups;
    let names = std::iter::once(ApiGroup::CORE_GROUP.to_owned())
        .chain(groups.into_iter().map(|group| group.name));
    for name in names {
        let group = match timeout(REQUEST, oneshot::group(client, &name)).await {
            Ok(Ok(group)) => group,
            Ok(Err(error)) => {
                crate::progress(format!("left out of the dump: group {name}: {error}"));
                continue;
            }
            Err(_) => {
                crate::progress(format!(
                    "left out of the dump: group {name}: no answer in time"
                ));
                continue;
            }
        };
        for (resource, capabilities) in group.recommended_resources() {
            if capabilities.scope != Scope::Namespaced
                || !capabilities.supports_operation(verbs::LIST)
                || resource.kind == "Event"
            {
                continue;
            }
            let api: Api<DynamicObject> =
                Api::namespaced_with(client.clone(), namespace, &resource);
            save_list(&folder, &resource.plural, api).await;
        }
    }
    save_list(&folder, "nodes", Api::<Node>::all(client.clone())).await;
    let events = list(Api::<Event>::namespaced(client.clone(), namespace)).await;
    save(
        &folder.join("events.txt"),
        &events.map_or_else(
            |error| format!("{error:#}\n"),
            |events| events_table(&events),
        ),
    );
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    for pod in list(pods.clone()).await.unwrap_or_default() {
        save_logs(&folder, &pods, &pod).await;
    }
    Ok(folder)
}

fn target_folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(beside, PathBuf::from)
}

async fn list<K>(api: Api<K>) -> anyhow::Result<Vec<K>>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    Ok(timeout(REQUEST, api.list(&ListParams::default()))
        .await??
        .items)
}

/// One file per kind, none for an empty list.
async fn save_list<K>(folder: &Path, plural: &str, api: Api<K>)
where
    K: Clone + serde::de::DeserializeOwned + serde::Serialize + std::fmt::Debug + ResourceExt,
{
    let text = match list(api).await {
        Ok(objects) if objects.is_empty() => return,
        Ok(mut objects) => {
            for object in &mut objects {
                object.managed_fields_mut().clear();
            }
            serde_saphyr::to_string(&objects).unwrap_or_else(|error| error.to_string())
        }
        Err(error) => format!("failed to list {plural}: {error:#}\n"),
    };
    save(&folder.join(format!("{plural}.yaml")), &text);
}

async fn save_logs(folder: &Path, pods: &Api<Pod>, pod: &Pod) {
    let name = pod.name_any();
    let Some(spec) = &pod.spec else { return };
    for container in spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
    {
        let parameters = LogParams {
            container: Some(container.name.clone()),
            tail_lines: Some(LOG_LINES),
            ..LogParams::default()
        };
        let log = timeout(
            REQUEST,
            pods.logs(&name, &parameters)
                .map_err(|error| error.to_string()),
        )
        .await;
        let text = match log {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => format!("failed to read this log: {error}\n"),
            Err(_) => "failed to read this log: no answer in time\n".to_owned(),
        };
        save(
            &folder.join(format!("{name}.{}.log", container.name)),
            &text,
        );
    }
}

fn events_table(events: &[Event]) -> String {
    let mut table = String::new();
    for event in events {
        let object = &event.involved_object;
        let (kind, name) = (
            object.kind.as_deref().unwrap_or_default(),
            object.name.as_deref().unwrap_or_default(),
        );
        let time = event.event_time.as_ref().map(|time| time.0.to_string());
        let time = time
            .or_else(|| event.last_timestamp.as_ref().map(|time| time.0.to_string()))
            .unwrap_or_default();
        let reason = event.reason.as_deref().unwrap_or_default();
        let message = event.message.as_deref().unwrap_or_default();
        // Writing to a string cannot fail.
        writeln!(table, "{time} {kind}/{name} {reason}: {message}").ok();
    }
    table
}

fn save(path: &Path, text: &str) {
    if let Err(error) = fs::write(path, text) {
        crate::progress(format!("failed to write {}: {error}", path.display()));
    }
}
