//! The last step: moves the finished files into the volume, where each appears whole or not at all.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::report::{self, Measured, hexadecimal};
use super::{Layout, Result, WorkerError, file};
use crate::paths;
use crate::recipe::{From, Output, OutputKind, Recipe};

/// How files that are not complete begin; no file of ours does.
const PARTIAL: &str = ".kairos-build-partial-";
/// Bytes copied at once.
const CHUNK: usize = 1 << 20;

/// Copies all outputs under names that nobody reads, then renames them, then removes what an earlier build left and this
/// one has no more. Returns the report.
pub fn collect(layout: &Layout, recipe: &Recipe) -> Result<String> {
    let volume = layout.path(paths::ARTIFACTS);
    remove_partial(&volume)?;
    // All of them before the first copy: a build that lacks one touches nothing.
    let sources: Vec<(OutputKind, PathBuf)> = recipe
        .outputs
        .iter()
        .map(|output| Ok((output.kind, find(layout, recipe, output)?)))
        .collect::<Result<_>>()?;
    let mut measured = Vec::new();
    for (kind, source) in &sources {
        let name = kind.file(&recipe.name);
        let file = copy(source, &volume.join(format!("{PARTIAL}{name}")), *kind)?;
        println!(
            "{name}: {} bytes, sha256 {}",
            file.bytes,
            hexadecimal(&file.sha256)
        );
        measured.push(file);
    }
    for file in &measured {
        finish(&volume, &recipe.name, file)?;
    }
    remove_former(&volume, recipe)?;
    file(
        "write out",
        &volume,
        File::open(&volume).and_then(|folder| folder.sync_all()),
    )?;
    Ok(report::write(&measured))
}

fn find(layout: &Layout, recipe: &Recipe, output: &Output) -> Result<PathBuf> {
    let name = output.kind.file(&recipe.name);
    let mut last = format!("{name} was not built");
    for from in &output.from {
        match from {
            From::File(path) => {
                let path = layout.path(path);
                match path.metadata() {
                    Ok(metadata) if metadata.is_file() && metadata.len() > 0 => return Ok(path),
                    Ok(metadata) if metadata.is_file() => last = format!("{name} is empty"),
                    _ => {}
                }
            }
            From::Only(folder, suffix) => return only(&layout.path(folder), suffix, &name),
        }
    }
    Err(WorkerError::Output(format!(
        "{last}, although no step failed; the steps' logs say what they wrote"
    )))
}

/// The one file that a disk build leaves under a name of its own making.
fn only(folder: &Path, suffix: &str, name: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in file("read", folder, std::fs::read_dir(folder))? {
        let entry = file("read", folder, entry)?;
        let text = entry.file_name().to_string_lossy().into_owned();
        if text.starts_with("kairos-") && text.ends_with(suffix) {
            found.push(entry.path());
        }
    }
    match found.as_slice() {
        [one]
            if one
                .metadata()
                .is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0) =>
        {
            Ok(one.clone())
        }
        [_] => Err(WorkerError::Output(format!(
            "{name} is empty, although no step failed"
        ))),
        [] => Err(WorkerError::Output(format!(
            "{name} was not built, although no step failed"
        ))),
        several => Err(WorkerError::Output(format!(
            "{} files could be {name}, and it is not clear which",
            several.len()
        ))),
    }
}

fn copy(source: &Path, target: &Path, kind: OutputKind) -> Result<Measured> {
    let mut from = file("open", source, File::open(source))?;
    let mut to = file("create", target, File::create(target))?;
    let mut hasher = Sha256::new();
    let mut bytes = 0;
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file("read", source, from.read(&mut chunk))?;
        let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else {
            break;
        };
        hasher.update(part);
        file("write", target, to.write_all(part))?;
        bytes += u64::try_from(read).unwrap_or_default();
    }
    file("write out", target, to.sync_all())?;
    Ok(Measured {
        kind,
        bytes,
        sha256: hasher.finalize().into(),
    })
}

fn finish(volume: &Path, name: &str, measured: &Measured) -> Result<()> {
    let own = measured.kind.file(name);
    let target = volume.join(&own);
    let partial = volume.join(format!("{PARTIAL}{own}"));
    file("rename to", &target, std::fs::rename(partial, &target))?;
    if measured.kind == OutputKind::Iso {
        let checksum = volume.join(checksum_file(name));
        let partial = volume.join(format!("{PARTIAL}{}", checksum_file(name)));
        // Two blanks: with one, `sha256sum --check` of busybox refuses it.
        let text = format!("{}  {own}\n", hexadecimal(&measured.sha256));
        file("write", &partial, std::fs::write(&partial, text))?;
        file("rename to", &checksum, std::fs::rename(partial, &checksum))?;
    }
    Ok(())
}

