//! Names derived from other names: short hashes, and texts cut to a length without two long ones becoming one. Pure.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// Number of characters that [`short_hash`] returns: 40 bits, enough to tell the objects of one namespace apart.
pub const SHORT_HASH_LENGTH: usize = 10;

/// The first ten characters of the SHA-256 of the parts, in lower-case hexadecimal.
///
/// Each part enters with its length, so `["a", "bc"]` and `["ab", "c"]` differ.
pub fn short_hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().take(SHORT_HASH_LENGTH / 2).fold(
        String::with_capacity(SHORT_HASH_LENGTH),
        |mut text, byte| {
            // Writing to a String cannot fail.
            write!(text, "{byte:02x}").ok();
            text
        },
    )
}

/// The text itself where it fits into `max` bytes, else its beginning, a `-` and the short hash of the whole text.
///
/// A cut text never ends its head in `-`, `.` or `_`, so that a valid DNS label, DNS subdomain or label value stays one.
/// A `max` below [`SHORT_HASH_LENGTH`] gives the first `max` characters of the hash.
pub fn cut_with_hash(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let hash = short_hash(&[text]);
    let room = max.saturating_sub(SHORT_HASH_LENGTH + 1);
    let head = text[..text.floor_char_boundary(room)].trim_end_matches(['-', '.', '_']);
    if head.is_empty() {
        return hash[..max.min(SHORT_HASH_LENGTH)].to_owned();
    }
    format!("{head}-{hash}")
}

/// At most `max` bytes of a text, cut at a character boundary and marked with `…` where something is missing.
///
/// For texts that people read: messages, notes, log fields. A `max` below three bytes leaves no room for the mark.
pub fn cut_text(text: &str, max: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= max {
        return text.to_owned();
    }
    match max.checked_sub(MARK.len()) {
        Some(room) => format!("{}{MARK}", &text[..text.floor_char_boundary(room)]),
        None => text[..text.floor_char_boundary(max)].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hash_tells_where_one_part_ends() {
        assert_ne!(short_hash(&["a", "bc"]), short_hash(&["ab", "c"]));
        assert_ne!(short_hash(&["a", ""]), short_hash(&["a"]));
    }

    #[test]
    fn a_hash_never_changes_between_releases() {
        // Names of running objects contain it: another value would start work twice.
        assert_eq!(short_hash(&["kairos", "node-1"]), "bde0946757");
    }

    #[test]
    fn a_fitting_text_stays_as_it_is() {
        assert_eq!(cut_with_hash("node-1.example", 14), "node-1.example");
    }

    #[test]
    fn a_cut_head_loses_its_trailing_punctuation() {
        let cut = cut_with_hash("abc.-_defghijklmnopq", 17);
        assert_eq!(
            cut,
            format!("abc-{}", short_hash(&["abc.-_defghijklmnopq"]))
        );
    }

    #[test]
    fn texts_with_one_beginning_stay_different() {
        let first = "a".repeat(70) + "1";
        let second = "a".repeat(70) + "2";
        assert_ne!(cut_with_hash(&first, 63), cut_with_hash(&second, 63));
    }

    #[test]
    fn a_cut_text_is_marked() {
        assert_eq!(cut_text("häuser", 5), "h…");
        assert_eq!(cut_text("häuser", 7), "häuser");
    }

    proptest! {
        #[test]
        fn a_cut_label_is_a_label(text in "[a-z0-9]([-a-z0-9._]{0,120}[a-z0-9])?", max in 1_usize..100) {
            let cut = cut_with_hash(&text, max);
            prop_assert!(cut.len() <= max);
            prop_assert!(cut.starts_with(|c: char| c.is_ascii_alphanumeric()));
            prop_assert!(cut.ends_with(|c: char| c.is_ascii_alphanumeric()));
        }

        #[test]
        fn any_text_is_cut_without_panic(text in ".{0,80}", max in 0_usize..90) {
            prop_assert!(cut_with_hash(&text, max).len() <= max);
            prop_assert!(cut_text(&text, max).len() <= max);
        }
    }
}
