//! The steps of a build, in order: each is a container of the builder Pod.

use crate::paths;
use crate::plan::{Disk, Plan, Source};
use crate::tools::{Argv, Pull, auroraboot, buildah};

/// Every name that a step can have.
pub const STEP_NAMES: [&str; 14] = [
    PREPARE,
    "build-image",
    "unpack-image",
    "convert-image",
    "unpack-converted",
    "unpack-bundles",
    "customise",
    "assemble-image",
    "build-iso",
    "build-netboot",
    "build-cloud-image",
    "build-azure-image",
    "build-gce-image",
    COLLECT,
];
/// The first step of our own.
pub const PREPARE: &str = "prepare";
/// The last step, whose termination message is the list of files.
pub const COLLECT: &str = "collect";

/// The name that images have in buildah's own store.
pub const LOCAL_TAG: &str = "localhost/kairos-build:image";

/// Whose image a step runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Our own worker.
    Worker,
    /// AuroraBoot.
    AuroraBoot,
    /// buildah.
    Buildah,
}

/// What a step may do. ARCHITECTURE.md has the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// An ordinary user without capabilities.
    None,
    /// Root that may write files of any owner.
    WriteFiles,
    /// Root that may make a root file system: owners, modes, devices, file capabilities.
    MakeRoot,
    /// Root that may also mount and change its root, as a build of a Dockerfile does.
    Chroot,
    /// Everything: disk images are built on loop devices.
    Privileged,
}

/// When a step does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Always.
    Always,
    /// Only when the root file system is not that of a Kairos system.
    UnlessKairos,
    /// Only when the image was converted.
    IfConverted,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// A subcommand of the worker.
    Worker(&'static str),
    /// Calls of tools, one after the other, with a folder that is emptied before.
    Calls {
        /// When.
        condition: Condition,
        /// A folder to empty first.
        clear: Option<&'static str>,
        /// What is called.
        calls: Vec<Argv>,
    },
}

/// A step of the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// One of [`STEP_NAMES`].
    pub name: &'static str,
    /// Whose image.
    pub tool: Tool,
    /// With which rights.
    pub rights: Rights,
    /// What it does.
    pub work: Work,
}

/// What the controller's flags contribute to the calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallSettings {
    /// Whether registries without TLS are fine.
    pub insecure_registries: bool,
}

/// The steps of `plan`, without the user's importers, which come first.
pub fn steps(plan: &Plan, settings: CallSettings) -> Vec<Step> {
    let builder = Builder { plan, settings };
    let mut steps = vec![worker(PREPARE, Rights::None)];
    builder.source(&mut steps);
    builder.changes(&mut steps);
    builder.image(&mut steps);
    builder.outputs(&mut steps);
    steps.push(worker(COLLECT, Rights::WriteFiles));
    steps
}

fn worker(name: &'static str, rights: Rights) -> Step {
    Step {
        name,
        tool: Tool::Worker,
        rights,
        work: Work::Worker(name),
    }
}

fn calls(name: &'static str, tool: Tool, rights: Rights, calls: Vec<Argv>) -> Step {
    Step {
        name,
        tool,
        rights,
        work: Work::Calls {
            condition: Condition::Always,
            clear: None,
            calls,
        },
    }
}

impl Step {
    fn only(mut self, wanted: Condition) -> Self {
        if let Work::Calls { condition, .. } = &mut self.work {
            *condition = wanted;
        }
        self
    }

    fn clearing(mut self, folder: &'static str) -> Self {
        if let Work::Calls { clear, .. } = &mut self.work {
            *clear = Some(folder);
        }
        self
    }
}

struct Builder<'a> {
    plan: &'a Plan,
    settings: CallSettings,
}

