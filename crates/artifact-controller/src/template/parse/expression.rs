//! Reads pipelines, commands and operands.

use std::rc::Rc;

use super::super::ast::{Command, Expression, Pipe, Term};
use super::super::functions::is_function;
use super::super::limits::MAXIMUM_EXPRESSION_DEPTH;
use super::super::number;
use super::super::text;
use super::super::token::{Kind, Token};
use super::{Context, Parsed, Parser};

impl<'s> Parser<'s> {
    pub(super) fn pipeline(&mut self, context: Context, end: Kind) -> Parsed<Pipe<'s>> {
        let mut pipe = Pipe {
            position: self.peek_non_space().position,
            assigns: false,
            variables: Vec::new(),
            commands: Vec::with_capacity(1),
        };
        while self.declaration(context, &mut pipe)? {}
        loop {
            let token = self.next_non_space();
            if token.kind == end {
                self.check_pipeline(&pipe, context)?;
                return Ok(pipe);
            }
            match token.kind {
                Kind::Bool
                | Kind::CharacterConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParenthesis => {
                    self.back_up();
                    pipe.commands.push(self.command()?);
                }
                _ => return self.unexpected(&token, context.name()),
            }
        }
    }

    /// Reads a variable that is declared or assigned; whether another one may follow.
    fn declaration(&mut self, context: Context, pipe: &mut Pipe<'s>) -> Parsed<bool> {
        let variable = self.peek_non_space();
        if variable.kind != Kind::Variable {
            return Ok(false);
        }
        self.next();
        let after = self.next();
        self.back_up();
        let following = self.peek_non_space();
        match following.kind {
            Kind::Assign | Kind::Declare => {
                pipe.assigns = following.kind == Kind::Assign;
                self.next_non_space();
                pipe.variables.push(variable.source());
                self.scope.declare(variable.source());
                Ok(false)
            }
            Kind::Character if following.source() == b"," => {
                self.next_non_space();
                pipe.variables.push(variable.source());
                self.scope.declare(variable.source());
                if context != Context::Range || pipe.variables.len() >= 2 {
                    return self.fail(format!("too many declarations in {}", context.name()));
                }
                match self.peek_non_space().kind {
                    Kind::Variable | Kind::RightDelimiter | Kind::RightParenthesis => Ok(true),
                    _ => self.fail("range can only initialize variables"),
                }
            }
            _ => {
                if after.kind == Kind::Space {
                    self.back_up_three(variable, after);
                } else {
                    self.back_up_two(variable);
                }
                Ok(false)
            }
        }
    }

    fn check_pipeline(&self, pipe: &Pipe<'s>, context: Context) -> Parsed<()> {
        if pipe.commands.is_empty() {
            return self.fail(format!("missing value for {}", context.name()));
        }
        for (index, command) in pipe.commands.iter().enumerate().skip(1) {
            if command.arguments.first().is_some_and(is_literal) {
                return self.fail(format!(
                    "non executable command in pipeline stage {}",
                    index + 1
                ));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parsed<Command<'s>> {
        let mut command = Command {
            position: self.peek_non_space().position,
            arguments: Vec::with_capacity(1),
        };
        loop {
            self.peek_non_space();
            if let Some(operand) = self.operand()? {
                command.arguments.push(operand);
            }
            let token = self.next();
            match token.kind {
                Kind::Space => continue,
                Kind::RightDelimiter | Kind::RightParenthesis => self.back_up(),
                Kind::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            break;
        }
        if command.arguments.is_empty() {
            return self.fail("empty command");
        }
        Ok(command)
    }

    /// A term and the fields that follow it; `None` if what follows is not a term.
    fn operand(&mut self) -> Parsed<Option<Expression<'s>>> {
        let Some(term) = self.term()? else {
            return Ok(None);
        };
        if self.peek() != Kind::Field {
            return Ok(Some(term));
        }
        let mut position = None;
        let mut fields = Vec::new();
        while self.peek() == Kind::Field {
            let token = self.next();
            position.get_or_insert(token.position);
            fields.push(field_name(&token));
        }
        if is_literal(&term) {
            let mut reason = b"unexpected . after term ".to_vec();
            reason.extend(text::quote(&term.to_bytes(), false));
            return self.fail(reason);
        }
        let position = position.unwrap_or(term.position);
        let term = match term.term {
            Term::Field(mut names) => {
                names.extend(fields);
                Term::Field(names)
            }
            Term::Variable { name, .. } => Term::Variable { name, fields },
            other => Term::Chain {
                of: Box::new(Expression {
                    position: term.position,
                    term: other,
                }),
                fields,
            },
        };
        Ok(Some(Expression { position, term }))
    }

    fn term(&mut self) -> Parsed<Option<Expression<'s>>> {
        let token = self.next_non_space();
        let term = match token.kind {
            Kind::Identifier => {
                if !is_function(token.source()) {
                    return self.fail_quoting("function ", token.source(), " not defined");
                }
                Term::Function(token.source())
            }
            Kind::Dot => Term::Dot,
            Kind::Nil => Term::Nil,
            Kind::Variable => {
                if !self.scope.is_declared(token.source()) {
                    return self.fail_quoting("undefined variable ", token.source(), "");
                }
                Term::Variable {
                    name: token.source(),
                    fields: Vec::new(),
                }
            }
            Kind::Field => Term::Field(vec![field_name(&token)]),
            Kind::Bool => Term::Bool(token.source() == b"true"),
            Kind::CharacterConstant | Kind::Complex | Kind::Number => {
                let number = match token.kind {
                    Kind::CharacterConstant => number::character(token.source()),
                    Kind::Complex => number::complex(token.source()),
                    _ => number::number(token.source()),
                };
                match number {
                    Ok(number) => Term::Number(number),
                    Err(reason) => return self.fail(reason),
                }
            }
            Kind::LeftParenthesis => {
                if self.parentheses >= MAXIMUM_EXPRESSION_DEPTH {
                    return self.fail("max expression depth exceeded");
                }
                self.parentheses += 1;
                let pipe = self.pipeline(Context::Parentheses, Kind::RightParenthesis)?;
                self.parentheses -= 1;
                return Ok(Some(Expression {
                    position: pipe.position,
                    term: Term::Pipe(pipe),
                }));
            }
            Kind::String | Kind::RawString => match text::unquote(token.source()) {
                Some(text) => Term::String {
                    quoted: token.source(),
                    text: Rc::from(text),
                },
                None => return self.fail("invalid syntax"),
            },
            _ => {
                self.back_up();
                return Ok(None);
            }
        };
        Ok(Some(Expression {
            position: token.position,
            term,
        }))
    }

    fn fail_quoting<T>(&self, before: &str, name: &[u8], after: &str) -> Parsed<T> {
        let quoted = text::quote(name, false);
        self.fail([before.as_bytes(), &quoted, after.as_bytes()].concat())
    }
}

fn field_name<'s>(token: &Token<'s>) -> &'s [u8] {
    token.source().get(1..).unwrap_or_default()
}

fn is_literal(expression: &Expression<'_>) -> bool {
    matches!(
        expression.term,
        Term::Bool(_) | Term::Dot | Term::Nil | Term::Number(_) | Term::String { .. }
    )
}
