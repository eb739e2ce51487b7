//! The numbers of a template: a literal is read as every kind of number that can hold it.

use super::text::{self, Element};

/// A number of the source. Several of the kinds can apply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<'s> {
    pub(super) text: &'s [u8],
    pub(super) integer: Option<i64>,
    /// Whether it fits into 64 bits without a sign.
    pub(super) is_unsigned: bool,
    pub(super) float: Option<f64>,
    /// Real and imaginary part.
    pub(super) complex: Option<(f64, f64)>,
}

/// Why a literal is not a number: a reason in Go's words.
type Read<'s> = Result<Number<'s>, Vec<u8>>;

/// A character between single quotes.
pub(super) fn character(literal: &[u8]) -> Read<'_> {
    let inside = literal.get(1..).unwrap_or_default();
    let (value, rest) = match text::unquote_element(inside, b'\'') {
        Some((Element::Character(character), rest)) => (u32::from(character), rest),
        Some((Element::Byte(byte), rest)) => (u32::from(byte), rest),
        None => return Err(b"invalid syntax".to_vec()),
    };
    if rest != b"'" {
        return Err([b"malformed character constant: ", literal].concat());
    }
    Ok(Number {
        text: literal,
        integer: Some(i64::from(value)),
        is_unsigned: true,
        float: Some(f64::from(value)),
        complex: None,
    })
}

/// Two parts, such as `1+2i`.
pub(super) fn complex(literal: &[u8]) -> Read<'_> {
    let (real, rest) = scan_float(literal);
    let bad_syntax = || b"syntax error scanning complex number".to_vec();
    if !matches!(rest.first(), Some(b'+' | b'-')) {
        return Err(bad_syntax());
    }
    // The sign belongs to the number, and a second sign, if any, does not make it invalid yet.
    let after_sign = rest.get(1..).unwrap_or_default();
    let (digits, after) = scan_float(after_sign);
    if after.first() != Some(&b'i') {
        return Err(bad_syntax());
    }
    let imaginary = rest.get(..=digits.len()).unwrap_or_default();
    let real = component(real)?;
    let imaginary = component(imaginary)?;
    Ok(of_complex(literal, real, imaginary))
}

fn component(literal: &[u8]) -> Result<f64, Vec<u8>> {
    parse_float(literal).map_err(|fault| {
        let mut reason = b"strconv.ParseFloat: parsing ".to_vec();
        reason.extend(text::quote(literal, false));
        reason.extend_from_slice(match fault {
            FloatFault::Syntax => b": invalid syntax",
            FloatFault::Range => b": value out of range",
        });
        reason
    })
}

/// Splits what may be a floating-point number off the text.
fn scan_float(literal: &[u8]) -> (&[u8], &[u8]) {
    let many = |from: usize, set: &[u8]| {
        let rest = literal.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|byte| set.contains(byte)).count()
    };
    let one = |from: usize, set: &[u8]| many(from, set).min(from + 1);
    let mut digits: &[u8] = b"0123456789_";
    let mut exponent: &[u8] = b"eEpP";
    // The "i" could begin "Inf"; Go takes it and does not give it back.
    let sign = one(one(0, b"+-"), b"iI");
    let mut end = one(sign, b"0");
    if end > sign && one(end, b"xX") > end {
        end += 1;
        digits = b"0123456789aAbBcCdDeEfF_";
        exponent = b"pP";
    }
    end = many(end, digits);
    if one(end, b".") > end {
        end = many(end + 1, digits);
    }
    if one(end, exponent) > end {
        end = many(one(end + 1, b"+-"), b"0123456789_");
    }
    literal.split_at(end)
}

