//! Keys that were asked for, with their rows where they are known: what rows in flight wait for, and the cache.
//!
//! A key is found again while it is in the index: until it is asked where nothing is cached, else until it expires or
//! makes room. It stays as long as rows wait for it, found or not.

use hashbrown::HashTable;

use super::held::Place;
use crate::lookup::CachePolicy;
use crate::operators::join_rows::ByteRows;

/// A key in [`Entries`].
pub type KeyId = u32;

/// A key with a NULL, which no row has.
pub const NULL_KEY: KeyId = u32::MAX;

/// Neither before nor after it, in the list of uses.
const NONE: u32 = u32::MAX;

/// What an entry takes beyond its key and rows, about.
const ENTRY_BYTES: usize = size_of::<Entry>() + 16;

pub struct Entries {
    entries: Vec<Entry>,
    free: Vec<KeyId>,
    index: HashTable<KeyId>,
    policy: Option<CachePolicy>,
    bytes_max: usize,
    cached_rows: usize,
    cached_bytes: usize,
    /// The cached key that was used longest ago, and the one that was used last.
    oldest: KeyId,
    newest: KeyId,
}

#[derive(Default)]
struct Entry {
    hash: u64,
    key: Box<[u8]>,
    /// `None` until it is answered.
    rows: Option<ByteRows>,
    /// Rows that wait for it or are about to be joined with it.
    pins: u32,
    /// Those that are to be told of the answer.
    waiting: Vec<Place>,
    indexed: bool,
    cached: bool,
    written_ms: i64,
    used_ms: i64,
    before: KeyId,
    after: KeyId,
}

