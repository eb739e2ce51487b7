//! What the API server's answer to an eviction, or to the deletion of a finished Pod, means. Pure.
//!
//! The sentences matched here are those of the API server's eviction endpoint (`pkg/registry/core/pod/storage/eviction.go`
//! in Kubernetes 1.33 to 1.36), checked against a real one by `e2e/tests/api_eviction.rs`.

use std::time::Duration;

use kube::core::Status;
use kube::core::response::{StatusCause, StatusDetails};
use operator_runtime::client::{CallError, describe};
use operator_runtime::names::cut_text;
use prometheus_client::encoding::EncodeLabelValue;

/// Cause in a 429 that a budget made; a 429 without it is throttling.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/#how-api-initiated-eviction-works>
const CAUSE_BUDGET: &str = "DisruptionBudget";
/// Cause in a 403 for objects that cannot be created because their namespace is being deleted. An eviction counts.
const CAUSE_NAMESPACE: &str = "NamespaceTerminating";
/// How a budget's cause begins; its name follows.
const BUDGET: &str = "The disruption budget ";
/// Part of the sentence, in a 500 without a reason, for a Pod that several budgets select.
const SEVERAL_BUDGETS: &str = "more than one PodDisruptionBudget";
/// Kind in the details of a 403 that is about a budget's bookkeeping, not about our rights.
const KIND_BUDGET: &str = "poddisruptionbudget";

/// Wait after throttling where the answer names none: API Priority and Fairness does so in a header only.
const THROTTLED: Duration = Duration::from_secs(1);
/// Longest wait that an answer can ask for.
const LONGEST_THROTTLED: Duration = Duration::from_secs(30);
/// Bytes of the API server's own words in a text for people.
const WORDS: usize = 200;

/// What became of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The Pod is terminating, or gone already.
    Accepted,
    /// There is no Pod of that name.
    Gone,
    /// A PodDisruptionBudget holds the Pod back.
    Blocked {
        /// Which one and how, in words that stay the same while it does.
        why: String,
    },
    /// The API server asks to be left alone for a while.
    Throttled {
        /// For how long.
        after: Duration,
    },
    /// The name is another Pod's now, or the Pod changed at that moment: look again.
    Changed,
    /// The namespace is being deleted, and its Pods with it.
    NamespaceTerminating,
    /// Anything else; worth another try.
    Failed {
        /// What went wrong, in words.
        why: String,
    },
}

/// Label value for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// See [`Answer::Accepted`].
    Accepted,
    /// See [`Answer::Gone`].
    Gone,
    /// See [`Answer::Blocked`].
    Blocked,
    /// See [`Answer::Throttled`].
    Throttled,
    /// See [`Answer::Changed`].
    Changed,
    /// See [`Answer::NamespaceTerminating`].
    NamespaceTerminating,
    /// See [`Answer::Failed`].
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Gone,
        Self::Blocked,
        Self::Throttled,
        Self::Changed,
        Self::NamespaceTerminating,
        Self::Failed,
    ];
}

impl Answer {
    /// The answer's label.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Accepted => Outcome::Accepted,
            Self::Gone => Outcome::Gone,
            Self::Blocked { .. } => Outcome::Blocked,
            Self::Throttled { .. } => Outcome::Throttled,
            Self::Changed => Outcome::Changed,
            Self::NamespaceTerminating => Outcome::NamespaceTerminating,
            Self::Failed { .. } => Outcome::Failed,
        }
    }

    /// The meaning of a finished request about a Pod in `namespace`.
    pub fn of<T>(result: &Result<T, CallError>, namespace: &str) -> Self {
        match result {
            Ok(_) => Self::Accepted,
            Err(error) => match error.status() {
                Some(status) => Self::of_refusal(status, namespace),
                None => Self::Failed {
                    why: cut_text(&without_answer(error), WORDS),
                },
            },
        }
    }

    fn of_refusal(status: &Status, namespace: &str) -> Self {
        match status.code {
            404 => Self::Gone,
            409 => Self::Changed,
            429 => match cause(status, CAUSE_BUDGET) {
                Some(cause) => Self::Blocked {
                    why: budget_words(&cause.message, namespace),
                },
                None => Self::Throttled {
                    after: retry_after(status),
                },
            },
            403 if cause(status, CAUSE_NAMESPACE).is_some() => Self::NamespaceTerminating,
            403 if details(status).is_some_and(|details| details.kind == KIND_BUDGET) => {
                Self::Blocked {
                    why: bookkeeping_words(status, namespace),
                }
            }
            500 if status.message.contains(SEVERAL_BUDGETS) => Self::Blocked {
                why: "more than one PodDisruptionBudget selects it, which the Eviction API refuses; leave it one"
                    .to_owned(),
            },
            code => Self::Failed {
                why: failure_words(status, code),
            },
        }
    }
}

fn details(status: &Status) -> Option<&StatusDetails> {
    status.details.as_ref()
}

fn cause<'a>(status: &'a Status, reason: &str) -> Option<&'a StatusCause> {
    let causes = &details(status)?.causes;
    causes.iter().find(|cause| cause.reason == reason)
}

fn retry_after(status: &Status) -> Duration {
    let seconds = details(status).map_or(0, |details| details.retry_after_seconds);
    Duration::from_secs(seconds.into()).clamp(THROTTLED, LONGEST_THROTTLED)
}

/// «The disruption budget db needs 2 healthy pods and has 2 currently» → «PodDisruptionBudget shop/db allows 0
/// disruptions». How many are healthy is left out: it changes while the budget blocks, and so would every status.
fn budget_words(cause: &str, namespace: &str) -> String {
    let Some((name, rest)) = cause
        .strip_prefix(BUDGET)
        .and_then(|rest| rest.split_once(' '))
    else {
        return format!(
            "a PodDisruptionBudget allows 0 disruptions: {}",
            cut_text(cause, WORDS)
        );
    };
    let budget = format!("PodDisruptionBudget {namespace}/{name}");
    if rest.starts_with("is still being processed") {
        return format!("{budget} is still being processed by the API server");
    }
    match rest.split_once("failed sync: ") {
        Some((_, problem)) => format!(
            "{budget} allows 0 disruptions, its status could not be computed: {}",
            cut_text(problem, WORDS)
        ),
        None => format!("{budget} allows 0 disruptions"),
    }
}

fn bookkeeping_words(status: &Status, namespace: &str) -> String {
    let name = details(status).map_or("", |details| details.name.as_str());
    // The message repeats resource and name before its cause.
    let message = status
        .message
        .rsplit_once("is forbidden: ")
        .map_or(status.message.as_str(), |(_, cause)| cause);
    format!(
        "PodDisruptionBudget {namespace}/{name} allows no eviction: {}",
        cut_text(message, WORDS)
    )
}

fn failure_words(status: &Status, code: u16) -> String {
    if status.message.is_empty() {
        return format!("{code} {}", status.reason);
    }
    format!("{} ({code})", cut_text(&status.message, WORDS))
}

/// Why there was no answer. The Pod is named by whoever shows this.
fn without_answer(error: &CallError) -> String {
    match error {
        CallError::TimedOut { limit, .. } => {
            format!("no answer within {} s", limit.as_secs_f32())
        }
        CallError::Failed { source, .. } => describe(source),
    }
}

#[cfg(test)]
mod tests;
