//! A fixed-point number wide enough for any sum of products of two doubles, rounded once at the end.
//!
//! Made per result, never per row: it takes about 1.2 KB on the stack.

/// Bits per limb; limbs are i64, so that carries can wait.
const LIMB_BITS: i32 = 32;
/// The value of the lowest bit is 2^LOWEST: below the product of two of the smallest doubles (2^-2148).
const LOWEST: i32 = -2176;
/// Up to 2^2624: above the product of two sums of huge values (twice 2^(1024 + 200)) times a count.
const LIMBS: usize = 150;
const LIMB_MASK: i64 = 0xffff_ffff;

pub(super) struct Wide {
    limbs: [i64; LIMBS],
}

/// A finite double as sign, integer mantissa and exponent: `±mantissa * 2^exponent`.
fn decompose(value: f64) -> (bool, u64, i32) {
    debug_assert!(value.is_finite());
    let bits = value.to_bits();
    let biased = ((bits >> 52) & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    match biased {
        0 => (value.is_sign_negative(), fraction, -1074),
        _ => (value.is_sign_negative(), fraction | 1 << 52, biased - 1075),
    }
}

impl Wide {
    pub(super) fn new() -> Self {
        Self { limbs: [0; LIMBS] }
    }

    /// Adds `value * factor * 2^shift`.
    pub(super) fn add(&mut self, value: f64, factor: i64, shift: i32) {
        let (negative, mantissa, exponent) = decompose(value);
        let magnitude = u128::from(mantissa) * u128::from(factor.unsigned_abs());
        self.add_integer(negative != (factor < 0), magnitude, exponent + shift);
    }

    /// Subtracts `a * b * 2^shift`.
    pub(super) fn subtract_product(&mut self, a: f64, b: f64, shift: i32) {
        let (a_negative, a_mantissa, a_exponent) = decompose(a);
        let (b_negative, b_mantissa, b_exponent) = decompose(b);
        let magnitude = u128::from(a_mantissa) * u128::from(b_mantissa);
        self.add_integer(a_negative == b_negative, magnitude, a_exponent + b_exponent + shift);
    }

    fn add_integer(&mut self, negative: bool, magnitude: u128, exponent: i32) {
        for (half, offset) in [(magnitude as u64, 0), ((magnitude >> 64) as u64, 64)] {
            if half != 0 {
                self.add_word(negative, half, exponent + offset - LOWEST);
            }
        }
    }

    /// Adds a word whose lowest bit stands at bit `position`.
    fn add_word(&mut self, negative: bool, word: u64, position: i32) {
        debug_assert!(position >= 0);
        let mut rest = u128::from(word) << (position % LIMB_BITS);
        let mut limb = (position / LIMB_BITS) as usize;
        while rest != 0 {
            let digit = rest as i64 & LIMB_MASK;
            self.limbs[limb] += if negative { -digit } else { digit };
            rest >>= LIMB_BITS;
            limb += 1;
        }
    }

    /// The nearest double, ties to even; infinite where it is too large.
    pub(super) fn round(mut self) -> f64 {
        self.carry();
        let negative = self.limbs[LIMBS - 1] < 0;
        if negative {
            self.limbs.iter_mut().for_each(|limb| *limb = -*limb);
            self.carry();
        }
        let Some(top) = self.limbs.iter().rposition(|limb| *limb != 0) else { return 0.0 };
        let bottom = top.saturating_sub(3);
        let leading = (bottom..=top).rev().fold(0u128, |sum, limb| sum << LIMB_BITS | self.limbs[limb] as u128);
        let sticky = self.limbs[..bottom].iter().any(|limb| *limb != 0);
        // At least 97 bits lead when anything is left below, so the lowest of them only breaks ties.
        let rounded = (leading | u128::from(sticky)) as f64;
        let magnitude = scale(rounded, LOWEST + LIMB_BITS * bottom as i32);
        if negative { -magnitude } else { magnitude }
    }

    /// Brings all limbs but the highest into 0..2^32.
    fn carry(&mut self) {
        let mut carry = 0;
        for limb in &mut self.limbs[..LIMBS - 1] {
            let value = *limb + carry;
            *limb = value & LIMB_MASK;
            carry = value >> LIMB_BITS;
        }
        self.limbs[LIMBS - 1] += carry;
    }
}

/// `value * 2^exponent`, in steps that each stay within the range of a double.
fn scale(mut value: f64, mut exponent: i32) -> f64 {
    const STEP: i32 = 1000;
    let power = |exponent: i32| f64::from_bits(((exponent + 1023) as u64) << 52);
    while exponent.abs() > STEP {
        value *= power(STEP * exponent.signum());
        exponent -= STEP * exponent.signum();
    }
    value * power(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_come_back_as_they_went_in() {
        for value in [0.0, 1.0, -1.5, 5e-324, -2.2e-308, f64::MAX, f64::MIN_POSITIVE, 1e300, 0.1] {
            let mut wide = Wide::new();
            wide.add(value, 1, 0);
            assert_eq!(wide.round(), value);
        }
    }

    #[test]
    fn products_cancel_exactly() {
        let mut wide = Wide::new();
        wide.add(9.0, 4, 0);
        wide.subtract_product(6.0, 6.0, 0);
        wide.subtract_product(5e-324, 0.5, 0);
        assert_eq!(wide.round(), -0.0);
        let mut wide = Wide::new();
        wide.add(1e300, 3, 0);
        wide.subtract_product(1e150, 3e150, 0);
        assert!(wide.round().abs() < 1e285, "only the products' own rounding is left");
    }
}