/// A number of one part.
pub(super) fn number(literal: &[u8]) -> Read<'_> {
    if let Some(imaginary) = literal.strip_suffix(b"i")
        && let Ok(imaginary) = parse_float(imaginary)
    {
        return Ok(of_complex(literal, 0.0, imaginary));
    }
    let unsigned = parse_unsigned(literal);
    let integer = parse_integer(literal);
    let mut number = Number {
        text: literal,
        integer,
        is_unsigned: unsigned.is_some() || integer == Some(0),
        float: None,
        complex: None,
    };
    #[expect(clippy::cast_precision_loss, reason = "Go converts integers this way")]
    if let Some(integer) = integer {
        number.float = Some(integer as f64);
    } else if let Some(unsigned) = unsigned {
        number.float = Some(unsigned as f64);
    } else if let Ok(float) = parse_float(literal) {
        if !literal.iter().any(|byte| b".eEpP".contains(byte)) {
            return Err(quoting("integer overflow: ", literal));
        }
        number.float = Some(float);
        number.integer = whole(float);
    } else {
        return Err(quoting("illegal number syntax: ", literal));
    }
    Ok(number)
}

fn quoting(before: &str, literal: &[u8]) -> Vec<u8> {
    [before.as_bytes(), &text::quote(literal, false)].concat()
}

fn of_complex(text: &[u8], real: f64, imaginary: f64) -> Number<'_> {
    let float = (imaginary == 0.0).then_some(real);
    Number {
        text,
        integer: float.and_then(whole),
        is_unsigned: false,
        float,
        complex: Some((real, imaginary)),
    }
}

/// The integer that equals the number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "checked by the comparison"
)]
#[expect(clippy::float_cmp, reason = "equality is what is asked")]
fn whole(float: f64) -> Option<i64> {
    let integer = float as i64;
    (integer as f64 == float && integer != i64::MAX).then_some(integer)
}

/// An unsigned integer with the prefixes and underscores of Go.
fn parse_unsigned(literal: &[u8]) -> Option<u64> {
    let (base, digits) = match literal {
        [b'0', b'b' | b'B', digits @ ..] if !digits.is_empty() => (2, digits),
        [b'0', b'o' | b'O', digits @ ..] if !digits.is_empty() => (8, digits),
        [b'0', b'x' | b'X', digits @ ..] if !digits.is_empty() => (16, digits),
        [b'0', digits @ ..] => (8, digits),
        [] => return None,
        digits => (10, digits),
    };
    let mut value = 0_u64;
    for byte in digits.iter().filter(|byte| **byte != b'_') {
        let digit = char::from(*byte).to_digit(base)?;
        value = value
            .checked_mul(u64::from(base))?
            .checked_add(u64::from(digit))?;
    }
    (!digits.contains(&b'_') || underscores_separate_digits(literal)).then_some(value)
}

fn parse_integer(literal: &[u8]) -> Option<i64> {
    let (negative, digits) = split_sign(literal);
    let magnitude = parse_unsigned(digits)?;
    if negative {
        0_i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
}

/// Whether the literal begins with a minus, and what follows its sign.
fn split_sign(literal: &[u8]) -> (bool, &[u8]) {
    match literal {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, literal),
    }
}

/// Whether each underscore stands between digits, or between a base's prefix and a digit.
fn underscores_separate_digits(literal: &[u8]) -> bool {
    let (_, unsigned) = split_sign(literal);
    let (hexadecimal, digits, mut after_digit) = match unsigned {
        [b'0', b'x' | b'X', rest @ ..] => (true, rest, true),
        [b'0', b'b' | b'B' | b'o' | b'O', rest @ ..] => (false, rest, true),
        rest => (false, rest, false),
    };
    let mut after_underscore = false;
    for byte in digits {
        let is_digit = byte.is_ascii_digit() || hexadecimal && byte.is_ascii_hexdigit();
        if *byte == b'_' {
            if !after_digit {
                return false;
            }
        } else if after_underscore && !is_digit {
            return false;
        }
        after_underscore = *byte == b'_';
        after_digit = is_digit;
    }
    !after_underscore
}

/// Why a text is not a floating-point number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FloatFault {
    Syntax,
    Range,
}

