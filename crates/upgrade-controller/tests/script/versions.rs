//! The table in `tests/data/versions.yaml`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::rig::Rig;
use crate::{HEAD, run};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    text: Option<String>,
    repeat: Option<usize>,
    files: Option<BTreeMap<String, File>>,
    image: Option<String>,
    skip: Option<String>,
    go: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum File {
    Text(String),
    Link(String),
}

#[test]
fn every_release_file_of_the_table_is_read_as_it_says() {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("../data/versions.yaml")).unwrap();
    for case in cases {
        let rig = Rig::new();
        rig.remove("host/etc/kairos-release");
        if let Some(text) = &case.text {
            // Comments first, where the text is to stand beyond what is read.
            let before = "#".repeat(case.repeat.unwrap_or(0));
            rig.write(
                "host/etc/kairos-release",
                &format!("KAIROS_ID=kairos\n{before}\n{text}"),
            );
            if case.repeat.is_none() {
                rig.write("host/etc/kairos-release", text);
            }
        }
        for (path, file) in case.files.iter().flatten() {
            match file {
                File::Text(text) => rig.write(&format!("host{path}"), text),
                File::Link(target) => rig.link(&format!("host{path}"), target),
            }
        }
        if let Some(image) = &case.image {
            rig.write("image/etc/kairos-release", image);
        }
        let outcome = run(&rig, &["preflight"]);
        let name = &case.name;
        assert_eq!(outcome.status, 0, "{name}: {}", outcome.output);
        match (&case.skip, &case.go) {
            (Some(reason), None) => {
                assert_eq!(&outcome.termination, reason, "{name}: {}", outcome.output);
            }
            (None, Some(version)) => {
                assert_eq!(outcome.termination, "", "{name}");
                let expected = format!("node: {version}, booted active\n");
                assert!(
                    outcome.output.contains(&expected),
                    "{name}: {}",
                    outcome.output
                );
                assert!(
                    case.image.is_some() || outcome.output.starts_with(HEAD),
                    "{name}"
                );
            }
            _ => panic!("{name} expects a skip or a go"),
        }
    }
}
