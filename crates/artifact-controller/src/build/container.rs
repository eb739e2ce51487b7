//! The container of one step: whose image, which call, and with which rights.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Capabilities, Container, EnvVar, ResourceRequirements, SeccompProfile,
    SecurityContext,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::BuildSettings;
use super::volumes::{mounts, pulls_with_credentials};
use crate::paths;
use crate::plan::Plan;
use crate::steps::{Condition, Rights, Step, Tool, Work};
use crate::worker::BUILD_ENV;

/// The worker in its own image.
const WORKER: &str = "/artifact-worker";
/// The user of steps without rights.
const USER: i64 = 65532;

/// What making a root file system takes: any owner and mode, devices, file capabilities.
const MAKE_ROOT: [&str; 6] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "MKNOD",
    "SETFCAP",
];
/// What the instructions of a Dockerfile take besides: other users, a root of their own, and the mounts in it.
/// buildah gives each of its processes its own default set, so it must have all of that.
const CHROOT: [&str; 15] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_CHROOT",
];
/// What the volume of finished files takes, whoever owns it.
const WRITE_FILES: [&str; 2] = ["DAC_OVERRIDE", "FOWNER"];

/// The container. `build` names the build; the worker holds its recipe against it.
pub fn container(plan: &Plan, step: &Step, build: &str, settings: &BuildSettings) -> Container {
    Container {
        name: step.name.to_owned(),
        image: Some(image(step.tool, settings).to_owned()),
        command: Some(command(step)),
        env: Some(environment(plan, step, build)),
        // What a failing tool said last reaches the Pod's status, and from there the artifact's.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(security_context(step)),
        resources: Some(resources(step, settings)),
        volume_mounts: Some(mounts(plan, step)),
        ..Container::default()
    }
}

fn image(tool: Tool, settings: &BuildSettings) -> &str {
    match tool {
        Tool::Worker => &settings.worker_image,
        Tool::AuroraBoot => &settings.auroraboot_image,
        Tool::Buildah => &settings.buildah_image,
    }
}

/// The worker runs everything, also in images of tools: no shell is needed for a condition or a second call.
fn command(step: &Step) -> Vec<String> {
    let (condition, clear, calls) = match &step.work {
        Work::Worker(name) => return [WORKER, name].map(str::to_owned).to_vec(),
        Work::Calls {
            condition,
            clear,
            calls,
        } => (condition, clear, calls),
    };
    let mut command: Vec<String> = [paths::WORKER, "run"].map(str::to_owned).to_vec();
    match condition {
        Condition::Always => {}
        Condition::UnlessKairos => command.push("--unless-kairos".to_owned()),
        Condition::IfConverted => {
            command.extend(["--if-exists", paths::CONVERTED_ARCHIVE].map(str::to_owned));
        }
    }
    if let Some(folder) = clear {
        command.extend(["--clear", folder].map(str::to_owned));
    }
    for (index, call) in calls.iter().enumerate() {
        let separator = if index == 0 {
            "--"
        } else {
            crate::worker::THEN
        };
        command.push(separator.to_owned());
        command.extend(call.iter().cloned());
    }
    command
}

fn environment(plan: &Plan, step: &Step, build: &str) -> Vec<EnvVar> {
    let variable = |name: &str, value: &str| EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    };
    if step.tool == Tool::Worker {
        return vec![variable(BUILD_ENV, build)];
    }
    let mut environment = vec![variable("TMPDIR", paths::TEMPORARY)];
    if pulls_with_credentials(plan, step) {
        environment.push(variable("DOCKER_CONFIG", paths::REGISTRY_AUTH));
    }
    environment
}

fn resources(step: &Step, settings: &BuildSettings) -> ResourceRequirements {
    if step.tool != Tool::Worker {
        return settings.resources.clone();
    }
    let requests = [("cpu", "10m"), ("memory", "32Mi")];
    ResourceRequirements {
        requests: Some(
            requests
                .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
                .into(),
        ),
        ..ResourceRequirements::default()
    }
}

/// The table in ARCHITECTURE.md.
fn security_context(step: &Step) -> SecurityContext {
    if step.rights == Rights::Privileged {
        return SecurityContext {
            privileged: Some(true),
            run_as_user: Some(0),
            ..SecurityContext::default()
        };
    }
    let added: &[&str] = match step.rights {
        Rights::None | Rights::Privileged => &[],
        Rights::WriteFiles => &WRITE_FILES,
        Rights::MakeRoot => &MAKE_ROOT,
        Rights::Chroot => &CHROOT,
    };
    let added: Vec<String> = added.iter().map(|name| (*name).to_owned()).collect();
    let ordinary = step.rights == Rights::None;
    // The kernel takes a file's set-user-ID bit for an escalation, and instructions of Dockerfiles use such files.
    let escalates = step.rights == Rights::Chroot;
    SecurityContext {
        run_as_user: Some(if ordinary { USER } else { 0 }),
        run_as_group: Some(if ordinary { USER } else { 0 }),
        run_as_non_root: ordinary.then_some(true),
        allow_privilege_escalation: Some(escalates),
        read_only_root_filesystem: (step.tool == Tool::Worker).then_some(true),
        capabilities: Some(Capabilities {
            add: Some(added).filter(|added| !added.is_empty()),
            drop: Some(vec!["ALL".to_owned()]),
        }),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        // The usual profile forbids mounts, whatever the capabilities say.
        app_armor_profile: escalates.then(|| AppArmorProfile {
            type_: "Unconfined".to_owned(),
            localhost_profile: None,
        }),
        ..SecurityContext::default()
    }
}
