//! Stands in for AuroraBoot in tests: goes by the table of its flags, refuses what the real one would drop or misread in
//! silence, and really builds, from Debian's tools. Neither boots on its own, but each file is read back by the tests.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail, ensure};

#[path = "../../../crates/artifact-controller/tests/tool_flags/check.rs"]
mod check;

/// What AuroraBoot calls disk images: from the release file of the image.
const DISK_NAME: &str = "kairos-stand-in-v0";

fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("auroraboot: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> anyhow::Result<()> {
    let mut argv: Vec<String> = std::env::args().skip(1).collect();
    argv.insert(0, "auroraboot".to_owned());
    let call = check::check(&argv).map_err(anyhow::Error::msg)?;
    println!("auroraboot {}", argv[1..].join(" "));
    match call.command.as_deref() {
        Some("unpack") => unpack(&call),
        Some("build-iso") => build_iso(&call),
        Some("netboot") => netboot(&call),
        None => disk(&call),
        Some(other) => bail!("the stand-in has no {other}"),
    }
}

fn flag<'a>(call: &'a check::Checked, name: &str) -> Option<&'a str> {
    let found = call.flags.iter().rev().find(|(flag, _)| flag == name)?;
    Some(&found.1)
}

fn setting<'a>(call: &'a check::Checked, key: &str) -> Option<&'a str> {
    let settings = call.flags.iter().filter(|(flag, _)| flag == "--set");
    settings
        .filter_map(|(_, text)| text.split_once('='))
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value)
}

fn run<S: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = S>,
) -> anyhow::Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("failed to start {program}"))?;
    ensure!(
        output.status.success(),
        "{program} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn root_of(source: &str) -> anyhow::Result<PathBuf> {
    let path = source
        .strip_prefix("dir:")
        .with_context(|| format!("the stand-in reads no {source}"))?;
    ensure!(Path::new(path).is_dir(), "{path} is no folder");
    Ok(PathBuf::from(path))
}

