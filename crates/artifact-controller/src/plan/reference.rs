//! Image references: what may stand in a Dockerfile's FROM and in a tool's arguments.

use super::Refusal;

/// A reference has at most this many characters (a registry host, 255 of path, a tag of 128 and a digest).
const LONGEST: usize = 1024;

/// Whether the text is an image reference and nothing else: no blanks, no quotes, no `$` that a Dockerfile would replace,
/// no leading `-` that a tool would take for a flag.
pub fn is_reference(text: &str) -> bool {
    let plain =
        |character: char| character.is_ascii_alphanumeric() || "._-+/:@[]".contains(character);
    text.len() <= LONGEST
        && text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')
        && text.ends_with(|last: char| last.is_ascii_alphanumeric() || last == '_')
        && text.chars().all(plain)
        && !text.contains("//")
}

/// The reference, or a sentence that names the field.
pub(super) fn checked(field: &str, text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    if is_reference(text) {
        Ok(text.to_owned())
    } else {
        Err(Refusal(format!(
            "{field} {text:?} is no image reference; write one such as registry.example.com/team/image:v1"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_all_shapes_are_taken() {
        for text in [
            "docker",
            "opensuse/leap:15.6",
            "quay.io/kairos/opensuse:leap-15.6-core-amd64-generic-v3.6.0",
            "localhost:5000/a_b/c@sha256:0123456789abcdef",
            "[::1]:5000/a:b",
        ] {
            assert!(is_reference(text), "{text}");
        }
    }

    #[test]
    fn what_a_tool_or_a_dockerfile_would_read_otherwise_is_no_reference() {
        for text in [
            "",
            "--insecure",
            "a b",
            "a\nRUN rm -rf /",
            "$BASE",
            "${BASE}:v1",
            "a;b",
            "docker://a",
            "dir:",
            "a'b",
            "a\"b",
            "é",
        ] {
            assert!(!is_reference(text), "{text:?}");
        }
    }
}
