//! Reads the text of a release file: shell assignments as os-release(5) describes them. Pure.
//!
//! The file is taken whole or not at all. A shell would refuse a file with one broken line, and so does this parser: half
//! a file would make labels that look right and are not.

use std::collections::BTreeMap;

use crate::outcome::Reason;

/// The largest release file that is read, in bytes. Real ones have about 1 KiB.
pub const LARGEST_FILE: usize = 64 * 1024;

/// Assignments by key; of a key that is assigned twice, the last, as a shell has it.
pub type Assignments = BTreeMap<String, String>;

/// Why a text is no release file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Kind of fault.
    pub reason: Reason,
    /// The line at fault, counted from 1; none where the whole file is.
    pub line: Option<usize>,
}

/// All assignments of a release file.
pub fn parse(bytes: &[u8]) -> Result<Assignments, Malformed> {
    let whole = |reason| Malformed { reason, line: None };
    if bytes.len() > LARGEST_FILE {
        return Err(whole(Reason::ReleaseFileTooLarge));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| whole(Reason::ReleaseFileBinary))?;
    let is_binary = |character: char| character.is_control() && !"\t\r\n".contains(character);
    if text.contains(is_binary) {
        return Err(whole(Reason::ReleaseFileBinary));
    }
    let mut assignments = Assignments::new();
    // Editors on Windows put a byte order mark first.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = assignment(line).ok_or(Malformed {
            reason: Reason::ReleaseFileMalformed,
            line: Some(index + 1),
        })?;
        assignments.insert(key.to_owned(), value);
    }
    Ok(assignments)
}

fn assignment(line: &str) -> Option<(&str, String)> {
    let line = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => line,
    };
    let (key, value) = line.split_once('=')?;
    let is_name = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && key
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || character == '_');
    is_name.then_some(())?;
    Some((key, word(value)?))
}

/// One shell word that needs no expansion, with nothing but a comment behind it.
fn word(text: &str) -> Option<String> {
    let mut value = String::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match character {
            '\'' => loop {
                match rest.next()? {
                    '\'' => break,
                    '\r' => return None,
                    inner => value.push(inner),
                }
            },
            '"' => loop {
                match rest.next()? {
                    '"' => break,
                    '\\' => match rest.next()? {
                        escaped @ ('"' | '\\' | '$' | '`') => value.push(escaped),
                        '\r' => return None,
                        other => value.extend(['\\', other]),
                    },
                    '$' | '`' | '\r' => return None,
                    inner => value.push(inner),
                }
            },
            ' ' | '\t' => {
                let behind = rest.as_str().trim_start();
                return (behind.is_empty() || behind.starts_with('#')).then_some(value);
            }
            '\\' | '$' | '`' | ';' | '&' | '|' | '<' | '>' | '(' | ')' | '\r' => return None,
            plain => value.push(plain),
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_fault_names_its_line() {
        let error = parse(b"A=1\n\n# fine\nnonsense\n").unwrap_err();
        assert_eq!(error.reason, Reason::ReleaseFileMalformed);
        assert_eq!(error.line, Some(4));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            parse(&bytes).ok();
        }

        #[test]
        fn text_that_looks_like_a_file_is_parsed_or_refused_without_panic(text in "(export |)[A-Z_]{0,3}=?[\"'$\\\\ a#\r\n]{0,20}") {
            parse(text.as_bytes()).ok();
        }

        #[test]
        fn a_quoted_value_comes_back_as_it_was(value in "[ -~äß€]{0,80}", single in any::<bool>()) {
            let quoted = if single && !value.contains('\'') {
                format!("'{value}'")
            } else {
                let mut escaped = String::new();
                for character in value.chars() {
                    if "\"\\$`".contains(character) {
                        escaped.push('\\');
                    }
                    escaped.push(character);
                }
                format!("\"{escaped}\"")
            };
            let parsed = parse(format!("KEY={quoted}\r\n").as_bytes()).unwrap();
            prop_assert_eq!(&parsed["KEY"], &value);
        }
    }
}
