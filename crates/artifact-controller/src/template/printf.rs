//! Go's `fmt`: the verbs of `printf`, and how `print` and `println` join their arguments.

mod printer;
mod sink;

use self::printer::{Flags, Printer};
use super::text::decode;
use super::value::Value;

/// Largest width or precision; Go takes no larger ones.
const LARGEST_NUMBER: i64 = 1_000_000;

/// The arguments one after the other, a blank between two that are not text; `None` if the text
/// becomes larger than the limit.
pub(super) fn print(arguments: &[Value], limit: usize) -> Option<Vec<u8>> {
    let mut printer = Printer::new(limit);
    let mut after_text = true;
    for argument in arguments {
        let is_text = matches!(argument, Value::Text(_));
        if !is_text && !after_text {
            printer.out.write(b" ");
        }
        printer.argument(argument, 'v');
        after_text = is_text;
    }
    printer.out.finish()
}

/// The arguments with a blank between them and a newline at the end.
pub(super) fn println(arguments: &[Value], limit: usize) -> Option<Vec<u8>> {
    let mut printer = Printer::new(limit);
    for (index, argument) in arguments.iter().enumerate() {
        if index > 0 {
            printer.out.write(b" ");
        }
        printer.argument(argument, 'v');
    }
    printer.out.write(b"\n");
    printer.out.finish()
}

/// The format with its verbs replaced by the arguments.
pub(super) fn printf(format: &[u8], arguments: &[Value], limit: usize) -> Option<Vec<u8>> {
    let mut formatter = Formatter {
        format,
        position: 0,
        arguments,
        argument: 0,
        reordered: false,
        good_index: true,
        after_index: false,
        printer: Printer::new(limit),
    };
    formatter.run();
    formatter.printer.out.finish()
}

struct Formatter<'a> {
    format: &'a [u8],
    position: usize,
    arguments: &'a [Value],
    /// Index of the argument for the next verb.
    argument: usize,
    /// Some verb has named its argument by number.
    reordered: bool,
    /// The numbers that the current verb names are those of arguments.
    good_index: bool,
    /// The last thing read was a number in brackets.
    after_index: bool,
    printer: Printer,
}