impl Entries {
    /// `bytes_max`: what may be cached, whatever the policy says.
    pub fn new(policy: Option<CachePolicy>) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            policy,
            bytes_max: usize::MAX,
            cached_rows: 0,
            cached_bytes: 0,
            oldest: NONE,
            newest: NONE,
        }
    }

    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    pub fn cached_bytes(&self) -> usize {
        self.cached_bytes
    }

    /// The entry of a key, unless it has expired.
    pub fn find(&mut self, hash: u64, key: &[u8], now_ms: i64) -> Option<KeyId> {
        let is_it = |id: &KeyId| {
            let entry = &self.entries[*id as usize];
            entry.hash == hash && *entry.key == *key
        };
        let id = *self.index.find(hash, is_it)?;
        let entry = &self.entries[id as usize];
        if !entry.cached {
            return Some(id);
        }
        if self.has_expired(entry, now_ms) {
            self.forget(id);
            return None;
        }
        self.unlink(id);
        self.link_newest(id);
        self.entries[id as usize].used_ms = now_ms;
        Some(id)
    }

    fn has_expired(&self, entry: &Entry, now_ms: i64) -> bool {
        let Some(policy) = &self.policy else { return false };
        let over = |since: i64, limit: Option<i64>| limit.is_some_and(|limit| now_ms.saturating_sub(since) >= limit);
        over(entry.written_ms, policy.expire_after_write_ms) || over(entry.used_ms, policy.expire_after_access_ms)
    }

    /// A key that was not found.
    pub fn add(&mut self, hash: u64, key: &[u8]) -> KeyId {
        let entry = Entry { hash, key: key.into(), indexed: true, before: NONE, after: NONE, ..Entry::default() };
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = entry;
                id
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("rows in flight and cached keys are bounded")
            }
        };
        assert_ne!(id, NULL_KEY, "rows in flight and cached keys are bounded");
        let entries = &self.entries;
        self.index.insert_unique(hash, id, |id| entries[*id as usize].hash);
        id
    }

    pub fn key(&self, id: KeyId) -> &[u8] {
        &self.entries[id as usize].key
    }

    pub fn is_answered(&self, id: KeyId) -> bool {
        id == NULL_KEY || self.entries[id as usize].rows.is_some()
    }

    /// Of a key that is answered.
    pub fn rows(&self, id: KeyId) -> Option<&ByteRows> {
        if id == NULL_KEY { None } else { self.entries[id as usize].rows.as_ref() }
    }

    /// One more row needs the entry.
    pub fn pin(&mut self, id: KeyId) {
        if id != NULL_KEY {
            self.entries[id as usize].pins += 1;
        }
    }

    pub fn unpin(&mut self, id: KeyId) {
        if id != NULL_KEY {
            self.entries[id as usize].pins -= 1;
            self.release_unused(id);
        }
    }

    /// The row is to be told when the key is answered.
    pub fn wait(&mut self, id: KeyId, place: Place) {
        self.entries[id as usize].waiting.push(place);
    }

    /// The key is being asked for. Where nothing is cached, later rows ask for it anew: they may need a newer answer.
    pub fn on_asked(&mut self, id: KeyId) {
        if self.policy.is_none() {
            self.unindex(id);
        }
    }

    /// The rows of a key; gives the rows that are to be told.
    pub fn fill(&mut self, id: KeyId, rows: ByteRows, now_ms: i64) -> Vec<Place> {
        let keeps = self.policy.is_some_and(|policy| policy.missing_keys || !rows.is_empty());
        let entry = &mut self.entries[id as usize];
        assert!(entry.rows.is_none(), "a key is answered once");
        entry.rows = Some(rows);
        (entry.written_ms, entry.used_ms) = (now_ms, now_ms);
        let waiting = std::mem::take(&mut entry.waiting);
        if keeps && entry.indexed {
            self.link_newest(id);
            self.make_room();
        } else {
            self.unindex(id);
            self.release_unused(id);
        }
        waiting
    }

    fn make_room(&mut self) {
        let rows_max = self.policy.and_then(|policy| policy.rows_max).unwrap_or(usize::MAX);
        while self.oldest != NONE && (self.cached_rows > rows_max || self.cached_bytes > self.bytes_max) {
            self.forget(self.oldest);
        }
    }

    /// The key will not be found any more.
    fn forget(&mut self, id: KeyId) {
        self.unlink(id);
        self.unindex(id);
        self.release_unused(id);
    }

    fn unindex(&mut self, id: KeyId) {
        let entry = &mut self.entries[id as usize];
        if std::mem::take(&mut entry.indexed) {
            let found = self.index.find_entry(entry.hash, |other| *other == id);
            found.map(|found| found.remove()).map_err(|_| id).expect("an indexed entry is in the index");
        }
    }

    fn release_unused(&mut self, id: KeyId) {
        let entry = &mut self.entries[id as usize];
        if entry.pins == 0 && !entry.indexed {
            *entry = Entry::default();
            self.free.push(id);
        }
    }

    fn link_newest(&mut self, id: KeyId) {
        let (rows, bytes) = self.weight(id);
        self.cached_rows += rows;
        self.cached_bytes += bytes;
        let last = std::mem::replace(&mut self.newest, id);
        match last {
            NONE => self.oldest = id,
            last => self.entries[last as usize].after = id,
        }
        let entry = &mut self.entries[id as usize];
        (entry.cached, entry.before, entry.after) = (true, last, NONE);
    }

    fn unlink(&mut self, id: KeyId) {
        let (rows, bytes) = self.weight(id);
        self.cached_rows -= rows;
        self.cached_bytes -= bytes;
        let entry = &mut self.entries[id as usize];
        let (before, after) = (entry.before, entry.after);
        entry.cached = false;
        match before {
            NONE => self.oldest = after,
            before => self.entries[before as usize].after = after,
        }
        match after {
            NONE => self.newest = before,
            after => self.entries[after as usize].before = before,
        }
    }

    /// What a cached key counts as: rows, and bytes.
    fn weight(&self, id: KeyId) -> (usize, usize) {
        let entry = &self.entries[id as usize];
        let (rows, bytes) = entry.rows.as_ref().map_or((0, 0), |rows| (rows.len(), rows.size_bytes()));
        (rows.max(1), bytes + entry.key.len() + ENTRY_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::hash_key;

    fn entries(policy: CachePolicy) -> Entries {
        Entries::new(Some(policy))
    }

    fn answer(entries: &mut Entries, key: &str, row_count: usize, now_ms: i64) -> KeyId {
        let id = entries.add(hash_key(key.as_bytes()), key.as_bytes());
        entries.pin(id);
        entries.on_asked(id);
        let mut rows = ByteRows::default();
        (0..row_count).for_each(|_| rows.push(b"row"));
        entries.fill(id, rows, now_ms);
        entries.unpin(id);
        id
    }

    fn knows(entries: &mut Entries, key: &str, now_ms: i64) -> bool {
        entries.find(hash_key(key.as_bytes()), key.as_bytes(), now_ms).is_some()
    }

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let mut entries = entries(CachePolicy { rows_max: Some(3), missing_keys: true, ..CachePolicy::default() });
        for key in ["a", "b", "c"] {
            answer(&mut entries, key, 1, 0);
        }
        assert!(knows(&mut entries, "a", 0));
        answer(&mut entries, "d", 0, 0);
        assert_eq!(["a", "b", "c", "d"].map(|key| knows(&mut entries, key, 0)), [true, false, true, true]);
        answer(&mut entries, "e", 3, 0);
        assert_eq!(["a", "c", "d", "e"].map(|key| knows(&mut entries, key, 0)), [false, false, false, true]);
        answer(&mut entries, "f", 4, 0);
        assert!(!knows(&mut entries, "e", 0) && !knows(&mut entries, "f", 0), "more than there is room for");
        assert_eq!((entries.cached_rows, entries.cached_bytes, entries.oldest, entries.newest), (0, 0, NONE, NONE));
        assert!(entries.index.is_empty() && entries.free.len() == entries.entries.len());
    }

    #[test]
    fn keys_expire_after_their_answer_and_after_their_last_use() {
        let mut written = entries(CachePolicy { expire_after_write_ms: Some(10), ..CachePolicy::default() });
        answer(&mut written, "a", 1, 100);
        assert!(knows(&mut written, "a", 109) && !knows(&mut written, "a", 110) && !knows(&mut written, "a", 109));
        let mut used = entries(CachePolicy { expire_after_access_ms: Some(10), ..CachePolicy::default() });
        answer(&mut used, "a", 1, 100);
        assert!(knows(&mut used, "a", 109) && knows(&mut used, "a", 118) && !knows(&mut used, "a", 128));
        answer(&mut used, "b", 0, 100);
        assert!(!knows(&mut used, "b", 100), "without `missing_keys` nothing is remembered of them");
    }

    #[test]
    fn without_a_cache_only_what_is_not_yet_asked_is_shared() {
        let mut entries = Entries::new(None);
        let id = entries.add(hash_key(b"a"), b"a");
        entries.pin(id);
        assert!(knows(&mut entries, "a", 0));
        entries.on_asked(id);
        assert!(!knows(&mut entries, "a", 0));
        entries.fill(id, ByteRows::default(), 0);
        assert!(entries.is_answered(id) && entries.free.is_empty());
        entries.unpin(id);
        assert_eq!(entries.free, [id]);
    }

    #[test]
    fn memory_bounds_the_cache() {
        let mut entries = entries(CachePolicy { missing_keys: true, ..CachePolicy::default() });
        entries.set_bytes_max(10 * ENTRY_BYTES);
        for number in 0..1000 {
            answer(&mut entries, &number.to_string(), 1, 0);
            assert!(entries.cached_bytes() <= 10 * ENTRY_BYTES && entries.entries.len() <= 11);
        }
        assert!(knows(&mut entries, "999", 0) && !knows(&mut entries, "900", 0));
    }
}