impl Builder<'_> {
    fn arch(&self) -> Option<&'static str> {
        self.plan.arch.map(|arch| match arch {
            api_types::osartifact::Architecture::Amd64 => "amd64",
            api_types::osartifact::Architecture::Arm64 => "arm64",
        })
    }

    fn pull(&self) -> Pull<'static> {
        Pull {
            arch: self.arch(),
            insecure: self.settings.insecure_registries,
            auth_file: (!self.plan.pull_secrets.is_empty()).then_some(paths::REGISTRY_AUTH_FILE),
        }
    }

    fn cloud_config(&self) -> Option<&'static str> {
        self.plan.cloud_config.as_ref().map(|_| paths::CLOUD_CONFIG)
    }

    /// The name inside image archives on the way; the wanted one where the plan has one.
    fn archive_name(&self) -> &str {
        self.plan.archive.as_deref().unwrap_or(LOCAL_TAG)
    }

    fn context(&self) -> &'static str {
        match self.plan.build_context {
            Some(_) => paths::CONTEXT_VOLUME,
            None => paths::EMPTY_CONTEXT,
        }
    }

    /// From the source to a Kairos root file system.
    fn source(&self, steps: &mut Vec<Step>) {
        let built = |context: &str, dockerfile: &str, file: &str| {
            vec![
                buildah::build(dockerfile, context, LOCAL_TAG, false, &self.pull()),
                buildah::archive(LOCAL_TAG, file, self.archive_name()),
            ]
        };
        let unpack = |name: &'static str, image: &str| {
            let call = auroraboot::unpack(image, paths::ROOT, &self.pull());
            calls(name, Tool::AuroraBoot, Rights::MakeRoot, vec![call])
        };
        let convert = || {
            let call = built(
                paths::EMPTY_CONTEXT,
                paths::CONVERT_DOCKERFILE,
                paths::CONVERTED_ARCHIVE,
            );
            calls("convert-image", Tool::Buildah, Rights::Chroot, call)
        };
        let converted = auroraboot::archive(paths::CONVERTED_ARCHIVE);
        match &self.plan.source {
            Source::Base(_) => {
                steps.push(convert());
                if self.plan.needs_root() {
                    steps.push(unpack("unpack-image", &converted));
                }
                return;
            }
            // Without an output that needs the root file system only, the image must be in buildah's store.
            Source::Image(image) if self.plan.archive.is_none() => {
                steps.push(unpack("unpack-image", image));
            }
            Source::Image(_) | Source::Dockerfile(_) => {
                let call = built(self.context(), paths::DOCKERFILE, paths::BUILT_ARCHIVE);
                steps.push(calls("build-image", Tool::Buildah, Rights::Chroot, call));
                steps.push(unpack(
                    "unpack-image",
                    &auroraboot::archive(paths::BUILT_ARCHIVE),
                ));
            }
        }
        steps.push(convert().only(Condition::UnlessKairos));
        if self.plan.needs_root() {
            steps.push(
                unpack("unpack-converted", &converted)
                    .only(Condition::IfConverted)
                    .clearing(paths::ROOT),
            );
        }
    }

    /// What is laid over the root file system.
    fn changes(&self, steps: &mut Vec<Step>) {
        if !self.plan.bundles.is_empty() {
            let bundles = self.plan.bundles.iter();
            let unpacks =
                bundles.map(|bundle| auroraboot::unpack(bundle, paths::ROOT, &self.pull()));
            steps.push(calls(
                "unpack-bundles",
                Tool::AuroraBoot,
                Rights::MakeRoot,
                unpacks.collect(),
            ));
        }
        let texts = self.plan.os_release.is_some() || self.plan.kairos_release.is_some();
        if texts || self.plan.overlay_rootfs.is_some() {
            steps.push(worker("customise", Rights::MakeRoot));
        }
    }

    /// The image itself, where it is wanted and something was laid over it. Otherwise it is there already.
    fn image(&self, steps: &mut Vec<Step>) {
        if self.plan.archive.is_none() || !self.plan.changes_root() {
            return;
        }
        let local = Pull {
            arch: self.arch(),
            ..Pull::default()
        };
        let assemble = vec![
            buildah::build(
                paths::ASSEMBLE_DOCKERFILE,
                paths::ROOT,
                LOCAL_TAG,
                true,
                &local,
            ),
            buildah::archive(LOCAL_TAG, paths::ASSEMBLED_ARCHIVE, self.archive_name()),
        ];
        steps.push(calls(
            "assemble-image",
            Tool::Buildah,
            Rights::Chroot,
            assemble,
        ));
    }

    fn outputs(&self, steps: &mut Vec<Step>) {
        let plan = self.plan;
        if plan.iso || plan.netboot {
            let overlay = plan.overlay_iso.is_some() || plan.grub_config.is_some();
            let call = auroraboot::build_iso(
                &plan.name,
                paths::ROOT,
                paths::ISO,
                self.cloud_config(),
                overlay.then_some(paths::ISO_OVERLAY),
                self.arch(),
            );
            steps.push(calls(
                "build-iso",
                Tool::AuroraBoot,
                Rights::MakeRoot,
                vec![call],
            ));
        }
        if plan.netboot {
            let iso = format!("{}/{}.iso", paths::ISO, plan.name);
            let call = auroraboot::netboot(&iso, paths::NETBOOT, &plan.name);
            steps.push(calls(
                "build-netboot",
                Tool::AuroraBoot,
                Rights::MakeRoot,
                vec![call],
            ));
        }
        for &disk in &plan.disks {
            let call = auroraboot::disk(
                disk,
                paths::ROOT,
                &disk_folder(disk),
                plan.disk_mebibytes,
                self.cloud_config(),
                self.arch(),
            );
            let name = match disk {
                Disk::Raw => "build-cloud-image",
                Disk::Azure => "build-azure-image",
                Disk::Gce => "build-gce-image",
            };
            steps.push(calls(
                name,
                Tool::AuroraBoot,
                Rights::Privileged,
                vec![call],
            ));
        }
    }
}

/// The work folder of a disk image, its own: two builds in one folder take each other's files.
pub fn disk_folder(disk: Disk) -> String {
    let name = match disk {
        Disk::Raw => "cloud",
        Disk::Azure => "azure",
        Disk::Gce => "gce",
    };
    format!("{}/{name}", paths::DISKS)
}
