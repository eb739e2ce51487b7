//! Container images made of files of this machine, without a container engine, in the formats of the OCI image
//! specification. The same files and settings make the same bytes.
//!
//! - [`Image`]: one layer of files, links and folders, and how a container of it starts.
//! - [`Blobs`]: a finished image, for a registry.
//! - [`archive`]: the same as one file, which `docker load`, `podman load`, `skopeo`, `ctr images import` and
//!   `kind load image-archive` read.
//!
//! The documents are written by `serde_json` alone: `oci-spec`, which has types for them, keeps labels and annotations in
//! hash maps, so the same image would have another digest in every run.

pub mod archive;
mod image;

pub use image::{
    Blobs, Compression, Image, ImageConfig, MANIFEST_TYPE, digest, hex_digest, tar_gzip,
};
