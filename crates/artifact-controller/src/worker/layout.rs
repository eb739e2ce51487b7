//! Where the fixed paths of [`crate::paths`] are: at the root of a container, or below a folder in tests.

use std::path::{Path, PathBuf};

/// The root that all fixed paths are below.
#[derive(Debug, Clone)]
pub struct Layout {
    base: PathBuf,
}

impl Layout {
    /// That of the running container.
    pub fn of_machine() -> Self {
        Self::below("/")
    }

    /// One below a folder.
    pub fn below(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into() }
    }

    /// Where an absolute path of [`crate::paths`] is.
    pub fn path(&self, path: &str) -> PathBuf {
        self.base
            .join(Path::new(path).strip_prefix("/").unwrap_or(Path::new(path)))
    }
}
