//! Raw spec → what the decisions may rely on, or the sentence that says what to change.
//!
//! The CRD's schema refuses most mistakes at apply time; what only code can see ends here, as a condition.

use api_types::nodeop::NodeOpSpec;
use kube::core::Selector;

/// A spec that can be acted on.
#[derive(Clone, Debug)]
pub struct ValidSpec<'a> {
    /// The spec as the user wrote it.
    pub spec: &'a NodeOpSpec,
    /// The nodes it asks for; without a nodeSelector all of them.
    pub selector: Selector,
}

/// Why a spec cannot be acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The spec contradicts itself or cannot be read.
    Invalid(String),
}

/// Parses `spec`.
pub fn validate(spec: &NodeOpSpec) -> Result<ValidSpec<'_>, Refusal> {
    let selector = match &spec.node_selector {
        None => Selector::default(),
        Some(selector) => Selector::try_from(selector.clone()).map_err(|error| {
            Refusal::Invalid(format!(
                "spec.nodeSelector cannot be read: {error}; give each In and NotIn expression at least one value"
            ))
        })?,
    };
    Ok(ValidSpec { spec, selector })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node_op;

    #[test]
    fn a_selector_without_values_says_what_to_write() {
        let op =
            node_op("command: [run]\nnodeSelector: {matchExpressions: [{key: a, operator: In}]}");
        match validate(&op.spec) {
            Err(Refusal::Invalid(message)) => {
                assert!(message.contains("at least one value"), "{message}");
            }
            other @ Ok(_) => panic!("{other:?}"),
        }
    }
}
