//! Evaluates pipelines, commands and operands.
//!
//! Errors name what was looked at last, so [`Interpreter::place`] is set in Go's order.

use super::super::ast::{Command, Expression, Pipe, Term};
use super::super::functions::{Parameter, signature};
use super::super::number::Number;
use super::super::value::Value;
use super::{Evaluated, Interpreter, Place};

impl<'a, 's> Interpreter<'a, 's> {
    pub(super) fn pipeline(&mut self, dot: &Value, pipe: &'a Pipe<'s>) -> Evaluated<Value> {
        self.place = Place::Pipe(pipe);
        let mut piped = None;
        for command in &pipe.commands {
            piped = Some(self.command(dot, command, piped)?);
        }
        let value = piped.unwrap_or(Value::Nil);
        for name in &pipe.variables {
            if pipe.assigns {
                self.assign(name, &value)?;
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    /// A command with the value of the one before it, if there is one.
    fn command(
        &mut self,
        dot: &Value,
        command: &'a Command<'s>,
        piped: Option<Value>,
    ) -> Evaluated<Value> {
        self.step()?;
        let Some((first, arguments)) = command.arguments.split_first() else {
            return Ok(Value::Nil);
        };
        let has_arguments = !arguments.is_empty() || piped.is_some();
        match &first.term {
            Term::Field(fields) => {
                self.place = Place::Expression(first);
                self.fields(dot.clone(), fields, has_arguments)
            }
            Term::Chain { .. } => self.chain(dot, first, has_arguments),
            Term::Function(name) => {
                self.function(dot, first, name, Place::Command(command), arguments, piped)
            }
            Term::Pipe(pipe) => {
                self.refuse_arguments(first, has_arguments)?;
                self.pipeline(dot, pipe)
            }
            Term::Variable { name, fields } => {
                self.place = Place::Expression(first);
                self.variable(first, name, fields, has_arguments)
            }
            term => {
                self.place = Place::Expression(first);
                self.refuse_arguments(first, has_arguments)?;
                match term {
                    Term::Nil => self.fail("nil is not a command"),
                    Term::Dot => Ok(dot.clone()),
                    _ => self.literal(first),
                }
            }
        }
    }

    fn refuse_arguments(&self, first: &Expression<'_>, has_arguments: bool) -> Evaluated<()> {
        if !has_arguments {
            return Ok(());
        }
        let mut reason = b"can't give argument to non-function ".to_vec();
        first.write(&mut reason);
        self.fail(reason)
    }

    fn literal(&mut self, operand: &'a Expression<'s>) -> Evaluated<Value> {
        self.place = Place::Expression(operand);
        match &operand.term {
            Term::Bool(value) => Ok(Value::Bool(*value)),
            Term::String { text, .. } => Ok(Value::Text(text.clone())),
            Term::Number(number) => self.number(number),
            _ => self.fail("not a literal"),
        }
    }

    /// A number whose syntax decides its type.
    fn number(&self, number: &Number<'s>) -> Evaluated<Value> {
        if let Some((real, imaginary)) = number.complex {
            return Ok(Value::Complex(real, imaginary));
        }
        if let Some(float) = number.float
            && is_written_as_float(number.text)
        {
            return Ok(Value::Float(float));
        }
        if let Some(integer) = number.integer {
            return Ok(Value::Integer(integer));
        }
        if number.is_unsigned {
            return self.fail([number.text, b" overflows int"].concat());
        }
        Ok(Value::Nil)
    }

    fn variable(
        &mut self,
        operand: &Expression<'_>,
        name: &[u8],
        fields: &[&[u8]],
        has_arguments: bool,
    ) -> Evaluated<Value> {
        let index = self.variable_index(name)?;
        let value = self.variables[index].1.clone();
        if fields.is_empty() {
            self.refuse_arguments(operand, has_arguments)?;
            return Ok(value);
        }
        self.fields(value, fields, has_arguments)
    }

    fn chain(
        &mut self,
        dot: &Value,
        operand: &'a Expression<'s>,
        has_arguments: bool,
    ) -> Evaluated<Value> {
        self.place = Place::Expression(operand);
        let Term::Chain { of, fields } = &operand.term else {
            return self.fail("not a chain of fields");
        };
        let value = self.argument(dot, of, None)?;
        self.fields(value, fields, has_arguments)
    }

    /// Follows a chain of fields; only the last could be given arguments.
    fn fields(
        &mut self,
        mut value: Value,
        fields: &[&[u8]],
        has_arguments: bool,
    ) -> Evaluated<Value> {
        for (index, field) in fields.iter().enumerate() {
            let is_last = index + 1 == fields.len();
            value = match value {
                Value::Nil => Value::Nil,
                Value::Map(_) if is_last && has_arguments => {
                    return self.fail([field, &b" is not a method but has arguments"[..]].concat());
                }
                Value::Map(map) => {
                    let read = self.budget.read(field.len());
                    self.within(read)?;
                    map.get(field)
                }
                other => {
                    let type_name = other.type_name().as_bytes();
                    return self.fail(
                        [b"can't evaluate field ", *field, b" in type ", type_name].concat(),
                    );
                }
            };
        }
        Ok(value)
    }

    /// Evaluates an argument; `None` takes a value of any type, as what a field is taken of.
    fn argument(
        &mut self,
        dot: &Value,
        operand: &'a Expression<'s>,
        parameter: Option<Parameter>,
    ) -> Evaluated<Value> {
        self.step()?;
        self.place = Place::Expression(operand);
        let value = match &operand.term {
            Term::Dot => dot.clone(),
            Term::Nil if parameter == Some(Parameter::Text) => {
                return self.fail("cannot assign nil to string");
            }
            Term::Nil => return Ok(Value::Nil),
            Term::Field(fields) => self.fields(dot.clone(), fields, false)?,
            Term::Variable { name, fields } => self.variable(operand, name, fields, false)?,
            Term::Pipe(pipe) => self.pipeline(dot, pipe)?,
            Term::Function(name) => {
                self.function(dot, operand, name, Place::Expression(operand), &[], None)?
            }
            Term::Chain { .. } => self.chain(dot, operand, false)?,
            Term::Bool(_) | Term::Number(_) if parameter == Some(Parameter::Text) => {
                let mut reason = b"expected string; found ".to_vec();
                operand.write(&mut reason);
                return self.fail(reason);
            }
            Term::Bool(_) | Term::Number(_) | Term::String { .. } => return self.literal(operand),
        };
        self.fitting(value, parameter)
    }

    fn fitting(&self, value: Value, parameter: Option<Parameter>) -> Evaluated<Value> {
        match (parameter, &value) {
            (Some(Parameter::Text), Value::Nil) => self.fail("invalid value; expected string"),
            (Some(Parameter::Text), Value::Text(_)) | (Some(Parameter::Any) | None, _) => Ok(value),
            (Some(Parameter::Text), other) => self.fail(format!(
                "wrong type for value; expected string; got {}",
                other.type_name()
            )),
        }
    }

    fn function(
        &mut self,
        dot: &Value,
        operand: &'a Expression<'s>,
        name: &[u8],
        call: Place<'a, 's>,
        arguments: &'a [Expression<'s>],
        piped: Option<Value>,
    ) -> Evaluated<Value> {
        self.place = Place::Expression(operand);
        let shown_name = String::from_utf8_lossy(name);
        let Some(signature) = signature(name) else {
            return self.fail(format!("\"{shown_name}\" is not a defined function"));
        };
        let fixed = signature.fixed.len();
        let given = arguments.len() + usize::from(piped.is_some());
        if signature.variadic && given < fixed {
            return self.fail(format!(
                "wrong number of args for {shown_name}: want at least {fixed} got {}",
                arguments.len()
            ));
        }
        if !signature.variadic && given != fixed {
            return self.fail(format!(
                "wrong number of args for {shown_name}: want {fixed} got {given}"
            ));
        }
        if matches!(name, b"and" | b"or") {
            return self.first_deciding(dot, arguments, piped, name == b"or");
        }
        let parameter = |index: usize| {
            signature
                .fixed
                .get(index)
                .copied()
                .unwrap_or(Parameter::Any)
        };
        let mut values = Vec::with_capacity(given);
        for (index, argument) in arguments.iter().enumerate() {
            values.push(self.argument(dot, argument, Some(parameter(index)))?);
        }
        let mut callee = Vec::new();
        if let Some(value) = piped {
            if arguments.is_empty() {
                callee = described(&value);
            }
            values.push(self.fitting(value, Some(parameter(arguments.len())))?);
        }
        if let (b"call", Some(first)) = (name, arguments.first()) {
            first.write(&mut callee);
        }
        self.call(call, name, &values, &callee)
    }

    /// `and` and `or`: the first argument that decides, or the last one.
    fn first_deciding(
        &mut self,
        dot: &Value,
        arguments: &'a [Expression<'s>],
        piped: Option<Value>,
        decides: bool,
    ) -> Evaluated<Value> {
        let mut value = Value::Nil;
        for argument in arguments {
            value = self.argument(dot, argument, Some(Parameter::Any))?;
            if value.is_true() == decides {
                return Ok(value);
            }
        }
        Ok(piped.unwrap_or(value))
    }
}

/// A value that was piped into `call`: a text as it is, of others the type.
fn described(value: &Value) -> Vec<u8> {
    match value {
        Value::Text(text) => text.to_vec(),
        Value::Nil => b"<invalid Value>".to_vec(),
        other => format!("<{} Value>", other.type_name()).into_bytes(),
    }
}

/// Whether a number is a float for its point or exponent.
fn is_written_as_float(text: &[u8]) -> bool {
    let is_hexadecimal_integer = text.len() > 2
        && matches!(text, [b'0', b'x' | b'X', ..])
        && !text.iter().any(|byte| matches!(byte, b'p' | b'P'));
    let is_character = text.first() == Some(&b'\'');
    !is_hexadecimal_integer && !is_character && text.iter().any(|byte| b".eEpP".contains(byte))
}
