//! How the tools are called: argument vectors, never shell text. AuroraBoot and kairos-init drop flags in silence that
//! stand after a positional argument, so flags come first; `tests/tool_flags.rs` holds every vector against the table of
//! flags that the pinned versions have.

pub mod auroraboot;
pub mod buildah;
pub mod kairos_init;

/// One call: the program and its arguments.
pub type Argv = Vec<String>;

/// Arguments being put together.
struct Call(Argv);

impl Call {
    fn new(words: &[&str]) -> Self {
        Self(words.iter().map(|word| (*word).to_owned()).collect())
    }

    /// `--flag value`; the value is a word of its own, so it is never read as another flag.
    fn flag(mut self, flag: &str, value: &str) -> Self {
        self.0.extend([flag.to_owned(), value.to_owned()]);
        self
    }

    fn flag_if(self, flag: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.flag(flag, value),
            None => self,
        }
    }

    fn switch_if(mut self, flag: &str, on: bool) -> Self {
        if on {
            self.0.push(flag.to_owned());
        }
        self
    }

    /// AuroraBoot's `--set key=value`.
    fn set(self, key: &str, value: &str) -> Self {
        self.flag("--set", &format!("{key}={value}"))
    }

    /// Positional arguments end the call: nothing may be added after them.
    fn positional(mut self, words: &[&str]) -> Argv {
        self.0.extend(words.iter().map(|word| (*word).to_owned()));
        self.0
    }
}

/// How images are pulled, in every tool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pull<'a> {
    /// The processor whose image is taken; the builder's own without.
    pub arch: Option<&'a str>,
    /// Whether registries without TLS, or with certificates nobody signed, are fine.
    pub insecure: bool,
    /// File with the credentials, where there are any.
    pub auth_file: Option<&'a str>,
}
