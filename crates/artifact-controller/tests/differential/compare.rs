//! Renders templates with both engines and collects the differences.

use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::thread;

use artifact_controller::template::{Limits, TemplateError, TemplateErrorKind, render};

use super::go::{Answer, Go};

/// How many templates are on their way between the two engines.
const IN_FLIGHT: usize = 256;

/// Most characters of a difference that are reported.
const SHOWN: usize = 1_500;

/// What became of the templates, by outcome.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) rendered: u64,
    parse_errors: u64,
    execution_errors: u64,
    refused: u64,
    /// Beyond our limits, so Go was not asked: it would take as long and as much as it likes.
    limited: u64,
    /// Print the address of a map, which is another one each time.
    addresses: u64,
    pub(crate) differences: Vec<String>,
}

impl Report {
    pub(crate) fn compared(&self) -> u64 {
        self.rendered + self.parse_errors + self.execution_errors + self.refused
    }

    pub(crate) fn counts(&self) -> String {
        format!(
            "{} rendered, {} parse errors, {} execution errors, {} refused, {} different; not compared: {} beyond limits, {} with addresses",
            self.rendered,
            self.parse_errors,
            self.execution_errors,
            self.refused,
            self.differences.len(),
            self.limited,
            self.addresses
        )
    }

    fn add(&mut self, source: &[u8], ours: &Result<Vec<u8>, TemplateError>, go: &Answer) {
        let (count, agrees) = match ours {
            Ok(text) => (
                &mut self.rendered,
                go.outcome == b'O' && !go.uses_templates && *text == go.text,
            ),
            Err(error) => {
                let same_text = String::from_utf8_lossy(&go.text) == error.message();
                match error.kind() {
                    TemplateErrorKind::Parse => {
                        (&mut self.parse_errors, go.outcome == b'P' && same_text)
                    }
                    TemplateErrorKind::Execution => (
                        &mut self.execution_errors,
                        go.outcome == b'E' && !go.uses_templates && same_text,
                    ),
                    // Where Go finds fault with the rest of the template, it cannot say what was used.
                    _ => (
                        &mut self.refused,
                        (go.uses_templates || go.outcome == b'P') && has_refused_word(source),
                    ),
                }
            }
        };
        *count += 1;
        if !agrees {
            let difference = format!(
                "template {:?}\n  Go   {} {:?}\n  ours {}",
                String::from_utf8_lossy(source),
                char::from(go.outcome),
                String::from_utf8_lossy(&go.text),
                match ours {
                    Ok(text) => format!("O {:?}", String::from_utf8_lossy(text)),
                    Err(error) => format!("{:?} {:?}", error.kind(), error.message()),
                }
            );
            self.differences
                .push(difference.chars().take(SHOWN).collect());
        }
    }
}

fn has_refused_word(source: &[u8]) -> bool {
    let text = String::from_utf8_lossy(source);
    text.split("{{").skip(1).any(|action| {
        let action = action.strip_prefix('-').unwrap_or(action).trim_start();
        ["define", "template", "block"]
            .iter()
            .any(|word| action.starts_with(word))
    })
}

/// Whether the template could print an address: `%`, flags and numbers, `p`.
fn prints_address(source: &[u8]) -> bool {
    source.split(|byte| *byte == b'%').skip(1).any(|verb| {
        verb.iter()
            .find(|byte| !b"+-# .*[]0123456789".contains(byte))
            == Some(&b'p')
    })
}

/// Renders each template with both engines.
pub(crate) fn compare(
    name: &str,
    values: &BTreeMap<String, String>,
    sources: impl Iterator<Item = Vec<u8>> + Send,
) -> Report {
    let (mut go, mut questions) = Go::start(values);
    let mut report = Report::default();
    let (sender, receiver) = sync_channel(IN_FLIGHT);
    thread::scope(|scope| {
        scope.spawn(move || {
            for source in sources {
                let ours = render(&source, values, &Limits::default());
                let limited = ours
                    .as_ref()
                    .is_err_and(|error| error.kind() == TemplateErrorKind::Limit);
                let asked = !limited && !prints_address(&source);
                if asked {
                    questions.send(&source);
                }
                if sender.send((source, ours, asked)).is_err() {
                    return;
                }
            }
        });
        for (number, (source, ours, asked)) in receiver.iter().enumerate() {
            if asked {
                report.add(&source, &ours, &go.answer());
            } else if prints_address(&source) {
                report.addresses += 1;
            } else {
                report.limited += 1;
            }
            if (number + 1) % 50_000 == 0 {
                println!("{name}: {} of them after {}", report.counts(), number + 1);
            }
        }
    });
    go.finish();
    report
}
