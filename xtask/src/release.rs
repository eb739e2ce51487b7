//! `cargo xtask release`: the files of a release in one folder, from images that were made before.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use oci_image::{archive, hex_digest, tar_gzip};

use crate::{image, workspace::Workspace};

/// Where the generated CRDs are, and the file among them that is none.
const CRDS: (&str, &str) = ("deploy/crds/", "kustomization.yaml");
const CHARTS: &str = "charts/";

/// Put the files of a release into one folder: images for all processors, chart, CRDs, bills of materials, checksums.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The tag that is released: v and the version of the workspace.
    #[arg(long)]
    tag: String,
    /// A folder that `cargo xtask image` has filled; one for each processor.
    #[arg(long, value_name = "FOLDER", required = true)]
    images: Vec<PathBuf>,
    /// What stands before the name of each image.
    #[arg(
        long,
        value_name = "PREFIX",
        env = "IMAGE_REGISTRY",
        default_value = "localhost"
    )]
    registry: String,
    /// Where the files go.
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let images: Vec<(String, String)> = image::names(workspace);
    for (name, version) in &images {
        ensure!(
            arguments.tag == format!("v{version}"),
            "the tag {} does not fit {name}, which is of version {version}: set the version in Cargo.toml first",
            arguments.tag
        );
    }
    let output = &arguments.output;
    fs::create_dir_all(output).with_context(|| format!("failed to make {}", output.display()))?;
    let mut digests = String::new();
    for (name, version) in &images {
        let digest = join(name, version, arguments)?;
        let hex = digest.trim_start_matches("sha256:");
        // In the form of SHA256SUMS, which the provenance of images is made from.
        digests.extend([
            hex,
            "  ",
            arguments.registry.as_str(),
            "/",
            name.as_str(),
            "\n",
        ]);
    }
    write(output, "IMAGES", digests.as_bytes())?;
    let files = workspace.files()?;
    write(output, "crds.yaml", crds(workspace, &files)?.as_bytes())?;
    for chart in charts(&files) {
        let name = format!("{chart}-{}.tgz", arguments.tag.trim_start_matches('v'));
        write(
            output,
            &name,
            &package(workspace, chart, &files, &arguments.tag)?,
        )?;
    }
    let sums = checksums(output)?;
    write(output, "SHA256SUMS", sums.as_bytes())?;
    print!("{sums}");
    Ok(ExitCode::SUCCESS)
}

/// Joins the images of one controller for all processors, and copies their bills. Returns the digest of the whole.
fn join(name: &str, version: &str, arguments: &Arguments) -> anyhow::Result<String> {
    let archives = arguments
        .images
        .iter()
        .map(|folder| folder.join(format!("{name}.tar")));
    let blobs = archives
        .map(|path| archive::read(&path))
        .collect::<anyhow::Result<Vec<_>>>()?;
    for (folder, blobs) in arguments.images.iter().zip(&blobs) {
        let from = folder.join(format!("{name}.cdx.json"));
        let bill = fs::read(&from).with_context(|| format!("failed to read {}", from.display()))?;
        let to = format!("{name}.{}.cdx.json", blobs.architecture()?);
        write(&arguments.output, &to, &bill)?;
    }
    let path = arguments.output.join(format!("{name}.oci.tar"));
    let full_name = format!("{}/{name}:{version}", arguments.registry);
    archive::write_for_all(&blobs, &full_name, &path)
}

/// All CRDs as one file for `kubectl apply -f`.
fn crds(workspace: &Workspace, files: &[String]) -> anyhow::Result<String> {
    let (folder, kustomization) = CRDS;
    let documents = files
        .iter()
        .filter(|path| path.starts_with(folder) && !path.ends_with(kustomization))
        .map(|path| {
            fs::read_to_string(workspace.root.join(path))
                .with_context(|| format!("failed to read {path}"))
        })
        .collect::<anyhow::Result<Vec<String>>>()?;
    Ok(documents.join("---\n"))
}

/// The charts among these files.
fn charts(files: &[String]) -> impl Iterator<Item = &str> {
    files
        .iter()
        .filter_map(|path| path.strip_prefix(CHARTS)?.strip_suffix("/Chart.yaml"))
        .filter(|name| !name.contains('/'))
}

