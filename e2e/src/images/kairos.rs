//! Stand-ins for Kairos images: a release file and busybox, with a `kairos-agent` that upgrades test nodes, or with what
//! bootable images are built of.

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

/// Makes a Kairos of a busybox image that bootable images can be built of: with a kernel, an initrd and release files.
pub fn bootable(busybox: Image) -> anyhow::Result<Image> {
    let release = b"KAIROS_VERSION=\"v1.0.0\"\nKAIROS_NAME=\"test\"\n";
    busybox
        .folder("boot", 0o755)?
        .file("boot/vmlinuz", 0o644, b"kernel\n")?
        .file("boot/initrd", 0o644, b"initrd\n")?
        .file("etc/kairos-release", 0o644, release)?
        .folder("usr", 0o755)?
        .folder("usr/lib", 0o755)?
        .file("usr/lib/os-release", 0o644, b"ID=test\nIMAGE_ID=none\n")?
        .link("etc/os-release", "../usr/lib/os-release")
}
