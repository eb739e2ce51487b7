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
    /// The spec asks for something that this version does not do. Nothing is started: never half an operation.
    Unsupported(String),
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
    let unsupported = unsupported_fields(spec);
    if !unsupported.is_empty() {
        return Err(Refusal::Unsupported(format!(
            "this version does not yet carry out {}; no node was touched, remove {} to run the command alone",
            unsupported.join(", "),
            if unsupported.len() == 1 { "it" } else { "them" },
        )));
    }
    Ok(ValidSpec { spec, selector })
}

/// The fields that ask for steps which this version lacks.
fn unsupported_fields(spec: &NodeOpSpec) -> Vec<&'static str> {
    let asked = [
        ("spec.cordon", spec.cordon),
        (
            "spec.drainOptions.enabled",
            spec.drain_options
                .as_ref()
                .is_some_and(|drain| drain.enabled),
        ),
        ("spec.rebootOnSuccess", spec.reboot_on_success),
        ("spec.preflight", spec.preflight.is_some()),
        ("spec.verify", spec.verify.is_some()),
    ];
    asked
        .into_iter()
        .filter_map(|(field, asked)| asked.then_some(field))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node_op;

    #[test]
    fn each_unsupported_step_is_named() {
        for (field, yaml) in [
            ("spec.cordon", "cordon: true"),
            ("spec.drainOptions.enabled", "drainOptions: {enabled: true}"),
            ("spec.rebootOnSuccess", "rebootOnSuccess: true"),
            ("spec.preflight", "preflight: {command: [check]}"),
            ("spec.verify", "verify: {command: [check]}"),
        ] {
            let op = node_op(&format!("command: [run]\n{yaml}"));
            match validate(&op.spec) {
                Err(Refusal::Unsupported(message)) => assert!(message.contains(field), "{message}"),
                other => panic!("{yaml}: {other:?}"),
            }
        }
    }

    #[test]
    fn drain_options_that_ask_for_no_drain_are_fine() {
        let op = node_op("command: [run]\ndrainOptions: {enabled: false, timeoutSeconds: 5}");
        assert!(validate(&op.spec).is_ok());
    }

    #[test]
    fn a_selector_without_values_says_what_to_write() {
        let op =
            node_op("command: [run]\nnodeSelector: {matchExpressions: [{key: a, operator: In}]}");
        match validate(&op.spec) {
            Err(Refusal::Invalid(message)) => {
                assert!(message.contains("at least one value"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}
