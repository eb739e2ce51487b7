//! The NodeOp that carries an upgrade out.

use std::collections::BTreeMap;

use api_types::names::{ANNOTATION_UPGRADE_GENERATION, LABEL_NODEOPUPGRADE};
use api_types::nodeop::{DrainOptions, NodeOp, NodeOpSpec, PreflightCommand, VerifyCommand};
use api_types::nodeopupgrade::{NodeOpUpgrade, NodeOpUpgradeSpec, UpgradeDrainOptions};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;
use operator_runtime::names::cut_with_hash;

use super::BuildSettings;
use super::command::{self, Systems};

/// A label value holds at most 63 characters.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
const LABEL_VALUE_LENGTH: usize = 63;
/// How often an upgrade that failed is tried again on one node: for Pods that were killed. Fewer than a NodeOp's six,
/// because the node stands drained meanwhile, and an image that does not fit fails each time.
const BACKOFF_LIMIT: i32 = 2;
/// The image is on the node already when its verification begins.
const VERIFY_DEADLINE_SECONDS: i32 = 300;

/// The NodeOp. Its name is the upgrade's, so that it exists once.
pub fn node_op(upgrade: &NodeOpUpgrade, settings: BuildSettings) -> NodeOp {
    let name = upgrade.metadata.name.clone().unwrap_or_default();
    let label = cut_with_hash(&name, LABEL_VALUE_LENGTH);
    let mut annotations = BTreeMap::from([(
        ANNOTATION_UPGRADE_GENERATION.to_owned(),
        generation(upgrade),
    )]);
    if label != name {
        annotations.insert(LABEL_NODEOPUPGRADE.to_owned(), name.clone());
    }
    NodeOp {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: upgrade.metadata.namespace.clone(),
            labels: Some(BTreeMap::from([(LABEL_NODEOPUPGRADE.to_owned(), label)])),
            annotations: Some(annotations),
            owner_references: Some(vec![owner_reference(upgrade)]),
            ..ObjectMeta::default()
        },
        spec: spec(&upgrade.spec, settings),
        status: None,
    }
}

/// The generation of an upgrade, as the annotation on its NodeOp holds it.
pub fn generation(upgrade: &NodeOpUpgrade) -> String {
    upgrade.metadata.generation.unwrap_or_default().to_string()
}

/// Each field is named, so that a new one cannot be forgotten.
fn spec(upgrade: &NodeOpUpgradeSpec, settings: BuildSettings) -> NodeOpSpec {
    let NodeOpUpgradeSpec {
        image,
        image_pull_secrets,
        node_selector,
        concurrency,
        stop_on_failure,
        upgrade_active,
        upgrade_recovery,
        force,
        debug,
        exclude_paths,
        uncordon_on_failure,
        drain_options,
        paused,
        reboot_timeout_seconds,
    } = upgrade;
    let systems = Systems {
        // Asked for neither, an upgrade is one of the system that the node boots.
        active: *upgrade_active || !*upgrade_recovery,
        recovery: *upgrade_recovery,
    };
    // The recovery system alone is replaced under a running node, and the version that runs says nothing about it.
    let disrupts = systems.active;
    let checks = disrupts && !*force;
    NodeOpSpec {
        node_selector: node_selector.clone(),
        image: Some(image.clone()),
        image_pull_secrets: image_pull_secrets.clone(),
        command: command::run(
            systems,
            *debug,
            checks,
            exclude_paths.as_deref().unwrap_or_default(),
        ),
        cordon: disrupts,
        uncordon_on_failure: *uncordon_on_failure,
        drain_options: disrupts.then(|| drain(drain_options)),
        reboot_on_success: disrupts,
        backoff_limit: BACKOFF_LIMIT,
        concurrency: concurrency.clone(),
        stop_on_failure: *stop_on_failure,
        preflight: checks.then(|| PreflightCommand {
            command: command::preflight(),
            image: None,
            active_deadline_seconds: settings.preflight_deadline_seconds,
        }),
        verify: disrupts.then(|| VerifyCommand {
            command: command::verify(),
            image: None,
            active_deadline_seconds: VERIFY_DEADLINE_SECONDS,
        }),
        reboot_timeout_seconds: *reboot_timeout_seconds,
        active_deadline_seconds: Some(settings.upgrade_deadline_seconds),
        paused: *paused,
        ..NodeOpSpec::default()
    }
}

fn drain(options: &UpgradeDrainOptions) -> DrainOptions {
    let UpgradeDrainOptions {
        enabled,
        force,
        grace_period_seconds,
        ignore_daemon_sets,
        delete_empty_dir_data,
        timeout_seconds,
    } = *options;
    DrainOptions {
        enabled,
        force,
        grace_period_seconds,
        ignore_daemon_sets,
        delete_empty_dir_data,
        timeout_seconds,
    }
}

/// Names the upgrade as controller, so that the NodeOp goes with it. A deletion in the foreground waits for the NodeOp, and
/// with it until all nodes are given back.
fn owner_reference(upgrade: &NodeOpUpgrade) -> OwnerReference {
    OwnerReference {
        api_version: NodeOpUpgrade::api_version(&()).into_owned(),
        kind: NodeOpUpgrade::kind(&()).into_owned(),
        name: upgrade.metadata.name.clone().unwrap_or_default(),
        uid: upgrade.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

#[cfg(test)]
mod tests;
