//! The values that a template computes with: those that Go's functions can make of strings.

use std::collections::BTreeMap;
use std::rc::Rc;

/// A value; copies are cheap.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// No value: what `nil` leads to.
    Nil,
    Text(Rc<[u8]>),
    Integer(i64),
    /// One byte of a text, as `index` returns it.
    Byte(u8),
    Float(f64),
    Complex(f64, f64),
    Bool(bool),
    Map(Rc<Map>),
}

/// The values that the template is rendered with, sorted by key.
#[derive(Debug)]
pub(super) struct Map {
    entries: BTreeMap<Rc<[u8]>, Rc<[u8]>>,
    bytes: usize,
}

impl Map {
    pub(super) fn new(values: &BTreeMap<String, String>) -> Self {
        let entries: BTreeMap<Rc<[u8]>, Rc<[u8]>> = values
            .iter()
            .map(|(key, value)| (Rc::from(key.as_bytes()), Rc::from(value.as_bytes())))
            .collect();
        let bytes = entries
            .iter()
            .map(|(key, value)| key.len() + value.len() + 1)
            .sum();
        Self { entries, bytes }
    }

    /// The text of a key; empty if the map does not have it.
    pub(super) fn get(&self, key: &[u8]) -> Value {
        Value::Text(
            self.entries
                .get(key)
                .cloned()
                .unwrap_or_else(|| Rc::from(&b""[..])),
        )
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&Rc<[u8]>, &Rc<[u8]>)> {
        self.entries.iter()
    }
}

/// What values can be compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BasicKind {
    Bool,
    Complex,
    Integer,
    Float,
    Text,
    Unsigned,
    /// A map, or no value.
    Other,
}

impl Value {
    pub(super) fn text(text: impl Into<Rc<[u8]>>) -> Self {
        Self::Text(text.into())
    }

    /// The name of the type in Go; of no value, `<nil>`.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Text(_) => "string",
            Self::Integer(_) => "int",
            Self::Byte(_) => "uint8",
            Self::Float(_) => "float64",
            Self::Complex(..) => "complex128",
            Self::Bool(_) => "bool",
            Self::Map(_) => "map[string]string",
        }
    }

    pub(super) fn kind(&self) -> BasicKind {
        match self {
            Self::Nil | Self::Map(_) => BasicKind::Other,
            Self::Text(_) => BasicKind::Text,
            Self::Integer(_) => BasicKind::Integer,
            Self::Byte(_) => BasicKind::Unsigned,
            Self::Float(_) => BasicKind::Float,
            Self::Complex(..) => BasicKind::Complex,
            Self::Bool(_) => BasicKind::Bool,
        }
    }

    /// Whether `if` takes the value for true: what is not zero and not empty.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Text(text) => !text.is_empty(),
            Self::Integer(integer) => *integer != 0,
            Self::Byte(byte) => *byte != 0,
            Self::Float(float) => *float != 0.0,
            Self::Complex(real, imaginary) => *real != 0.0 || *imaginary != 0.0,
            Self::Bool(value) => *value,
            Self::Map(map) => map.len() > 0,
        }
    }

    /// The bytes that a function has to look at to read the value.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Map(map) => map.bytes,
            _ => 1,
        }
    }
}
