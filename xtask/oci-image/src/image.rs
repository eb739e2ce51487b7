//! Builds one image: a single layer and its configuration.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Write as _};
use std::path::Path;

use anyhow::Context;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// Media type of a manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// Bytes of a block of a tar archive.
const BLOCK: usize = 512;

/// How a container of an image starts when its Pod says nothing, and what the image says of itself.
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
    /// Labels of the image, also written as annotations of its manifest.
    pub labels: BTreeMap<String, String>,
    /// How the layer is stored.
    pub compression: Compression,
}

/// How a layer is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// As it is: quick to make, for registries on this machine.
    #[default]
    None,
    /// As small as gzip makes it, which every container runtime reads.
    Gzip,
}

impl Compression {
    fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        }
    }

    fn compress(self, content: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(content),
            Self::Gzip => {
                // Its header holds no time and no name, so the same content makes the same bytes.
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
                encoder.write_all(&content)?;
                encoder.finish()
            }
        }
    }
}

/// An image being made. Entries appear in its layer in the order in which they were added.
pub struct Image {
    layer: Builder<Cursor<Vec<u8>>>,
    config: ImageConfig,
}

/// A finished image: three blobs that name each other by digest.
#[derive(Debug, PartialEq, Eq)]
pub struct Blobs {
    /// Names the other two.
    pub manifest: Vec<u8>,
    /// How a container of it starts.
    pub config: Vec<u8>,
    /// The files.
    pub layer: Vec<u8>,
    /// The digest of the layer, which can be large.
    pub layer_digest: String,
}

impl Blobs {
    /// The processor that the image is for, in the words of image platforms.
    pub fn architecture(&self) -> anyhow::Result<String> {
        let config: serde_json::Value = serde_json::from_slice(&self.config)
            .context("the configuration of an image is no JSON")?;
        config["architecture"]
            .as_str()
            .map(str::to_owned)
            .context("the configuration of an image names no architecture")
    }

    /// All three, each with the hexadecimal SHA-256 that names it.
    pub fn parts(&self) -> [(String, &[u8]); 3] {
        let layer = self.layer_digest.trim_start_matches("sha256:").to_owned();
        [
            (layer, &self.layer),
            (hex_digest(&self.config), &self.config),
            (hex_digest(&self.manifest), &self.manifest),
        ]
    }
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
    pub fn of_archive(config: ImageConfig, archive: &Path) -> anyhow::Result<Self> {
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

    /// An image of statically linked programs, without a shell, run as user 65532: pairs of (path in the image, file of
    /// this machine). The first one is the entrypoint.
    pub fn of_programs(
        mut config: ImageConfig,
        programs: &[(&str, &Path)],
    ) -> anyhow::Result<Self> {
        let (first, _) = programs
            .first()
            .context("failed to make an image: it needs at least one program")?;
        config.entrypoint = vec![format!("/{}", first.trim_start_matches('/'))];
        config.user = Some("65532:65532".to_owned());
        programs
            .iter()
            .try_fold(Self::new(config), |image, (path, source)| {
                image.program(path.trim_start_matches('/'), source)
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

    /// The image as blobs.
    pub fn finish(self) -> anyhow::Result<Blobs> {
        let files = self
            .layer
            .into_inner()
            .context("failed to finish the layer of an image")?
            .into_inner();
        let ImageConfig {
            entrypoint,
            command,
            environment,
            user,
            labels,
            compression,
        } = self.config;
        let files_digest = digest(&files);
        let config = serde_json::to_vec(&json!({
            "architecture": go_architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": entrypoint, "Cmd": command, "Env": environment, "User": user.unwrap_or_default(),
                "Labels": labels,
            },
            "rootfs": { "type": "layers", "diff_ids": [files_digest] },
            // One entry per layer, as buildah wants it of an image that it builds on.
            "history": [{ "created_by": "files" }],
        }))?;
        let layer = compression
            .compress(files)
            .context("failed to compress the layer of an image")?;
        let layer_digest = match compression {
            Compression::None => files_digest,
            Compression::Gzip => digest(&layer),
        };
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": { "mediaType": CONFIG_TYPE, "digest": digest(&config), "size": config.len() },
            "layers": [{ "mediaType": compression.media_type(), "digest": layer_digest, "size": layer.len() }],
        });
        if !labels.is_empty() {
            manifest["annotations"] = json!(labels);
        }
        Ok(Blobs {
            manifest: serde_json::to_vec(&manifest)?,
            config,
            layer,
            layer_digest,
        })
    }
}

/// Files as a compressed tar archive: pairs of path and content.
pub fn tar_gzip(files: &[(String, Vec<u8>)]) -> anyhow::Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = header(EntryType::Regular, 0o644, content.len() as u64);
        builder
            .append_data(&mut header, path, &**content)
            .with_context(|| format!("failed to add {path} to an archive"))?;
    }
    let archive = builder
        .into_inner()
        .context("failed to finish an archive")?;
    Compression::Gzip
        .compress(archive)
        .context("failed to compress an archive")
}

