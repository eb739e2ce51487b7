//! What the reboot Pod does next. Pure.

use std::time::Duration;

/// What the agent sees at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation<'a> {
    /// The boot ID that the host may leave; none while there is no permission.
    pub authorized: Option<&'a str>,
    /// The boot ID of the host's present boot.
    pub boot_id: &'a str,
    /// Whether the host holds the proof that the command has succeeded.
    pub sentinel: bool,
    /// Time since this process first asked the host to reboot; none when it has not.
    pub asked: Option<Duration>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// There is no permission yet.
    AwaitPermission,
    /// There is a permission, but no proof that the command has succeeded: the host is not rebooted.
    AwaitProof,
    /// Sync, and ask the host to reboot by its own `reboot`.
    Ask,
    /// The host was asked and gets its time to go down in order.
    AwaitEffect,
    /// The host was asked and its time is over: reboot(2) after a sync.
    Force,
    /// The host has left the boot that it may leave: remove the proof and end well.
    Finish,
}

/// Decides. `grace` is how long the host may take to go down in order.
///
/// An empty permission is none: no boot ID is empty, and nobody who writes one means that the host has rebooted.
pub fn decide(seen: Observation<'_>, grace: Duration) -> Action {
    let Some(authorized) = seen.authorized.filter(|boot_id| !boot_id.is_empty()) else {
        return Action::AwaitPermission;
    };
    if authorized != seen.boot_id {
        return Action::Finish;
    }
    if !seen.sentinel {
        return Action::AwaitProof;
    }
    match seen.asked {
        None => Action::Ask,
        Some(asked) if asked < grace => Action::AwaitEffect,
        Some(_) => Action::Force,
    }
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    const GRACE: Duration = Duration::from_mins(5);

    fn observation(
        authorized: Option<&str>,
        sentinel: bool,
        asked: Option<Duration>,
    ) -> Observation<'_> {
        Observation {
            authorized,
            boot_id: "now",
            sentinel,
            asked,
        }
    }

    #[test]
    fn each_situation_has_its_action() {
        let minutes = |minutes| Some(Duration::from_mins(minutes));
        for (authorized, sentinel, asked, action) in [
            (None, true, None, Action::AwaitPermission),
            (None, true, minutes(9), Action::AwaitPermission),
            (Some(""), true, None, Action::AwaitPermission),
            (Some("now"), false, None, Action::AwaitProof),
            (Some("now"), false, minutes(9), Action::AwaitProof),
            (Some("now"), true, None, Action::Ask),
            (Some("now"), true, minutes(4), Action::AwaitEffect),
            (Some("now"), true, minutes(5), Action::Force),
            (Some("before"), true, None, Action::Finish),
            (Some("before"), false, None, Action::Finish),
        ] {
            let seen = observation(authorized, sentinel, asked);
            assert_eq!(decide(seen, GRACE), action, "{seen:?}");
        }
    }

    /// Boot IDs that are often equal, and sometimes only nearly so.
    fn boot_id() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(String::new()),
            Just("a".to_owned()),
            Just("A".to_owned()),
            Just("a ".to_owned()),
            "[a-b]{0,2}",
        ]
    }

    proptest! {
        #[test]
        fn a_host_goes_down_only_from_the_permitted_boot_and_with_proof_of_work(
            authorized in option::of(boot_id()),
            boot_id in boot_id(),
            sentinel: bool,
            asked in option::of(0_u64..700),
        ) {
            let seen = Observation {
                authorized: authorized.as_deref(),
                boot_id: &boot_id,
                sentinel,
                asked: asked.map(Duration::from_secs),
            };
            let action = decide(seen, GRACE);
            let permitted = authorized.as_deref().is_some_and(|id| !id.is_empty() && id == boot_id);
            let goes_down = matches!(action, Action::Ask | Action::Force);
            prop_assert!(!goes_down || (permitted && sentinel), "{seen:?}: {action:?}");
            prop_assert!(action != Action::Ask || asked.is_none(), "asked twice: {seen:?}");
            prop_assert!(
                action != Action::Force || seen.asked.is_some_and(|asked| asked >= GRACE),
                "too early: {seen:?}"
            );
            let left = authorized.as_deref().is_some_and(|id| !id.is_empty() && id != boot_id);
            prop_assert_eq!(action == Action::Finish, left, "{:?}", seen);
        }
    }
}
