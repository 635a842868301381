//! Random words that depend only on what they are for: no generator state, so any row can be made first.

/// The odd constant of splitmix64 (2^64 / golden ratio), which spreads neighbouring numbers.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Another odd constant, so that draws within a row do not repeat those of later rows.
const STRIDE: u64 = 0xd1b5_4a32_d192_ed03;

/// splitmix64's finaliser: every bit of the input changes about half the bits of the output.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The seed of a column, from the table's seed and the path of the column.
pub fn column_seed(seed: u64, path: &str) -> u64 {
    path.bytes().fold(mix(seed ^ GOLDEN), |hash, byte| mix(hash ^ u64::from(byte)))
}

/// The word of one value: `key` is the row's index, or a word drawn for an element of an array.
pub fn word(seed: u64, key: u64) -> u64 {
    mix(seed.wrapping_add(key.wrapping_add(1).wrapping_mul(GOLDEN)))
}

/// The n-th further word of a value.
pub fn nth(word: u64, n: u64) -> u64 {
    mix(word.wrapping_add(n.wrapping_add(1).wrapping_mul(STRIDE)))
}

/// Between 0 and 1, without 1.
pub fn unit(word: u64) -> f64 {
    (word >> 11) as f64 / (1u64 << 53) as f64
}

/// Below `bound`, evenly up to one part in 2^64 / bound; 0 for a bound of 0.
pub fn below(word: u64, bound: u64) -> u64 {
    ((u128::from(word) * u128::from(bound)) >> 64) as u64
}

/// From `min` to `max`, both included.
pub fn between(word: u64, min: i64, max: i64) -> i64 {
    let span = i128::from(max) - i128::from(min) + 1;
    // The span may be 2^64, which fits 128 bits; the product of two 64-bit numbers does, too.
    let offset = if span > i128::from(u64::MAX) { u128::from(word) } else { (u128::from(word) * span as u128) >> 64 };
    (i128::from(min) + offset as i128) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_kept_and_reached() {
        let (mut low, mut high) = (false, false);
        for key in 0..1000 {
            let value = between(word(7, key), -3, 3);
            assert!((-3..=3).contains(&value));
            (low, high) = (low || value == -3, high || value == 3);
            assert!((0.0..1.0).contains(&unit(word(7, key))));
            between(word(7, key), i64::MIN, i64::MAX);
        }
        assert!(low && high);
    }
}
