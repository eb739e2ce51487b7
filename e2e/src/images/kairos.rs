//! Stand-ins for Kairos images: a release file, busybox, and a `kairos-agent` that upgrades test nodes.

use super::Image;

/// The stand-in; its head says how it and the test nodes play together.
const AGENT: &str = include_str!("../../assets/kairos-agent.sh");

/// How upgrades to an image go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// The node boots the new system.
    Works,
    /// The agent fails, with «no space left on device».
    Fails,
    /// The agent never ends.
    Hangs,
    /// The new system does not boot, and the node falls back to the one before.
    FallsBack,
}

impl Upgrade {
    fn word(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Fails => "fails",
            Self::Hangs => "hangs",
            Self::FallsBack => "falls-back",
        }
    }
}

/// Makes a Kairos of a busybox image. `release` is its /etc/kairos-release.
pub fn kairos(busybox: Image, release: &str, upgrade: Upgrade) -> anyhow::Result<Image> {
    busybox
        .folder("run", 0o755)?
        .file("etc/kairos-release", 0o644, release.as_bytes())?
        .file("etc/stand-in", 0o644, upgrade.word().as_bytes())?
        .file("bin/kairos-agent", 0o755, AGENT.as_bytes())
}
