//! `html`, `js` and `urlquery`.

use super::super::text::{self, decode};

/// Escapes for HTML; the zero byte becomes a replacement character.
pub(super) fn html(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len());
    for byte in input {
        match byte {
            0 => text::push(&mut out, text::REPLACEMENT),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            other => out.push(*other),
        }
    }
    out
}

/// Escapes for a JavaScript string.
pub(super) fn javascript(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len());
    let mut rest = input;
    while let Some((character, length)) = decode(rest) {
        match character {
            '\\' | '\'' | '"' => {
                out.push(b'\\');
                text::push(&mut out, character);
            }
            '<' | '>' | '&' | '=' | '\0'..' ' => unicode_escape(&mut out, character),
            ' '..='\u{7F}' => text::push(&mut out, character),
            _ if text::is_printable(character) => out.extend_from_slice(&rest[..length]),
            _ => unicode_escape(&mut out, character),
        }
        rest = &rest[length..];
    }
    out
}

fn unicode_escape(out: &mut Vec<u8>, character: char) {
    out.extend_from_slice(format!("\\u{:04X}", u32::from(character)).as_bytes());
}

/// Escapes for the query of a URL.
pub(super) fn url_query(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len());
    for byte in input {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(*byte),
            b' ' => out.push(b'+'),
            other => out.extend_from_slice(format!("%{other:02X}").as_bytes()),
        }
    }
    out
}
