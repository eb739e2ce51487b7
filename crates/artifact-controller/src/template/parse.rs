//! Reads actions and their bodies. Expressions are in [`expression`].
//!
//! The order in which tokens are looked at is Go's, because a parse error carries the line of the
//! token that was read last.

mod expression;

use std::collections::HashMap;

use super::ast::{Branch, Node};
use super::check::{refusal, refused_action};
use super::error::{TemplateError, TemplateErrorKind};
use super::lex::Lexer;
use super::limits::Limits;
use super::token::{Kind, Token};

type Parsed<T> = Result<T, TemplateError>;

/// The action whose pipeline or body is read, as error messages name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    If,
    With,
    Range,
    Command,
    Parentheses,
}

impl Context {
    fn name(self) -> &'static str {
        match self {
            Self::If => "if",
            Self::With => "with",
            Self::Range => "range",
            Self::Command => "command",
            Self::Parentheses => "parenthesized pipeline",
        }
    }
}

/// What ended a list of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    End,
    Else,
}

impl Ending {
    fn describe(self) -> &'static str {
        match self {
            Self::End => "{{end}}",
            Self::Else => "{{else}}",
        }
    }
}

enum Item<'s> {
    Node(Node<'s>),
    Ending(Ending),
}

/// Reads a whole template.
pub(super) fn parse<'s>(source: &'s [u8], limits: &Limits) -> Parsed<Vec<Node<'s>>> {
    let mut parser = Parser {
        source,
        lexer: Lexer::new(source),
        tokens: std::array::from_fn(|_| Token {
            kind: Kind::EndOfFile,
            position: 0,
            line: 1,
            text: std::borrow::Cow::Borrowed(b""),
        }),
        pending: 0,
        scope: Scope::new(),
        action_line: None,
        ranges: 0,
        parentheses: 0,
        nesting: 0,
        maximum_nesting: limits.nesting,
    };
    parser.template()
}

struct Parser<'s> {
    source: &'s [u8],
    lexer: Lexer<'s>,
    /// The token read last, and before it those that were given back.
    tokens: [Token<'s>; 3],
    /// How many of the tokens are still to be read.
    pending: usize,
    scope: Scope<'s>,
    action_line: Option<usize>,
    ranges: usize,
    parentheses: usize,
    nesting: usize,
    maximum_nesting: usize,
}

