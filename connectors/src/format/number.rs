//! Numbers as text: read exactly once, then turned into integers, floats and decimals without loss.

/// Digits that fit into the `u64` mantissa whatever they are.
const MANTISSA_DIGITS_MAX: usize = 19;
/// An exponent beyond this is out of range for every type; bounding it keeps sums of exponents from overflowing.
const EXPONENT_MAX: i32 = 100_000;
/// Digits of the largest DECIMAL.
const DECIMAL_DIGITS_MAX: i64 = 38;

/// A number as written: `mantissa * 10^exponent` where it is `exact`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Number<'a> {
    pub(crate) text: &'a [u8],
    negative: bool,
    mantissa: u64,
    exponent: i32,
    /// The mantissa holds all digits.
    exact: bool,
}

/// What may stand for a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grammar {
    /// RFC 8259: no plus sign, no leading zero, digits on both sides of the point.
    Json,
    /// As Java reads numbers from text: also `+1`, `007`, `.5`, `5.`.
    Text,
}

impl<'a> Number<'a> {
    /// The number that begins at `start`, and where it ends; `None` where none begins.
    #[inline]
    pub(crate) fn scan(bytes: &'a [u8], start: usize, grammar: Grammar) -> Option<(Self, usize)> {
        let mut scan = Scan { bytes, at: start, mantissa: 0, digits: 0, dropped: 0 };
        let negative = scan.sign(grammar);
        let whole_start = scan.at;
        let whole = scan.digits();
        if grammar == Grammar::Json && (whole == 0 || (whole > 1 && bytes[whole_start] == b'0')) {
            return None;
        }
        let dropped_whole = scan.dropped;
        let mut fraction = 0;
        if scan.peek() == b'.' {
            scan.at += 1;
            fraction = scan.digits();
            if grammar == Grammar::Json && fraction == 0 {
                return None;
            }
        }
        if whole + fraction == 0 {
            return None;
        }
        let written = scan.exponent()?;
        let point = dropped_whole as i64 - (fraction as i64 - (scan.dropped - dropped_whole) as i64);
        let exponent = i32::try_from(i64::from(written) + point).ok()?;
        let text = &bytes[start..scan.at];
        let exact = scan.dropped == 0;
        Some((Self { text, negative, mantissa: scan.mantissa, exponent, exact }, scan.at))
    }

