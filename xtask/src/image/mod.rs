//! `cargo xtask image`: the image of each controller as an OCI archive, made without a container engine.
//!
//! The same source makes the same bytes: binaries hold no path of the machine (`programs`), layers no time and no owner
//! (the crate `oci-image`).

mod contents;
#[cfg(test)]
mod dockerfile;
mod programs;
mod sbom;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use oci_image::{Blobs, Compression, Image, ImageConfig, archive, digest};

use crate::workspace::Workspace;

use contents::Contents;
use programs::Profile;
pub(crate) use programs::{debug as static_program, target};

/// Largest size of a compressed image: what a node pulls over the network before a controller can start there.
const LARGEST: usize = 10 * 1000 * 1000;

/// Make the images of the controllers as OCI archives, each with a list of what it is made of (CycloneDX).
///
/// They are for this machine's processor. `docker load`, `podman load`, `ctr images import`, `kind load image-archive` and
/// `skopeo copy oci-archive:FILE …` read them. An image over 10 MB fails the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the archives go (target/images when not given).
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// What stands before the name of each image, for example registry.example.com/team.
    #[arg(
        long,
        value_name = "PREFIX",
        env = "IMAGE_REGISTRY",
        default_value = "localhost"
    )]
    registry: String,
    /// Where the source is, for the label org.opencontainers.image.source.
    #[arg(long, value_name = "URL", env = "IMAGE_SOURCE")]
    source: Option<String>,
    /// Binaries as quickly built as can be: large and slow, for the demo and tests.
    #[arg(long)]
    debug: bool,
}

/// One image that was made.
struct Made {
    name: String,
    blobs: Blobs,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let profile = if arguments.debug {
        Profile::Debug
    } else {
        Profile::Release
    };
    let folder = arguments
        .output
        .clone()
        .unwrap_or_else(|| self::folder(workspace, profile));
    let made = make(workspace, profile, &folder, arguments)?;
    println!("{}", table(&made));
    println!("in {}", folder.display());
    let too_large: Vec<&str> = made
        .iter()
        .filter(|made| profile == Profile::Release && made.blobs.layer.len() > LARGEST)
        .map(|made| &*made.name)
        .collect();
    if too_large.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "error: {} over {} MB compressed: look what was added with `cargo tree`",
        too_large.join(", "),
        LARGEST / 1_000_000
    );
    Ok(ExitCode::FAILURE)
}

/// The images of binaries that are built quickly, for programs that load them themselves. Where they are.
pub(crate) fn quick(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let folder = folder(workspace, Profile::Debug);
    let arguments = Arguments {
        output: None,
        registry: "localhost".to_owned(),
        source: None,
        debug: true,
    };
    make(workspace, Profile::Debug, &folder, &arguments)?;
    Ok(folder)
}

/// Name and version of each image.
pub(crate) fn names(workspace: &Workspace) -> Vec<(String, String)> {
    contents::of(workspace)
        .into_iter()
        .map(|contents| (contents.name, contents.version))
        .collect()
}

fn folder(workspace: &Workspace, profile: Profile) -> PathBuf {
    let name = match profile {
        Profile::Debug => "images-debug",
        Profile::Release => "images",
    };
    workspace.target_directory.join(name)
}

fn make(
    workspace: &Workspace,
    profile: Profile,
    folder: &Path,
    arguments: &Arguments,
) -> anyhow::Result<Vec<Made>> {
    let images = contents::of(workspace);
    ensure!(
        !images.is_empty(),
        "failed to find a controller: no package in crates/ has a binary of its own name"
    );
    let binaries = programs::build(workspace, profile, &images)?;
    fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let bills = sbom::Bills::load(workspace)?;
    let revision = workspace.revision()?;
    let mut all = Vec::new();
    for contents in images {
        let labels = contents.labels(&revision, arguments.source.as_deref());
        let config = ImageConfig {
            labels,
            // A machine that makes debug images also pulls them.
            compression: match profile {
                Profile::Debug => Compression::None,
                Profile::Release => Compression::Gzip,
            },
            ..ImageConfig::default()
        };
        let blobs = image(&contents, config, &binaries)?;
        let name = format!(
            "{}/{}:{}",
            arguments.registry, contents.name, contents.version
        );
        archive::write(
            &blobs,
            &name,
            &folder.join(format!("{}.tar", contents.name)),
        )?;
        let bill = bills.of(&contents.name)?;
        let path = folder.join(format!("{}.cdx.json", contents.name));
        fs::write(&path, bill).with_context(|| format!("failed to write {}", path.display()))?;
        all.push(Made { name, blobs });
    }
    Ok(all)
}

/// The image with these contents, of the programs in a folder.
fn image(contents: &Contents, config: ImageConfig, folder: &Path) -> anyhow::Result<Blobs> {
    let paths: Vec<(&str, PathBuf)> = contents
        .programs
        .iter()
        .map(|program| (&**program, folder.join(program)))
        .collect();
    let programs: Vec<(&str, &Path)> = paths.iter().map(|(name, path)| (*name, &**path)).collect();
    Image::of_programs(config, &programs)?.finish()
}

fn table(made: &[Made]) -> String {
    let width = made.iter().map(|made| made.name.len()).max().unwrap_or(0);
    let mut rows = vec![format!("{:width$}  {:>8}  DIGEST", "IMAGE", "SIZE")];
    for Made { name, blobs } in made {
        let tenths = blobs.layer.len() / 100_000;
        let size = format!("{}.{} MB", tenths / 10, tenths % 10);
        rows.push(format!(
            "{name:width$}  {size:>8}  {}",
            digest(&blobs.manifest)
        ));
    }
    rows.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> Contents {
        Contents {
            name: "carrot".into(),
            programs: vec!["carrot".into(), "carrot-peeler".into()],
            version: "1.2.3".into(),
            description: "Grows".into(),
            license: "Apache-2.0".into(),
            repository: None,
        }
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for program in contents().programs {
            fs::write(folder.path().join(&program), program.repeat(1000)).unwrap();
        }
        folder
    }

    #[test]
    fn the_same_programs_make_the_same_archive() {
        // Written at other times, in other folders.
        let make = || {
            let folder = folder();
            let config = ImageConfig {
                labels: contents().labels("abc", Some("https://example.com")),
                compression: Compression::Gzip,
                ..ImageConfig::default()
            };
            let blobs = image(&contents(), config, folder.path()).unwrap();
            let path = folder.path().join("carrot.tar");
            archive::write(&blobs, "localhost/carrot:1.2.3", &path).unwrap();
            fs::read(path).unwrap()
        };
        assert_eq!(make(), make());
    }

    #[test]
    fn the_table_has_sizes_and_digests() {
        let folder = folder();
        let blobs = image(&contents(), ImageConfig::default(), folder.path()).unwrap();
        let digest = digest(&blobs.manifest);
        let made = [Made {
            name: "localhost/carrot:1.2.3".into(),
            blobs,
        }];
        let table = table(&made);
        assert!(
            table.ends_with(&format!("localhost/carrot:1.2.3    0.0 MB  {digest}")),
            "{table}"
        );
    }
}
