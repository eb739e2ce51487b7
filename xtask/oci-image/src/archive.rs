//! An image as one file: a tar archive with the OCI image layout.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read as _};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tar::{Archive, Builder, EntryType};

use crate::image::{Blobs, MANIFEST_TYPE, digest, header, hex_digest};

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// The largest part of an archive that is read.
const LARGEST_PART: u64 = 1 << 30;

/// Writes the image to `path` under its full name with tag, such as `ghcr.io/kairos/tool:v1`.
pub fn write(blobs: &Blobs, name: &str, path: &Path) -> anyhow::Result<()> {
    let mut descriptor = descriptor(MANIFEST_TYPE, &blobs.manifest);
    descriptor["platform"] = platform(blobs)?;
    write_parts(descriptor, &blobs.parts(), name, path)
}

/// Writes one image for several processors. Returns its digest.
pub fn write_for_all(images: &[Blobs], name: &str, path: &Path) -> anyhow::Result<String> {
    let manifests = images
        .iter()
        .map(|image| {
            let mut descriptor = descriptor(MANIFEST_TYPE, &image.manifest);
            descriptor["platform"] = platform(image)?;
            Ok(descriptor)
        })
        .collect::<anyhow::Result<Vec<Value>>>()?;
    let index = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": manifests,
    }))?;
    let mut parts: Vec<(String, &[u8])> = images.iter().flat_map(Blobs::parts).collect();
    parts.push((hex_digest(&index), &index));
    write_parts(descriptor(INDEX_TYPE, &index), &parts, name, path)?;
    Ok(digest(&index))
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(content), "size": content.len() })
}

/// What an image runs on.
fn platform(image: &Blobs) -> anyhow::Result<Value> {
    Ok(json!({ "architecture": image.architecture()?, "os": "linux" }))
}

fn write_parts(
    mut image: Value,
    blobs: &[(String, &[u8])],
    name: &str,
    path: &Path,
) -> anyhow::Result<()> {
    let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    // The specification has a place for the tag only; containerd and docker read the whole name from the other one.
    image["annotations"] =
        json!({ "io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag });
    let index = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [image],
    }))?;
    let layout = br#"{"imageLayoutVersion":"1.0.0"}"#;
    // Sorted by name.
    let mut files: BTreeMap<String, &[u8]> = BTreeMap::new();
    files.insert("index.json".to_owned(), &index);
    files.insert("oci-layout".to_owned(), layout);
    for (hex, blob) in blobs {
        files.insert(format!("blobs/sha256/{hex}"), blob);
    }
    let write = || -> io::Result<()> {
        let mut builder = Builder::new(File::create(path)?);
        for folder in ["blobs/", "blobs/sha256/"] {
            let mut header = header(EntryType::Directory, 0o755, 0);
            builder.append_data(&mut header, folder, io::empty())?;
        }
        for (name, content) in files {
            let mut header = header(EntryType::Regular, 0o644, content.len() as u64);
            builder.append_data(&mut header, name, Cursor::new(content))?;
        }
        builder.finish()
    };
    write().with_context(|| format!("failed to write image {name} to {}", path.display()))
}

/// Reads an archive with one image of one layer, as [`write`] makes it. What does not fit its digest is refused.
pub fn read(path: &Path) -> anyhow::Result<Blobs> {
    parts(path)
        .map_err(anyhow::Error::from)
        .and_then(blobs)
        .with_context(|| format!("failed to read the image archive {}", path.display()))
}

fn blobs(mut parts: BTreeMap<String, Vec<u8>>) -> anyhow::Result<Blobs> {
    let index = parts.remove("index.json").context("it has no index.json")?;
    let index: Value = serde_json::from_slice(&index).context("its index.json is no JSON")?;
    let manifest = blob(&mut parts, one(&index, "manifests")?)?;
    let document: Value = serde_json::from_slice(&manifest).context("its manifest is no JSON")?;
    let config = blob(&mut parts, &document["config"])?;
    let descriptor = one(&document, "layers")?;
    let layer = blob(&mut parts, descriptor)?;
    Ok(Blobs {
        manifest,
        config,
        layer,
        // Checked just now.
        layer_digest: descriptor["digest"].as_str().unwrap_or_default().to_owned(),
    })
}

/// The files of a tar archive by name.
fn parts(path: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut archive = Archive::new(File::open(path)?);
    let mut parts = BTreeMap::new();
    for entry in archive.entries()? {
        let entry = entry?;
        if entry.header().entry_type() != EntryType::Regular {
            continue;
        }
        let name = entry.path()?.display().to_string();
        let mut content = Vec::new();
        entry.take(LARGEST_PART).read_to_end(&mut content)?;
        parts.insert(name, content);
    }
    Ok(parts)
}

fn one<'a>(document: &'a Value, list: &str) -> anyhow::Result<&'a Value> {
    match document[list].as_array().map(Vec::as_slice) {
        Some([one]) => Ok(one),
        _ => bail!("it has not exactly one entry in {list}"),
    }
}

fn blob(parts: &mut BTreeMap<String, Vec<u8>>, descriptor: &Value) -> anyhow::Result<Vec<u8>> {
    let expected = descriptor["digest"].as_str().unwrap_or_default();
    let hex = expected.strip_prefix("sha256:").unwrap_or_default();
    let content = parts
        .remove(&format!("blobs/sha256/{hex}"))
        .with_context(|| format!("it has no blob {expected:?}"))?;
    ensure!(
        digest(&content) == expected,
        "its blob {expected} has other content"
    );
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compression, Image, ImageConfig};

    fn example() -> Blobs {
        let config = ImageConfig {
            compression: Compression::Gzip,
            ..ImageConfig::default()
        };
        Image::new(config)
            .file("tool", 0o755, b"tool")
            .and_then(Image::finish)
            .unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        write(&example(), "example.com/tool:v1", &path).unwrap();
        assert_eq!(read(&path).unwrap(), example());
        let index = parts(&path).unwrap().remove("index.json").unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let annotations = &index["manifests"][0]["annotations"];
        assert_eq!(
            annotations["io.containerd.image.name"],
            "example.com/tool:v1"
        );
        assert_eq!(annotations["org.opencontainers.image.ref.name"], "v1");
    }

    #[test]
    fn an_image_for_two_processors_names_both() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        let config = br#"{"architecture":"arm64","os":"linux"}"#.to_vec();
        let other = Blobs {
            manifest: b"other".to_vec(),
            config,
            layer: b"layer".to_vec(),
            layer_digest: digest(b"layer"),
        };
        let written = write_for_all(&[example(), other], "example.com/tool:v1", &path).unwrap();
        let parts = parts(&path).unwrap();
        let entry: Value = serde_json::from_slice(&parts["index.json"]).unwrap();
        assert_eq!(entry["manifests"][0]["digest"], written);
        let index = &parts[&format!("blobs/sha256/{}", &written["sha256:".len()..])];
        let index: Value = serde_json::from_slice(index).unwrap();
        assert_eq!(index["manifests"][1]["platform"]["architecture"], "arm64");
        assert_eq!(index["manifests"][1]["digest"], digest(b"other"));
        // Two images of three blobs, the index of both, and the two files of the layout.
        assert_eq!(parts.len(), 3 + 3 + 1 + 2);
    }

    #[test]
    fn a_changed_blob_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        write(&example(), "example.com/tool:v1", &path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let position = bytes
            .windows(5)
            .position(|window| window == b"linux")
            .unwrap();
        bytes[position] = b'L';
        std::fs::write(&path, bytes).unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("has other content"), "{error}");
    }
}
