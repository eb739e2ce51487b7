//! Text as Go sees it: bytes that are usually, but not always, UTF-8; and Go's quoting.

use super::unicode_tables::{DIGITS, LETTERS, PRINTABLE};

/// What stands for bytes that are not UTF-8.
pub(super) const REPLACEMENT: char = '\u{FFFD}';

/// The first character of the text and its length in bytes; a byte that is not UTF-8 is one
/// replacement character of length 1. `None` at the end.
pub(super) fn decode(text: &[u8]) -> Option<(char, usize)> {
    let first = *text.first()?;
    let length = match first {
        0x00..=0x7F => return Some((char::from(first), 1)),
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return Some((REPLACEMENT, 1)),
    };
    let character = text
        .get(..length)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|text| text.chars().next());
    match character {
        Some(character) => Some((character, length)),
        None => Some((REPLACEMENT, 1)),
    }
}

/// The number of characters.
pub(super) fn count(text: &[u8]) -> usize {
    let mut rest = text;
    let mut count = 0;
    while let Some((_, length)) = decode(rest) {
        rest = &rest[length..];
        count += 1;
    }
    count
}

/// Appends a character as UTF-8.
pub(super) fn push(out: &mut Vec<u8>, character: char) {
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn holds(class: &[u32], character: char) -> bool {
    class.partition_point(|change| *change <= u32::from(character)) % 2 == 1
}

/// Whether the character can be part of a name.
pub(super) fn is_alphanumeric(character: char) -> bool {
    if character.is_ascii() {
        return character == '_' || character.is_ascii_alphanumeric();
    }
    holds(LETTERS, character) || holds(DIGITS, character)
}

/// Whether Go prints the character as itself when it quotes.
pub(super) fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return matches!(character, ' '..='~');
    }
    holds(PRINTABLE, character)
}

/// The character as `U+002D '-'`, the quotes only if it is printable (Go's `%#U`).
pub(super) fn unicode_notation(character: char) -> String {
    let number = u32::from(character);
    if is_printable(character) {
        format!("U+{number:04X} '{character}'")
    } else {
        format!("U+{number:04X}")
    }
}

/// The text in double quotes as Go's `%q` writes it; with `ascii`, `%+q`.
pub(super) fn quote(text: &[u8], ascii: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(b'"');
    let mut rest = text;
    while let Some((character, length)) = decode(rest) {
        if character == REPLACEMENT && length == 1 {
            out.extend_from_slice(format!("\\x{:02x}", rest[0]).as_bytes());
        } else {
            escape(&mut out, character, '"', ascii);
        }
        rest = &rest[length..];
    }
    out.push(b'"');
    out
}

/// The character in single quotes, as `%q` writes an integer.
pub(super) fn quote_character(character: char, ascii: bool) -> Vec<u8> {
    let mut out = vec![b'\''];
    escape(&mut out, character, '\'', ascii);
    out.push(b'\'');
    out
}

fn escape(out: &mut Vec<u8>, character: char, quote: char, ascii: bool) {
    if character == quote || character == '\\' {
        out.push(b'\\');
        push(out, character);
        return;
    }
    if is_printable(character) && (character.is_ascii() || !ascii) {
        push(out, character);
        return;
    }
    let number = u32::from(character);
    let text = match character {
        '\u{07}' => "\\a".to_owned(),
        '\u{08}' => "\\b".to_owned(),
        '\u{0C}' => "\\f".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\u{0B}' => "\\v".to_owned(),
        '\0'..' ' | '\u{7F}' => format!("\\x{number:02x}"),
        '\0'..'\u{10000}' => format!("\\u{number:04x}"),
        _ => format!("\\U{number:08x}"),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Whether Go can write the text between backquotes.
pub(super) fn can_backquote(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((character, length)) = decode(rest) {
        rest = &rest[length..];
        let fits = if length > 1 {
            character != '\u{FEFF}'
        } else {
            character != REPLACEMENT
                && (character >= ' ' || character == '\t')
                && character != '`'
                && character != '\u{7F}'
        };
        if !fits {
            return false;
        }
    }
    true
}

/// One element of a quoted literal.
pub(super) enum Element {
    /// A character, to be written as UTF-8.
    Character(char),
    /// A byte given by number, which need not be UTF-8.
    Byte(u8),
}

/// The first element of the inside of a literal and what follows it; `None` if it is malformed.
pub(super) fn unquote_element(text: &[u8], quote: u8) -> Option<(Element, &[u8])> {
    let first = *text.first()?;
    if first == quote {
        return None;
    }
    if first != b'\\' {
        let (character, length) = decode(text)?;
        return Some((Element::Character(character), &text[length..]));
    }
    let kind = *text.get(1)?;
    let rest = &text[2..];
    let simple = |byte| Some((Element::Byte(byte), rest));
    match kind {
        b'a' => simple(0x07),
        b'b' => simple(0x08),
        b'f' => simple(0x0C),
        b'n' => simple(b'\n'),
        b'r' => simple(b'\r'),
        b't' => simple(b'\t'),
        b'v' => simple(0x0B),
        b'\\' => simple(b'\\'),
        b'\'' | b'"' if kind == quote => simple(kind),
        b'x' => {
            let value = digits(rest.get(..2)?, 16)?;
            Some((Element::Byte(u8::try_from(value).ok()?), &rest[2..]))
        }
        b'u' | b'U' => {
            let length = if kind == b'u' { 4 } else { 8 };
            let value = digits(rest.get(..length)?, 16)?;
            Some((Element::Character(char::from_u32(value)?), &rest[length..]))
        }
        b'0'..=b'7' => {
            let value = digits(text.get(1..4)?, 8)?;
            Some((Element::Byte(u8::try_from(value).ok()?), &text[4..]))
        }
        _ => None,
    }
}

fn digits(text: &[u8], base: u32) -> Option<u32> {
    text.iter().try_fold(0_u32, |value, byte| {
        let digit = char::from(*byte).to_digit(base)?;
        value.checked_mul(base)?.checked_add(digit)
    })
}

/// The text that a literal in double quotes or backquotes stands for; `None` if it is malformed.
pub(super) fn unquote(literal: &[u8]) -> Option<Vec<u8>> {
    let (&quote, inside) = literal.split_first()?;
    let (&last, inside) = inside.split_last()?;
    if last != quote {
        return None;
    }
    if quote == b'`' {
        return Some(
            inside
                .iter()
                .copied()
                .filter(|byte| *byte != b'\r')
                .collect(),
        );
    }
    let mut out = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while !rest.is_empty() {
        let (element, after) = unquote_element(rest, quote)?;
        match element {
            Element::Character(character) => push(&mut out, character),
            Element::Byte(byte) => out.push(byte),
        }
        rest = after;
    }
    Some(out)
}

/// The first `characters` characters of the text.
pub(super) fn prefix(text: &[u8], characters: usize) -> &[u8] {
    let mut end = 0;
    for _ in 0..characters {
        match decode(&text[end..]) {
            Some((_, length)) => end += length,
            None => break,
        }
    }
    &text[..end]
}
