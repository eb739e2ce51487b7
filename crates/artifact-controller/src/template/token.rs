//! The words that the lexer finds and the parser reads.

use std::borrow::Cow;

use super::text;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Error,
    Bool,
    /// A printable ASCII character that means nothing by itself, or a comma.
    Character,
    CharacterConstant,
    Complex,
    Assign,
    Declare,
    EndOfFile,
    Field,
    Identifier,
    LeftDelimiter,
    LeftParenthesis,
    Number,
    Pipe,
    RawString,
    RightDelimiter,
    RightParenthesis,
    Space,
    String,
    Text,
    Variable,
    Dot,
    /// `block`, `define` or `template`: refused where they would begin an action.
    Refused,
    Break,
    Continue,
    Else,
    End,
    If,
    Nil,
    Range,
    With,
}

impl Kind {
    /// The kind of a word: a keyword, a constant or an identifier.
    pub(super) fn of_word(word: &[u8]) -> Self {
        match word {
            b"block" | b"define" | b"template" => Self::Refused,
            b"break" => Self::Break,
            b"continue" => Self::Continue,
            b"else" => Self::Else,
            b"end" => Self::End,
            b"if" => Self::If,
            b"nil" => Self::Nil,
            b"range" => Self::Range,
            b"with" => Self::With,
            b"true" | b"false" => Self::Bool,
            _ => Self::Identifier,
        }
    }

    fn is_keyword(self) -> bool {
        matches!(
            self,
            Self::Dot
                | Self::Refused
                | Self::Break
                | Self::Continue
                | Self::Else
                | Self::End
                | Self::If
                | Self::Nil
                | Self::Range
                | Self::With
        )
    }
}

/// A token and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Token<'s> {
    pub(super) kind: Kind,
    /// First byte within the source.
    pub(super) position: usize,
    /// Line of that byte, from 1.
    pub(super) line: usize,
    /// The text of the source, or the message of an error.
    pub(super) text: Cow<'s, [u8]>,
}

impl<'s> Token<'s> {
    /// The text of a token that is not an error.
    pub(super) fn source(&self) -> &'s [u8] {
        match self.text {
            Cow::Borrowed(text) => text,
            Cow::Owned(_) => b"",
        }
    }

    /// The token as error messages show it.
    pub(super) fn describe(&self) -> Vec<u8> {
        const SHOWN: usize = 10;
        match self.kind {
            Kind::EndOfFile => b"EOF".to_vec(),
            Kind::Error => self.text.to_vec(),
            kind if kind.is_keyword() => [b"<", self.text.as_ref(), b">"].concat(),
            _ if self.text.len() > SHOWN => {
                let mut shown = text::quote(text::prefix(&self.text, SHOWN), false);
                shown.extend_from_slice(b"...");
                shown
            }
            _ => text::quote(&self.text, false),
        }
    }
}
