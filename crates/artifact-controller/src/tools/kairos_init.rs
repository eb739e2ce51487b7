//! kairos-init v0.16.1: makes a Kairos image of any other.

use super::{Argv, Call};

/// Where the program lies in its image, and in the image that is converted while it is.
pub const PROGRAM: &str = "/kairos-init";

/// Stages of a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Installs packages.
    Install,
    /// Writes configuration, kernel and initrd into place.
    Init,
}

/// One stage of the conversion to `version`, which must be semantic.
pub fn convert(stage: Stage, version: &str) -> Argv {
    let stage = match stage {
        Stage::Install => "install",
        Stage::Init => "init",
    };
    Call::new(&[PROGRAM])
        .flag("-s", stage)
        .flag("-m", "generic")
        .flag("-v", version)
        .positional(&[])
}
