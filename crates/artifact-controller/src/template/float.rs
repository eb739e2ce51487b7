//! Floating-point numbers as Go's strconv writes them.

/// How many digits to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    /// As few as tell the number from every other one.
    Shortest,
    /// After the point; with `%g`, in all.
    Digits(usize),
}

/// More digits than any number has; those that follow are zeros.
const ALL_DIGITS: usize = 1_100;

/// The decimal digits of a number, without the zeros at its end: 0.`digits` · 10^`point`.
struct Decimal {
    digits: Vec<u8>,
    point: i64,
}

/// Writes a finite number for one of the verbs b, e, E, f, g, G, x and X.
pub(super) fn format(value: f64, verb: u8, precision: Precision) -> Vec<u8> {
    let mut out = Vec::new();
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let value = value.abs();
    match (verb, precision) {
        (b'b', _) => binary(&mut out, value),
        (b'x' | b'X', _) => hexadecimal(&mut out, value, verb, precision),
        (b'f', Precision::Digits(digits)) => {
            let shown = digits.min(ALL_DIGITS);
            out.extend_from_slice(format!("{value:.shown$}").as_bytes());
            out.resize(out.len() + digits - shown, b'0');
        }
        (b'e' | b'E', Precision::Digits(digits)) => {
            let decimal = Decimal::rounded(value, digits + 1);
            decimal.exponent_form(&mut out, verb, digits);
        }
        (_, Precision::Digits(digits)) => {
            let digits = digits.max(1);
            let decimal = Decimal::rounded(value, digits);
            decimal.general_form(&mut out, verb, digits, false);
        }
        (_, Precision::Shortest) => {
            let decimal = Decimal::shortest(value);
            match verb {
                b'g' | b'G' => {
                    let digits = decimal.digits.len();
                    decimal.general_form(&mut out, verb, digits, true);
                }
                _ => decimal.exponent_form(&mut out, verb, decimal.digits.len().saturating_sub(1)),
            }
        }
    }
    out
}

impl Decimal {
    /// The fewest digits that are read back as the number, and of these the closest; if two are
    /// equally close, the even one, where Rust takes the upper one.
    fn shortest(value: f64) -> Self {
        let shortest = Self::parse(&format!("{value:e}"));
        let after_point = shortest.digits.len().saturating_sub(1);
        let rounded = format!("{value:.after_point$e}");
        if rounded.parse() == Ok(value) {
            Self::parse(&rounded)
        } else {
            shortest
        }
    }

    /// Rounded to so many digits in all, halves to even.
    fn rounded(value: f64, digits: usize) -> Self {
        let after_point = digits.saturating_sub(1).min(ALL_DIGITS);
        Self::parse(&format!("{value:.after_point$e}"))
    }

    /// Reads `d.ddde±x`.
    fn parse(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let mut digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        let point = if digits.is_empty() {
            0
        } else {
            exponent.parse::<i64>().unwrap_or(0) + 1
        };
        Self { digits, point }
    }

    fn digit(&self, index: i64) -> u8 {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.digits.get(index))
            .copied()
            .unwrap_or(b'0')
    }

    fn push_digits(&self, out: &mut Vec<u8>, from: i64, to: i64) {
        out.extend((from..to).map(|index| self.digit(index)));
    }

    /// `d.ddde±xx` with so many digits after the point.
    fn exponent_form(&self, out: &mut Vec<u8>, verb: u8, after_point: usize) {
        out.push(self.digit(0));
        if after_point > 0 {
            out.push(b'.');
            self.push_digits(out, 1, length(after_point) + 1);
        }
        let exponent = if self.digits.is_empty() {
            0
        } else {
            self.point - 1
        };
        out.push(verb);
        out.push(if exponent < 0 { b'-' } else { b'+' });
        out.extend_from_slice(format!("{:02}", exponent.abs()).as_bytes());
    }

    /// `ddd.ddd` with so many digits after the point.
    fn plain_form(&self, out: &mut Vec<u8>, after_point: usize) {
        if self.point > 0 {
            self.push_digits(out, 0, self.point);
        } else {
            out.push(b'0');
        }
        if after_point > 0 {
            out.push(b'.');
            self.push_digits(out, self.point, self.point + length(after_point));
        }
    }

    /// The plain form, or the exponent form for small and large numbers, with up to so many digits.
    fn general_form(&self, out: &mut Vec<u8>, verb: u8, digits: usize, shortest: bool) {
        let (present, digits) = (length(self.digits.len()), length(digits));
        let limit = if shortest {
            6
        } else if digits > present && present >= self.point {
            present
        } else {
            digits
        };
        let exponent = self.point - 1;
        if exponent < -4 || exponent >= limit {
            let letter = if verb == b'g' { b'e' } else { b'E' };
            self.exponent_form(out, letter, count(digits.min(present) - 1));
            return;
        }
        let shown = if digits > self.point { present } else { digits };
        self.plain_form(out, count(shown - self.point));
    }
}

/// A count as an index that can go below zero.
fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A count again, at least zero.
fn count(length: i64) -> usize {
    usize::try_from(length).unwrap_or(0)
}

/// Mantissa, as an integer of 53 bits, and binary exponent.
fn parts(value: f64) -> (u64, i64) {
    const MANTISSA_BITS: u32 = 52;
    let bits = value.to_bits();
    let exponent = i64::try_from(bits >> MANTISSA_BITS & 0x7FF).unwrap_or(0);
    let mantissa = bits & ((1 << MANTISSA_BITS) - 1);
    if exponent == 0 {
        (mantissa, -1074)
    } else {
        (mantissa | 1 << MANTISSA_BITS, exponent - 1075)
    }
}

/// `ddddp±xxx`
fn binary(out: &mut Vec<u8>, value: f64) {
    let (mantissa, exponent) = parts(value);
    out.extend_from_slice(format!("{mantissa}p{exponent:+}").as_bytes());
}

/// `0x1.yyyp±xx`
fn hexadecimal(out: &mut Vec<u8>, value: f64, verb: u8, precision: Precision) {
    // The leading digit is bit 60, and 15 digits follow it.
    const LEADING: u32 = 60;
    let (mut mantissa, exponent) = parts(value);
    let mut exponent = if mantissa == 0 { 0 } else { exponent + 52 };
    if mantissa != 0 {
        let shift = mantissa.leading_zeros() - (u64::BITS - 1 - LEADING);
        mantissa <<= shift;
        exponent -= i64::from(shift) - i64::from(LEADING - 52);
    }
    if let Precision::Digits(digits @ 0..15) = precision {
        let dropped = LEADING - u32::try_from(digits).unwrap_or(0) * 4;
        let half = 1_u64 << (dropped - 1);
        let rest = mantissa & ((1 << dropped) - 1);
        mantissa >>= dropped;
        if rest > half || rest == half && mantissa & 1 == 1 {
            mantissa += 1;
        }
        mantissa <<= dropped;
        if mantissa >> (LEADING + 1) != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let digits = format!("{:015x}", mantissa & ((1 << LEADING) - 1));
    let fraction = match precision {
        Precision::Shortest => digits.trim_end_matches('0').to_owned(),
        Precision::Digits(wanted) if wanted <= digits.len() => digits[..wanted].to_owned(),
        Precision::Digits(wanted) => digits.clone() + &"0".repeat(wanted - digits.len()),
    };
    let point = if fraction.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    let exponent = exponent.abs();
    let leading = mantissa >> LEADING;
    let mut text = format!("0x{leading}{point}{fraction}p{sign}{exponent:02}");
    if verb == b'X' {
        text.make_ascii_uppercase();
    }
    out.extend_from_slice(text.as_bytes());
}
