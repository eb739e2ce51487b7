//! How many nodes may be worked on at once: a number, or a share of the matching nodes.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How many nodes may be worked on at once: a whole number (0 means all matching nodes), or a percentage such as
/// "25%".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Concurrency(pub IntOrString);

impl Concurrency {
    /// So many nodes at once; 0 is all of them.
    pub fn nodes(count: i32) -> Self {
        Self(IntOrString::Int(count))
    }

    /// So many percent of the matching nodes at once, 1 to 100.
    pub fn percent(percent: u8) -> Self {
        Self(IntOrString::String(format!("{percent}%")))
    }

    /// The number of nodes that may be worked on at once when `matching` nodes are selected.
    ///
    /// A percentage is rounded down, and is at least 1. The schema refuses every other form; should one have come
    /// past it (an object stored under an older schema), one node at a time is the careful reading.
    pub fn limit(&self, matching: usize) -> usize {
        match &self.0 {
            IntOrString::Int(0) => matching,
            IntOrString::Int(count) => usize::try_from(*count).unwrap_or(1),
            IntOrString::String(text) => match parse_percent(text) {
                Some(percent) => (matching.saturating_mul(percent) / 100).max(1),
                None => 1,
            },
        }
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self::nodes(0)
    }
}

impl JsonSchema for Concurrency {
    fn schema_name() -> Cow<'static, str> {
        "Concurrency".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "x-kubernetes-validations": [{
                "rule": "type(self) == int ? self >= 0 : self.matches('^([1-9][0-9]?|100)%$')",
                "message": "concurrency must be a whole number of nodes from 0 (0 means all at once), or a \
                            percentage of the matching nodes from \"1%\" to \"100%\"",
            }],
        })
    }
}

/// Reads "1%" to "100%", without sign, leading zeros or spaces: the pattern of the schema.
fn parse_percent(text: &str) -> Option<usize> {
    let digits = text.strip_suffix('%')?;
    if digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits
        .parse()
        .ok()
        .filter(|percent| (1..=100).contains(percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str, matching: usize) -> usize {
        Concurrency(IntOrString::String(text.to_owned())).limit(matching)
    }

    #[test]
    fn zero_means_all_matching_nodes() {
        assert_eq!(Concurrency::default().limit(7), 7);
        assert_eq!(Concurrency::nodes(0).limit(0), 0);
    }

    #[test]
    fn a_number_is_taken_as_it_is() {
        assert_eq!(Concurrency::nodes(3).limit(10), 3);
        assert_eq!(Concurrency::nodes(30).limit(10), 30);
    }

    #[test]
    fn a_percentage_is_rounded_down_and_at_least_one() {
        assert_eq!(Concurrency::percent(25).limit(10), 2);
        assert_eq!(limit("100%", 10), 10);
        assert_eq!(limit("1%", 10), 1);
        assert_eq!(limit("99%", 100), 99);
        assert_eq!(limit("50%", 0), 1);
    }

    #[test]
    fn what_the_schema_would_refuse_means_one_at_a_time() {
        for text in [
            "0%",
            "101%",
            "25",
            "",
            "%",
            "+5%",
            "05%",
            "5 %",
            "99999999999999999999%",
        ] {
            assert_eq!(limit(text, 10), 1, "{text:?}");
        }
        assert_eq!(Concurrency::nodes(-1).limit(10), 1);
    }

    #[test]
    fn it_is_read_and_written_as_a_bare_number_or_string() {
        let number: Concurrency = serde_json::from_str("5").unwrap();
        let percentage: Concurrency = serde_json::from_str("\"5%\"").unwrap();
        assert_eq!(number, Concurrency::nodes(5));
        assert_eq!(percentage, Concurrency::percent(5));
        assert_eq!(serde_json::to_string(&percentage).unwrap(), "\"5%\"");
    }
}
