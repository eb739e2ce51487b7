//! Renders the Dockerfile templates of OSArtifacts. The controller itself does not exist yet.

pub mod template;