    /// A text that is a number as a whole.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let (number, end) = Self::scan(text, 0, Grammar::Text)?;
        (end == text.len()).then_some(number)
    }

    /// `None` where there is a fraction or the value does not fit.
    #[inline]
    pub(crate) fn to_i64(self) -> Option<i64> {
        if !self.exact {
            let wide = self.to_decimal_exact(0)?;
            return i64::try_from(wide).ok();
        }
        let magnitude = match self.exponent {
            0 => self.mantissa,
            _ if self.mantissa == 0 => 0,
            exponent if exponent > 0 => self.mantissa.checked_mul(10_u64.checked_pow(exponent.unsigned_abs())?)?,
            exponent => {
                let divisor = 10_u64.checked_pow(exponent.unsigned_abs())?;
                if !self.mantissa.is_multiple_of(divisor) {
                    return None;
                }
                self.mantissa / divisor
            }
        };
        if self.negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
    }

    /// Correctly rounded; `None` where it is too large.
    #[inline]
    pub(crate) fn to_f64(self) -> Option<f64> {
        // Clinger's fast path: both factors are exact, so one rounding happens.
        const EXACT_MAX: u64 = 1 << 53;
        const POWERS: [f64; 23] = [
            1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
            1e19, 1e20, 1e21, 1e22,
        ];
        let power = POWERS.get(self.exponent.unsigned_abs() as usize);
        if let (true, Some(power)) = (self.exact && self.mantissa <= EXACT_MAX, power) {
            let mantissa = self.mantissa as f64;
            let magnitude = if self.exponent < 0 { mantissa / power } else { mantissa * power };
            return Some(if self.negative { -magnitude } else { magnitude });
        }
        let value: f64 = std::str::from_utf8(self.text).ok()?.parse().ok()?;
        value.is_finite().then_some(value)
    }

    /// Correctly rounded; `None` where it is too large.
    pub(crate) fn to_f32(self) -> Option<f32> {
        let value: f32 = std::str::from_utf8(self.text).ok()?.parse().ok()?;
        value.is_finite().then_some(value)
    }

    /// The unscaled value of a DECIMAL(precision, scale), rounded half up as Flink does; `None` where it does not fit.
    pub(crate) fn to_decimal(self, precision: u8, scale: i8) -> Option<i128> {
        let value = self.unscaled(scale, true)?;
        let limit = 10_i128.checked_pow(u32::from(precision))?;
        (value > -limit && value < limit).then_some(value)
    }

    fn to_decimal_exact(self, scale: i8) -> Option<i128> {
        self.unscaled(scale, false)
    }

    /// Works on the digits of the text, however many there are.
    fn unscaled(self, scale: i8, round: bool) -> Option<i128> {
        let mantissa = self.text.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default();
        let digits: Vec<u8> = mantissa.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0').collect();
        let kept = self.digits_before_point(mantissa)? + i64::from(scale);
        let leading_zeros = digits.iter().take_while(|digit| **digit == 0).count();
        if leading_zeros == digits.len() {
            return Some(0);
        }
        if kept - leading_zeros as i64 > DECIMAL_DIGITS_MAX {
            return None;
        }
        let digit = |place: i64| usize::try_from(place).ok().and_then(|place| digits.get(place)).copied().unwrap_or(0);
        let mut value: i128 = 0;
        for place in leading_zeros as i64..kept.max(leading_zeros as i64) {
            value = value * 10 + i128::from(digit(place));
        }
        let lost = usize::try_from(kept.max(0)).ok().and_then(|kept| digits.get(kept..)).unwrap_or_default();
        if !round && lost.iter().any(|digit| *digit != 0) {
            return None;
        }
        if digit(kept) >= 5 {
            value += 1;
        }
        Some(if self.negative { -value } else { value })
    }

    /// How many digits of the mantissa stand before the point once the exponent is applied; may be negative.
    fn digits_before_point(self, mantissa: &[u8]) -> Option<i64> {
        let after_sign = mantissa.iter().filter(|byte| byte.is_ascii_digit() || **byte == b'.');
        let whole = after_sign.take_while(|byte| **byte != b'.').count();
        let written = match self.text.get(mantissa.len() + 1..) {
            None => 0,
            Some(exponent) => exponent_value(exponent)?,
        };
        Some(whole as i64 + i64::from(written))
    }
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    mantissa: u64,
    /// Significant digits in the mantissa.
    digits: usize,
    /// Digits that the mantissa had no room for.
    dropped: usize,
}

impl Scan<'_> {
    #[inline]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn sign(&mut self, grammar: Grammar) -> bool {
        let sign = self.peek();
        if sign == b'-' || (sign == b'+' && grammar == Grammar::Text) {
            self.at += 1;
        }
        sign == b'-'
    }

    /// Takes a run of digits; gives how many.
    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(byte) = self.bytes.get(self.at) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            if self.digits < MANTISSA_DIGITS_MAX {
                self.mantissa = self.mantissa * 10 + u64::from(digit);
                self.digits += usize::from(self.mantissa != 0);
            } else {
                self.dropped += 1;
            }
            self.at += 1;
        }
        self.at - start
    }

    /// The exponent, zero where there is none; `None` where it has no digits.
    #[inline]
    fn exponent(&mut self) -> Option<i32> {
        if !matches!(self.peek(), b'e' | b'E') {
            return Some(0);
        }
        let start = self.at + 1;
        let mut end = start + usize::from(matches!(self.bytes.get(start), Some(b'+' | b'-')));
        let digits_start = end;
        while self.bytes.get(end).is_some_and(u8::is_ascii_digit) {
            end += 1;
        }
        if end == digits_start {
            return None;
        }
        self.at = end;
        exponent_value(&self.bytes[start..end])
    }
}

/// Of `+12`, `-12` or `12`; a larger one than any type can use counts as the largest.
fn exponent_value(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let add = |value: i32, digit: &u8| (value * 10 + i32::from(digit - b'0')).min(EXPONENT_MAX);
    let value = digits.iter().fold(0, add);
    Some(if negative { -value } else { value })
}

