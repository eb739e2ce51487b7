//! Containers that run our agent: a static binary at [`PROGRAM`] of its image, started without a shell.

use api_types::names::AGENT_CONTAINER;
use api_types::nodeop::NodeOp;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, SELinuxOptions, SeccompProfile, SecurityContext,
};

use super::BuildSettings;
use super::names::sentinel_name;
use super::pod::{host_mount, small_requests};

/// Where an image that holds the agent has it.
pub const PROGRAM: &str = "/node-agent";

/// The main container of a Job's Pod with a reboot: it starts when the command has succeeded, writes the sentinel on the
/// host, and its termination message is the host's boot ID. An error's text takes the message's place, so the message is
/// a boot ID only where the exit code is 0.
pub(super) fn sentinel_container(
    node_op: &NodeOp,
    node: &str,
    settings: &BuildSettings,
) -> Container {
    let spec = &node_op.spec;
    let arguments = [
        "sentinel",
        "--host-root",
        &spec.host_mount_path,
        "--name",
        &sentinel_name(node_op, node),
    ];
    Container {
        security_context: Some(SecurityContext {
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                // For folders of the host that belong to somebody else than root.
                add: Some(vec!["DAC_OVERRIDE".to_owned()]),
            }),
            read_only_root_filesystem: Some(true),
            ..root_with_host_files()
        }),
        volume_mounts: Some(vec![host_mount(spec)]),
        ..agent_container(settings, &arguments)
    }
}

/// The agent with these arguments.
pub(super) fn agent_container(settings: &BuildSettings, arguments: &[&str]) -> Container {
    // The kubelet replaces `$(NAME)` in a command, and takes `$$` for a plain `$`.
    let plain = |argument: &str| argument.replace('$', "$$");
    let command = std::iter::once(PROGRAM).chain(arguments.iter().copied());
    Container {
        name: AGENT_CONTAINER.to_owned(),
        image: Some(settings.agent_image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(command.map(plain).collect()),
        resources: Some(small_requests()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

/// Root, because the host's files may be readable to root alone, and whatever user the image names. Not privileged.
pub(super) fn root_with_host_files() -> SecurityContext {
    SecurityContext {
        run_as_user: Some(0),
        run_as_group: Some(0),
        // Where SELinux is enforcing, the type of ordinary containers may not read the host's files. Elsewhere this means
        // nothing. Privileged containers get it by themselves.
        se_linux_options: Some(SELinuxOptions {
            type_: Some("spc_t".to_owned()),
            ..SELinuxOptions::default()
        }),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..SecurityContext::default()
    }
}
