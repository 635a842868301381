//! Rows of a side on their way to state: of keys that are not in memory, and those that are written before a barrier asks for it.
//!
//! They go in pieces, some behind each batch, so that no row waits long for those before it; and they rather wait here while
//! files are frozen, since state would have to keep them beside those. Meanwhile they are read from here.

use std::collections::VecDeque;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::entry::{self, BUCKET_BYTES, Buckets, packed_rows};
use super::side_rows::NONE;
use crate::Result;
use crate::keys::KeyGroup;
use crate::operator::OperatorContext;
use crate::state::Writes;

/// So many bytes go to state at once: about a millisecond's work.
const PIECE_BYTES: usize = if cfg!(test) { 256 } else { 512 << 10 };

/// Pieces that are written behind a batch: more than one brings, so that they become fewer.
const PIECES_AT_ONCE: usize = 4;

/// As long as files are frozen, so much of the budget may wait here.
const WAITING_SHARE: usize = 16;

pub struct Unread {
    /// Rows of a key that came in one piece share entries.
    packs: bool,
    /// Oldest first; the last one is still filled.
    pieces: VecDeque<Piece>,
    /// Without writes: the memory of one that was full, for the next one.
    spare: Option<Piece>,
    /// The piece at hand, packed.
    packed: Writes,
}

#[derive(Default)]
struct Piece {
    writes: Writes,
    /// By hash of the join key: the rows that nobody else has.
    keys: HashTable<Chain>,
    /// By number of the write: the next of the same chain, or [`NONE`].
    next: Vec<u32>,
}

/// The writes of rows whose join keys have one hash, first to last.
struct Chain {
    hash: u64,
    first: u32,
    last: u32,
}

impl Unread {
    pub fn new(buckets: Buckets) -> Self {
        Self { packs: buckets == Buckets::Packed, pieces: VecDeque::new(), spare: None, packed: Writes::default() }
    }

    /// A row of a key that is not in memory; the entry's key may be given in parts.
    pub fn put(&mut self, hash: u64, group: KeyGroup, key: &[&[u8]], value: &[u8]) {
        let Piece { writes, keys, next } = self.open_piece();
        let number = u32::try_from(writes.len()).expect("a piece is far below 4 GB");
        writes.put(group, key, value);
        next.resize(writes.len(), NONE);
        match keys.entry(hash, |chain| chain.hash == hash, |chain| chain.hash) {
            Entry::Occupied(mut chain) => {
                let last = std::mem::replace(&mut chain.get_mut().last, number);
                next[last as usize] = number;
            }
            Entry::Vacant(vacant) => {
                vacant.insert(Chain { hash, first: number, last: number });
            }
        }
    }

    /// The rows of an entry that memory has too, or `None` for one that is to be deleted. What came for it before is written before.
    pub fn set(&mut self, group: KeyGroup, key: &[&[u8]], value: Option<&[u8]>) {
        self.open_piece().writes.set(group, key, value);
    }

    fn open_piece(&mut self) -> &mut Piece {
        if self.pieces.back().is_none_or(|piece| piece.writes.bytes() >= PIECE_BYTES) {
            self.pieces.push_back(self.spare.take().unwrap_or_default());
        }
        self.pieces.back_mut().expect("one was added")
    }

    /// True where rows of a key with this hash may be here and nowhere else.
    pub fn may_have(&self, hash: u64) -> bool {
        self.pieces.iter().any(|piece| piece.chain(hash).is_some())
    }

    /// Shows the entries of a key that are here and nowhere else, in order of arrival: bucket and value.
    pub fn read(&self, hash: u64, join_key: &[u8], show: &mut impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        for piece in &self.pieces {
            let mut number = piece.chain(hash).map_or(NONE, |chain| chain.first);
            while number != NONE {
                let (_, key, value) = piece.writes.get(number as usize);
                let key = entry::read_key(key)?;
                if let (true, Some(value)) = (key.join_key == join_key, value) {
                    show(key.bucket.unwrap_or(hash), value)?;
                }
                number = piece.next[number as usize];
            }
        }
        Ok(())
    }

    /// Writes some of what is here; to be called behind each batch.
    pub fn write_some(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        if ctx.state.is_freezing() && self.size_bytes() < ctx.cache_budget_bytes / WAITING_SHARE {
            return Ok(());
        }
        for _ in 0..PIECES_AT_ONCE {
            let Some(mut piece) = self.pieces.pop_front_if(|piece| piece.writes.bytes() >= PIECE_BYTES) else { break };
            self.write(&mut piece, ctx)?;
            piece.clear();
            self.spare = Some(piece);
        }
        Ok(())
    }

    /// State has from now on what can be read from it alone.
    pub fn write_all(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        if self.pieces.is_empty() {
            // Little comes.
            (self.spare, self.packed) = (None, Writes::default());
        }
        while let Some(mut piece) = self.pieces.pop_front() {
            self.write(&mut piece, ctx)?;
        }
        Ok(())
    }

    fn write(&mut self, piece: &mut Piece, ctx: &mut OperatorContext) -> Result<()> {
        if !self.packs {
            return piece.writes.flush(ctx.state.as_mut());
        }
        piece.pack(&mut self.packed);
        self.packed.flush(ctx.state.as_mut())
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.pieces.iter().chain(&self.spare).map(Piece::size_bytes).sum::<usize>() + self.packed.size_bytes()
    }
}

