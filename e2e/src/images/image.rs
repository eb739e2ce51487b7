//! Builds one image: a single layer and its configuration, in the formats of the OCI image specification.

use std::io::{self, Cursor};
use std::path::Path;

use anyhow::Context;
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// Media types of the OCI image specification.
pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// Bytes of a block of a tar archive.
const BLOCK: usize = 512;
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// How a container of an image starts when its Pod says nothing.
#[derive(Debug, Clone, Default)]
pub struct ImageConfig {
    /// What always runs.
    pub entrypoint: Vec<String>,
    /// Arguments to the entrypoint, or the command where there is none.
    pub command: Vec<String>,
    /// `NAME=value`.
    pub environment: Vec<String>,
    /// User (and group) in the form `1000:1000`; root when absent.
    pub user: Option<String>,
}

/// An image being made. Entries appear in its layer in the order in which they were added.
pub struct Image {
    layer: Builder<Cursor<Vec<u8>>>,
    config: ImageConfig,
}

/// A finished image: three blobs that name each other by digest.
#[derive(Debug)]
pub(super) struct Blobs {
    pub(super) manifest: Vec<u8>,
    pub(super) config: Vec<u8>,
    pub(super) layer: Vec<u8>,
}

impl Image {
    /// An image without files.
    pub fn new(config: ImageConfig) -> Self {
        Self {
            layer: Builder::new(Cursor::new(Vec::new())),
            config,
        }
    }

    /// An image that begins with the files of a tar archive.
    pub(super) fn of_archive(config: ImageConfig, archive: &Path) -> anyhow::Result<Self> {
        let mut content = std::fs::read(archive)
            .with_context(|| format!("failed to read {}", archive.display()))?;
        // Empty blocks end an archive; what is added later has to come before them.
        while content.len() >= BLOCK && content.ends_with(&[0; BLOCK]) {
            content.truncate(content.len() - BLOCK);
        }
        let position = content.len();
        let mut layer = Cursor::new(content);
        layer.set_position(u64::try_from(position)?);
        Ok(Self {
            layer: Builder::new(layer),
            config,
        })
    }

    /// Adds a folder. `path` is relative to the root.
    pub fn folder(mut self, path: &str, mode: u32) -> anyhow::Result<Self> {
        let mut header = header(EntryType::Directory, mode, 0);
        self.layer
            .append_data(&mut header, path, io::empty())
            .with_context(|| format!("failed to add folder {path} to an image"))?;
        Ok(self)
    }

    /// Adds a file with this content.
    pub fn file(mut self, path: &str, mode: u32, content: &[u8]) -> anyhow::Result<Self> {
        let mut header = header(EntryType::Regular, mode, content.len() as u64);
        self.layer
            .append_data(&mut header, path, content)
            .with_context(|| format!("failed to add file {path} to an image"))?;
        Ok(self)
    }

    /// Adds an executable file of this machine. It must be linked statically: the image holds no libraries.
    pub fn program(self, path: &str, source: &Path) -> anyhow::Result<Self> {
        let content = std::fs::read(source)
            .with_context(|| format!("failed to read {}", source.display()))?;
        self.file(path, 0o755, &content)
    }

    /// Adds a symbolic link.
    pub fn link(mut self, path: &str, target: &str) -> anyhow::Result<Self> {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        self.layer
            .append_link(&mut header, path, target)
            .with_context(|| format!("failed to add link {path} to an image"))?;
        Ok(self)
    }

    /// Writes the image as a docker archive, which `docker load`, `ctr images import` and `kind load image-archive` read.
    /// `name` is the full name with its tag.
    pub fn write_archive(self, name: &str, archive: &Path) -> anyhow::Result<()> {
        let blobs = self.finish()?;
        let config = format!("{}.json", hex_digest(&blobs.config));
        let layer = format!("{}.tar", hex_digest(&blobs.layer));
        let manifest = serde_json::to_vec(
            &json!([{ "Config": config, "RepoTags": [name], "Layers": [layer] }]),
        )?;
        let write = || -> io::Result<()> {
            let mut builder = Builder::new(std::fs::File::create(archive)?);
            for (path, content) in [
                (config.as_str(), &blobs.config),
                (&layer, &blobs.layer),
                ("manifest.json", &manifest),
            ] {
                let mut header = header(EntryType::Regular, 0o644, content.len() as u64);
                builder.append_data(&mut header, path, Cursor::new(content))?;
            }
            builder.finish()
        };
        write().with_context(|| format!("failed to write image {name} to {}", archive.display()))
    }

    pub(super) fn finish(self) -> anyhow::Result<Blobs> {
        let layer = self
            .layer
            .into_inner()
            .context("failed to finish the layer of an image")?
            .into_inner();
        let ImageConfig {
            entrypoint,
            command,
            environment,
            user,
        } = self.config;
        let config = serde_json::to_vec(&json!({
            "architecture": go_architecture(),
            "os": "linux",
            "config": { "Entrypoint": entrypoint, "Cmd": command, "Env": environment, "User": user.unwrap_or_default() },
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
            // One entry per layer, as buildah wants it of an image that it builds on.
            "history": [{ "created_by": "end-to-end tests" }],
        }))?;
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": { "mediaType": CONFIG_TYPE, "digest": digest(&config), "size": config.len() },
            "layers": [{ "mediaType": LAYER_TYPE, "digest": digest(&layer), "size": layer.len() }],
        }))?;
        Ok(Blobs {
            manifest,
            config,
            layer,
        })
    }
}

/// Without owner and time, so that the same files always make the same digest.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// This machine's architecture in the words of image platforms.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `sha256:` and the hexadecimal digest of `content`.
pub(super) fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex_digest(content))
}

/// The hexadecimal SHA-256 of `content`.
pub(super) fn hex_digest(content: &[u8]) -> String {
    format!("{:x}", Sha256::digest(content))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;

    fn example() -> Image {
        let config = ImageConfig {
            command: vec!["sh".into()],
            user: Some("65532".into()),
            ..ImageConfig::default()
        };
        Image::new(config)
            .folder("bin", 0o755)
            .and_then(|image| image.file("bin/tool", 0o755, b"tool"))
            .and_then(|image| image.link("bin/sh", "tool"))
            .unwrap()
    }

    #[test]
    fn blobs_name_each_other_by_digest() {
        let blobs = example().finish().unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&blobs.manifest).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&blobs.config).unwrap();
        assert_eq!(manifest["config"]["digest"], digest(&blobs.config));
        assert_eq!(manifest["layers"][0]["digest"], digest(&blobs.layer));
        assert_eq!(config["rootfs"]["diff_ids"][0], digest(&blobs.layer));
        assert_eq!(config["config"]["User"], "65532");
    }

    #[test]
    fn the_same_files_make_the_same_image() {
        assert_eq!(
            example().finish().unwrap().manifest,
            example().finish().unwrap().manifest
        );
    }

    #[test]
    fn an_archive_names_its_parts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        example()
            .write_archive("example.com/tool:v1", &path)
            .unwrap();
        let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
        let files: BTreeMap<String, Vec<u8>> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                (entry.path().unwrap().display().to_string(), content)
            })
            .collect();
        let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], "example.com/tool:v1");
        assert!(files.contains_key(manifest[0]["Config"].as_str().unwrap()));
        assert!(files.contains_key(manifest[0]["Layers"][0].as_str().unwrap()));
    }
}
