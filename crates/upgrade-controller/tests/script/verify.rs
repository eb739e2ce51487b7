//! The table in `tests/data/verify.yaml`.

use serde::Deserialize;

use crate::rig::Rig;
use crate::run;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    image: String,
    node: String,
    command_line: String,
    marker: String,
    status: i32,
    words: String,
}

#[test]
fn verify_passes_only_the_new_system() {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("../data/verify.yaml")).unwrap();
    for case in cases {
        let rig = Rig::new();
        let release = |version: &str| format!("KAIROS_ID=kairos\nKAIROS_VERSION={version}\n");
        rig.write("image/etc/kairos-release", &release(&case.image));
        rig.write("host/etc/kairos-release", &release(&case.node));
        rig.boots(&case.command_line);
        if !case.marker.is_empty() {
            rig.write(&format!("host/run/cos/{}", case.marker), "1");
        }
        let outcome = run(&rig, &["verify"]);
        assert_eq!(
            (outcome.status, &outcome.termination),
            (case.status, &case.words),
            "{case:?}: {}",
            outcome.output
        );
        assert_eq!(
            (outcome.agent, outcome.mounts),
            (vec![], vec![]),
            "{case:?}"
        );
    }
}
