//! Writes one value for one verb, with width, precision and flags, as Go's fmt does.

use super::super::float::{self, Precision};
use super::super::text;
use super::super::value::{Map, Value};
use super::sink::Sink;

/// What stands between the percent sign and the verb.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag character")]
pub(super) struct Flags {
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    /// `%#v`: values in Go's syntax.
    pub(super) go_syntax: bool,
}

/// Writes values to a sink.
#[derive(Debug)]
pub(super) struct Printer {
    pub(super) out: Sink,
    pub(super) flags: Flags,
}

/// What a map's address is printed as. Go prints where the map lies, which differs each time.
const MAP_ADDRESS: u64 = 0xC000_0000_0000;

impl Printer {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            out: Sink::new(limit),
            flags: Flags::default(),
        }
    }

    /// Writes an argument.
    pub(super) fn argument(&mut self, value: &Value, verb: char) {
        match (value, verb) {
            (Value::Nil, 'T' | 'v') => self.pad(b"<nil>"),
            (_, 'T') => self.string(value.type_name().as_bytes(), 's', value),
            (Value::Map(_), 'p') => self.address(),
            (Value::Map(_), 'w') => self.bad_verb(value, verb),
            _ => self.value(value, verb),
        }
    }

    fn value(&mut self, value: &Value, verb: char) {
        match value {
            Value::Nil => self.bad_verb(value, verb),
            Value::Bool(boolean) => match verb {
                't' | 'v' => self.pad(if *boolean { b"true" } else { b"false" }),
                _ => self.bad_verb(value, verb),
            },
            Value::Integer(integer) => {
                self.integer(integer.unsigned_abs(), *integer < 0, verb, value);
            }
            Value::Byte(byte) => self.integer(u64::from(*byte), false, verb, value),
            Value::Float(float) => self.float(*float, verb, value),
            Value::Complex(real, imaginary) => self.complex(*real, *imaginary, verb, value),
            Value::Text(text) => self.string(text, verb, value),
            Value::Map(map) => self.map(map, verb),
        }
    }

    fn bad_verb(&mut self, value: &Value, verb: char) {
        self.out.write(b"%!");
        self.character(verb);
        self.out.write(b"(");
        self.out.write(value.type_name().as_bytes());
        if !matches!(value, Value::Nil) {
            self.out.write(b"=");
            self.value(value, 'v');
        }
        self.out.write(b")");
    }

    pub(super) fn character(&mut self, character: char) {
        self.out
            .write(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn padding(&mut self, count: usize) {
        let byte = if self.flags.zero && !self.flags.minus {
            b'0'
        } else {
            b' '
        };
        self.out.fill(count, byte);
    }

    fn pad(&mut self, shown: &[u8]) {
        let Some(width @ 1..) = self.flags.width else {
            return self.out.write(shown);
        };
        let missing = width.saturating_sub(text::count(shown));
        if self.flags.minus {
            self.out.write(shown);
            self.padding(missing);
        } else {
            self.padding(missing);
            self.out.write(shown);
        }
    }

    /// Pads with blanks even where zeros are asked for.
    fn pad_with_blanks(&mut self, shown: &[u8]) {
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(shown);
        self.flags.zero = zero;
    }

    fn string(&mut self, text: &[u8], verb: char, value: &Value) {
        match verb {
            'v' if self.flags.go_syntax => self.quoted(text),
            'v' | 's' => self.pad(self.truncated(text)),
            'x' => self.encoded(text, false),
            'X' => self.encoded(text, true),
            'q' => self.quoted(text),
            _ => self.bad_verb(value, verb),
        }
    }

    fn truncated<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        match self.flags.precision {
            Some(characters) => text::prefix(text, characters),
            None => text,
        }
    }

    fn quoted(&mut self, text: &[u8]) {
        let text = self.truncated(text);
        if !self.out.has_room(text.len()) {
            return;
        }
        if self.flags.sharp && text::can_backquote(text) {
            self.pad(&[b"`", text, b"`"].concat());
        } else {
            self.pad(&text::quote(text, self.flags.plus));
        }
    }

    /// The bytes of the text in hexadecimal digits.
    fn encoded(&mut self, text: &[u8], upper: bool) {
        let length = self
            .flags
            .precision
            .map_or(text.len(), |digits| digits.min(text.len()));
        if !self.out.has_room(length) {
            return;
        }
        let prefix: &[u8] = match (self.flags.sharp, upper) {
            (false, _) => b"",
            (true, false) => b"0x",
            (true, true) => b"0X",
        };
        let mut shown = Vec::with_capacity(length * 2);
        for (index, byte) in text[..length].iter().enumerate() {
            if index == 0 {
                shown.extend_from_slice(prefix);
            } else if self.flags.space {
                shown.push(b' ');
                shown.extend_from_slice(prefix);
            }
            let digits = if upper {
                format!("{byte:02X}")
            } else {
                format!("{byte:02x}")
            };
            shown.extend_from_slice(digits.as_bytes());
        }
        self.pad(&shown);
    }

    fn integer(&mut self, magnitude: u64, negative: bool, verb: char, value: &Value) {
        match verb {
            'v' if self.flags.go_syntax && matches!(value, Value::Byte(_)) => {
                self.with_sharp(true, |printer| printer.digits(magnitude, false, 'x'));
            }
            'v' | 'd' | 'b' | 'o' | 'O' | 'x' | 'X' => self.digits(magnitude, negative, verb),
            'c' => {
                let character = character_of(magnitude, negative);
                self.pad(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            'q' => {
                let character = character_of(magnitude, negative);
                self.pad(&text::quote_character(character, self.flags.plus));
            }
            'U' => self.code_point(if negative {
                magnitude.wrapping_neg()
            } else {
                magnitude
            }),
            _ => self.bad_verb(value, verb),
        }
    }

    fn with_sharp(&mut self, sharp: bool, write: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.flags.sharp, sharp);
        write(self);
        self.flags.sharp = before;
    }

    fn address(&mut self) {
        self.with_sharp(!self.flags.sharp, |printer| {
            printer.digits(MAP_ADDRESS, false, 'x');
        });
    }

    fn digits(&mut self, magnitude: u64, negative: bool, verb: char) {
        let flags = self.flags;
        let signed = negative || flags.plus || flags.space;
        let least = match flags.precision {
            Some(0) if magnitude == 0 => return self.pad_with_blanks(b""),
            Some(precision) => precision,
            None if flags.zero && !flags.minus => flags
                .width
                .map_or(0, |width| width.saturating_sub(usize::from(signed))),
            None => 0,
        };
        let (digits, prefix) = match verb {
            'b' => (format!("{magnitude:b}"), "0b"),
            'o' | 'O' => (format!("{magnitude:o}"), "0"),
            'x' => (format!("{magnitude:x}"), "0x"),
            'X' => (format!("{magnitude:X}"), "0X"),
            _ => (magnitude.to_string(), ""),
        };
        let zeros = least.saturating_sub(digits.len());
        let mut shown = Vec::with_capacity(zeros + digits.len() + 3);
        if negative {
            shown.push(b'-');
        } else if flags.plus {
            shown.push(b'+');
        } else if flags.space {
            shown.push(b' ');
        }
        if verb == 'O' {
            shown.extend_from_slice(b"0o");
        }
        let octal_with_zero = prefix == "0" && (zeros > 0 || digits.starts_with('0'));
        if flags.sharp && !octal_with_zero {
            shown.extend_from_slice(prefix.as_bytes());
        }
        shown.resize(shown.len() + zeros, b'0');
        shown.extend_from_slice(digits.as_bytes());
        self.pad_with_blanks(&shown);
    }

    fn code_point(&mut self, number: u64) {
        let least = self.flags.precision.map_or(4, |precision| precision.max(4));
        let digits = format!("{number:X}");
        let mut shown = b"U+".to_vec();
        shown.resize(shown.len() + least.saturating_sub(digits.len()), b'0');
        shown.extend_from_slice(digits.as_bytes());
        let character = u32::try_from(number).ok().and_then(char::from_u32);
        if let Some(character) = character.filter(|character| text::is_printable(*character))
            && self.flags.sharp
        {
            shown.extend_from_slice(format!(" '{character}'").as_bytes());
        }
        self.pad_with_blanks(&shown);
    }

    fn complex(&mut self, real: f64, imaginary: f64, verb: char, value: &Value) {
        if !matches!(
            verb,
            'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E'
        ) {
            return self.bad_verb(value, verb);
        }
        let plus = self.flags.plus;
        self.out.write(b"(");
        self.float(real, verb, value);
        self.flags.plus = true;
        self.float(imaginary, verb, value);
        self.out.write(b"i)");
        self.flags.plus = plus;
    }

    fn float(&mut self, number: f64, verb: char, value: &Value) {
        let (letter, precision) = match verb {
            'v' | 'g' => (b'g', Precision::Shortest),
            'b' => (b'b', Precision::Shortest),
            'G' => (b'G', Precision::Shortest),
            'x' => (b'x', Precision::Shortest),
            'X' => (b'X', Precision::Shortest),
            'f' | 'F' => (b'f', Precision::Digits(6)),
            'e' => (b'e', Precision::Digits(6)),
            'E' => (b'E', Precision::Digits(6)),
            _ => return self.bad_verb(value, verb),
        };
        let precision = self.flags.precision.map_or(precision, Precision::Digits);
        let written = float::format(number, letter, precision);
        let (sign, mut digits) = match written.strip_prefix(b"-") {
            Some(digits) => (b'-', digits.to_vec()),
            None if self.flags.space && !self.flags.plus => (b' ', written),
            None => (b'+', written),
        };
        if self.flags.sharp && letter != b'b' {
            digits = with_point(&digits, letter, precision);
        }
        if !self.flags.plus && sign == b'+' {
            return self.pad(&digits);
        }
        let length = digits.len() + 1;
        match self.flags.width {
            Some(width) if self.flags.zero && !self.flags.minus && width > length => {
                self.out.write(&[sign]);
                self.padding(width - length);
                self.out.write(&digits);
            }
            _ => {
                digits.insert(0, sign);
                self.pad(&digits);
            }
        }
    }

    fn map(&mut self, map: &Map, verb: char) {
        let (open, separator, close): (&[u8], &[u8], &[u8]) = if self.flags.go_syntax {
            (b"map[string]string{", b", ", b"}")
        } else {
            (b"map[", b" ", b"]")
        };
        self.out.write(open);
        for (index, (key, value)) in map.entries().enumerate() {
            if self.out.overflowed() {
                return;
            }
            if index > 0 {
                self.out.write(separator);
            }
            self.value(&Value::Text(key.clone()), verb);
            self.out.write(b":");
            self.value(&Value::Text(value.clone()), verb);
        }
        self.out.write(close);
    }
}

fn character_of(magnitude: u64, negative: bool) -> char {
    u32::try_from(magnitude)
        .ok()
        .filter(|_| !negative)
        .and_then(char::from_u32)
        .unwrap_or(text::REPLACEMENT)
}

/// The digits with a decimal point and the zeros that the sharp flag keeps.
fn with_point(digits: &[u8], letter: u8, precision: Precision) -> Vec<u8> {
    let mut wanted = match (letter, precision) {
        (b'g' | b'G' | b'x', Precision::Shortest) => 6,
        (b'g' | b'G' | b'x', Precision::Digits(digits)) => digits,
        _ => 0,
    };
    let is_exponent = |byte: u8| match byte {
        b'p' | b'P' => true,
        b'e' | b'E' => !matches!(letter, b'x' | b'X'),
        _ => false,
    };
    let end = digits
        .iter()
        .position(|byte| is_exponent(*byte))
        .unwrap_or(digits.len());
    let (mantissa, exponent) = digits.split_at(end);
    let has_point = mantissa.contains(&b'.');
    let significant = mantissa
        .iter()
        .filter(|byte| **byte != b'.')
        .skip_while(|byte| **byte == b'0')
        .count();
    wanted = wanted.saturating_sub(significant);
    let mut out = mantissa.to_vec();
    if !has_point {
        if mantissa == b"0" {
            wanted = wanted.saturating_sub(1);
        }
        out.push(b'.');
    }
    out.resize(out.len() + wanted, b'0');
    out.extend_from_slice(exponent);
    out
}
