//! All keys that a RocksDB may have, in a filter in memory. A key that is new is so told without a look into any file: those of a
//! large state are dozens, and each has a filter of its own to be asked.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::backend::Shared;
use super::filter::Filter;
use super::writes::frame_hash;

/// Keys of the first filter; each next one is for so many times those of the one before.
const FIRST_KEYS: usize = if cfg!(test) { 64 } else { 4096 };
const GROWTH: usize = 4;

/// Keys (or frames, where keys have them) by their hashes. Nothing is ever removed.
pub struct KnownKeys {
    backend: Arc<Shared>,
    /// Oldest first; a key is in one of them.
    filters: Vec<Filter>,
    /// How many keys the last of them still takes.
    room: usize,
    /// Keys may be missing.
    is_partial: bool,
}

impl KnownKeys {
    /// Of a state without keys.
    pub fn new(backend: Arc<Shared>) -> Self {
        Self { backend, filters: Vec::new(), room: 0, is_partial: false }
    }

    /// False where the state has no key of this [`frame_hash`].
    pub fn may_have(&self, hash: u64) -> bool {
        self.is_partial || self.has(hash)
    }

    /// False where the state has not this stored key.
    pub fn may_have_key(&self, stored: &[u8]) -> bool {
        self.is_partial || self.has(frame_hash(stored))
    }

    fn has(&self, hash: u64) -> bool {
        self.filters.iter().rev().any(|filter| filter.may_have(hash))
    }

    /// Adds stored keys.
    pub fn extend<'a>(&mut self, stored: impl Iterator<Item = &'a [u8]>) {
        // Without a filter no key need be hashed.
        for key in stored {
            if self.is_partial {
                return;
            }
            self.insert(frame_hash(key));
        }
    }

    fn insert(&mut self, hash: u64) {
        if self.is_partial || self.has(hash) {
            return;
        }
        if self.room == 0 {
            self.grow();
        }
        if let Some(last) = self.filters.last_mut() {
            last.insert(hash);
            self.room -= 1;
        }
    }

    /// Adds a filter, or gives all up where they would take more memory than they may.
    fn grow(&mut self) {
        let keys = FIRST_KEYS * GROWTH.pow(self.filters.len() as u32);
        let filter = Filter::new(keys);
        let bytes = self.backend.known_keys_bytes.fetch_add(filter.size_bytes(), Ordering::Relaxed);
        let is_too_much = bytes + filter.size_bytes() > self.backend.known_keys_bytes_max;
        self.filters.push(filter);
        self.room = keys;
        if is_too_much {
            self.give_up();
        }
    }

    /// Any key may be there from now on.
    pub fn give_up(&mut self) {
        self.is_partial = true;
        let bytes = self.filters.drain(..).map(|filter| filter.size_bytes()).sum();
        self.backend.known_keys_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for KnownKeys {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;
    use crate::state::StateBackend;

    fn hash(number: u32) -> u64 {
        xxh3_64(&number.to_be_bytes())
    }

    #[test]
    fn it_knows_every_key_and_few_others_until_that_takes_too_much_memory() {
        let backend = StateBackend::new(0).shared;
        let bytes = || backend.known_keys_bytes.load(Ordering::Relaxed);
        let mut known = KnownKeys::new(Arc::clone(&backend));
        assert!(!known.may_have(hash(0)), "an empty state has no key");
        let mut keys = 0;
        while !known.is_partial {
            // Again and again, as a state is written.
            (0..2).for_each(|_| known.insert(hash(keys)));
            keys += 1;
            assert!(bytes() <= backend.known_keys_bytes_max);
            if keys.is_power_of_two() && !known.is_partial {
                assert!((0..keys).all(|key| known.may_have(hash(key))), "{keys} keys");
                let wrong = (keys..keys + 10_000).filter(|key| known.may_have(hash(*key))).count();
                assert!(wrong < 300, "{wrong} of 10,000 beside {keys}");
            }
        }
        assert!(keys > 10_000, "{keys} keys fit");
        assert!(known.may_have(hash(keys + 1)) && bytes() == 0, "it says nothing any more, and takes nothing");
        known.insert(hash(0));
        let mut other = KnownKeys::new(Arc::clone(&backend));
        other.insert(hash(0));
        assert!(bytes() > 0);
        drop(other);
        assert_eq!(bytes(), 0);
    }
}
