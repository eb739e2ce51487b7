//! Refuses actions that would bring in other templates. kairos-operator refuses them, too: a
//! template is one text, and what it renders to can be read from top to bottom.

use super::text::{decode, is_alphanumeric};

/// The word of an action that is refused, if what follows the left delimiter is one: however it
/// is spaced or trimmed, and also where Go would find fault with the rest of the action.
pub(super) fn refused_action(after_delimiter: &[u8]) -> Option<&'static str> {
    let inside = after_delimiter
        .strip_prefix(b"-")
        .unwrap_or(after_delimiter);
    let inside = inside.trim_ascii_start();
    ["define", "template", "block"].into_iter().find(|word| {
        inside.strip_prefix(word.as_bytes()).is_some_and(|rest| {
            !decode(rest).is_some_and(|(character, _)| is_alphanumeric(character))
        })
    })
}

/// The sentence for a refused action.
pub(super) fn refusal(word: &str) -> String {
    format!(
        "{{{{{word}}}}} is refused: define, template and block are not available here; write the text where it is used"
    )
}

#[cfg(test)]
mod tests {
    use super::refused_action;

    #[test]
    fn every_spelling_is_recognised() {
        for source in [
            "define \"x\"}}",
            " define\"x\"}}",
            "- template \"x\"}}",
            "-\n\tblock \"x\" .}}",
            "-define \"x\"}}",
            "define}}",
            "template}}",
            "block",
            "template(1)",
            "define -}}",
            "define`x`}}",
            "\r\n define \"x\"",
        ] {
            assert!(refused_action(source.as_bytes()).is_some(), "{source}");
        }
    }

    #[test]
    fn words_that_only_begin_alike_are_not() {
        for source in [
            "defined}}",
            "templates .}}",
            "block_1}}",
            ".define}}",
            "$define}}",
            "\"define\"}}",
            "/* define */}}",
            "print define}}",
            "defineé}}",
            "",
            "-",
            "- ",
        ] {
            assert!(refused_action(source.as_bytes()).is_none(), "{source}");
        }
    }
}