/// A floating-point number, decimal or hexadecimal, with Go's underscores.
fn parse_float(literal: &[u8]) -> Result<f64, FloatFault> {
    let (negative, unsigned) = split_sign(literal);
    let hexadecimal = matches!(unsigned, [b'0', b'x' | b'X', _, ..]);
    if literal.contains(&b'_') && !underscores_separate_digits(literal) {
        return Err(FloatFault::Syntax);
    }
    let digits: Vec<u8> = unsigned
        .iter()
        .copied()
        .filter(|byte| *byte != b'_')
        .collect();
    let value = if hexadecimal {
        parse_hexadecimal(&digits[2..])?
    } else {
        parse_decimal(&digits)?
    };
    if value.is_infinite() {
        return Err(FloatFault::Range);
    }
    Ok(if negative { -value } else { value })
}

fn parse_decimal(digits: &[u8]) -> Result<f64, FloatFault> {
    let plain = digits
        .iter()
        .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(byte));
    if !plain
        || !digits
            .first()
            .is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.')
    {
        return Err(FloatFault::Syntax);
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or(FloatFault::Syntax)
}

/// What follows `0x`: a mantissa with or without a point, and a binary exponent.
fn parse_hexadecimal(digits: &[u8]) -> Result<f64, FloatFault> {
    // Bits of the mantissa that are kept; those below only matter for rounding, as one bit.
    const KEPT: u32 = 60;
    let mut split = digits.splitn(2, |byte| matches!(byte, b'p' | b'P'));
    let (Some(mantissa_digits), Some(exponent_digits)) = (split.next(), split.next()) else {
        return Err(FloatFault::Syntax);
    };
    let mut mantissa = 0_u64;
    let mut exponent = 0_i64;
    let mut seen_digit = false;
    let mut seen_point = false;
    for byte in mantissa_digits {
        if *byte == b'.' && !seen_point {
            seen_point = true;
            continue;
        }
        let digit = char::from(*byte).to_digit(16).ok_or(FloatFault::Syntax)?;
        seen_digit = true;
        if mantissa >> (KEPT - 4) == 0 {
            mantissa = mantissa << 4 | u64::from(digit);
            exponent -= if seen_point { 4 } else { 0 };
        } else {
            mantissa |= u64::from(digit != 0);
            exponent += if seen_point { 0 } else { 4 };
        }
    }
    let (negative, exponent_digits) = split_sign(exponent_digits);
    if !seen_digit || exponent_digits.is_empty() || !exponent_digits.iter().all(u8::is_ascii_digit)
    {
        return Err(FloatFault::Syntax);
    }
    let written = exponent_digits.iter().fold(0_i64, |value, byte| {
        if value < 10_000 {
            value * 10 + i64::from(byte - b'0')
        } else {
            value
        }
    });
    let written = if negative { -written } else { written };
    Ok(scale(mantissa, exponent + written))
}

/// `mantissa` · 2^`exponent`, rounded once, to even.
fn scale(mantissa: u64, exponent: i64) -> f64 {
    const MANTISSA_BITS: i64 = 53;
    const LEAST_EXPONENT: i64 = -1074;
    const GREATEST_EXPONENT: i64 = 971;
    if mantissa == 0 {
        return 0.0;
    }
    let length = i64::from(u64::BITS - mantissa.leading_zeros());
    // How many bits have to go so that the rest fits a mantissa, and the least exponent.
    let surplus = (length - MANTISSA_BITS)
        .max(LEAST_EXPONENT - exponent)
        .max(0);
    if surplus > length + 1 {
        return 0.0;
    }
    let wide = u128::from(mantissa);
    let mut kept = wide >> surplus;
    let lost = wide - (kept << surplus);
    let half = (1_u128 << surplus) >> 1;
    if surplus > 0 && (lost > half || lost == half && kept & 1 == 1) {
        kept += 1;
    }
    let exponent = exponent + surplus;
    if exponent > GREATEST_EXPONENT + MANTISSA_BITS {
        return f64::INFINITY;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "at most 53 bits are left, or a power of two"
    )]
    let value = kept as f64;
    // Two factors, as one can be beyond the range of a float where the product is not.
    let (first, second) = (exponent / 2, exponent - exponent / 2);
    value * power_of_two(first) * power_of_two(second)
}

fn power_of_two(exponent: i64) -> f64 {
    i32::try_from(exponent).map_or(0.0, |exponent| 2.0_f64.powi(exponent))
}