fn checksum_file(name: &str) -> String {
    format!("{}.sha256", OutputKind::Iso.file(name))
}

fn remove_partial(volume: &Path) -> Result<()> {
    for entry in file("read", volume, std::fs::read_dir(volume))? {
        let entry = file("read", volume, entry)?;
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            let path = entry.path();
            file("remove", &path, std::fs::remove_file(&path))?;
        }
    }
    Ok(())
}

/// Exporters hand on whatever is in the volume.
fn remove_former(volume: &Path, recipe: &Recipe) -> Result<()> {
    let is_wanted = |kind: &OutputKind| recipe.outputs.iter().any(|output| output.kind == *kind);
    let former = OutputKind::ALL.into_iter().filter(|kind| !is_wanted(kind));
    let mut files: Vec<String> = former.map(|kind| kind.file(&recipe.name)).collect();
    if !is_wanted(&OutputKind::Iso) {
        files.push(checksum_file(&recipe.name));
    }
    for name in files {
        let path = volume.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => file("remove", &path, removed)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::tests_support::recipe;

    struct Place {
        _folder: tempfile::TempDir,
        layout: Layout,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let layout = Layout::below(folder.path());
            for path in ["/artifacts", "/build/iso", "/build/disks/cloud"] {
                std::fs::create_dir_all(layout.path(path)).unwrap();
            }
            Self {
                _folder: folder,
                layout,
            }
        }

        fn write(&self, path: &str, text: &str) {
            std::fs::write(self.layout.path(path), text).unwrap();
        }

        fn files(&self) -> Vec<String> {
            let entries = std::fs::read_dir(self.layout.path("/artifacts")).unwrap();
            let mut names: Vec<String> = entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    fn wanted() -> Recipe {
        let mut recipe = recipe();
        recipe.outputs = vec![
            Output {
                kind: OutputKind::Iso,
                from: vec![From::File("/build/iso/my.iso".into())],
            },
            Output {
                kind: OutputKind::Raw,
                from: vec![From::Only("/build/disks/cloud".into(), ".raw".into())],
            },
        ];
        recipe
    }

    #[test]
    fn files_are_moved_measured_and_the_former_ones_go() {
        let place = Place::new();
        place.write("/build/iso/my.iso", "abc");
        place.write("/build/disks/cloud/kairos-x.raw", "raw");
        place.write("/artifacts/my.iso", "old");
        place.write("/artifacts/my.vhd", "old");
        place.write("/artifacts/.kairos-build-partial-my.raw", "half");
        place.write("/artifacts/other.txt", "mine");
        let report = report::read(&collect(&place.layout, &wanted()).unwrap(), "my").unwrap();
        assert_eq!(
            place.files(),
            ["my.iso", "my.iso.sha256", "my.raw", "other.txt"]
        );
        assert_eq!(report[0].bytes, 3);
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(report[0].sha256, sum);
        let written =
            std::fs::read_to_string(place.layout.path("/artifacts/my.iso.sha256")).unwrap();
        assert_eq!(
            written,
            format!("{sum}  my.iso\n"),
            "as sha256sum --check wants it"
        );
    }

    #[test]
    fn a_missing_or_empty_output_is_an_error_and_touches_nothing() {
        for (iso, raw, words) in [
            (None, Some("raw"), "my.iso was not built"),
            (Some(""), Some("raw"), "my.iso is empty"),
            (Some("abc"), None, "my.raw was not built"),
            (Some("abc"), Some(""), "my.raw is empty"),
        ] {
            let place = Place::new();
            place.write("/artifacts/my.iso", "old");
            if let Some(iso) = iso {
                place.write("/build/iso/my.iso", iso);
            }
            if let Some(raw) = raw {
                place.write("/build/disks/cloud/kairos-x.raw", raw);
            }
            let error = collect(&place.layout, &wanted()).unwrap_err().to_string();
            assert!(error.starts_with(words), "{error}");
            assert_eq!(place.files(), ["my.iso"]);
            assert_eq!(
                std::fs::read_to_string(place.layout.path("/artifacts/my.iso")).unwrap(),
                "old"
            );
        }
    }

    #[test]
    fn two_disk_images_in_one_folder_are_an_error() {
        let place = Place::new();
        place.write("/build/iso/my.iso", "abc");
        place.write("/build/disks/cloud/kairos-x.raw", "raw");
        place.write("/build/disks/cloud/kairos-y.raw", "raw");
        let error = collect(&place.layout, &wanted()).unwrap_err().to_string();
        assert!(error.contains("2 files could be my.raw"), "{error}");
    }
}
