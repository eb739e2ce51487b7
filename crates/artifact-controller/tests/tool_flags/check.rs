//! Holds a call of a tool against the table of flags in `tests/data/tool-flags.yaml`. The stand-ins of the end-to-end tests
//! use it too, so they refuse what the real tools would drop or misread in silence.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

const TABLE: &str = include_str!("../data/tool-flags.yaml");

#[derive(Debug, Deserialize)]
struct Tool {
    flags_end_at_first_positional: bool,
    global: BTreeMap<String, Value>,
    #[serde(default)]
    required: Vec<String>,
    positional: Vec<usize>,
    #[serde(default)]
    set: BTreeMap<String, Value>,
    commands: BTreeMap<String, Command>,
}

#[derive(Debug, Deserialize)]
struct Command {
    flags: BTreeMap<String, Value>,
    positional: Vec<usize>,
    /// The positional word that is an image source.
    source: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Value {
    Kind(String),
    Words(Vec<String>),
}

/// A call that the table accepts.
#[derive(Debug, Default, PartialEq, Eq)]
#[allow(dead_code, reason = "the test only checks; the stand-ins also read")]
pub(crate) struct Checked {
    /// The subcommand, if there is one.
    pub(crate) command: Option<String>,
    /// Flags and their values, in order; a switch has an empty value.
    pub(crate) flags: Vec<(String, String)>,
    /// What follows.
    pub(crate) positional: Vec<String>,
}

/// The call, taken apart; or what is wrong with it.
pub(crate) fn check(argv: &[String]) -> Result<Checked, String> {
    static TOOLS: OnceLock<Result<BTreeMap<String, Tool>, String>> = OnceLock::new();
    let tools = TOOLS
        .get_or_init(|| {
            serde_saphyr::from_str(TABLE).map_err(|error| format!("the table of flags: {error}"))
        })
        .as_ref()?;
    let (program, words) = argv.split_first().ok_or("no program")?;
    let name = program.rsplit('/').next().unwrap_or_default();
    let tool = tools
        .get(name)
        .ok_or_else(|| format!("{name} is not in the table"))?;
    let mut call = Checked::default();
    let mut rest = flags(words, &tool.global, tool, &mut call.flags)?;
    let mut positional = &tool.positional;
    let mut source = None;
    if let Some((command, after)) = rest.split_first()
        && let Some(found) = tool.commands.get(command)
    {
        call.command = Some(command.clone());
        rest = flags(after, &found.flags, tool, &mut call.flags)?;
        positional = &found.positional;
        source = found.source;
    }
    if let Some(flag) = rest.iter().find(|word| word.starts_with('-'))
        && tool.flags_end_at_first_positional
    {
        return Err(format!(
            "{flag} stands after a positional word, where it is dropped in silence"
        ));
    }
    if !positional.contains(&rest.len()) {
        return Err(format!(
            "{} positional words, not {positional:?}: {rest:?}",
            rest.len()
        ));
    }
    if let Some(word) = source.and_then(|index| rest.get(index)) {
        is_source(word)?;
    }
    for required in &tool.required {
        if !call.flags.iter().any(|(flag, _)| flag == required) {
            return Err(format!("{required} is missing"));
        }
    }
    call.positional = rest.to_vec();
    Ok(call)
}

/// Takes flags off the front; returns what follows them.
fn flags<'a>(
    mut words: &'a [String],
    known: &BTreeMap<String, Value>,
    tool: &Tool,
    found: &mut Vec<(String, String)>,
) -> Result<&'a [String], String> {
    while let Some((word, after)) = words.split_first() {
        if !word.starts_with('-') {
            break;
        }
        let (flag, inline) = match word.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (word.as_str(), None),
        };
        let kind = known
            .get(flag)
            .ok_or_else(|| format!("{flag} is no flag here"))?;
        words = after;
        let value = match (kind, inline) {
            (Value::Kind(kind), inline) if kind == "bool" => inline.unwrap_or_default().to_owned(),
            (_, Some(value)) => value.to_owned(),
            (_, None) => {
                let (value, after) = after
                    .split_first()
                    .ok_or_else(|| format!("{flag} has no value"))?;
                words = after;
                value.clone()
            }
        };
        is_value(flag, &value, kind, tool)?;
        found.push((flag.to_owned(), value));
    }
    Ok(words)
}

fn is_value(flag: &str, value: &str, kind: &Value, tool: &Tool) -> Result<(), String> {
    let refuse = |what: &str| Err(format!("{flag} has the value {value:?}, which is {what}"));
    match kind {
        Value::Words(words) if words.iter().any(|word| word == value) => Ok(()),
        Value::Words(words) => refuse(&format!("none of {words:?}")),
        Value::Kind(kind) => match kind.as_str() {
            "bool" if ["", "true", "false"].contains(&value) => Ok(()),
            "bool" => refuse("neither true nor false"),
            "number" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(())
            }
            "number" => refuse("no whole number: the tool takes it as 0"),
            "version"
                if value.starts_with(|first: char| first == 'v' || first.is_ascii_digit())
                    && value != "v" =>
            {
                Ok(())
            }
            "version" => refuse("no semantic version"),
            "source" => is_source(value),
            "set" => {
                let (key, value) = value
                    .split_once('=')
                    .ok_or_else(|| format!("{flag} {value:?} is no key=value"))?;
                let kind = tool
                    .set
                    .get(key)
                    .ok_or_else(|| format!("{flag} has no key {key}"))?;
                is_value(key, value, kind, tool)
            }
            _ if value.is_empty() => refuse("empty"),
            _ if value.starts_with('-') => refuse("a flag: a value is missing"),
            _ => Ok(()),
        },
    }
}

fn is_source(word: &str) -> Result<(), String> {
    let plain = |rest: &str| !rest.is_empty() && !rest.contains(char::is_whitespace);
    let fine = match word.split_once(':') {
        Some(("dir" | "ocifile" | "file", path)) => path.starts_with('/') && plain(path),
        Some(("docker" | "oci", image)) => plain(image),
        _ => plain(word) && !word.starts_with('/'),
    };
    if fine {
        Ok(())
    } else {
        Err(format!("{word:?} is no image source"))
    }
}
