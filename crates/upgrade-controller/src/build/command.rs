//! The commands of an upgrade's NodeOp: one script for all three Pods, told by its arguments what to do.
//!
//! What a user wrote reaches the node as arguments of its own, never as part of a script's text.

/// The script. It runs from the image that is upgraded to, with `sh`.
const SCRIPT: &str = include_str!("upgrade.sh");
/// How many words stand before the script's own arguments: the shell, its option, the script, the script's name.
const WORDS_BEFORE: usize = 4;

/// The systems of a node that an upgrade replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Systems {
    /// The one that the node boots.
    pub active: bool,
    /// The one to repair it with; it is replaced first.
    pub recovery: bool,
}

/// Says whether there is something to do on a node.
pub fn preflight() -> Vec<String> {
    with_arguments(&["preflight"])
}

/// Fails unless the node has booted the new system.
pub fn verify() -> Vec<String> {
    with_arguments(&["verify"])
}

/// Upgrades the node. With `recheck`, a node whose version is the image's is left alone.
pub fn run(systems: Systems, debug: bool, recheck: bool, exclude_paths: &[String]) -> Vec<String> {
    let Systems { active, recovery } = systems;
    let words = [
        ("recovery", recovery),
        ("active", active),
        ("debug", debug),
        ("recheck", recheck),
    ];
    let mut arguments = vec!["run"];
    arguments.extend(
        words
            .iter()
            .filter(|(_, said)| *said)
            .map(|(word, _)| *word),
    );
    arguments.push("--");
    arguments.extend(exclude_paths.iter().map(String::as_str));
    with_arguments(&arguments)
}

/// A command's arguments without the script, which may be another controller version's.
pub fn arguments(command: &[String]) -> &[String] {
    command.get(WORDS_BEFORE..).unwrap_or(command)
}

fn with_arguments(arguments: &[&str]) -> Vec<String> {
    let before: [&str; WORDS_BEFORE] = ["sh", "-c", SCRIPT, "upgrade"];
    before
        .iter()
        .chain(arguments)
        .map(|word| (*word).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Systems = Systems {
        active: true,
        recovery: true,
    };

    #[test]
    fn what_the_user_wrote_stands_behind_the_script_word_by_word() {
        let paths = ["/a b'\"".to_owned(), "--".to_owned()];
        let command = run(BOTH, true, true, &paths);
        assert_eq!(command[..2], ["sh", "-c"]);
        assert_eq!(command[3], "upgrade");
        let expected = [
            "run", "recovery", "active", "debug", "recheck", "--", "/a b'\"", "--",
        ];
        assert_eq!(arguments(&command), expected);
        assert_eq!(command[2], run(BOTH, false, false, &[])[2]);
    }

    #[test]
    fn the_script_fits_into_one_argument() {
        // Linux takes 128 KiB, and what is larger fails only on the node.
        assert!(SCRIPT.len() < 16 * 1024, "{} bytes", SCRIPT.len());
    }

    #[test]
    fn a_command_of_another_shape_is_all_arguments() {
        let foreign = ["sh".to_owned(), "-c".to_owned(), "x".to_owned()];
        assert_eq!(arguments(&foreign), foreign);
    }
}