impl<'s> Parser<'s> {
    fn next(&mut self) -> Token<'s> {
        if self.pending > 0 {
            self.pending -= 1;
        } else {
            self.tokens[0] = self.lexer.next();
        }
        self.tokens[self.pending].clone()
    }

    fn back_up(&mut self) {
        self.pending += 1;
    }

    /// Gives `before` back, and the token that was read after it.
    fn back_up_two(&mut self, before: Token<'s>) {
        self.tokens[1] = before;
        self.pending = 2;
    }

    fn back_up_three(&mut self, first: Token<'s>, second: Token<'s>) {
        self.tokens[1] = second;
        self.tokens[2] = first;
        self.pending = 3;
    }

    fn peek(&mut self) -> Kind {
        let kind = self.next().kind;
        self.back_up();
        kind
    }

    fn next_non_space(&mut self) -> Token<'s> {
        loop {
            let token = self.next();
            if token.kind != Kind::Space {
                return token;
            }
        }
    }

    fn peek_non_space(&mut self) -> Token<'s> {
        let token = self.next_non_space();
        self.back_up();
        token
    }

    fn fail<T>(&self, reason: impl AsRef<[u8]>) -> Parsed<T> {
        let line = self.tokens[0].line;
        Err(TemplateError::at_line(
            TemplateErrorKind::Parse,
            line,
            reason.as_ref(),
        ))
    }

    fn unexpected<T>(&self, token: &Token<'s>, context: &str) -> Parsed<T> {
        let mut reason = Vec::new();
        if token.kind == Kind::Error {
            reason.extend(token.describe());
            if let Some(line) = self.action_line.filter(|line| *line != token.line) {
                if !token.text.ends_with(b" action") {
                    reason.extend_from_slice(b" in action");
                }
                reason.extend(format!(" started at {}:{line}", super::NAME).into_bytes());
            }
        } else {
            reason.extend_from_slice(b"unexpected ");
            reason.extend(token.describe());
            reason.extend(format!(" in {context}").into_bytes());
        }
        self.fail(reason)
    }

    fn expect_right_delimiter(&mut self, context: &str) -> Parsed<()> {
        let token = self.next_non_space();
        if token.kind == Kind::RightDelimiter {
            Ok(())
        } else {
            self.unexpected(&token, context)
        }
    }

    fn template(&mut self) -> Parsed<Vec<Node<'s>>> {
        let mut nodes = Vec::new();
        loop {
            match self.peek() {
                Kind::EndOfFile => return Ok(nodes),
                Kind::LeftDelimiter => {
                    let delimiter = self.next();
                    self.next_non_space();
                    self.back_up_two(delimiter);
                }
                _ => {}
            }
            match self.item()? {
                Item::Node(node) => nodes.push(node),
                Item::Ending(ending) => {
                    return self.fail(format!("unexpected {}", ending.describe()));
                }
            }
        }
    }

    /// The nodes up to the end or the else of the action that they belong to.
    fn list(&mut self) -> Parsed<(Vec<Node<'s>>, Ending)> {
        let mut nodes = Vec::new();
        while self.peek_non_space().kind != Kind::EndOfFile {
            match self.item()? {
                Item::Node(node) => nodes.push(node),
                Item::Ending(ending) => return Ok((nodes, ending)),
            }
        }
        self.fail("unexpected EOF")
    }

    fn item(&mut self) -> Parsed<Item<'s>> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text {
                position: token.position,
                text: token.source(),
            })),
            Kind::LeftDelimiter => {
                let inside = &self.source[token.position + token.text.len()..];
                if let Some(word) = refused_action(inside) {
                    return Err(TemplateError::at_line(
                        TemplateErrorKind::Refused,
                        token.line,
                        refusal(word).as_bytes(),
                    ));
                }
                self.action_line = Some(token.line);
                let item = self.action()?;
                self.action_line = None;
                Ok(item)
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Item<'s>> {
        let token = self.next_non_space();
        let node = match token.kind {
            Kind::Break => self.leave("{{break}}", Node::Break)?,
            Kind::Continue => self.leave("{{continue}}", Node::Continue)?,
            Kind::Else => return self.otherwise(),
            Kind::End => {
                self.expect_right_delimiter("end")?;
                return Ok(Item::Ending(Ending::End));
            }
            Kind::If => Node::If(self.branch(Context::If)?),
            Kind::Range => Node::Range(self.branch(Context::Range)?),
            Kind::With => Node::With(self.branch(Context::With)?),
            _ => {
                self.back_up();
                Node::Action(self.pipeline(Context::Command, Kind::RightDelimiter)?)
            }
        };
        Ok(Item::Node(node))
    }

    fn leave(&mut self, name: &str, node: Node<'s>) -> Parsed<Node<'s>> {
        self.expect_right_delimiter(name)?;
        if self.ranges == 0 {
            return self.fail(format!("{name} outside {{{{range}}}}"));
        }
        Ok(node)
    }

    fn otherwise(&mut self) -> Parsed<Item<'s>> {
        if !matches!(self.peek_non_space().kind, Kind::If | Kind::With) {
            self.expect_right_delimiter("else")?;
        }
        Ok(Item::Ending(Ending::Else))
    }

    fn branch(&mut self, context: Context) -> Parsed<Branch<'s>> {
        if self.nesting >= self.maximum_nesting {
            return Err(TemplateError::at_line(
                TemplateErrorKind::Limit,
                self.tokens[0].line,
                format!(
                    "actions are nested more than {} deep; make the template flatter",
                    self.maximum_nesting
                )
                .as_bytes(),
            ));
        }
        self.nesting += 1;
        let mark = self.scope.mark();
        let pipe = self.pipeline(context, Kind::RightDelimiter)?;
        self.ranges += usize::from(context == Context::Range);
        let (body, ending) = self.list()?;
        self.ranges -= usize::from(context == Context::Range);
        let otherwise = match ending {
            Ending::End => None,
            Ending::Else => Some(self.else_body(context)?),
        };
        self.scope.leave(mark);
        self.nesting -= 1;
        Ok(Branch {
            pipe,
            body,
            otherwise,
        })
    }

    fn else_body(&mut self, context: Context) -> Parsed<Vec<Node<'s>>> {
        match (context, self.peek()) {
            (Context::If, Kind::If) => {
                self.next();
                Ok(vec![Node::If(self.branch(Context::If)?)])
            }
            (Context::With, Kind::With) => {
                self.next();
                Ok(vec![Node::With(self.branch(Context::With)?)])
            }
            _ => match self.list()? {
                (nodes, Ending::End) => Ok(nodes),
                (_, Ending::Else) => self.fail("expected end; found {{else}}"),
            },
        }
    }
}

/// The variables that are declared where the parser stands.
struct Scope<'s> {
    declared: Vec<&'s [u8]>,
    /// How often each is declared, so that looking one up does not search them all.
    counts: HashMap<&'s [u8], usize>,
}

impl<'s> Scope<'s> {
    fn new() -> Self {
        let mut scope = Self {
            declared: Vec::new(),
            counts: HashMap::new(),
        };
        scope.declare(b"$");
        scope
    }

    fn declare(&mut self, name: &'s [u8]) {
        self.declared.push(name);
        *self.counts.entry(name).or_default() += 1;
    }

    fn is_declared(&self, name: &[u8]) -> bool {
        self.counts.get(name).is_some_and(|count| *count > 0)
    }

    fn mark(&self) -> usize {
        self.declared.len()
    }

    fn leave(&mut self, mark: usize) {
        for name in self.declared.drain(mark..) {
            if let Some(count) = self.counts.get_mut(name) {
                *count -= 1;
            }
        }
    }
}
