//! What a template means, as a tree; and its expressions written out as error messages show them.

use std::rc::Rc;

use super::number::Number;

/// A piece of a template.
pub(super) enum Node<'s> {
    Text { position: usize, text: &'s [u8] },
    Action(Pipe<'s>),
    If(Branch<'s>),
    With(Branch<'s>),
    Range(Branch<'s>),
    Break,
    Continue,
}

/// An action with a body and, perhaps, another one for when the first does not apply.
pub(super) struct Branch<'s> {
    pub(super) pipe: Pipe<'s>,
    pub(super) body: Vec<Node<'s>>,
    pub(super) otherwise: Option<Vec<Node<'s>>>,
}

/// Commands, each handing its value to the next; the last value may go into variables.
pub(super) struct Pipe<'s> {
    pub(super) position: usize,
    /// The variables are assigned (`=`), not declared (`:=`).
    pub(super) assigns: bool,
    /// The names of the variables, with their dollar signs; at most two.
    pub(super) variables: Vec<&'s [u8]>,
    pub(super) commands: Vec<Command<'s>>,
}

/// A function with its arguments, or a single operand. Never empty.
pub(super) struct Command<'s> {
    pub(super) position: usize,
    pub(super) arguments: Vec<Expression<'s>>,
}

/// An operand and where it stands.
pub(super) struct Expression<'s> {
    pub(super) position: usize,
    pub(super) term: Term<'s>,
}

/// The kinds of operand.
pub(super) enum Term<'s> {
    Bool(bool),
    Number(Number<'s>),
    String {
        quoted: &'s [u8],
        text: Rc<[u8]>,
    },
    Dot,
    Nil,
    /// `.A.B`
    Field(Vec<&'s [u8]>),
    /// `$x.A.B`, the name with its dollar sign.
    Variable {
        name: &'s [u8],
        fields: Vec<&'s [u8]>,
    },
    /// The name of a function.
    Function(&'s [u8]),
    /// Fields of a parenthesized pipeline or of a function's result.
    Chain {
        of: Box<Expression<'s>>,
        fields: Vec<&'s [u8]>,
    },
    /// A parenthesized pipeline.
    Pipe(Pipe<'s>),
}

impl Pipe<'_> {
    /// Appends the pipeline as error messages show it.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for (index, name) in self.variables.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(name);
        }
        if !self.variables.is_empty() {
            out.extend_from_slice(if self.assigns { b" = " } else { b" := " });
        }
        for (index, command) in self.commands.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b" | ");
            }
            command.write(out);
        }
    }
}

impl Command<'_> {
    /// Appends the command as error messages show it.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for (index, argument) in self.arguments.iter().enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            argument.write_parenthesized(out);
        }
    }
}

impl Expression<'_> {
    fn write_parenthesized(&self, out: &mut Vec<u8>) {
        let is_pipe = matches!(self.term, Term::Pipe(_));
        if is_pipe {
            out.push(b'(');
        }
        self.write(out);
        if is_pipe {
            out.push(b')');
        }
    }

    /// Appends the operand as error messages show it: a pipeline without its parentheses.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match &self.term {
            Term::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Term::Number(number) => out.extend_from_slice(number.text),
            Term::String { quoted, .. } => out.extend_from_slice(quoted),
            Term::Dot => out.push(b'.'),
            Term::Nil => out.extend_from_slice(b"nil"),
            Term::Field(fields) => write_fields(fields, out),
            Term::Variable { name, fields } => {
                out.extend_from_slice(name);
                write_fields(fields, out);
            }
            Term::Function(name) => out.extend_from_slice(name),
            Term::Chain { of, fields } => {
                of.write_parenthesized(out);
                write_fields(fields, out);
            }
            Term::Pipe(pipe) => pipe.write(out),
        }
    }

    /// The operand as error messages show it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

fn write_fields(fields: &[&[u8]], out: &mut Vec<u8>) {
    for field in fields {
        out.push(b'.');
        out.extend_from_slice(field);
    }
}
