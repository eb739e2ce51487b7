//! What a test says about a node before it boots.

use std::collections::BTreeMap;

/// The kernel command line's word for a Kairos boot state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BootState {
    /// The active system.
    #[default]
    Active,
    /// The fallback system.
    Passive,
    /// The recovery system.
    Recovery,
    /// Nothing on the command line tells.
    Unknown,
}

impl BootState {
    /// A kernel command line that says so.
    pub(super) fn command_line(self) -> String {
        let label = match self {
            Self::Active => " root=LABEL=COS_ACTIVE",
            Self::Passive => " root=LABEL=COS_PASSIVE",
            Self::Recovery => " root=LABEL=COS_RECOVERY",
            Self::Unknown => "",
        };
        format!("BOOT_IMAGE=/boot/vmlinuz console=tty1{label}\n")
    }

    /// The marker file in /run/cos that says so; none where nothing tells.
    pub(super) fn marker_file(self) -> Option<&'static str> {
        match self {
            Self::Active => Some("active_mode"),
            Self::Passive => Some("passive_mode"),
            Self::Recovery => Some("recovery_mode"),
            Self::Unknown => None,
        }
    }
}

/// A node to start.
#[derive(Debug, Clone, Default)]
pub struct NodeSpec {
    /// Name of the Node and host name.
    pub name: String,
    /// Labels of the Node, put on by the admin: role labels are allowed.
    pub labels: BTreeMap<String, String>,
    /// Content of /etc/kairos-release; the file is missing when absent, as on a node that is no Kairos.
    pub kairos_release: Option<String>,
    /// What /proc/cmdline tells.
    pub boot_state: BootState,
    /// What the marker files in /run/cos tell; there is no such folder when absent, as on a node that is no Kairos.
    pub marker: Option<BootState>,
}

impl NodeSpec {
    /// A worker without Kairos release data.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Gives the node the role label of the control plane.
    #[must_use]
    pub fn control_plane(self) -> Self {
        self.label("node-role.kubernetes.io/control-plane", "")
    }

    /// Sets /etc/kairos-release.
    #[must_use]
    pub fn kairos_release(mut self, content: impl Into<String>) -> Self {
        self.kairos_release = Some(content.into());
        self
    }

    /// Sets what /proc/cmdline tells. A container's own is the machine's: what runs in a Pod has to read the node's.
    #[must_use]
    pub fn boot_state(mut self, state: BootState) -> Self {
        self.boot_state = state;
        self
    }

    /// Sets what the marker files in /run/cos tell.
    #[must_use]
    pub fn marker(mut self, state: BootState) -> Self {
        self.marker = Some(state);
        self
    }
}
