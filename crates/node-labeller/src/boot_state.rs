//! Which of its systems a Kairos node has booted. Pure.

/// What a node has booted; the text is the value of the label boot-state.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString, strum::EnumIter,
)]
#[strum(serialize_all = "lowercase")]
pub enum BootState {
    /// The system that upgrades replace: the ordinary case.
    Active,
    /// The system of before the last upgrade: a fallback.
    Passive,
    /// The recovery system.
    Recovery,
    /// An ISO or a network boot, nothing installed.
    Livecd,
    /// Nothing tells.
    Unknown,
}

/// The marker files in /run/cos and what each says. Trusted boot has one command line for all systems; there only these tell.
pub const MODE_FILES: [(&str, BootState); 3] = [
    ("active_mode", BootState::Active),
    ("passive_mode", BootState::Passive),
    ("recovery_mode", BootState::Recovery),
];

/// Parts of the kernel command line and what each says; the first that occurs decides.
const MARKS: [(&str, BootState); 8] = [
    ("COS_ACTIVE", BootState::Active),
    ("COS_PASSIVE", BootState::Passive),
    ("COS_RECOVERY", BootState::Recovery),
    ("COS_SYSTEM", BootState::Recovery),
    ("recovery-mode", BootState::Recovery),
    ("live:LABEL", BootState::Livecd),
    ("live:CDLABEL", BootState::Livecd),
    ("netboot", BootState::Livecd),
];

/// The boot state from the kernel command line, and where that says nothing, from the marker files that exist. Marker files
/// that contradict each other say nothing.
pub fn boot_state(command_line: &str, modes: &[BootState]) -> BootState {
    let marked = MARKS.iter().find(|(mark, _)| command_line.contains(mark));
    match (marked, modes) {
        (Some((_, state)), _) => *state,
        (None, [only]) => *only,
        (None, _) => BootState::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_of_the_command_line_is_understood() {
        for (mark, state) in MARKS {
            assert_eq!(boot_state(&format!("quiet root=x{mark} ro"), &[]), state);
        }
    }

    #[test]
    fn the_command_line_goes_before_marker_files() {
        assert_eq!(
            boot_state("root=LABEL=COS_PASSIVE", &[BootState::Active]),
            BootState::Passive
        );
        assert_eq!(
            boot_state("rd.immucore.uki", &[BootState::Active]),
            BootState::Active
        );
        assert_eq!(
            boot_state("", &[BootState::Active, BootState::Passive]),
            BootState::Unknown
        );
    }
}
