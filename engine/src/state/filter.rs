//! Bloom filters over keys of state, by the hashes of [`frame_hash`](super::writes::frame_hash).

/// For each key that a filter is made for.
const BITS_PER_KEY: usize = 16;

/// The bits of a key stand in one word, so that asking for it is one look at memory: four numbers of six bits.
const BITS_SET: u32 = 4;
const NUMBER_BITS: u32 = u64::BITS.ilog2();

/// May say so of one in a hundred keys that are not there.
pub struct Filter {
    /// A power of two of them.
    words: Vec<u64>,
}

impl Filter {
    /// An empty one, for so many keys.
    pub fn new(keys: usize) -> Self {
        let words = (keys * BITS_PER_KEY).div_ceil(u64::BITS as usize).next_power_of_two();
        Self { words: vec![0; words] }
    }

    pub fn insert(&mut self, hash: u64) {
        let (word, bits) = self.place(hash);
        self.words[word] |= bits;
    }

    pub fn may_have(&self, hash: u64) -> bool {
        let (word, bits) = self.place(hash);
        self.words[word] & bits == bits
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }

    /// The word of a key, and its bits there.
    fn place(&self, hash: u64) -> (usize, u64) {
        let bit = |number: u32| 1 << (hash >> (number * NUMBER_BITS) & u64::from(u64::BITS - 1));
        let word = (hash >> (BITS_SET * NUMBER_BITS)) as usize & (self.words.len() - 1);
        (word, (0..BITS_SET).map(bit).fold(0, |bits: u64, bit: u64| bits | bit))
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    #[test]
    fn it_has_what_was_put_in_and_leaves_out_most_else() {
        let hash = |number: u32| xxh3_64(&number.to_be_bytes());
        for keys in [1, 2, 100, 1024, 5000] {
            let mut filter = Filter::new(keys as usize);
            (0..keys).for_each(|number| filter.insert(hash(number)));
            assert!((0..keys).all(|number| filter.may_have(hash(number))), "{keys}");
            let wrong = (keys..keys + 100_000).filter(|number| filter.may_have(hash(*number))).count();
            assert!(wrong < 1000, "{wrong} of 100,000 beside {keys}");
        }
    }
}
