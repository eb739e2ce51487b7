//! What our own binary does inside the builder Pod. It has no token and talks to nobody: files in, files out, and its last
//! words in the termination message.

mod auth;
mod call;
mod collect;
mod customise;
mod layout;
mod overlay;
mod prepare;
pub mod report;
mod root;
mod values;

use std::io;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use operator_runtime::names::cut_text;

use crate::recipe::{KEY, Recipe};
use crate::texts::TextError;

pub use call::{Call, THEN};
pub use collect::collect;
pub use customise::customise;
pub use layout::Layout;
pub use prepare::prepare;
pub use root::is_kairos;

/// Environment variable with the name of the build that the Pod is for.
pub const BUILD_ENV: &str = "KAIROS_BUILD";

/// Longest last words of a step that failed, in bytes. Errors begin with their place, and may quote values as long as a
/// Secret; of longer words the kubelet and the controller keep the end.
const LONGEST_ERROR: usize = 1000;

/// A step of the worker failed. The message becomes the container's last words, and through them the `OSArtifact`'s.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A file or folder of the build.
    #[error("failed to {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What the user wrote or gave is wrong, as a sentence.
    #[error("{0}")]
    Input(String),
    /// A text of our own that a value does not fit into.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A program could not be started, or failed.
    #[error("{0}")]
    Call(String),
    /// An output that is not there.
    #[error("{0}")]
    Output(String),
}

/// Result of a step.
pub type Result<T, E = WorkerError> = std::result::Result<T, E>;

impl WorkerError {
    /// The error as a container's last words: its end is cut off where it is too long.
    pub fn last_words(&self) -> String {
        cut_text(&self.to_string(), LONGEST_ERROR)
    }
}

/// Adds what was tried to an error of the system.
fn file<T>(action: &'static str, path: &Path, result: io::Result<T>) -> Result<T> {
    result.map_err(|source| WorkerError::File {
        action,
        path: path.to_owned(),
        source,
    })
}

/// The step to run.
#[derive(Debug, Parser)]
#[command(
    name = "artifact-worker",
    version,
    about = "The steps of an OSArtifact's build that run inside the builder Pod"
)]
pub struct Args {
    /// Which step.
    #[command(subcommand)]
    pub step: StepArgs,
}

/// The steps.
#[derive(Debug, Subcommand)]
pub enum StepArgs {
    /// Renders the Dockerfile and lays out everything that later steps read.
    Prepare,
    /// Lays files and release texts over the root file system.
    Customise,
    /// Moves the finished files into the volume, and reports their sizes and checksums.
    Collect,
    /// Runs programs one after the other, if there is a reason to.
    Run(Call),
}

/// Runs one step. Some text is the container's last words.
pub fn run(step: StepArgs) -> Result<String> {
    let layout = Layout::of_machine();
    match step {
        StepArgs::Prepare => prepare(&layout, &recipe(&layout)?),
        StepArgs::Customise => customise(&layout, &recipe(&layout)?).map(|()| String::new()),
        StepArgs::Collect => collect(&layout, &recipe(&layout)?),
        StepArgs::Run(call) => call.run(&layout).map(|()| String::new()),
    }
}

/// Reads the recipe, once the mounted `ConfigMap` is that of this build: a kubelet may show an older one for a while.
fn recipe(layout: &Layout) -> Result<Recipe> {
    let build = std::env::var(BUILD_ENV).unwrap_or_default();
    let path = layout.path(crate::paths::CONFIG).join(KEY);
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(3);
    loop {
        let text = file("read", &path, std::fs::read(&path))?;
        let recipe: Recipe = serde_json::from_slice(&text).map_err(|error| {
            WorkerError::Input(format!(
                "failed to read the recipe {}: {error}",
                path.display()
            ))
        })?;
        if recipe.build == build {
            return Ok(recipe);
        }
        if std::time::Instant::now() > deadline {
            return Err(WorkerError::Input(format!(
                "the ConfigMap is that of build {}, and this Pod is for build {build}; annotate the OSArtifact to try again",
                recipe.build
            )));
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

#[cfg(test)]
mod prepare_tests;
#[cfg(test)]
mod tests_support {
    use crate::plan::Version;
    use crate::recipe::{Convert, Recipe};

    /// A recipe that asks for nothing.
    pub(super) fn recipe() -> Recipe {
        Recipe {
            build: "b".into(),
            name: "my".into(),
            dockerfile: None,
            convert: Convert {
                base: "opensuse/leap:15.6".into(),
                kairos_init_image: "quay.io/kairos/kairos-init:v0.16.1".into(),
                version: Version::parse("v3.6.0").unwrap(),
            },
            assemble: false,
            cloud_config: None,
            grub_config: None,
            overlay_iso: false,
            overlay_rootfs: false,
            os_release: None,
            kairos_release: None,
            pull_secrets: Vec::new(),
            netboot_url: None,
            outputs: Vec::new(),
        }
    }
}
