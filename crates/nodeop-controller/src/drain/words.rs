//! What a drain tells people: which Pods are left, and what each waits for. Bounded, and unchanged while nothing changes,
//! so that it costs no status write. Pure.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use operator_runtime::names::cut_text;

use super::classify::{Forbidden, Refusal};
use super::pod::DrainPod;

/// Longest text, in bytes.
pub const LONGEST: usize = 512;
/// Pods that are named; the others are counted.
const NAMED: usize = 3;
/// Finalizers that are named.
const FINALIZERS: usize = 2;
/// A Pod that should have been gone for this long is told with its age and what holds it.
const OVERDUE: SignedDuration = SignedDuration::from_secs(5);

/// What a Pod that is still there waits for, the most telling first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A PodDisruptionBudget, in the words of [`super::answer::Answer::Blocked`].
    Blocked(String),
    /// Its eviction fails again and again.
    Failing {
        /// The last answer.
        why: String,
        /// How often in a row.
        times: u32,
    },
    /// It should be gone and is not: how long it has been terminating, and what holds it.
    Stuck(String),
    /// Its namespace is being deleted.
    NamespaceTerminating,
    /// The API server asked for a pause before its turn came.
    Throttled,
    /// It ends.
    Terminating,
    /// Its turn comes.
    NotYet,
}

impl Reason {
    /// What a Pod waits for that is being deleted.
    pub fn of_deletion(pod: &DrainPod, now: Timestamp) -> Self {
        let Some(deletion) = &pod.deletion else {
            return Self::Terminating;
        };
        if now.duration_since(deletion.due) < OVERDUE {
            return Self::Terminating;
        }
        let age = age(now.duration_since(deletion.begun()));
        let held = if pod.finalizers.is_empty() {
            "its kubelet has not confirmed the end".to_owned()
        } else {
            let names: Vec<String> = pod
                .finalizers
                .iter()
                .map(|name| cut_text(name, 64))
                .collect();
            format!("finalizers: {}", some(&names, FINALIZERS, 150))
        };
        Self::Stuck(format!("terminating for {age}, {held}"))
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blocked(why) | Self::Stuck(why) => formatter.write_str(why),
            Self::Failing { why, times } => {
                write!(formatter, "eviction failed {times} times: {why}")
            }
            Self::NamespaceTerminating => formatter.write_str("its namespace is being deleted"),
            Self::Throttled => formatter.write_str("the API server asks to slow down"),
            Self::Terminating => formatter.write_str("terminating"),
            Self::NotYet => formatter.write_str("not evicted yet"),
        }
    }
}

/// A Pod that is still there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// What it waits for.
    pub reason: Reason,
    /// The Pod, as `namespace/name`.
    pub pod: String,
}

/// «waiting for 2 Pods: shop/db-0 (PodDisruptionBudget shop/db allows 0 disruptions), shop/web-1 (terminating)»
pub fn waiting(left: &[Left]) -> String {
    counted("waiting for ", left)
}

/// The Pods that budgets hold back, without the others: «1 Pod: shop/db-0 (PodDisruptionBudget shop/db allows 0
/// disruptions)».
pub fn blockers(left: &[Left]) -> Option<String> {
    let blocked: Vec<Left> = left
        .iter()
        .filter(|left| matches!(left.reason, Reason::Blocked(_)))
        .cloned()
        .collect();
    (!blocked.is_empty()).then(|| counted("", &blocked))
}

fn counted(verb: &str, left: &[Left]) -> String {
    let mut sorted: Vec<&Left> = left.iter().collect();
    sorted.sort_by(|one, other| {
        (rank(&one.reason), &one.pod).cmp(&(rank(&other.reason), &other.pod))
    });
    let items: Vec<String> = sorted
        .iter()
        .take(NAMED)
        .map(|left| format!("{} ({})", left.pod, left.reason))
        .collect();
    let head = format!("{verb}{}: ", pods(left.len()));
    let room = LONGEST - head.len();
    format!("{head}{}", some_of(&items, left.len(), NAMED, room))
}

/// «3 Pods have to go: shop/a, shop/b, shop/c», what a check found.
pub fn found(names: &[String]) -> String {
    let verb = if names.len() == 1 { "has" } else { "have" };
    let head = format!("{} {verb} to go: ", pods(names.len()));
    let room = LONGEST - head.len();
    format!("{head}{}", some(names, NAMED, room))
}

/// Which Pods may not be evicted, by the option that says so.
pub fn forbidden(forbidden: &[Forbidden]) -> String {
    const HEAD: &str = "Pods are there that may not be evicted: ";
    let groups: Vec<(Refusal, Vec<String>)> =
        [Refusal::DaemonSet, Refusal::NoController, Refusal::EmptyDir]
            .into_iter()
            .filter_map(|why| {
                let mut names: Vec<String> = forbidden
                    .iter()
                    .filter(|forbidden| forbidden.why == why)
                    .map(|forbidden| forbidden.pod.clone())
                    .collect();
                names.sort_unstable();
                (!names.is_empty()).then_some((why, names))
            })
            .collect();
    let room = (LONGEST - HEAD.len()) / groups.len().max(1);
    let texts: Vec<String> = groups
        .iter()
        .map(|(why, names)| {
            let (what, option) = match why {
                Refusal::DaemonSet => ("of a DaemonSet ", "ignoreDaemonSets"),
                Refusal::NoController => ("without a controller ", "force"),
                Refusal::EmptyDir => ("with emptyDir data ", "deleteEmptyDirData"),
            };
            let tail = format!(" (drainOptions.{option} is false)");
            let room = room.saturating_sub(what.len() + tail.len() + 2);
            format!("{what}{}{tail}", some(names, NAMED, room))
        })
        .collect();
    format!("{HEAD}{}", texts.join("; "))
}

fn rank(reason: &Reason) -> u8 {
    match reason {
        Reason::Blocked(_) => 0,
        Reason::Failing { .. } => 1,
        Reason::Stuck(_) => 2,
        Reason::NamespaceTerminating => 3,
        Reason::Throttled => 4,
        Reason::Terminating => 5,
        Reason::NotYet => 6,
    }
}

fn pods(count: usize) -> String {
    if count == 1 {
        "1 Pod".to_owned()
    } else {
        format!("{count} Pods")
    }
}

fn some(items: &[String], most: usize, room: usize) -> String {
    some_of(items, items.len(), most, room)
}

/// The first of `items` that fit into `room` bytes, at most `most`, and how many of `total` more there are. The first
/// is always named, cut where it must be.
fn some_of(items: &[String], total: usize, most: usize, room: usize) -> String {
    let more = |shown: usize| match total - shown {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    let mut text = String::new();
    let mut shown = 0;
    for item in items.iter().take(most) {
        let separator = if shown == 0 { "" } else { ", " };
        let tail = more(shown + 1).len();
        let free = room.saturating_sub(text.len() + separator.len() + tail);
        if shown > 0 && item.len() > free {
            break;
        }
        text.push_str(separator);
        text.push_str(&cut_text(item, free));
        shown += 1;
    }
    format!("{text}{}", more(shown))
}

/// A duration in steps that grow with it.
fn age(duration: SignedDuration) -> String {
    match duration.as_secs() {
        seconds @ ..60 => format!("{} s", (seconds / 10 * 10).max(5)),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests;
