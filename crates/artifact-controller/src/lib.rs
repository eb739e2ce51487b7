//! Renders the Dockerfile templates of `OSArtifact`s. Building them is not part of it yet.

pub mod args;
pub mod render;
pub mod template;
