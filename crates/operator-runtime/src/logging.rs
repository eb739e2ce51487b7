//! Logs as text or JSON on stderr, with a level that can be changed while running.

use clap::ValueEnum;
use std::fmt;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line for people to read.
    Text,
    /// One JSON object per line.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Why logging was not set up or its level not changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is none.
    #[error(
        "failed to read the log level \"{level}\": {reason}; write error, warn, info, debug or trace, or \"info,module=debug\""
    )]
    InvalidLevel {
        /// What was asked for, as given.
        level: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another subscriber is in the way, or gone.
    #[error("failed to set up logging: {0}")]
    Setup(String),
}

/// Changes the level of a running process. Clones control the same logs.
#[derive(Debug, Clone)]
pub struct LogControl {
    handle: Handle<EnvFilter, Registry>,
    level: Arc<Mutex<String>>,
}

/// Sends the process's logs to stderr in the given format, from the given level on.
///
/// The level is a word such as `info`, or directives such as `info,kube=debug`.
pub fn init(format: LogFormat, level: &str) -> Result<LogControl, LogError> {
    let (subscriber, control) = subscriber(format, level, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| LogError::Setup(error.to_string()))?;
    Ok(control)
}

fn subscriber<W>(
    format: LogFormat,
    level: &str,
    writer: W,
) -> Result<(impl tracing::Subscriber + Send + Sync, LogControl), LogError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let (filter, handle) = tracing_subscriber::reload::Layer::new(parse(level)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let control = LogControl {
        handle,
        level: Arc::new(Mutex::new(level.trim().to_owned())),
    };
    Ok((
        tracing_subscriber::registry().with(filter).with(lines),
        control,
    ))
}

impl LogControl {
    /// Logs from the given level on, at once.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        self.handle
            .reload(parse(level)?)
            .map_err(|error| LogError::Setup(error.to_string()))?;
        level
            .trim()
            .clone_into(&mut self.level.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    /// The level, as it was last set.
    pub fn level(&self) -> String {
        self.level
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn parse(level: &str) -> Result<EnvFilter, LogError> {
    let invalid = |reason: String| LogError::InvalidLevel {
        level: crate::names::cut_text(level, 128),
        reason,
    };
    if level.trim().is_empty() {
        // An empty filter would silence everything but errors.
        return Err(invalid("it is empty".to_owned()));
    }
    EnvFilter::builder()
        .parse(level.trim())
        .map_err(|error| invalid(error.to_string()))
}

/// A control of logs that nobody writes, for tests of what changes levels.
#[cfg(test)]
pub(crate) fn detached(level: &str) -> LogControl {
    let (subscriber, control) = subscriber(LogFormat::Text, level, std::io::sink).unwrap();
    // The control refuses to work without its subscriber.
    Box::leak(Box::new(subscriber));
    control
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn log_with(format: LogFormat, level: &str, log: impl FnOnce(&LogControl)) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, control) = subscriber(format, level, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || log(&control));
        lines.text()
    }

    #[test]
    fn json_lines_are_json_objects() {
        let text = log_with(LogFormat::Json, "info", |_| {
            tracing::info!(node = "a", "started");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["message"], "started");
        assert_eq!(line["node"], "a");
    }

    #[test]
    fn a_level_is_changed_while_running() {
        let text = log_with(LogFormat::Text, "info", |control| {
            tracing::debug!("before");
            control.set_level("debug").unwrap();
            tracing::debug!("after");
            assert_eq!(control.level(), "debug");
        });
        assert!(!text.contains("before"), "{text}");
        assert!(text.contains("after"), "{text}");
    }

    #[test]
    fn a_word_that_is_no_level_is_refused_and_changes_nothing() {
        let control = detached("info");
        for level in ["kube=loud", "", "  ", "info,,=="] {
            let error = control.set_level(level).unwrap_err().to_string();
            assert!(
                error.contains("write error, warn, info"),
                "{level}: {error}"
            );
        }
        assert_eq!(control.level(), "info");
    }
}