impl Formatter<'_> {
    fn peek(&self) -> Option<u8> {
        self.format.get(self.position).copied()
    }

    fn run(&mut self) {
        while self.position < self.format.len() && !self.printer.out.overflowed() {
            let rest = &self.format[self.position..];
            let text = rest
                .iter()
                .position(|byte| *byte == b'%')
                .unwrap_or(rest.len());
            self.printer.out.write(&rest[..text]);
            self.position += text;
            if self.position < self.format.len() {
                self.position += 1;
                self.verb();
            }
        }
        if !self.reordered && self.argument < self.arguments.len() {
            self.extra_arguments();
        }
    }

    /// What follows a percent sign.
    fn verb(&mut self) {
        self.good_index = true;
        self.printer.flags = Flags::default();
        self.flags();
        self.index();
        self.width();
        self.precision();
        if !self.after_index {
            self.index();
        }
        let Some((verb, length)) = decode(&self.format[self.position..]) else {
            self.printer.out.write(b"%!(NOVERB)");
            return;
        };
        self.position += length;
        if verb == '%' {
            self.printer.out.write(b"%");
        } else if !self.good_index {
            self.complaint(verb, b"(BADINDEX)");
        } else if let Some(argument) = self.arguments.get(self.argument) {
            if matches!(verb, 'v' | 'w') {
                let flags = &mut self.printer.flags;
                flags.go_syntax = std::mem::take(&mut flags.sharp);
                flags.plus = false;
            }
            self.printer.argument(argument, verb);
            self.argument += 1;
        } else {
            self.complaint(verb, b"(MISSING)");
        }
    }

    fn complaint(&mut self, verb: char, complaint: &[u8]) {
        self.printer.out.write(b"%!");
        self.printer.character(verb);
        self.printer.out.write(complaint);
    }

    fn flags(&mut self) {
        let flags = &mut self.printer.flags;
        while let Some(byte) = self.format.get(self.position) {
            match byte {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b' ' => flags.space = true,
                _ => return,
            }
            self.position += 1;
        }
    }

    fn width(&mut self) {
        if self.peek() == Some(b'*') {
            self.position += 1;
            match self.integer_argument() {
                Some(width) => {
                    if width < 0 {
                        self.printer.flags.minus = true;
                        self.printer.flags.zero = false;
                    }
                    self.printer.flags.width = usize::try_from(width.unsigned_abs()).ok();
                }
                None => self.printer.out.write(b"%!(BADWIDTH)"),
            }
            self.after_index = false;
            return;
        }
        self.printer.flags.width = self.number();
        if self.after_index && self.printer.flags.width.is_some() {
            self.good_index = false;
        }
    }

    fn precision(&mut self) {
        // A point at the very end is the verb.
        if self.peek() != Some(b'.') || self.position + 1 >= self.format.len() {
            return;
        }
        self.position += 1;
        if self.after_index {
            self.good_index = false;
        }
        self.index();
        if self.peek() == Some(b'*') {
            self.position += 1;
            self.printer.flags.precision = self
                .integer_argument()
                .and_then(|precision| usize::try_from(precision).ok());
            if self.printer.flags.precision.is_none() {
                self.printer.out.write(b"%!(BADPREC)");
            }
            self.after_index = false;
        } else {
            self.printer.flags.precision = Some(self.number().unwrap_or(0));
        }
    }

    /// Reads a decimal number. One that is too large takes the rest of the format with it, as in Go.
    fn number(&mut self) -> Option<usize> {
        let (number, end) = parse_number(self.format, self.position, self.format.len());
        self.position = end;
        number
    }

    /// Takes the next argument for a width or precision; `None` if it is not a fitting integer.
    fn integer_argument(&mut self) -> Option<i64> {
        let argument = self.arguments.get(self.argument)?;
        self.argument += 1;
        let number = match argument {
            Value::Integer(integer) => *integer,
            Value::Byte(byte) => i64::from(*byte),
            _ => return None,
        };
        (-LARGEST_NUMBER..=LARGEST_NUMBER)
            .contains(&number)
            .then_some(number)
    }

    /// Reads `[3]`, if it stands here, and makes the third argument the next one.
    fn index(&mut self) {
        self.after_index = false;
        if self.peek() != Some(b'[') {
            return;
        }
        self.reordered = true;
        let rest = &self.format[self.position..];
        let Some(close) = rest
            .iter()
            .position(|byte| *byte == b']')
            .filter(|_| rest.len() >= 3)
        else {
            self.position += 1;
            self.good_index = false;
            return;
        };
        self.position += close + 1;
        let (number, end) = parse_number(rest, 1, close);
        let Some(number) = number.filter(|_| end == close) else {
            self.good_index = false;
            return;
        };
        match number
            .checked_sub(1)
            .filter(|index| *index < self.arguments.len())
        {
            Some(index) => self.argument = index,
            None => self.good_index = false,
        }
        self.after_index = true;
    }

    fn extra_arguments(&mut self) {
        self.printer.flags = Flags::default();
        self.printer.out.write(b"%!(EXTRA ");
        for (index, argument) in self.arguments[self.argument..].iter().enumerate() {
            if index > 0 {
                self.printer.out.write(b", ");
            }
            self.printer.out.write(argument.type_name().as_bytes());
            if !matches!(argument, Value::Nil) {
                self.printer.out.write(b"=");
                self.printer.argument(argument, 'v');
            }
        }
        self.printer.out.write(b")");
    }
}

/// The number that begins at `start` and where it ends; no number and `end` if it is too large.
fn parse_number(text: &[u8], start: usize, end: usize) -> (Option<usize>, usize) {
    const LARGEST: usize = 1_000_000;
    let mut number = None;
    let mut position = start;
    if start >= end {
        return (None, end);
    }
    while position < end && text[position].is_ascii_digit() {
        let value = number.unwrap_or(0);
        if value > LARGEST {
            return (None, end);
        }
        number = Some(value * 10 + usize::from(text[position] - b'0'));
        position += 1;
    }
    (number, position)
}
