//! Names of the objects that belong to an `OSArtifact`. Those that kairos-operator gave are kept.

use operator_runtime::names::short_hash;

/// The volume claim with the built files.
pub fn claim_name(artifact: &str) -> String {
    format!("{artifact}-artifacts")
}

/// The Job of the exporter at that place of the list.
pub fn exporter_name(artifact: &str, index: usize) -> String {
    format!("{artifact}-export-{index}")
}

/// The builder Pod of one attempt: derived, so that a second attempt to create it meets the first; and never that of
/// another attempt, so that a Pod that is still ending is in nobody's way.
pub fn builder_name(artifact: &str, uid: &str, attempt: i64) -> String {
    format!("{artifact}-{}", short_hash(&[uid, &attempt.to_string()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_and_each_object_has_its_own_pod() {
        let name = builder_name("my", "uid-1", 1);
        assert_ne!(name, builder_name("my", "uid-1", 2));
        assert_ne!(name, builder_name("my", "uid-2", 1));
    }

    #[test]
    fn names_of_the_longest_artifact_are_valid_host_names() {
        let longest = "n".repeat(52);
        assert!(builder_name(&longest, "uid", 1).len() <= 63);
        assert!(claim_name(&longest).len() <= 63);
        assert!(exporter_name(&longest, 99).len() <= 63);
    }
}
