//! Statically linked programs: what an image without libraries can start.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::workspace::Workspace;

use super::contents::Contents;

/// Links the C library in (its static half is in Debian's libc6-dev).
const STATIC: [&str; 2] = ["-C", "target-feature=+crt-static"];
/// What separates the flags in the variable that cargo reads them from.
const SEPARATOR: &str = "\u{1f}";

/// How programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    /// Quickly: everything below the programs is shared with other builds.
    Debug,
    /// Small, and the same bytes from the same source wherever it lies.
    Release,
}

/// The target of this machine, the only one whose standard library is sure to be there.
pub(crate) fn target() -> String {
    format!("{}-unknown-linux-gnu", env::consts::ARCH)
}

/// Builds the programs of all images. Returns the folder that holds them.
pub(super) fn build(
    workspace: &Workspace,
    profile: Profile,
    images: &[Contents],
) -> anyhow::Result<PathBuf> {
    match profile {
        Profile::Release => release(workspace, images),
        Profile::Debug => {
            for contents in images {
                for program in &contents.programs {
                    debug(workspace, &contents.name, program)?;
                }
            }
            Ok(workspace.static_programs())
        }
    }
}

/// Builds one program of a package into the folder of static programs. Only the last step differs from the other
/// programs, the link with the C library, so the crates below it are compiled once for both.
pub(crate) fn debug(workspace: &Workspace, package: &str, program: &str) -> anyhow::Result<()> {
    let mut build = workspace.cargo(["rustc", "--quiet", "--package", package, "--bin", program]);
    build.arg("--").args(STATIC).args(["-C", "strip=symbols"]);
    run(build)?;
    // Cargo's own place is taken again by the next build that is not static.
    let folder = workspace.static_programs();
    let target = folder.join(program);
    let install = || -> std::io::Result<()> {
        fs::create_dir_all(&folder)?;
        // A test may be running the old one.
        let unfinished = target.with_extension("unfinished");
        fs::copy(workspace.programs().join(program), &unfinished)?;
        fs::rename(&unfinished, &target)
    };
    install().with_context(|| format!("failed to put {} in place", target.display()))
}

fn release(workspace: &Workspace, images: &[Contents]) -> anyhow::Result<PathBuf> {
    let target = target();
    // With a target that is named, the flags are for our programs only: libraries that the compiler loads (derive macros)
    // cannot be static.
    let folder = workspace.target_directory.join("static");
    let mut build = workspace.cargo(["build", "--release", "--locked", "--bins"]);
    build
        .args(["--target", &target, "--target-dir"])
        .arg(&folder)
        .args(images.iter().flat_map(|image| ["--package", &*image.name]))
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            flags(&workspace.root, &cargo_home()?)?.join(SEPARATOR),
        );
    println!("building the programs (the first time about five minutes)");
    run(build)?;
    Ok(folder.join(target).join("release"))
}

fn run(mut build: Command) -> anyhow::Result<()> {
    let status = build.status().context("failed to start cargo")?;
    ensure!(
        status.success(),
        "failed to build a static program; rustc says why above (the C library's static half is in libc6-dev)"
    );
    Ok(())
}

/// Flags that make static programs without a path of this machine, which would make them differ from machine to machine.
fn flags(root: &Path, cargo_home: &Path) -> anyhow::Result<Vec<String>> {
    let mut paths = vec![
        (root.to_owned(), "/kairos-operator"),
        (cargo_home.to_owned(), "/cargo"),
    ];
    // Below it, a folder is named after the machine's registry. The last flag that fits wins.
    let registries = cargo_home.join("registry/src");
    if registries.is_dir() {
        let failed = || format!("failed to read {}", registries.display());
        for entry in fs::read_dir(&registries).with_context(failed)? {
            paths.push((entry.with_context(failed)?.path(), "/cargo/registry"));
        }
    }
    let paths = paths
        .into_iter()
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    Ok(STATIC.map(str::to_owned).into_iter().chain(paths).collect())
}

fn cargo_home() -> anyhow::Result<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))
        .context("failed to find cargo's folder: set HOME or CARGO_HOME")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_name_every_folder_that_differs_from_machine_to_machine() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("registry/src/mirror-123")).unwrap();
        let flags = flags(Path::new("/barn"), home.path()).unwrap();
        let home = home.path().display();
        assert_eq!(
            flags,
            [
                "-C".to_owned(),
                "target-feature=+crt-static".to_owned(),
                "--remap-path-prefix=/barn=/kairos-operator".to_owned(),
                format!("--remap-path-prefix={home}=/cargo"),
                format!("--remap-path-prefix={home}/registry/src/mirror-123=/cargo/registry"),
            ]
        );
    }
}
