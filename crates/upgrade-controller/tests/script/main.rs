//! The script under every shell that images have, on roots made for the test.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

mod rig;
mod verify;
mod versions;

use rig::{Outcome, Rig, shells};

const HEAD: &str = "image: v2; node: ";

/// Runs it with each shell, and returns what all of them came to.
fn run(rig: &Rig, arguments: &[&str]) -> Outcome {
    let mut outcomes: Vec<Outcome> = shells()
        .iter()
        .map(|shell| rig.run(shell, arguments))
        .collect();
    let first = outcomes.swap_remove(0);
    for other in outcomes {
        assert_eq!(
            (
                &other.status,
                &other.termination,
                &other.agent,
                &other.mounts
            ),
            (
                &first.status,
                &first.termination,
                &first.agent,
                &first.mounts
            ),
            "{}\n{}",
            other.output,
            first.output
        );
    }
    first
}

/// One call of the agent as its stand-in notes it.
fn call(arguments: &[&str]) -> String {
    let words = arguments
        .iter()
        .map(|argument| format!("{}:{argument},", argument.len()));
    words.collect::<Vec<_>>().concat()
}

const ALWAYS: [&str; 4] = [
    "--exclude-path",
    "/etc/hostname",
    "--exclude-path",
    "/etc/hosts",
];

#[test]
fn each_choice_makes_its_calls_of_the_agent_in_order() {
    let rig = Rig::new();
    let active = call(&[&["upgrade", "--source", "dir:/"][..], &ALWAYS].concat());
    let recovery = call(&[&["upgrade", "--recovery", "--source", "dir:/"][..], &ALWAYS].concat());
    let debug = call(&[&["--debug", "upgrade", "--source", "dir:/"][..], &ALWAYS].concat());
    for (words, calls) in [
        (&["active"][..], vec![active.clone()]),
        (&["recovery"], vec![recovery.clone()]),
        (
            &["recovery", "active"],
            vec![recovery.clone(), active.clone()],
        ),
        (&["active", "debug"], vec![debug]),
        (&["active", "recheck"], vec![active]),
    ] {
        let outcome = run(&rig, &[&["run"][..], words, &["--"]].concat());
        assert_eq!(outcome.status, 0, "{words:?}: {}", outcome.output);
        assert_eq!(outcome.agent, calls, "{words:?}");
        assert_eq!(outcome.termination, "");
    }
}

#[test]
fn the_hosts_devices_and_run_folder_lie_over_the_containers_before_the_agent_runs() {
    let rig = Rig::new();
    let outcome = run(&rig, &["run", "recovery", "active", "--"]);
    let mount = |folder: &str| {
        let path = |root: &str| rig.path(&format!("{root}/{folder}")).display().to_string();
        format!("-o rbind {} {}", path("host"), path("image"))
    };
    assert_eq!(outcome.mounts, [mount("dev"), mount("run")]);
}

#[test]
fn every_path_arrives_as_it_was_written() {
    let rig = Rig::new();
    let paths = [
        "/plain",
        "/with a space",
        "/it's",
        "/\"quoted\"",
        "--recovery",
        "-",
        "--",
        "/two\nlines",
        "/$(touch $CANARY)",
        "/`touch $CANARY`",
        "/*",
        "",
        "/back\\slash\\n",
        "/a,b",
    ];
    let outcome = run(&rig, &[&["run", "active", "--"][..], &paths].concat());
    assert_eq!(outcome.status, 0, "{}", outcome.output);
    let mut expected = vec!["upgrade", "--source", "dir:/"];
    expected.extend(ALWAYS);
    for path in paths {
        expected.extend(["--exclude-path", path]);
    }
    assert_eq!(outcome.agent, [call(&expected)]);
}

#[test]
fn an_agent_that_cannot_leave_out_paths_is_called_without_them_unless_the_user_named_some() {
    let rig = Rig::new();
    rig.agent_help("--source value  --recovery");
    let outcome = run(&rig, &["run", "active", "--"]);
    assert_eq!(outcome.agent, [call(&["upgrade", "--source", "dir:/"])]);
    let outcome = run(&rig, &["run", "active", "--", "/opt"]);
    assert_eq!((outcome.status, outcome.agent), (1, vec![]));
    assert!(
        outcome.termination.contains("remove excludePaths"),
        "{}",
        outcome.termination
    );
    assert_eq!(outcome.mounts, Vec::<String>::new());
}

#[test]
fn an_agent_that_fails_fails_the_job_with_its_own_words_and_nothing_follows() {
    let rig = Rig::new();
    rig.agent_fails();
    let outcome = run(&rig, &["run", "recovery", "active", "--"]);
    assert_eq!((outcome.status, outcome.agent.len()), (7, 1));
    assert!(
        outcome
            .output
            .trim_end()
            .ends_with("no space left on device"),
        "{}",
        outcome.output
    );
    // Empty, so that the kubelet takes the end of the log.
    assert_eq!(outcome.termination, "");
}

#[test]
fn a_pod_that_is_tried_again_leaves_the_new_system_alone_unless_forced() {
    let rig = Rig::new();
    rig.write("host/etc/kairos-release", "KAIROS_VERSION=v2\n");
    let outcome = run(&rig, &["run", "recovery", "active", "recheck", "--"]);
    assert_eq!(
        (outcome.status, outcome.agent, outcome.mounts),
        (0, vec![], vec![])
    );
    let outcome = run(&rig, &["run", "recovery", "active", "--"]);
    assert_eq!(outcome.agent.len(), 2);
}

#[test]
fn a_missing_agent_fails_before_the_node_is_touched() {
    let rig = Rig::new();
    rig.remove("bin/kairos-agent");
    for arguments in [&["preflight"][..], &["run", "active", "--"]] {
        let outcome = run(&rig, arguments);
        assert_eq!(
            (outcome.status, &*outcome.mounts),
            (1, &[][..]),
            "{}",
            outcome.output
        );
        assert_eq!(
            outcome.termination,
            "the image has no kairos-agent: it is no Kairos image"
        );
    }
}

#[test]
fn a_node_without_its_root_mounted_and_unknown_words_are_errors() {
    let rig = Rig::new();
    for (arguments, words) in [
        (&["perhaps"][..], "unknown mode perhaps"),
        (&[], "unknown mode "),
        (&["run", "passive", "--"], "unknown word passive"),
    ] {
        let outcome = run(&rig, arguments);
        assert_eq!((outcome.status, &*outcome.termination), (1, words));
    }
    std::fs::remove_dir_all(rig.path("host")).unwrap();
    for mode in ["preflight", "verify"] {
        let outcome = run(&rig, &[mode]);
        assert_eq!(outcome.status, 1);
        assert!(
            outcome.termination.contains("not mounted at"),
            "{}",
            outcome.termination
        );
    }
}

#[test]
fn a_skip_says_when_the_node_has_not_booted_its_active_system() {
    let rig = Rig::new();
    rig.write("host/etc/kairos-release", "KAIROS_VERSION=v2\n");
    rig.boots("root=LABEL=COS_PASSIVE");
    let outcome = run(&rig, &["preflight"]);
    assert_eq!(
        (outcome.status, &*outcome.termination),
        (0, "already at v2 (booted passive)")
    );
}
