//! The Pod's annotations as the downward API writes them: a line `KEY="VALUE"` each, sorted, the value quoted as Go's
//! `strconv.Quote` does it.
//!
//! Source: `FormatMap` in k8s.io/kubernetes/pkg/fieldpath. Keys are qualified names and hold neither `=` nor line breaks;
//! values hold whatever somebody wrote, but a line break in them is escaped, so that a line is always a whole entry.

/// The value of `key`; none where the text does not hold it. An error where its value is not quoted as Go does it.
pub fn value(text: &str, key: &str) -> Result<Option<String>, String> {
    // Not `lines`, which would take a carriage return away.
    let entries = text.split('\n').filter_map(|line| line.split_once('='));
    let Some((_, quoted)) = entries.into_iter().find(|(name, _)| *name == key) else {
        return Ok(None);
    };
    match unquote(quoted) {
        Some(value) => Ok(Some(value)),
        None => Err(format!(
            "the value of annotation {key} is not quoted as the downward API does it: {}",
            operator_runtime::names::cut_text(quoted, 100).escape_debug()
        )),
    }
}

/// What `strconv.Unquote` makes of a text that `strconv.Quote` wrote.
fn unquote(quoted: &str) -> Option<String> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(character) = rest.next() {
        match character {
            '"' => return None,
            '\\' => escaped(&mut rest, &mut bytes)?,
            plain => bytes.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Reads what follows a backslash.
fn escaped(rest: &mut std::str::Chars<'_>, bytes: &mut Vec<u8>) -> Option<()> {
    let byte = match rest.next()? {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' => u8::try_from(hexadecimal(rest, 2)?).ok()?,
        'u' => return push(hexadecimal(rest, 4)?, bytes),
        'U' => return push(hexadecimal(rest, 8)?, bytes),
        _ => return None,
    };
    bytes.push(byte);
    Some(())
}

fn push(number: u32, bytes: &mut Vec<u8>) -> Option<()> {
    let character = char::from_u32(number)?;
    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

fn hexadecimal(rest: &mut std::str::Chars<'_>, digits: usize) -> Option<u32> {
    (0..digits).try_fold(0_u32, |number, _| {
        let digit = rest.next()?.to_digit(16)?;
        Some(number << 4 | digit)
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use api_types::names::ANNOTATION_REBOOT_AUTHORIZED as KEY;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_entry_is_found_by_its_whole_key() {
        let text =
            "a=\"1\"\nkairos.io/reboot-authorized=\"id\"\nkairos.io/reboot-authorized-by=\"me\"";
        assert_eq!(value(text, KEY), Ok(Some("id".to_owned())));
        assert_eq!(value(text, "reboot-authorized"), Ok(None));
        assert_eq!(value("", KEY), Ok(None));
    }

    /// What Go 1.26's `fmt.Sprintf("%q")` writes, by its own word.
    #[test]
    fn values_are_read_as_go_wrote_them() {
        for (quoted, plain) in [
            (r#""""#, ""),
            (r#""say \"hi\"""#, "say \"hi\""),
            (r#""a=b\\""#, "a=b\\"),
            (r#""\a\b\f\n\r\t\v""#, "\u{7}\u{8}\u{c}\n\r\t\u{b}"),
            (r#""\x00\x1f\x7f""#, "\0\u{1f}\u{7f}"),
            (
                r#""\u0085\u00a0\u2028\ufeff\u200b""#,
                "\u{85}\u{a0}\u{2028}\u{feff}\u{200b}",
            ),
            (r#""häuser 日本 🦀""#, "häuser 日本 🦀"),
            (r#""\U000e0001\U0010ffff""#, "\u{e0001}\u{10ffff}"),
            (r#""'`\\x41""#, "'`\\x41"),
        ] {
            let text = format!("{KEY}={quoted}");
            assert_eq!(value(&text, KEY), Ok(Some(plain.to_owned())), "{quoted}");
        }
    }

    #[test]
    fn what_go_never_writes_is_an_error_and_no_permission() {
        for quoted in [
            "",
            "\"",
            "id",
            "\"id",
            "id\"",
            "\"a\"b\"",
            r#""\""#,
            r#""\q""#,
            r#""\x4""#,
            r#""\u12""#,
            r#""\U00110000""#,
            r#""\ud800""#,
            r#""\xff""#,
            "'id'",
            "\"id\"\r",
            " \"id\"",
        ] {
            let text = format!("{KEY}={quoted}");
            assert!(value(&text, KEY).is_err(), "{quoted:?}");
        }
    }

    #[test]
    fn no_value_of_another_annotation_looks_like_the_permission() {
        let forged = format!("x\n{KEY}=\"id\"\n");
        let text = format!("description={}\nz=\"\"", quote(&forged));
        assert_eq!(value(&text, KEY), Ok(None));
        assert_eq!(value(&text, "description"), Ok(Some(forged)));
    }

    /// `strconv.Quote` for tests; where Go leaves printable characters, this escapes all but ASCII.
    fn quote(text: &str) -> String {
        let mut quoted = String::from("\"");
        for character in text.chars() {
            match character {
                '"' | '\\' => quoted.extend(['\\', character]),
                '\n' => quoted.push_str("\\n"),
                ' '..='~' => quoted.push(character),
                '\0'..='\u{7f}' => write!(quoted, "\\x{:02x}", u32::from(character)).unwrap(),
                '\u{80}'..='\u{ffff}' => write!(quoted, "\\u{:04x}", u32::from(character)).unwrap(),
                _ => write!(quoted, "\\U{:08x}", u32::from(character)).unwrap(),
            }
        }
        quoted.push('"');
        quoted
    }

    proptest! {
        #[test]
        fn any_value_comes_through_beside_any_other(wanted: String, other: String) {
            let text = format!("a={}\n{KEY}={}\nz={}", quote(&other), quote(&wanted), quote(&other));
            prop_assert_eq!(value(&text, KEY), Ok(Some(wanted)));
        }

        #[test]
        fn no_text_makes_it_panic(text: String, key: String) {
            value(&text, &key).ok();
            value(&format!("{KEY}={text}"), KEY).ok();
        }
    }
}
