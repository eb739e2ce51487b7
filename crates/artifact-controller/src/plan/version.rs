//! The version that kairos-init writes into an image it converts.

use serde::{Deserialize, Serialize};

use super::Refusal;

/// A semantic version, with or without a leading `v`, of one to three numbers: what kairos-init accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(String);

impl Version {
    /// The version, or a sentence that says what to write.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if is_version(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(Refusal(format!(
            "kairosRelease has the version {text:?}, which is no semantic version, as kairos-init needs one; write such as \
             \"v3.6.0\""
        )))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether kairos-init takes the text as a version.
pub fn is_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (rest, build) = split(text, '+');
    let (numbers, pre_release) = split(rest, '-');
    let parts: Vec<&str> = numbers.split('.').collect();
    let number = |part: &&str| {
        (1..=9).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part.len() == 1 || !part.starts_with('0'))
    };
    let words = |text: Option<&str>| {
        text.is_none_or(|text| {
            text.split('.').all(|word| {
                !word.is_empty()
                    && word
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            })
        })
    };
    parts.len() <= 3 && parts.iter().all(number) && words(pre_release) && words(build)
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// The value of `KAIROS_VERSION` in the text of a release file.
pub fn in_release_text(text: &str) -> Option<String> {
    let value = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("KAIROS_VERSION="))
        .next_back()?;
    let value = value.trim();
    let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    Some(
        quoted('"')
            .or_else(|| quoted('\''))
            .unwrap_or(value)
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_kairos_init_takes_are_taken() {
        for text in [
            "v3.6.0",
            "3.6",
            "3",
            "v3.6.0+k3s1",
            "v3.6.0-rc.1",
            "v3.6.0-beta1+k3sv1.33.1-k3s1",
        ] {
            assert!(is_version(text), "{text}");
        }
    }

    #[test]
    fn what_kairos_init_refuses_is_refused_with_an_example() {
        for text in [
            "",
            "latest",
            "master",
            "v",
            "v3.x",
            "3.6.0.1",
            "v3.06.0",
            "3..0",
            "v3.6.0-",
            "v3.6.0+",
            "v3.6.0 -x",
            "v3.6.0\n",
        ] {
            let refusal = Version::parse(text).unwrap_err().to_string();
            assert!(
                refusal.ends_with("write such as \"v3.6.0\""),
                "{text}: {refusal}"
            );
        }
    }

    #[test]
    fn the_version_of_a_release_file_is_read_with_and_without_quotes() {
        assert_eq!(
            in_release_text("A=b\nKAIROS_VERSION=\"v3.6.0\"\n").as_deref(),
            Some("v3.6.0")
        );
        assert_eq!(
            in_release_text("KAIROS_VERSION=v3.5.0").as_deref(),
            Some("v3.5.0")
        );
        assert_eq!(in_release_text("KAIROS_NAME=x"), None);
    }
}
