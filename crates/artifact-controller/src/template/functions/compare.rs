//! `eq`, `ne`, `lt`, `le`, `gt` and `ge`: values of one kind only, but integers whatever their sign.

use std::cmp::Ordering;

use super::super::printf;
use super::super::value::{BasicKind, Value};
use super::Fault;

/// Calls a comparison by name.
pub(super) fn call(name: &[u8], first: &Value, rest: &[Value]) -> Result<bool, Fault> {
    match (name, rest) {
        (b"eq", _) => equals_any(first, rest),
        (b"ne", _) => Ok(!equals_any(first, rest)?),
        (b"lt", [second]) => less(first, second),
        (b"le", [second]) => less_or_equal(first, second),
        (b"gt", [second]) => Ok(!less_or_equal(first, second)?),
        (b"ge", [second]) => Ok(!less(first, second)?),
        _ => Fault::error("unknown comparison"),
    }
}

fn incompatible<T>(first: &Value, second: &Value) -> Result<T, Fault> {
    Fault::error(format!(
        "incompatible types for comparison: {} and {}",
        first.type_name(),
        second.type_name()
    ))
}

/// Whether the first equals one of the others; those after it are not looked at.
fn equals_any(first: &Value, others: &[Value]) -> Result<bool, Fault> {
    if others.is_empty() {
        return Fault::error("missing argument for comparison");
    }
    for other in others {
        if equals(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[expect(clippy::float_cmp, reason = "the template asks for equality")]
fn equals(first: &Value, second: &Value) -> Result<bool, Fault> {
    Ok(match (first, second) {
        (Value::Nil, second) => matches!(second, Value::Nil),
        (_, Value::Nil) => false,
        (Value::Bool(first), Value::Bool(second)) => first == second,
        (Value::Complex(real, imaginary), Value::Complex(other_real, other_imaginary)) => {
            real == other_real && imaginary == other_imaginary
        }
        (Value::Float(first), Value::Float(second)) => first == second,
        (Value::Text(first), Value::Text(second)) => first == second,
        (Value::Map(_), Value::Map(_)) => {
            let shown = printf::print(std::slice::from_ref(second), usize::MAX).unwrap_or_default();
            return Fault::error(
                [
                    b"non-comparable type ",
                    shown.as_slice(),
                    b": map[string]string",
                ]
                .concat(),
            );
        }
        _ => match (integer(first), integer(second)) {
            (Some(first), Some(second)) => first == second,
            _ => return incompatible(first, second),
        },
    })
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(integer) => Some(*integer),
        Value::Byte(byte) => Some(i64::from(*byte)),
        _ => None,
    }
}

fn less(first: &Value, second: &Value) -> Result<bool, Fault> {
    let invalid = || Fault::error("invalid type for comparison");
    if first.kind() == BasicKind::Other || second.kind() == BasicKind::Other {
        return invalid();
    }
    match (first, second) {
        (Value::Bool(_), Value::Bool(_)) | (Value::Complex(..), Value::Complex(..)) => invalid(),
        (Value::Float(first), Value::Float(second)) => Ok(first < second),
        (Value::Text(first), Value::Text(second)) => Ok(first.cmp(second) == Ordering::Less),
        _ => match (integer(first), integer(second)) {
            (Some(first), Some(second)) => Ok(first < second),
            _ => incompatible(first, second),
        },
    }
}

fn less_or_equal(first: &Value, second: &Value) -> Result<bool, Fault> {
    Ok(less(first, second)? || equals(first, second)?)
}
