//! Why a template was not rendered, in the shape and words of Go's text/template.

use super::NAME;

/// What kind of fault a template has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TemplateErrorKind {
    /// The source is not a template.
    Parse,
    /// The template failed with these values.
    Execution,
    /// The template uses `define`, `template` or `block`.
    Refused,
    /// The template takes more than the limits allow.
    Limit,
}

/// A template that was not rendered.
///
/// The message can quote the template and, as in Go, values that were given to it
/// (`range can't iterate over VALUE`): whoever publishes it decides whether values are secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    kind: TemplateErrorKind,
    line: Option<usize>,
    column: Option<usize>,
    message: String,
}

impl TemplateError {
    /// What kind of fault it is.
    pub fn kind(&self) -> TemplateErrorKind {
        self.kind
    }

    /// The line of the template, from 1, where there is one.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The byte within the line, from 0 as in Go, where there is one.
    pub fn column(&self) -> Option<usize> {
        self.column
    }

    /// The whole message: `template: ocispec:LINE[:COLUMN]: …`.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// A fault found at a line while parsing.
    pub(super) fn at_line(kind: TemplateErrorKind, line: usize, reason: &[u8]) -> Self {
        Self {
            kind,
            line: Some(line),
            column: None,
            message: format!(
                "template: {NAME}:{line}: {}",
                String::from_utf8_lossy(reason)
            ),
        }
    }

    /// A fault found while executing what stands at `position` of the source.
    pub(super) fn at_position(
        kind: TemplateErrorKind,
        source: &[u8],
        position: usize,
        expression: &[u8],
        reason: &[u8],
    ) -> Self {
        let before = source.get(..position).unwrap_or(source);
        let line = 1 + newlines(before);
        let column = match before.iter().rposition(|byte| *byte == b'\n') {
            Some(newline) => position - newline - 1,
            None => position,
        };
        let mut text =
            format!("template: {NAME}:{line}:{column}: executing \"{NAME}\" at <").into_bytes();
        text.extend_from_slice(expression);
        text.extend_from_slice(b">: ");
        text.extend_from_slice(reason);
        Self {
            kind,
            line: Some(line),
            column: Some(column),
            message: String::from_utf8_lossy(&text).into_owned(),
        }
    }

    /// A limit that has no place in the source.
    pub(super) fn limit(reason: &str) -> Self {
        Self {
            kind: TemplateErrorKind::Limit,
            line: None,
            column: None,
            message: format!("template: {NAME}: {reason}"),
        }
    }
}

/// The number of newlines in the text.
pub(super) fn newlines(text: &[u8]) -> usize {
    text.split(|byte| *byte == b'\n').count() - 1
}