/// A DECIMAL's digits with its point, without an exponent: `-12.50`.
pub(crate) fn write_decimal(value: i128, scale: i8, out: &mut Vec<u8>) {
    use std::io::Write;
    let digits = value.unsigned_abs().to_string();
    if value < 0 {
        out.push(b'-');
    }
    if scale <= 0 {
        let zeros = if value == 0 { 0 } else { usize::from(scale.unsigned_abs()) };
        write!(out, "{digits}{:0<zeros$}", "").expect("a Vec takes any bytes");
        return;
    }
    let scale = scale as usize;
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    write!(out, "{whole}.{fraction}").expect("a Vec takes any bytes");
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    fn json(text: &str) -> Option<Number<'_>> {
        let (number, end) = Number::scan(text.as_bytes(), 0, Grammar::Json)?;
        (end == text.len()).then_some(number)
    }

    #[test]
    fn grammar() {
        for text in ["0", "-0", "1.5", "1e5", "1E+5", "-1.0e-5", "123456789012345678901234567890", "0.1", "0e0"] {
            assert!(json(text).is_some(), "{text}");
        }
        for text in ["", "-", "+1", "01", "-01", ".5", "5.", "1e", "1e+", "NaN", "Infinity", "0x1", "1 ", "--1"] {
            assert!(json(text).is_none(), "{text}");
        }
        for text in ["+1", "007", ".5", "5.", "1.e2"] {
            assert!(Number::parse(text.as_bytes()).is_some(), "{text}");
        }
        for text in ["", ".", "+", "e5", "1 ", " 1", "1d"] {
            assert!(Number::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn integers() {
        for (text, expected) in [
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("18446744073709551616", None),
            ("1.0", Some(1)),
            ("1.5", None),
            ("1e3", Some(1000)),
            ("1e19", None),
            ("0e99999", Some(0)),
            ("1e999999999999", None),
            ("1200e-2", Some(12)),
            ("1.00000000000000000000000", Some(1)),
            ("1.00000000000000000000001", None),
        ] {
            assert_eq!(json(text).and_then(Number::to_i64), expected, "{text}");
        }
    }

    #[test]
    fn decimals() {
        for (text, precision, scale, expected) in [
            ("12.345", 10, 2, Some(1235)),
            ("12.344", 10, 2, Some(1234)),
            ("-12.345", 10, 2, Some(-1235)),
            ("99.995", 4, 2, None),
            ("1e-3", 10, 2, Some(0)),
            ("5e-3", 10, 2, Some(1)),
            ("1e2", 10, 2, Some(10_000)),
            ("0.00", 2, 2, Some(0)),
            ("12345678901234567890.123456789012345678", 38, 18, Some(12345678901234567890123456789012345678)),
            ("99999999999999999999999999999999999999", 38, 0, Some(99999999999999999999999999999999999999)),
            ("100000000000000000000000000000000000000", 38, 0, None),
            ("0000000000000000000000000000000000000000000001", 1, 0, Some(1)),
            ("1e99999999", 38, 0, None),
            ("1e-99999999", 38, 0, Some(0)),
        ] {
            let number = Number::parse(text.as_bytes()).expect("a number");
            assert_eq!(number.to_decimal(precision, scale), expected, "{text}");
        }
    }

    #[test]
    fn floats_agree_with_the_standard_library() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        for _ in 0..20_000 {
            let text = match random.random_range(0..3) {
                0 => format!("{:?}", f64::from_bits(random.random())),
                1 => format!("{}.{}", random.random::<i32>(), random.random::<u32>()),
                _ => format!("{}e{}", random.random::<i64>(), random.random_range(-30..30)),
            };
            let Some(number) = json(&text) else { continue };
            assert_eq!(number.to_f64(), text.parse().ok().filter(|value: &f64| value.is_finite()), "{text}");
        }
        assert_eq!(json("1e999").and_then(Number::to_f64), None);
        assert_eq!(json("-0.0").and_then(Number::to_f64).map(f64::is_sign_negative), Some(true));
    }

    #[test]
    fn written_decimals_read_back() {
        for (value, scale, text) in
            [(0, 2, "0.00"), (-5, 2, "-0.05"), (1234, 2, "12.34"), (7, 0, "7"), (7, -2, "700"), (0, -2, "0")]
        {
            let mut out = Vec::new();
            write_decimal(value, scale, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), text);
            assert_eq!(Number::parse(&out).and_then(|number| number.to_decimal(38, scale)), Some(value));
        }
    }
}