/// Without owner and time, so that the same files always make the same digest.
pub(crate) fn header(kind: EntryType, mode: u32, size: u64) -> Header {
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
pub fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex_digest(content))
}

/// The hexadecimal SHA-256 of `content`.
pub fn hex_digest(content: &[u8]) -> String {
    format!("{:x}", Sha256::digest(content))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn example(compression: Compression) -> Blobs {
        let config = ImageConfig {
            command: vec!["sh".into()],
            user: Some("65532".into()),
            labels: [("b", "2"), ("a", "1")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            compression,
            ..ImageConfig::default()
        };
        Image::new(config)
            .folder("bin", 0o755)
            .and_then(|image| image.file("bin/tool", 0o755, b"tool"))
            .and_then(|image| image.link("bin/sh", "tool"))
            .and_then(Image::finish)
            .unwrap()
    }

    fn document(blob: &[u8]) -> serde_json::Value {
        serde_json::from_slice(blob).unwrap()
    }

    #[test]
    fn blobs_name_each_other_by_digest() {
        let blobs = example(Compression::None);
        let (manifest, config) = (document(&blobs.manifest), document(&blobs.config));
        assert_eq!(manifest["config"]["digest"], digest(&blobs.config));
        assert_eq!(manifest["layers"][0]["digest"], digest(&blobs.layer));
        assert_eq!(config["rootfs"]["diff_ids"][0], digest(&blobs.layer));
        assert_eq!(config["config"]["User"], "65532");
    }

    #[test]
    fn a_compressed_layer_is_named_by_both_of_its_digests() {
        let (plain, blobs) = (example(Compression::None), example(Compression::Gzip));
        let layer = &document(&blobs.manifest)["layers"][0];
        assert_eq!(layer["digest"], digest(&blobs.layer));
        assert!(layer["mediaType"].as_str().unwrap().ends_with("+gzip"));
        assert_eq!(
            document(&blobs.config)["rootfs"]["diff_ids"][0],
            digest(&plain.layer)
        );
        let mut files = Vec::new();
        flate2::read::GzDecoder::new(&*blobs.layer)
            .read_to_end(&mut files)
            .unwrap();
        assert_eq!(files, plain.layer);
    }

    #[test]
    fn labels_are_annotations_of_the_manifest_too() {
        let blobs = example(Compression::None);
        let labels = json!({"a": "1", "b": "2"});
        assert_eq!(document(&blobs.config)["config"]["Labels"], labels);
        assert_eq!(document(&blobs.manifest)["annotations"], labels);
    }

    #[test]
    fn programs_run_as_nobody_in_particular_and_the_first_one_is_started() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("carrot");
        std::fs::write(&path, b"program").unwrap();
        let programs = [("carrot", &*path), ("leek", &*path)];
        let blobs = Image::of_programs(ImageConfig::default(), &programs)
            .and_then(Image::finish)
            .unwrap();
        let config = document(&blobs.config);
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"], json!(["/carrot"]));
        let names: Vec<String> = tar::Archive::new(&*blobs.layer)
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["carrot", "leek"], "and nothing else is in there");
    }
}
