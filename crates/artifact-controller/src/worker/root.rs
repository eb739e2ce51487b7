//! Files of a root file system that came out of somebody's image: its links are followed as that system would follow
//! them, beneath its own root, and never lead out of it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fchmod, mkdirat, openat, openat2,
    symlinkat, unlinkat,
};
use rustix::io::Errno;

/// Release files are small.
const MOST_BYTES: u64 = 1 << 20;

/// An opened root.
pub(super) struct Root(OwnedFd);

/// Who owns a file, and what it may be used for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes {
    /// User and group; those of this process without.
    pub(super) owner: Option<(u32, u32)>,
    /// Permission bits.
    pub(super) mode: u32,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(openat(
            CWD,
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?))
    }

    fn open_in(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        Ok(openat2(
            &self.0,
            path,
            flags | OFlags::CLOEXEC,
            mode,
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )?)
    }

    /// The content of a file; none where there is none.
    pub(super) fn read(&self, path: &str) -> io::Result<Option<String>> {
        let opened = match self.open_in(
            Path::new(path),
            OFlags::RDONLY | OFlags::NONBLOCK,
            Mode::empty(),
        ) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let file = File::from(opened);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not an ordinary file"));
        }
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Writes a file; through a link, what the link means.
    pub(super) fn write(&self, path: &str, text: &str) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NONBLOCK;
        let mut file =
            File::from(self.open_in(Path::new(path), flags, Mode::from_raw_mode(0o644))?);
        file.write_all(text.as_bytes())
    }

    fn folder(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        self.open_in(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
    }

    /// Makes a folder, unless there is one, possibly through a link.
    pub(super) fn create_folder(&self, path: &Path, attributes: Attributes) -> io::Result<()> {
        if self.folder(path).is_ok() {
            return Ok(());
        }
        let (parent, name) = self.place(path)?;
        remove(&parent, name)?;
        mkdirat(&parent, name, Mode::from_raw_mode(0o700))?;
        let folder = openat(
            &parent,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        own(&parent, name, attributes)?;
        Ok(fchmod(&folder, Mode::from_raw_mode(attributes.mode))?)
    }

    /// Puts a file in place of whatever was there, but for a folder.
    pub(super) fn create_file(
        &self,
        path: &Path,
        content: &mut impl io::Read,
        attributes: Attributes,
    ) -> io::Result<()> {
        let (parent, name) = self.place(path)?;
        remove(&parent, name)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&parent, name, flags, Mode::from_raw_mode(0o600))?);
        io::copy(content, &mut file)?;
        own(&parent, name, attributes)?;
        // After the owner: a change of owner takes set-user-ID bits away.
        Ok(fchmod(&file, Mode::from_raw_mode(attributes.mode))?)
    }

    /// Puts a link in place of whatever was there, but for a folder.
    pub(super) fn create_link(
        &self,
        path: &Path,
        target: &Path,
        attributes: Attributes,
    ) -> io::Result<()> {
        let (parent, name) = self.place(path)?;
        remove(&parent, name)?;
        symlinkat(target, &parent, name)?;
        own(&parent, name, attributes)
    }

    fn place<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a Path)> {
        let name = path
            .file_name()
            .ok_or_else(|| io::Error::other("no file name"))?;
        let parent = self.folder(path.parent().unwrap_or(Path::new("")))?;
        Ok((parent, Path::new(name)))
    }
}

fn remove(parent: &OwnedFd, name: &Path) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn own(parent: &OwnedFd, name: &Path, attributes: Attributes) -> io::Result<()> {
    let Some((user, group)) = attributes.owner else {
        return Ok(());
    };
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    Ok(chownat(
        parent,
        name,
        Some(user),
        Some(group),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

/// Whether a root file system says that it is Kairos. kairos-init writes its release file; older images say it in
/// os-release.
pub fn is_kairos(path: &Path) -> bool {
    let Ok(root) = Root::open(path) else {
        return false;
    };
    let has = |file: &str, key: &str| {
        let text = root.read(file).ok().flatten().unwrap_or_default();
        text.lines().any(|line| line.trim_start().starts_with(key))
    };
    has("etc/kairos-release", "KAIROS_") || has("etc/os-release", "KAIROS_VERSION=")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_of_the_image_does_not_lead_out_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        let outside = folder.path().join("outside");
        std::fs::write(&outside, "outside").unwrap();
        symlink(&outside, root.join("etc/os-release")).unwrap();
        symlink("../../..", root.join("up")).unwrap();
        let opened = Root::open(&root).unwrap();
        assert!(
            opened.write("etc/os-release", "x").is_err(),
            "its folder does not exist in the root"
        );
        opened.write("up/file", "x").unwrap();
        assert_eq!(std::fs::read_to_string(outside).unwrap(), "outside");
        assert!(root.join("file").exists(), "above the root is the root");
    }

    #[test]
    fn a_link_within_the_image_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("usr/lib")).unwrap();
        std::fs::create_dir_all(folder.path().join("etc")).unwrap();
        symlink("/usr/lib/os-release", folder.path().join("etc/os-release")).unwrap();
        let root = Root::open(folder.path()).unwrap();
        root.write("etc/os-release", "KAIROS_VERSION=v1\n").unwrap();
        assert!(folder.path().join("usr/lib/os-release").is_file());
        assert!(is_kairos(folder.path()));
    }

    #[test]
    fn a_system_without_release_files_is_not_kairos() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_kairos(folder.path()));
        assert!(!is_kairos(&folder.path().join("nowhere")));
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/os-release"), "ID=debian\n").unwrap();
        assert!(!is_kairos(folder.path()));
        std::fs::write(folder.path().join("etc/kairos-release"), "KAIROS_NAME=x\n").unwrap();
        assert!(is_kairos(folder.path()));
    }
}
