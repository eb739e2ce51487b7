//! A folder of images, written by the tests and read by the registry while it runs.
//!
//! `blobs/HEX` holds contents by SHA-256, `tags/HOST/REPOSITORY/:TAG` the digest of a manifest (the colon keeps tags apart
//! from deeper repositories), and `passwords/HOST` what a client must present for that host: `user:password` in base64.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use oci_image::{Blobs, Image, archive, digest};

use super::reference::{Reference, is_safe, is_safe_path};

/// A folder of images. Cheap to clone; writing is safe while a registry serves it.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store in `folder`, which is made if it is missing.
    pub fn open(folder: impl Into<PathBuf>) -> anyhow::Result<Self> {
        let folder = folder.into();
        for part in ["blobs", "tags", "passwords"] {
            let path = folder.join(part);
            fs::create_dir_all(&path)
                .with_context(|| format!("failed to make {}", path.display()))?;
        }
        Ok(Self { folder })
    }

    /// The folder, for the registry's arguments.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts an image under a name, e.g. `quay.io/kairos/ubuntu:v3`; an earlier one of that name is replaced.
    /// Returns the manifest's digest.
    pub fn put(&self, name: &str, image: Image) -> anyhow::Result<String> {
        self.put_blobs(name, &image.finish()?)
    }

    /// Like [`Self::put`], for an image that was written to a file.
    pub fn put_archive(&self, name: &str, path: &Path) -> anyhow::Result<String> {
        self.put_blobs(name, &archive::read(path)?)
    }

    /// Like [`Self::put`], for an image that is finished, such as one with several names.
    pub fn put_blobs(&self, name: &str, blobs: &Blobs) -> anyhow::Result<String> {
        let Reference {
            host,
            repository,
            tag,
        } = Reference::parse(name)?;
        let write = || -> io::Result<()> {
            for (hex, content) in blobs.parts() {
                let path = self.folder.join("blobs").join(hex);
                if !path.exists() {
                    replace(&path, content)?;
                }
            }
            let tags = self.folder.join("tags").join(host).join(repository);
            fs::create_dir_all(&tags)?;
            replace(
                &tags.join(format!(":{tag}")),
                digest(&blobs.manifest).as_bytes(),
            )
        };
        write().with_context(|| {
            format!("failed to store image {name} in {}", self.folder.display())
        })?;
        Ok(digest(&blobs.manifest))
    }

    /// From now on every image of `host` asks for this user and password, as a private registry does.
    pub fn require_password(&self, host: &str, user: &str, password: &str) -> anyhow::Result<()> {
        anyhow::ensure!(is_safe(host), "{host} is not a host name");
        let path = self.folder.join("passwords").join(host);
        let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
        replace(&path, credentials.as_bytes())
            .with_context(|| format!("failed to write {}", path.display()))
    }

    /// What a client must present for a host that asks for a password.
    pub(super) fn password(&self, host: &str) -> Option<String> {
        if !is_safe(host) {
            return None;
        }
        fs::read_to_string(self.folder.join("passwords").join(host)).ok()
    }

    /// The manifest's digest behind a tag.
    pub(super) fn resolve(&self, host: &str, repository: &str, tag: &str) -> Option<String> {
        if !is_safe(host) || !is_safe_path(repository) || !is_safe(tag) {
            return None;
        }
        fs::read_to_string(
            self.folder
                .join("tags")
                .join(host)
                .join(repository)
                .join(format!(":{tag}")),
        )
        .ok()
    }

    /// The content of a blob by its digest `sha256:HEX`.
    pub(super) fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        let hex = digest.strip_prefix("sha256:")?;
        if hex.len() != 64 || !hex.chars().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        fs::read(self.folder.join("blobs").join(hex)).ok()
    }
}

/// Writes beside the target and renames, so that a reader sees the old or the new content, never a part.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .ok_or_else(|| io::Error::other("no parent folder"))?;
    let file = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(file.path(), content)?;
    file.persist(path)?;
    Ok(())
}
