//! The builder Pod: importers, then each step as an init container, then the collector.

use api_types::osartifact::OSArtifact;
use k8s_openapi::api::core::v1::{Container, LocalObjectReference, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::container::container;
use super::volumes::volumes;
use super::{BuildSettings, metadata};
use crate::plan::{Plan, Source};
use crate::steps::steps;

/// MiB of node storage that every build needs: the root file system, unpacked and packed.
const BASE_MEBIBYTES: u64 = 4096;
/// For an image that is built: its layers, and the archive of it.
const IMAGE_MEBIBYTES: u64 = 4096;
/// For an ISO, with what it is made of.
const ISO_MEBIBYTES: u64 = 2048;
/// For a disk image whose size nobody said.
const DISK_MEBIBYTES: u64 = 4096;

/// The Pod of that name, which is also the build's.
pub fn builder_pod(
    artifact: &OSArtifact,
    plan: &Plan,
    name: &str,
    settings: &BuildSettings,
) -> Pod {
    let mut own: Vec<Container> = steps(plan, settings.calls())
        .iter()
        .map(|step| container(plan, step, name, settings))
        .collect();
    let collector = own.pop().map(|collector| sized(collector, plan));
    let mut first = plan.importers.clone();
    first.extend(own);
    Pod {
        metadata: metadata(artifact, name.to_owned()),
        spec: Some(PodSpec {
            restart_policy: Some("Never".to_owned()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            // Nothing of a stopped build is worth waiting for.
            termination_grace_period_seconds: Some(10),
            priority_class_name: settings.priority_class_name.clone(),
            image_pull_secrets: pull_secrets(plan, settings),
            node_selector: Some(settings.node_selector.clone()).filter(|labels| !labels.is_empty()),
            tolerations: Some(settings.tolerations.clone()).filter(|taints| !taints.is_empty()),
            affinity: settings.affinity.clone(),
            init_containers: Some(first),
            containers: collector.into_iter().collect(),
            volumes: Some(volumes(plan)),
            ..PodSpec::default()
        }),
        status: None,
    }
}

/// The main container asks for the node's storage: all of them share one folder, and a Pod's request is the larger one
/// of its init containers' and its main ones'.
fn sized(mut collector: Container, plan: &Plan) -> Container {
    let size = Quantity(format!("{}Mi", storage_mebibytes(plan)));
    let resources = collector.resources.get_or_insert_default();
    let requests = resources.requests.get_or_insert_default();
    requests.insert("ephemeral-storage".to_owned(), size);
    collector
}

fn storage_mebibytes(plan: &Plan) -> u64 {
    let image = match (&plan.source, &plan.archive) {
        (Source::Image(_), None) => 0,
        _ => IMAGE_MEBIBYTES,
    };
    let iso = if plan.iso || plan.netboot {
        ISO_MEBIBYTES
    } else {
        0
    };
    let disk = plan.disk_mebibytes.unwrap_or(DISK_MEBIBYTES);
    let disks = u64::try_from(plan.disks.len()).unwrap_or_default() * disk;
    BASE_MEBIBYTES + image + iso + disks
}

/// The artifact's pull secrets, then the controller's that it does not name itself.
fn pull_secrets(plan: &Plan, settings: &BuildSettings) -> Option<Vec<LocalObjectReference>> {
    let mut names = plan.pull_secrets.clone();
    let more = settings.image_pull_secrets.iter();
    names.extend(
        more.filter(|name| !plan.pull_secrets.contains(name))
            .cloned(),
    );
    let references: Vec<_> = names
        .into_iter()
        .map(|name| LocalObjectReference { name })
        .collect();
    Some(references).filter(|references| !references.is_empty())
}
