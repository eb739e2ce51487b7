//! The images that every cluster needs, and images of our own programs.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use oci_image::{Image, ImageConfig};

/// The name under which [`busybox`] is stored; manifests write `busybox`.
pub const BUSYBOX: &str = "docker.io/library/busybox:latest";

/// The name under which [`pause`] is stored; containerd's configuration of the test nodes names it.
pub const PAUSE: &str = "registry.k8s.io/pause:e2e";

/// busybox as its official image has it: /bin full of applets, /etc/passwd, /tmp, `sh` by default.
/// `busybox` is a statically linked one, such as that of Debian's busybox-static.
pub fn busybox(busybox: &Path) -> anyhow::Result<Image> {
    let config = ImageConfig {
        command: vec!["sh".to_owned()],
        environment: vec![
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        ],
        ..ImageConfig::default()
    };
    let mut image = base(config, busybox)?
        .folder("etc", 0o755)?
        .file(
            "etc/passwd",
            0o644,
            b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
        )?
        .file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n")?
        .folder("root", 0o700)?
        .folder("tmp", 0o1777)?;
    for applet in applets(busybox)? {
        image = image.link(&format!("bin/{applet}"), "busybox")?;
    }
    Ok(image)
}

/// The first container of every Pod, which holds its namespaces: any program that never ends will do.
pub fn pause(busybox: &Path) -> anyhow::Result<Image> {
    let entrypoint = ["/bin/busybox", "sleep", "infinity"]
        .map(str::to_owned)
        .to_vec();
    base(
        ImageConfig {
            entrypoint,
            ..ImageConfig::default()
        },
        busybox,
    )
}

/// An image of one program of our own as a developer's build makes it, with the shared libraries that it needs; otherwise
/// like [`Image::of_programs`]. `path` is where it lies in the image.
pub fn program_with_libraries(path: &str, source: &Path) -> anyhow::Result<Image> {
    let failed = || format!("failed to list the libraries of {}", source.display());
    let output = Command::new("ldd")
        .arg(source)
        .output()
        .with_context(failed)?;
    let list = String::from_utf8(output.stdout).with_context(failed)?;
    // Lines are `NAME => /PATH (ADDRESS)` or `/PATH (ADDRESS)`; what the kernel provides has no path.
    let libraries: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .collect();
    let mut programs = vec![(path, source)];
    programs.extend(
        libraries
            .iter()
            .map(|library| (*library, Path::new(*library))),
    );
    Image::of_programs(ImageConfig::default(), &programs)
}

fn base(config: ImageConfig, busybox: &Path) -> anyhow::Result<Image> {
    Image::new(config)
        .folder("bin", 0o755)?
        .program("bin/busybox", busybox)
}

fn applets(busybox: &Path) -> anyhow::Result<Vec<String>> {
    let failed = || format!("failed to list the applets of {}", busybox.display());
    let output = Command::new(busybox)
        .arg("--list")
        .output()
        .with_context(failed)?;
    let list = String::from_utf8(output.stdout).with_context(failed)?;
    Ok(list
        .lines()
        .filter(|applet| *applet != "busybox")
        .map(str::to_owned)
        .collect())
}
