//! Executes a template: writes its text, follows its branches and loops. Expressions are in
//! [`expression`].

mod expression;

use super::ast::{Branch, Command, Expression, Node, Pipe};
use super::error::{TemplateError, TemplateErrorKind};
use super::functions::Fault;
use super::limits::{Budget, LimitReached, Limits};
use super::printf;
use super::value::Value;

type Evaluated<T> = Result<T, TemplateError>;

/// What is evaluated, for error messages.
#[derive(Clone, Copy)]
enum Place<'a, 's> {
    Text(usize),
    Pipe(&'a Pipe<'s>),
    Command(&'a Command<'s>),
    Expression(&'a Expression<'s>),
}

/// How a list of nodes was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// Executes a parsed template over `root`.
pub(super) fn execute(
    source: &[u8],
    nodes: &[Node<'_>],
    root: &Value,
    limits: &Limits,
) -> Evaluated<Vec<u8>> {
    let mut interpreter = Interpreter {
        source,
        out: Vec::new(),
        output_limit: limits.output_bytes,
        budget: Budget::new(limits),
        variables: vec![(&b"$"[..], root.clone())],
        place: Place::Text(0),
    };
    interpreter.list(root, nodes)?;
    Ok(interpreter.out)
}

struct Interpreter<'a, 's> {
    source: &'s [u8],
    out: Vec<u8>,
    output_limit: usize,
    budget: Budget,
    /// The variables that are visible, the innermost last.
    variables: Vec<(&'s [u8], Value)>,
    place: Place<'a, 's>,
}

impl<'a, 's> Interpreter<'a, 's> {
    fn error(&self, kind: TemplateErrorKind, reason: &[u8]) -> TemplateError {
        let mut expression = Vec::new();
        let position = match self.place {
            Place::Text(position) => position,
            Place::Pipe(pipe) => {
                pipe.write(&mut expression);
                pipe.position
            }
            Place::Command(command) => {
                command.write(&mut expression);
                command.position
            }
            Place::Expression(operand) => {
                operand.write(&mut expression);
                operand.position
            }
        };
        TemplateError::at_position(kind, self.source, position, &expression, reason)
    }

    fn fail<T>(&self, reason: impl AsRef<[u8]>) -> Evaluated<T> {
        Err(self.error(TemplateErrorKind::Execution, reason.as_ref()))
    }

    fn within<T>(&self, result: Result<T, LimitReached>) -> Evaluated<T> {
        result.map_err(|limit| self.error(TemplateErrorKind::Limit, limit.0.as_bytes()))
    }

    fn step(&mut self) -> Evaluated<()> {
        let result = self.budget.step(1);
        self.within(result)
    }

    fn cannot_range<T>(&self, over: &Value) -> Evaluated<T> {
        match printf::print(std::slice::from_ref(over), self.output_limit) {
            Some(shown) => self.fail([b"range can't iterate over ", shown.as_slice()].concat()),
            None => self.output_too_large(),
        }
    }

    fn write(&mut self, text: &[u8]) -> Evaluated<()> {
        let result = self.budget.read(text.len());
        self.within(result)?;
        if text.len() > self.output_limit - self.out.len() {
            return self.output_too_large();
        }
        self.out.extend_from_slice(text);
        Ok(())
    }

    fn output_too_large<T>(&self) -> Evaluated<T> {
        let reason = format!("the output is larger than {} bytes", self.output_limit);
        Err(self.error(TemplateErrorKind::Limit, reason.as_bytes()))
    }

    fn list(&mut self, dot: &Value, nodes: &'a [Node<'s>]) -> Evaluated<Flow> {
        for node in nodes {
            let flow = self.node(dot, node)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, dot: &Value, node: &'a Node<'s>) -> Evaluated<Flow> {
        self.step()?;
        match node {
            Node::Text { position, text } => {
                self.place = Place::Text(*position);
                self.write(text)?;
            }
            Node::Action(pipe) => {
                let value = self.pipeline(dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.print(&value)?;
                }
            }
            Node::If(branch) => return self.branch(dot, branch, false),
            Node::With(branch) => return self.branch(dot, branch, true),
            Node::Range(branch) => return self.range(dot, branch),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn print(&mut self, value: &Value) -> Evaluated<()> {
        match value {
            Value::Text(text) => self.write(text),
            Value::Nil => self.write(b"<no value>"),
            other => {
                let room = self.output_limit - self.out.len();
                match printf::print(std::slice::from_ref(other), room) {
                    Some(text) => self.write(&text),
                    None => self.output_too_large(),
                }
            }
        }
    }

    fn branch(&mut self, dot: &Value, branch: &'a Branch<'s>, sets_dot: bool) -> Evaluated<Flow> {
        let mark = self.variables.len();
        let value = self.pipeline(dot, &branch.pipe)?;
        let flow = if value.is_true() {
            self.list(if sets_dot { &value } else { dot }, &branch.body)?
        } else {
            self.otherwise(dot, branch)?
        };
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn otherwise(&mut self, dot: &Value, branch: &'a Branch<'s>) -> Evaluated<Flow> {
        match &branch.otherwise {
            Some(nodes) => self.list(dot, nodes),
            None => Ok(Flow::Next),
        }
    }

    fn range(&mut self, dot: &Value, branch: &'a Branch<'s>) -> Evaluated<Flow> {
        let mark = self.variables.len();
        let over = self.pipeline(dot, &branch.pipe)?;
        let flow = match &over {
            Value::Integer(count) => self.range_over_integers(dot, branch, &over, *count)?,
            Value::Byte(count) => {
                self.range_over_integers(dot, branch, &over, i64::from(*count))?
            }
            Value::Map(map) if map.len() > 0 => {
                for (key, value) in map.entries() {
                    let turn = self.turn(
                        branch,
                        &Value::Text(key.clone()),
                        &Value::Text(value.clone()),
                    )?;
                    if turn == Flow::Break {
                        break;
                    }
                }
                Flow::Next
            }
            Value::Map(_) | Value::Nil => self.otherwise(dot, branch)?,
            other => return self.cannot_range(other),
        };
        self.variables.truncate(mark);
        // A break in the else of a loop leaves that loop, not the one around it, as in Go.
        Ok(if flow == Flow::Break {
            Flow::Next
        } else {
            flow
        })
    }

    fn range_over_integers(
        &mut self,
        dot: &Value,
        branch: &'a Branch<'s>,
        over: &Value,
        count: i64,
    ) -> Evaluated<Flow> {
        if branch.pipe.variables.len() > 1 {
            return self.fail(format!(
                "can't use {count} to iterate over more than one variable"
            ));
        }
        if count <= 0 {
            return self.otherwise(dot, branch);
        }
        for number in 0..count {
            let element = match over {
                Value::Byte(_) => Value::Byte(u8::try_from(number).unwrap_or(u8::MAX)),
                _ => Value::Integer(number),
            };
            if self.turn(branch, &Value::Nil, &element)? == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    /// One turn of a loop: sets its variables and executes its body.
    fn turn(&mut self, branch: &'a Branch<'s>, key: &Value, element: &Value) -> Evaluated<Flow> {
        self.step()?;
        let mark = self.variables.len();
        let pipe = &branch.pipe;
        let values: &[&Value] = if pipe.variables.len() > 1 {
            &[key, element]
        } else {
            &[element]
        };
        for (index, (name, value)) in pipe.variables.iter().zip(values).enumerate() {
            if pipe.assigns {
                self.assign(name, value)?;
            } else {
                let slot = mark - pipe.variables.len() + index;
                self.variables[slot].1 = (*value).clone();
            }
        }
        let flow = self.list(element, &branch.body)?;
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn variable_index(&mut self, name: &[u8]) -> Evaluated<usize> {
        /// Variables that are passed over in the time of one step.
        const VARIABLES_PER_STEP: usize = 16;
        let found = self.variables.iter().rposition(|(known, _)| *known == name);
        let passed = self.variables.len() - found.unwrap_or(0);
        let result = self.budget.step(passed / VARIABLES_PER_STEP);
        self.within(result)?;
        match found {
            Some(index) => Ok(index),
            None => self.fail([b"undefined variable: ", name].concat()),
        }
    }

    fn assign(&mut self, name: &[u8], value: &Value) -> Evaluated<()> {
        let index = self.variable_index(name)?;
        self.variables[index].1 = value.clone();
        Ok(())
    }

    fn call(
        &mut self,
        command: Place<'a, 's>,
        name: &[u8],
        arguments: &[Value],
        callee: &[u8],
    ) -> Evaluated<Value> {
        let result = super::functions::call(name, arguments, callee, &mut self.budget);
        result.map_err(|fault| {
            self.place = command;
            match fault {
                Fault::Limit(limit) => self.error(TemplateErrorKind::Limit, limit.0.as_bytes()),
                Fault::Error(reason) => {
                    let reason = [b"error calling ", name, b": ", &reason].concat();
                    self.error(TemplateErrorKind::Execution, &reason)
                }
            }
        })
    }
}
