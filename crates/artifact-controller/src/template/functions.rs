//! The functions that a template can call, and what arguments they take.

mod compare;
mod escape;

use super::limits::{Budget, LimitReached, TOO_MUCH_TEXT};
use super::printf;
use super::value::Value;

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameter {
    /// Any value; a literal `nil` is no value.
    Any,
    /// A text.
    Text,
}

/// A function's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) fixed: &'static [Parameter],
    /// Takes any number of further values.
    pub(super) variadic: bool,
}

/// Why a function has no result.
#[derive(Debug)]
pub(super) enum Fault {
    /// The reason, in Go's words.
    Error(Vec<u8>),
    Limit(LimitReached),
}

impl Fault {
    fn error<T>(reason: impl Into<Vec<u8>>) -> Result<T, Self> {
        Err(Self::Error(reason.into()))
    }
}

impl From<LimitReached> for Fault {
    fn from(limit: LimitReached) -> Self {
        Self::Limit(limit)
    }
}

/// Whether there is a function of this name.
pub(super) fn is_function(name: &[u8]) -> bool {
    signature(name).is_some()
}

/// The parameters of a function; `None` if there is none of this name.
pub(super) fn signature(name: &[u8]) -> Option<Signature> {
    use Parameter::{Any, Text};
    let (fixed, variadic): (&[Parameter], bool) = match name {
        b"and" | b"or" | b"call" | b"index" | b"slice" | b"eq" => (&[Any], true),
        b"html" | b"js" | b"urlquery" | b"print" | b"println" => (&[], true),
        b"printf" => (&[Text], true),
        b"len" | b"not" => (&[Any], false),
        b"ne" | b"lt" | b"le" | b"gt" | b"ge" => (&[Any, Any], false),
        _ => return None,
    };
    Some(Signature { fixed, variadic })
}

/// Calls a function with as many arguments as its signature allows. `and` and `or` are not
/// functions in this sense: they leave arguments unevaluated.
///
/// `callee` is how the first argument is written, for `call`.
pub(super) fn call(
    name: &[u8],
    arguments: &[Value],
    callee: &[u8],
    budget: &mut Budget,
) -> Result<Value, Fault> {
    for argument in arguments {
        budget.read(argument.size())?;
    }
    let limit = budget.function_bytes();
    let text = match (name, arguments) {
        (b"print", _) => printf::print(arguments, limit),
        (b"println", _) => printf::println(arguments, limit),
        (b"printf", [Value::Text(format), rest @ ..]) => printf::printf(format, rest, limit),
        (b"html", _) => escaped(arguments, limit, escape::html),
        (b"js", _) => escaped(arguments, limit, escape::javascript),
        (b"urlquery", _) => escaped(arguments, limit, escape::url_query),
        (b"index", [item, indexes @ ..]) => return index(item, indexes),
        (b"slice", [item, indexes @ ..]) => Some(slice(item, indexes)?),
        (b"len", [item]) => return length(item),
        (b"not", [value]) => return Ok(Value::Bool(!value.is_true())),
        (b"call", [function, ..]) => return Fault::error(not_callable(function, callee)),
        (_, [first, rest @ ..]) => return compare::call(name, first, rest).map(Value::Bool),
        (_, []) => return Fault::error("no arguments"),
    };
    let text = text.ok_or(TOO_MUCH_TEXT)?;
    budget.build(text.len())?;
    Ok(Value::text(text))
}

/// The arguments printed together, no value as `<no value>`, and escaped.
fn escaped(arguments: &[Value], limit: usize, escape: fn(&[u8]) -> Vec<u8>) -> Option<Vec<u8>> {
    let shown: Vec<Value> = arguments
        .iter()
        .map(|argument| match argument {
            Value::Nil => Value::text(&b"<no value>"[..]),
            value => value.clone(),
        })
        .collect();
    let escaped = escape(&printf::print(&shown, limit)?);
    (escaped.len() <= limit).then_some(escaped)
}

fn not_callable(function: &Value, callee: &[u8]) -> Vec<u8> {
    match function {
        Value::Nil => b"call of nil".to_vec(),
        other => [
            b"non-function ",
            callee,
            b" of type ",
            other.type_name().as_bytes(),
        ]
        .concat(),
    }
}

/// A position in a text of this length; the length itself is one.
fn position(index: &Value, length: usize) -> Result<usize, Fault> {
    let number = match index {
        Value::Integer(integer) => *integer,
        Value::Byte(byte) => i64::from(*byte),
        Value::Nil => return Fault::error("cannot index slice/array with nil"),
        other => {
            let type_name = other.type_name();
            return Fault::error(format!("cannot index slice/array with type {type_name}"));
        }
    };
    match usize::try_from(number) {
        Ok(position) if position <= length => Ok(position),
        _ => Fault::error(format!("index out of range: {number}")),
    }
}

fn index(item: &Value, indexes: &[Value]) -> Result<Value, Fault> {
    if matches!(item, Value::Nil) {
        return Fault::error("index of untyped nil");
    }
    let mut item = item.clone();
    for index in indexes {
        item = match (&item, index) {
            (Value::Text(text), _) => match text.get(position(index, text.len())?) {
                Some(byte) => Value::Byte(*byte),
                None => return Fault::error("reflect: string index out of range"),
            },
            (Value::Map(map), Value::Text(key)) => map.get(key),
            (Value::Map(_), Value::Nil) => {
                return Fault::error("value is nil; should be of type string");
            }
            (Value::Map(_), other) => {
                let type_name = other.type_name();
                return Fault::error(format!("value has type {type_name}; should be string"));
            }
            (other, _) => {
                let type_name = other.type_name();
                return Fault::error(format!("can't index item of type {type_name}"));
            }
        };
    }
    Ok(item)
}

fn slice(item: &Value, indexes: &[Value]) -> Result<Vec<u8>, Fault> {
    if matches!(item, Value::Nil) {
        return Fault::error("slice of untyped nil");
    }
    if indexes.len() > 3 {
        return Fault::error(format!("too many slice indexes: {}", indexes.len()));
    }
    let Value::Text(text) = item else {
        let type_name = item.type_name();
        return Fault::error(format!("can't slice item of type {type_name}"));
    };
    if indexes.len() == 3 {
        return Fault::error("cannot 3-index slice a string");
    }
    let bound = |which: usize, default| match indexes.get(which) {
        Some(index) => position(index, text.len()),
        None => Ok(default),
    };
    let (start, end) = (bound(0, 0)?, bound(1, text.len())?);
    match text.get(start..end) {
        Some(part) => Ok(part.to_vec()),
        None => Fault::error(format!("invalid slice index: {start} > {end}")),
    }
}

fn length(item: &Value) -> Result<Value, Fault> {
    let length = match item {
        Value::Text(text) => text.len(),
        Value::Map(map) => map.len(),
        Value::Nil => return Fault::error("reflect: call of reflect.Value.Type on zero Value"),
        other => return Fault::error(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Integer(i64::try_from(length).unwrap_or(i64::MAX)))
}
