//! Renders a template file with the values of a YAML file, as the `render` command does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use crate::template::{Limits, TemplateError, render};

/// Why a file was not rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A file cannot be read.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file with the values is not a YAML map.
    #[error("failed to read values from {}: write a map of strings, such as `Version: \"1.0\"`: {reason}", path.display())]
    Values {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// A value is not a string.
    #[error("value of {key:?} in {} is {kind}, not a string; put it in quotes", path.display())]
    NotAString {
        /// The file.
        path: PathBuf,
        /// The name of the value.
        key: String,
        /// What it is instead.
        kind: &'static str,
    },
    /// The template is not rendered. The message is that of the template, unchanged.
    #[error("{0}")]
    Template(TemplateError),
}

/// Renders the template in the file `dockerfile` with the values in the YAML file `values`.
pub fn render_file(dockerfile: &Path, values: Option<&Path>) -> Result<Vec<u8>, RenderError> {
    let values = match values {
        Some(path) => read_values(path)?,
        None => BTreeMap::new(),
    };
    let limits = Limits::default();
    let source = read_at_most(dockerfile, limits.input_bytes)?;
    render(&source, &values, &limits).map_err(RenderError::Template)
}

/// The file, or of a larger one so much that it is seen to be larger.
fn read_at_most(path: &Path, bytes: usize) -> Result<Vec<u8>, RenderError> {
    let mut content = Vec::new();
    let most = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(1);
    let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut content));
    read.map_err(|source| RenderError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(content)
}

/// Prints what [`render_file`] gives.
pub fn print_file(dockerfile: &Path, values: Option<&Path>) -> anyhow::Result<()> {
    let text = render_file(dockerfile, values)?;
    std::io::stdout()
        .write_all(&text)
        .context("failed to print")
}

fn read_values(path: &Path) -> Result<BTreeMap<String, String>, RenderError> {
    let text = fs::read_to_string(path).map_err(|source| RenderError::Read {
        path: path.to_owned(),
        source,
    })?;
    let values: Option<BTreeMap<String, Value>> =
        serde_saphyr::from_str(&text).map_err(|error| RenderError::Values {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    values
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key, text)),
            other => Err(RenderError::NotAString {
                path: path.to_owned(),
                key,
                kind: kind(&other),
            }),
        })
        .collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