/// A chart as `helm package` makes it: its files below a folder of its name.
fn package(
    workspace: &Workspace,
    chart: &str,
    files: &[String],
    tag: &str,
) -> anyhow::Result<Vec<u8>> {
    let folder = format!("{CHARTS}{chart}/");
    let own = files.iter().filter(|path| path.starts_with(&folder));
    let contents = own
        .map(|path| {
            let content = fs::read(workspace.root.join(path))
                .with_context(|| format!("failed to read {path}"))?;
            Ok((path[CHARTS.len()..].to_owned(), content))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let version = format!("version: {}", tag.trim_start_matches('v'));
    let description = contents
        .iter()
        .find(|(name, _)| name.ends_with("/Chart.yaml"));
    let fits = description.is_some_and(|(_, content)| {
        String::from_utf8_lossy(content)
            .lines()
            .any(|line| line == version)
    });
    ensure!(
        fits,
        "{folder}Chart.yaml does not say \"{version}\", which the tag {tag} needs"
    );
    tar_gzip(&contents)
}

/// Of all files in the folder, in the form of sha256sum.
fn checksums(folder: &Path) -> anyhow::Result<String> {
    let failed = || format!("failed to read {}", folder.display());
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let name = path.file_name().unwrap_or_default().display().to_string();
        if name != "SHA256SUMS" {
            let content = fs::read(&path).with_context(failed)?;
            lines.push((name, hex_digest(&content)));
        }
    }
    lines.sort();
    let lines = lines
        .iter()
        .map(|(name, digest)| format!("{digest}  {name}\n"));
    Ok(lines.collect())
}

fn write(folder: &Path, name: &str, content: &[u8]) -> anyhow::Result<()> {
    let path = folder.join(name);
    fs::write(&path, content).with_context(|| format!("failed to write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use oci_image::{Image, ImageConfig};

    use super::*;

    fn workspace() -> Workspace {
        Workspace::load().unwrap()
    }

    /// A folder as `cargo xtask image` fills it, without building anything.
    fn images(workspace: &Workspace) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, _) in image::names(workspace) {
            let image = Image::new(ImageConfig::default()).file(&name, 0o755, name.as_bytes());
            let path = folder.path().join(format!("{name}.tar"));
            archive::write(&image.unwrap().finish().unwrap(), "localhost/x:1", &path).unwrap();
            fs::write(folder.path().join(format!("{name}.cdx.json")), "{}").unwrap();
        }
        folder
    }

    fn arguments(tag: &str, images: &Path, output: &Path) -> Arguments {
        Arguments {
            tag: tag.into(),
            images: vec![images.to_owned()],
            registry: "registry.example.com/team".into(),
            output: output.to_owned(),
        }
    }

    #[test]
    fn a_release_has_every_image_bill_and_crd_and_the_sums_of_all() {
        let workspace = workspace();
        let (images, output) = (images(&workspace), tempfile::tempdir().unwrap());
        let tag = format!("v{}", workspace.packages[0].version);
        run(&workspace, &arguments(&tag, images.path(), output.path())).unwrap();
        let read = |name: &str| fs::read_to_string(output.path().join(name)).unwrap();
        let (sums, digests) = (read("SHA256SUMS"), read("IMAGES"));
        for (name, _) in image::names(&workspace) {
            assert!(sums.contains(&format!("  {name}.oci.tar\n")), "{sums}");
            assert!(
                digests.contains(&format!("  registry.example.com/team/{name}\n")),
                "{digests}"
            );
        }
        assert_eq!(sums.matches(".cdx.json\n").count(), digests.lines().count());
        assert_eq!(
            read("crds.yaml")
                .matches("kind: CustomResourceDefinition")
                .count(),
            3
        );
        for line in sums.lines() {
            let (digest, name) = line.split_once("  ").unwrap();
            let content = fs::read(output.path().join(name)).unwrap();
            assert_eq!(hex_digest(&content), digest, "{name}");
        }
    }

    #[test]
    fn a_tag_of_another_version_is_refused() {
        let workspace = workspace();
        let (images, output) = (images(&workspace), tempfile::tempdir().unwrap());
        let error = run(
            &workspace,
            &arguments("v99.0.0", images.path(), output.path()),
        );
        assert!(error.unwrap_err().to_string().contains("v99.0.0"));
        assert_eq!(fs::read_dir(output.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_chart_is_packed_below_a_folder_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace {
            root: folder.path().to_owned(),
            ..workspace()
        };
        fs::create_dir_all(folder.path().join("charts/carrot/templates")).unwrap();
        let files = [
            "charts/carrot/Chart.yaml",
            "charts/carrot/templates/bed.yaml",
        ];
        fs::write(
            folder.path().join(files[0]),
            "name: carrot\nversion: 1.2.3\n",
        )
        .unwrap();
        fs::write(folder.path().join(files[1]), "kind: Bed\n").unwrap();
        let files = files.map(str::to_owned);
        assert_eq!(charts(&files).collect::<Vec<_>>(), ["carrot"]);
        let package_of = |tag| package(&workspace, "carrot", &files, tag);
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&*package_of("v1.2.3").unwrap())
            .read_to_string(&mut unpacked)
            .unwrap();
        assert!(unpacked.contains("carrot/templates/bed.yaml") && !unpacked.contains("charts/"));
        assert!(
            package_of("v1.2.4")
                .unwrap_err()
                .to_string()
                .contains("Chart.yaml")
        );
    }
}