fn unpack(call: &check::Checked) -> anyhow::Result<()> {
    let [image, target] = call.positional.as_slice() else {
        bail!("two words are needed")
    };
    let source = match image.strip_prefix("ocifile:") {
        Some(file) => format!("docker-archive:{file}"),
        None => format!("docker://{image}"),
    };
    let folder =
        PathBuf::from(std::env::var_os("TMPDIR").unwrap_or_else(|| "/tmp".into())).join("unpack");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let mut copy: Vec<String> = ["copy", "--insecure-policy"].map(str::to_owned).into();
    if flag(call, "--allow-insecure-registries").is_some() {
        copy.push("--src-tls-verify=false".to_owned());
    }
    // As Docker's keychain has it.
    if let Some(config) = std::env::var_os("DOCKER_CONFIG") {
        copy.push(format!(
            "--src-authfile={}/config.json",
            config.to_string_lossy()
        ));
    }
    if let Some(arch) = flag(call, "--arch") {
        copy.insert(0, format!("--override-arch={arch}"));
    }
    copy.extend([source, format!("dir:{}", folder.display())]);
    run("skopeo", copy)?;
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("manifest.json"))?)?;
    fs::create_dir_all(target)?;
    for layer in manifest["layers"]
        .as_array()
        .context("the image has no layers")?
    {
        let digest = layer["digest"].as_str().context("a layer has no digest")?;
        let file = folder.join(digest.trim_start_matches("sha256:"));
        run(
            "tar",
            [
                "--extract",
                "--same-owner",
                "--preserve-permissions",
                "--directory",
                target,
                "--file",
                &file.to_string_lossy(),
            ],
        )?;
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// The cloud config must be there and say something.
fn cloud_config(call: &check::Checked) -> anyhow::Result<Option<String>> {
    let Some(path) = flag(call, "--cloud-config") else {
        return Ok(None);
    };
    let text = fs::read_to_string(path).with_context(|| format!("file '{path}' not found"))?;
    ensure!(!text.trim().is_empty(), "the cloud config is empty");
    Ok(Some(text))
}

fn build_iso(call: &check::Checked) -> anyhow::Result<()> {
    let root = root_of(&call.positional[0])?;
    let output = PathBuf::from(flag(call, "--output").unwrap_or("/tmp/auroraboot"));
    let name = flag(call, "--override-name").unwrap_or("kairos");
    let tree = output.join("tree");
    fs::create_dir_all(tree.join("boot/grub2"))?;
    run(
        "mksquashfs",
        [
            root.as_os_str(),
            tree.join("rootfs.squashfs").as_os_str(),
            "-noappend".as_ref(),
            "-quiet".as_ref(),
        ],
    )?;
    for (from, to) in [
        ("boot/vmlinuz", "boot/kernel"),
        ("boot/initrd", "boot/initrd"),
    ] {
        fs::copy(root.join(from), tree.join(to))
            .with_context(|| format!("the root file system has no {from}"))?;
    }
    fs::write(tree.join("boot/grub2/grub.cfg"), "# the default\n")?;
    if let Some(text) = cloud_config(call)? {
        fs::write(tree.join("config.yaml"), text)?;
    }
    if let Some(overlay) = flag(call, "--overlay-iso") {
        ensure!(Path::new(overlay).is_dir(), "invalid path '{overlay}'");
        run(
            "cp",
            [
                "--archive",
                "--no-preserve=ownership",
                &format!("{overlay}/."),
                &tree.to_string_lossy(),
            ],
        )?;
    }
    let iso = output.join(format!("{name}.iso"));
    run(
        "xorriso",
        [
            "-as".as_ref(),
            "mkisofs".as_ref(),
            "-quiet".as_ref(),
            "-V".as_ref(),
            "COS_LIVE".as_ref(),
            "-R".as_ref(),
            "-o".as_ref(),
            iso.as_os_str(),
            tree.as_os_str(),
        ],
    )?;
    fs::remove_dir_all(&tree)?;
    Ok(())
}

fn netboot(call: &check::Checked) -> anyhow::Result<()> {
    let [iso, output, prefix] = call.positional.as_slice() else {
        bail!("three words are needed")
    };
    ensure!(Path::new(output).is_dir(), "{output} does not exist");
    for (from, to) in [
        ("/rootfs.squashfs", ".squashfs"),
        ("/boot/kernel", "-kernel"),
        ("/boot/initrd", "-initrd"),
    ] {
        let target = format!("{output}/{prefix}{to}");
        run(
            "xorriso",
            ["-osirrox", "on", "-indev", iso, "-extract", from, &target],
        )?;
    }
    Ok(())
}

/// One ext4 file system instead of partitions: what counts here is size, format and content.
fn disk(call: &check::Checked) -> anyhow::Result<()> {
    let root = root_of(setting(call, "container_image").context("container_image is not set")?)?;
    let state = PathBuf::from(setting(call, "state_dir").context("state_dir is not set")?);
    let existing = fs::read_dir(&state)?.count();
    ensure!(
        existing == 0,
        "{} is in use: two disk builds in one folder take each other's files",
        state.display()
    );
    cloud_config(call)?;
    let mebibytes: u64 = setting(call, "disk.size")
        .unwrap_or("64")
        .parse()
        .context("disk.size")?;
    let raw = state.join(format!("{DISK_NAME}.raw"));
    fs::File::create(&raw)?.set_len(mebibytes << 20)?;
    run(
        "mke2fs",
        [
            "-q".as_ref(),
            "-t".as_ref(),
            "ext4".as_ref(),
            "-d".as_ref(),
            root.as_os_str(),
            raw.as_os_str(),
        ],
    )?;
    let is_set = |key: &str| setting(call, key) == Some("true");
    if is_set("disk.vhd") {
        let vhd = state.join(format!("{DISK_NAME}.raw.vhd"));
        let options = [
            "convert",
            "-f",
            "raw",
            "-O",
            "vpc",
            "-o",
            "subformat=fixed,force_size=on",
        ];
        run(
            "qemu-img",
            options
                .map(AsRef::<OsStr>::as_ref)
                .into_iter()
                .chain([raw.as_os_str(), vhd.as_os_str()]),
        )?;
        fs::remove_file(&raw)?;
    } else if is_set("disk.gce") {
        let inner = state.join("disk.raw");
        fs::rename(&raw, &inner)?;
        let archive = state.join(format!("{DISK_NAME}.raw.gce.tar.gz"));
        run(
            "tar",
            [
                "--create",
                "--gzip",
                "--sparse",
                "--directory",
                &state.to_string_lossy(),
                "--file",
                &archive.to_string_lossy(),
                "disk.raw",
            ],
        )?;
        fs::remove_file(&inner)?;
    } else {
        ensure!(
            is_set("disk.raw") || is_set("disk.efi"),
            "no disk format is set"
        );
    }
    Ok(())
}
