//! Dockerfile templates: Go's text/template, as far as values that are strings can use it.
//!
//! Users' templates were written for Go, and one that renders differently builds a different
//! system. So this is the same language: the semantics, the messages, the positions and the quirks
//! of Go 1.26 with the option `missingkey=zero`, for a template named `ocispec` and a map of strings.
//! Two things differ: actions that define or call other templates are refused, and [`Limits`] bound
//! what a template may take. Nothing here reads a clock or a file.

mod ast;
mod check;
mod error;
mod eval;
mod float;
mod functions;
mod lex;
mod limits;
mod number;
mod parse;
mod printf;
mod text;
mod token;
mod unicode_tables;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::thread;

pub use self::error::{TemplateError, TemplateErrorKind};
pub use self::limits::Limits;
use self::value::{Map, Value};

/// What error messages call the template.
const NAME: &str = "ocispec";

/// Stack of the thread that renders: enough for the deepest nesting that is accepted, of which a
/// template that is not nested touches next to nothing.
const STACK_BYTES: usize = 256 << 20;

/// Renders a template: `{{ .KEY }}` is the value of the key, or nothing if there is none.
///
/// The source may be any bytes; so may the text, as a template can cut characters in half.
///
/// # Errors
///
/// The template is no template, fails with these values, is refused, or takes more than the limits.
/// There is no partial text.
pub fn render(
    source: &[u8],
    values: &BTreeMap<String, String>,
    limits: &Limits,
) -> Result<Vec<u8>, TemplateError> {
    with_large_stack(source, limits, || {
        let nodes = parse::parse(source, limits)?;
        eval::execute(
            source,
            &nodes,
            &Value::Map(Rc::new(Map::new(values))),
            limits,
        )
    })
}

/// Finds what is wrong with a template whatever its values are: errors of syntax, functions and
/// variables that do not exist, and actions that are refused.
pub fn check(source: &[u8], limits: &Limits) -> Result<(), TemplateError> {
    with_large_stack(source, limits, || parse::parse(source, limits).map(|_| ()))
}

fn with_large_stack<T: Send>(
    source: &[u8],
    limits: &Limits,
    work: impl FnOnce() -> Result<T, TemplateError> + Send,
) -> Result<T, TemplateError> {
    if source.len() > limits.input_bytes {
        return Err(TemplateError::limit(&format!(
            "the template is larger than {} bytes",
            limits.input_bytes
        )));
    }
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("template".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|error| {
                TemplateError::limit(&format!("cannot start a thread to render: {error}"))
            })?;
        worker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