impl Piece {
    /// Forgets the writes, and keeps the memory.
    fn clear(&mut self) {
        self.writes.clear();
        self.keys.clear();
        self.next.clear();
    }

    /// Adds the rows of each key in as few entries as they fit in.
    fn pack(&self, packed: &mut Writes) {
        let Self { writes, next, .. } = self;
        let behind = |number: &usize| next.get(*number).filter(|next| **next != NONE).map(|next| *next as usize);
        let frame = |number: usize| writes.get(number).1.split_last_chunk::<BUCKET_BYTES>().map(|(frame, _)| frame);
        let mut together = Vec::new();
        let mut is_packed = vec![false; writes.len()];
        for first in 0..writes.len() {
            if is_packed[first] {
                continue;
            }
            let of_hash = std::iter::successors(Some(first), behind);
            let of_key = of_hash.filter(|number| !is_packed[*number] && frame(*number) == frame(first));
            let rows = of_key.filter_map(|number| Some((number, writes.get(number).2?)));
            together.clear();
            together.extend(rows.clone().take(packed_rows(rows.map(|(_, value)| value.len()))));
            together.iter().for_each(|(number, _)| is_packed[*number] = true);
            let (group, key, _) = writes.get(first);
            let values: Vec<&[u8]> = together.iter().map(|(_, value)| *value).collect();
            match values.is_empty() {
                true => packed.delete(group, &[key]),
                false => packed.put_parts(group, &[key], &values),
            }
        }
    }

    fn chain(&self, hash: u64) -> Option<&Chain> {
        self.keys.find(hash, |chain| chain.hash == hash)
    }

    fn size_bytes(&self) -> usize {
        self.writes.size_bytes() + self.keys.allocation_size() + self.next.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::frame;

    #[test]
    fn rows_are_read_in_order_of_arrival_through_all_pieces() {
        let mut unread = Unread::new(Buckets::ByArrival);
        // Two keys have one hash.
        let keys = [(7, "a"), (7, "b"), (8, "c")];
        for number in 0_u64..90 {
            let (hash, key) = keys[number as usize % keys.len()];
            let key = frame(0, key.as_bytes());
            unread.put(hash, KeyGroup(3), &[&key, &number.to_be_bytes()], format!("row {number}").as_bytes());
            if number % 4 == 0 {
                unread.set(KeyGroup(3), &[&key, &(1000 + number).to_be_bytes()], Some(b"memory has it too"));
            }
        }
        assert!(unread.pieces.len() > 3, "{} pieces", unread.pieces.len());
        for (place, (hash, key)) in keys.into_iter().enumerate() {
            let mut found = Vec::new();
            let mut show = |bucket, value: &[u8]| {
                assert_eq!(value, format!("row {bucket}").as_bytes());
                found.push(bucket as usize);
                Ok(())
            };
            unread.read(hash, key.as_bytes(), &mut show).unwrap();
            assert!(unread.may_have(hash));
            assert_eq!(found, (place..90).step_by(keys.len()).collect::<Vec<_>>());
        }
        unread.read(9, b"a", &mut |_, _| panic!("there is no such key")).unwrap();
        assert!(!unread.may_have(9));
    }
    #[test]
    fn rows_of_a_key_that_come_in_one_piece_share_entries() {
        let mut unread = Unread::new(Buckets::Packed);
        // Two keys have one hash; what memory has too stays as it is.
        let keys = [(7, "a"), (7, "b"), (8, "c")].map(|(hash, key)| (hash, frame(0, key.as_bytes())));
        for number in 0..30_u64 {
            let (hash, key) = &keys[number as usize % keys.len()];
            match number {
                4 | 29 => unread.set(KeyGroup(3), &[key, &number.to_be_bytes()], Some(&[number as u8; 9])),
                5 => unread.set(KeyGroup(3), &[key, &number.to_be_bytes()], None),
                _ => unread.put(*hash, KeyGroup(3), &[key, &number.to_be_bytes()], &[number as u8; 30]),
            }
        }
        let mut found: Vec<Vec<u64>> = vec![Vec::new(); keys.len()];
        let mut entries = 0;
        for piece in &unread.pieces {
            let mut packed = Writes::default();
            piece.pack(&mut packed);
            for (group, key, value) in (0..packed.len()).map(|number| packed.get(number)) {
                let (frame, bucket) = key.split_last_chunk().unwrap();
                let numbers = &mut found[keys.iter().position(|(_, key)| key == frame).unwrap()];
                let bucket = u64::from_be_bytes(*bucket);
                match (bucket, value) {
                    (4 | 29, Some(value)) => assert_eq!(value, [bucket as u8; 9]),
                    (5, None) => {}
                    (_, value) => {
                        let value = value.unwrap();
                        assert_eq!(
                            (group, u64::from(value[0])),
                            (KeyGroup(3), bucket),
                            "the first row tells the entry"
                        );
                        assert!(value.len() <= entry::PACKED_BYTES_MAX);
                        numbers.extend(value.chunks(30).map(|row| u64::from(row[0])));
                    }
                }
                entries += 1;
            }
        }
        let expected = |place: u64| (place..30).step_by(3).filter(|number| ![4, 5, 29].contains(number));
        assert_eq!(found, (0..3).map(|place| expected(place).collect::<Vec<_>>()).collect::<Vec<_>>());
        assert!(entries < 20, "{entries} entries for 30");
    }
}
