//! The OSArtifact: an ISO and a disk image from a container image, built on one of the nodes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use api_types::osartifact::{ArtifactPhase, OSArtifact, OSArtifactStatus};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::api::within;
use crate::operation::without_comments;
use crate::site::{Outcome, Site};
use crate::view::seconds;
use crate::{images, install};

const EXAMPLE: &str = include_str!("../osartifact.yaml");
/// The class of the volume that the manifest asks for.
const VOLUME: &str = "kairos-demo";
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(300);
/// Longest time for the build.
const PATIENCE: Duration = Duration::from_mins(10);

/// Builds it.
pub(crate) async fn tell(site: &Site) -> anyhow::Result<Outcome> {
    let client = &site.target.client;
    let nodes = site
        .target
        .nodes
        .as_ref()
        .context("there are no real nodes")?;
    site.step("serving the tools that build: Debian's, and a stand-in for AuroraBoot");
    tokio::task::block_in_place(|| images::builds(nodes))?;
    let artifact: OSArtifact =
        serde_saphyr::from_str(EXAMPLE).context("failed to read xtask/demo/osartifact.yaml")?;
    let (namespace, name) = (
        artifact.namespace().unwrap_or_default(),
        artifact.name_any(),
    );
    install::default_service_account(client, &namespace).await?;
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let parameters = PostParams::default();
    within("create a volume", volumes.create(&parameters, &volume()?)).await?;
    site.step(&format!(
        "applying xtask/demo/osartifact.yaml:\n\n{}\n",
        without_comments(EXAMPLE)
    ));
    let api: Api<OSArtifact> = Api::namespaced(client.clone(), &namespace);
    within("create the OSArtifact", api.create(&parameters, &artifact)).await?;

    let began = Instant::now();
    let mut last = String::new();
    let status = loop {
        let what = format!("get the OSArtifact {namespace}/{name}");
        let status = within(&what, api.get(&name))
            .await?
            .status
            .unwrap_or_default();
        let now = words(&status);
        if now != last {
            println!("{:>6.1} s  {now}", began.elapsed().as_secs_f64());
            last = now;
        }
        if matches!(
            status.phase,
            Some(ArtifactPhase::Ready | ArtifactPhase::Error)
        ) {
            break status;
        }
        if began.elapsed() > PATIENCE {
            bail!(
                "the OSArtifact {namespace}/{name} has not ended within {} s: {last}",
                PATIENCE.as_secs()
            );
        }
        tokio::time::sleep(PAUSE).await;
    };
    println!("\n{}", files(&status));
    let took = seconds(began.elapsed());
    let is_good = status.phase == Some(ArtifactPhase::Ready);
    let sentence = if is_good {
        format!(
            "OSArtifact {name} is Ready after {took}: {} files",
            status.artifacts.len()
        )
    } else {
        format!("OSArtifact {name} failed after {took}: {last}")
    };
    Ok(Outcome { sentence, is_good })
}

/// A folder of whichever node builds.
fn volume() -> anyhow::Result<PersistentVolume> {
    let volume = json!({
        "metadata": {"name": VOLUME},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "10Gi"}, "storageClassName": VOLUME,
            "hostPath": {"path": format!("/var/lib/{VOLUME}"), "type": "DirectoryOrCreate"},
        },
    });
    serde_json::from_value(volume).context("failed to describe a volume")
}

/// Where the build stands, in words. A message that names the step stands for both.
fn words(status: &OSArtifactStatus) -> String {
    let phase = status
        .phase
        .map_or_else(|| "new".to_owned(), |phase| format!("{phase:?}"));
    let message = status.message.as_deref().unwrap_or_default();
    let step = status.step.as_deref().unwrap_or_default();
    let step = if message.contains(step) { "" } else { step };
    let words = [&*phase, step, message];
    let words: Vec<&str> = words.into_iter().filter(|text| !text.is_empty()).collect();
    words.join("  ")
}

/// One line per file.
fn files(status: &OSArtifactStatus) -> String {
    let lines = status.artifacts.iter().map(|file| {
        let digest = file.sha256.get(..12).unwrap_or_default();
        format!(
            "{:20} {:>12} bytes  sha256 {digest}…\n",
            file.file, file.bytes
        )
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_uses_what_the_demo_serves() {
        let artifact: OSArtifact = serde_saphyr::from_str(EXAMPLE).unwrap();
        let image = format!("{}/{}", images::REGISTRY, images::BOOTABLE);
        assert_eq!(artifact.spec.image_name, Some(image));
        assert!(EXAMPLE.contains(&format!("storageClassName: {VOLUME}\n")));
    }

    #[test]
    fn the_step_and_the_message_are_told() {
        let status = OSArtifactStatus {
            phase: Some(ArtifactPhase::Building),
            step: Some("iso".into()),
            message: Some(String::new()),
            ..OSArtifactStatus::default()
        };
        assert_eq!(words(&status), "Building  iso");
        let waiting = OSArtifactStatus {
            message: Some("waiting for iso".into()),
            ..status
        };
        assert_eq!(words(&waiting), "Building  waiting for iso");
    }
}
