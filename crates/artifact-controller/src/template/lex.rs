//! Cuts a template into tokens, inside actions and outside, and trims around `{{-` and `-}}`.

mod scan;

use std::borrow::Cow;

use super::error::newlines;
use super::text::{self, decode, is_alphanumeric};
use super::token::{Kind, Token};

const LEFT: &[u8] = b"{{";
const RIGHT: &[u8] = b"}}";
/// The minus and the blank of a trim marker.
const TRIM_MARKER: usize = 2;

/// Reads tokens from a source. After an error it is at its end.
pub(super) struct Lexer<'s> {
    source: &'s [u8],
    /// Where the next character is read.
    position: usize,
    /// Where the current token begins.
    start: usize,
    /// The line of `start`, from 1.
    line: usize,
    inside_action: bool,
    open_parentheses: usize,
}

impl<'s> Lexer<'s> {
    pub(super) fn new(source: &'s [u8]) -> Self {
        Self {
            source,
            position: 0,
            start: 0,
            line: 1,
            inside_action: false,
            open_parentheses: 0,
        }
    }

    /// The next token; at the end [`Kind::EndOfFile`], again and again.
    pub(super) fn next(&mut self) -> Token<'s> {
        if self.inside_action {
            self.inside()
        } else {
            self.outside()
        }
    }

    fn rest(&self) -> &'s [u8] {
        &self.source[self.position..]
    }

    fn peek(&self) -> Option<char> {
        decode(self.rest()).map(|(character, _)| character)
    }

    fn advance(&mut self) -> Option<char> {
        let (character, length) = decode(self.rest())?;
        self.position += length;
        Some(character)
    }

    fn token(&mut self, kind: Kind) -> Token<'s> {
        let token = Token {
            kind,
            position: self.start,
            line: self.line,
            text: Cow::Borrowed(&self.source[self.start..self.position]),
        };
        self.skip();
        token
    }

    /// Begins the next token at the current position.
    fn skip(&mut self) {
        self.line += newlines(&self.source[self.start..self.position]);
        self.start = self.position;
    }

    fn error(&mut self, message: &str) -> Token<'s> {
        self.error_bytes(message.as_bytes().to_vec())
    }

    fn error_bytes(&mut self, message: Vec<u8>) -> Token<'s> {
        let position = self.start;
        self.start = 0;
        self.position = 0;
        self.source = b"";
        Token {
            kind: Kind::Error,
            position,
            line: self.line,
            text: Cow::Owned(message),
        }
    }

    fn outside(&mut self) -> Token<'s> {
        loop {
            let Some(distance) = find(self.rest(), LEFT) else {
                self.position = self.source.len();
                let kind = if self.position > self.start {
                    Kind::Text
                } else {
                    Kind::EndOfFile
                };
                return self.token(kind);
            };
            if distance > 0 {
                let delimiter = self.position + distance;
                self.position = delimiter;
                if has_left_trim_marker(&self.source[delimiter + LEFT.len()..]) {
                    self.position -= trailing_spaces(&self.source[self.start..delimiter]);
                }
                let text = self.token(Kind::Text);
                self.position = delimiter;
                self.skip();
                if !text.text.is_empty() {
                    return text;
                }
            }
            if let Some(token) = self.left_delimiter() {
                return token;
            }
        }
    }

    /// The left delimiter; `None` after a comment.
    fn left_delimiter(&mut self) -> Option<Token<'s>> {
        self.position += LEFT.len();
        let marker = if has_left_trim_marker(self.rest()) {
            TRIM_MARKER
        } else {
            0
        };
        if self.rest()[marker..].starts_with(b"/*") {
            self.position += marker;
            self.skip();
            return self.comment();
        }
        let token = self.token(Kind::LeftDelimiter);
        self.inside_action = true;
        self.position += marker;
        self.skip();
        self.open_parentheses = 0;
        Some(token)
    }

    fn comment(&mut self) -> Option<Token<'s>> {
        self.position += 2;
        let Some(end) = find(self.rest(), b"*/") else {
            return Some(self.error("unclosed comment"));
        };
        self.position += end + 2;
        let Some(trim) = self.at_right_delimiter() else {
            return Some(self.error("comment ends before closing delimiter"));
        };
        self.pass_right_delimiter(trim);
        self.skip();
        None
    }

    /// Whether a right delimiter follows, and if so, whether it trims.
    fn at_right_delimiter(&self) -> Option<bool> {
        let rest = self.rest();
        if has_right_trim_marker(rest) && rest[TRIM_MARKER..].starts_with(RIGHT) {
            return Some(true);
        }
        rest.starts_with(RIGHT).then_some(false)
    }

    fn pass_right_delimiter(&mut self, trim: bool) {
        if trim {
            self.position += TRIM_MARKER + RIGHT.len();
            self.position += leading_spaces(self.rest());
        } else {
            self.position += RIGHT.len();
        }
    }

    fn right_delimiter(&mut self, trim: bool) -> Token<'s> {
        if trim {
            self.position += TRIM_MARKER;
            self.skip();
        }
        self.position += RIGHT.len();
        let token = self.token(Kind::RightDelimiter);
        if trim {
            self.position += leading_spaces(self.rest());
            self.skip();
        }
        self.inside_action = false;
        token
    }

    fn inside(&mut self) -> Token<'s> {
        if let Some(trim) = self.at_right_delimiter() {
            if self.open_parentheses > 0 {
                return self.error("unclosed left paren");
            }
            return self.right_delimiter(trim);
        }
        let Some(character) = self.advance() else {
            return self.error("unclosed action");
        };
        match character {
            ' ' | '\t' | '\r' | '\n' => self.spaces(),
            '=' => self.token(Kind::Assign),
            ':' => {
                if self.advance() == Some('=') {
                    self.token(Kind::Declare)
                } else {
                    self.error("expected :=")
                }
            }
            '|' => self.token(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string"),
            '\'' => self.quoted(
                '\'',
                Kind::CharacterConstant,
                "unterminated character constant",
            ),
            '`' => match find(self.rest(), b"`") {
                Some(end) => {
                    self.position += end + 1;
                    self.token(Kind::RawString)
                }
                None => self.error("unterminated raw quoted string"),
            },
            '$' => self.name(Kind::Variable, Kind::Variable),
            '.' if self
                .rest()
                .first()
                .is_some_and(|byte| !byte.is_ascii_digit()) =>
            {
                self.name(Kind::Field, Kind::Dot)
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.position -= 1;
                self.number()
            }
            '(' => {
                self.open_parentheses += 1;
                self.token(Kind::LeftParenthesis)
            }
            ')' => match self.open_parentheses.checked_sub(1) {
                Some(open) => {
                    self.open_parentheses = open;
                    self.token(Kind::RightParenthesis)
                }
                None => self.error("unexpected right paren"),
            },
            _ if is_alphanumeric(character) => self.word(),
            '!'..='~' => self.token(Kind::Character),
            _ => {
                let notation = text::unicode_notation(character);
                self.error(&format!("unrecognized character in action: {notation}"))
            }
        }
    }

    /// A run of spaces, of which the first has been read; the last may belong to ` -}}`.
    fn spaces(&mut self) -> Token<'s> {
        self.position += leading_spaces(self.rest());
        self.position -= 1;
        if self.at_right_delimiter() == Some(true) {
            if self.position == self.start {
                return self.right_delimiter(true);
            }
        } else {
            self.position += 1;
        }
        self.token(Kind::Space)
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &str) -> Token<'s> {
        loop {
            match self.advance() {
                Some('\\') => {
                    if matches!(self.advance(), None | Some('\n')) {
                        return self.error(unterminated);
                    }
                }
                None | Some('\n') => return self.error(unterminated),
                Some(character) if character == quote => return self.token(kind),
                Some(_) => {}
            }
        }
    }

    fn pass_alphanumerics(&mut self) {
        while self.peek().is_some_and(is_alphanumeric) {
            self.advance();
        }
    }

    fn word(&mut self) -> Token<'s> {
        self.pass_alphanumerics();
        if let Some(error) = self.bad_end_of_name() {
            return error;
        }
        let kind = Kind::of_word(&self.source[self.start..self.position]);
        self.token(kind)
    }

    /// A field or variable whose first character has been read, `alone` if nothing follows it.
    fn name(&mut self, kind: Kind, alone: Kind) -> Token<'s> {
        if self.at_end_of_name() {
            return self.token(alone);
        }
        self.pass_alphanumerics();
        match self.bad_end_of_name() {
            Some(error) => error,
            None => self.token(kind),
        }
    }

    fn at_end_of_name(&self) -> bool {
        match self.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(_) => self.rest().starts_with(RIGHT),
        }
    }

    fn bad_end_of_name(&mut self) -> Option<Token<'s>> {
        if self.at_end_of_name() {
            return None;
        }
        let notation = text::unicode_notation(self.peek()?);
        Some(self.error(&format!("bad character {notation}")))
    }
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len())
        .position(|window| window == pattern)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn leading_spaces(text: &[u8]) -> usize {
    text.iter().take_while(|byte| is_space(**byte)).count()
}

fn trailing_spaces(text: &[u8]) -> usize {
    text.iter()
        .rev()
        .take_while(|byte| is_space(**byte))
        .count()
}

fn has_left_trim_marker(text: &[u8]) -> bool {
    matches!(text, [b'-', space, ..] if is_space(*space))
}

fn has_right_trim_marker(text: &[u8]) -> bool {
    matches!(text, [space, b'-', ..] if is_space(*space))
}
