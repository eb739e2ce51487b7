//! Lays the files of a volume over a folder.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::root::{Attributes, Root};
use super::{Result, file};

/// Deeper folders are a mistake.
const DEEPEST: usize = 200;

/// Whose the copies are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owners {
    /// This process's.
    Ours,
    /// Those that the volume says.
    Theirs,
}

/// Copies folders, files and links from `source` into `target`. Links that a kubelet makes in ConfigMaps and Secrets are
/// replaced by what they mean. Devices, sockets and extended attributes are left out.
pub(super) fn copy(source: &Path, target: &Path, owners: Owners) -> Result<()> {
    let root = file("open", target, Root::open(target))?;
    let copier = Copier { root, owners };
    copier.folder(source, Path::new(""), 0)
}

struct Copier {
    root: Root,
    owners: Owners,
}

impl Copier {
    fn folder(&self, source: &Path, below: &Path, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(super::WorkerError::Input(format!(
                "the volume has folders more than {DEEPEST} deep: {}",
                below.display()
            )));
        }
        let entries = file("read", source, std::fs::read_dir(source))?;
        for entry in entries {
            let entry = file("read", source, entry)?;
            let name = entry.file_name();
            // The kubelet's own folders of ConfigMaps and Secrets; and what a formatted disk brings.
            let hidden = name.to_string_lossy().starts_with("..") || name == "lost+found";
            if depth == 0 && hidden {
                continue;
            }
            self.entry(&entry.path(), &below.join(&name), depth)?;
        }
        Ok(())
    }

    fn entry(&self, source: &Path, target: &Path, depth: usize) -> Result<()> {
        let mut metadata = file("look at", source, source.symlink_metadata())?;
        if metadata.is_symlink() {
            let link = file("read the link", source, source.read_link())?;
            let by_kubelet = depth == 0 && link.starts_with("..data");
            if !by_kubelet {
                let created = self
                    .root
                    .create_link(target, &link, self.attributes(&metadata));
                return file("link", target, created);
            }
            metadata = file("look at", source, source.metadata())?;
        }
        let attributes = self.attributes(&metadata);
        if metadata.is_dir() {
            file(
                "create",
                target,
                self.root.create_folder(target, attributes),
            )?;
            return self.folder(source, target, depth + 1);
        }
        if metadata.is_file() {
            let mut content = file("open", source, File::open(source))?;
            return file(
                "write",
                target,
                self.root.create_file(target, &mut content, attributes),
            );
        }
        println!(
            "left out, because it is no file, folder or link: {}",
            source.display()
        );
        Ok(())
    }

    fn attributes(&self, metadata: &Metadata) -> Attributes {
        let owner = (self.owners == Owners::Theirs).then(|| (metadata.uid(), metadata.gid()));
        Attributes {
            owner,
            mode: metadata.mode() & 0o7777,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn files_folders_links_and_modes_arrive() {
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (source.path(), target.path());
        std::fs::create_dir_all(from.join("usr/bin")).unwrap();
        std::fs::write(from.join("usr/bin/tool"), "new").unwrap();
        std::fs::set_permissions(
            from.join("usr/bin/tool"),
            std::fs::Permissions::from_mode(0o750),
        )
        .unwrap();
        symlink("tool", from.join("usr/bin/alias")).unwrap();
        std::fs::create_dir_all(to.join("usr/bin")).unwrap();
        std::fs::write(to.join("usr/bin/tool"), "old").unwrap();
        std::fs::write(to.join("usr/bin/kept"), "kept").unwrap();
        copy(from, to, Owners::Ours).unwrap();
        assert_eq!(
            std::fs::read_to_string(to.join("usr/bin/tool")).unwrap(),
            "new"
        );
        assert_eq!(
            to.join("usr/bin/tool").metadata().unwrap().mode() & 0o7777,
            0o750
        );
        assert_eq!(
            to.join("usr/bin/alias").read_link().unwrap(),
            Path::new("tool")
        );
        assert!(to.join("usr/bin/kept").exists());
    }

    #[test]
    fn a_folder_that_is_a_link_in_the_image_stays_one() {
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(source.path().join("lib")).unwrap();
        std::fs::write(source.path().join("lib/a.so"), "a").unwrap();
        std::fs::create_dir_all(target.path().join("usr/lib")).unwrap();
        symlink("usr/lib", target.path().join("lib")).unwrap();
        copy(source.path(), target.path(), Owners::Ours).unwrap();
        assert!(target.path().join("lib").is_symlink());
        assert!(target.path().join("usr/lib/a.so").exists());
    }

    #[test]
    fn a_config_maps_links_become_files() {
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(source.path().join("..2026")).unwrap();
        std::fs::write(source.path().join("..2026/motd"), "hello").unwrap();
        symlink("..2026", source.path().join("..data")).unwrap();
        symlink("..data/motd", source.path().join("motd")).unwrap();
        copy(source.path(), target.path(), Owners::Ours).unwrap();
        assert!(
            target
                .path()
                .join("motd")
                .symlink_metadata()
                .unwrap()
                .is_file()
        );
        assert_eq!(std::fs::read_dir(target.path()).unwrap().count(), 1);
    }
}
