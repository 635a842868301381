//! Rows of a side on their way to state: of keys that are not in memory, and those that are written before a barrier asks for it.
//!
//! They go in pieces, some behind each batch, so that no row waits long for those before it; and they rather wait here while
//! files are frozen, since state would have to keep them beside those.

use std::collections::VecDeque;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

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

/// Oldest piece first; the last one is still filled.
#[derive(Default)]
pub struct Unread {
    pieces: VecDeque<Piece>,
}

#[derive(Default)]
struct Piece {
    writes: Writes,
    /// Hashes of the join keys whose rows nobody else has.
    keys: HashTable<u64>,
}

impl Unread {
    /// A row of a key that is not in memory; the entry's key may be given in parts.
    pub fn put(&mut self, hash: u64, group: KeyGroup, key: &[&[u8]], value: &[u8]) {
        let piece = self.open_piece();
        piece.writes.put(group, key, value);
        if let Entry::Vacant(vacant) = piece.keys.entry(hash, |known| *known == hash, |known| *known) {
            vacant.insert(hash);
        }
    }

    /// The rows of an entry that memory has too, or `None` for one that is to be deleted. What came for it before is written before.
    pub fn set(&mut self, group: KeyGroup, key: &[&[u8]], value: Option<&[u8]>) {
        self.open_piece().writes.set(group, key, value);
    }

    fn open_piece(&mut self) -> &mut Piece {
        if self.pieces.back().is_none_or(|piece| piece.writes.bytes() >= PIECE_BYTES) {
            self.pieces.push_back(Piece::default());
        }
        self.pieces.back_mut().expect("one was added")
    }

    /// True where rows of a key with this hash may be here and nowhere else.
    pub fn may_have(&self, hash: u64) -> bool {
        self.pieces.iter().any(|piece| piece.keys.find(hash, |known| *known == hash).is_some())
    }

    /// Writes some of what is here; to be called behind each batch.
    pub fn write_some(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        if ctx.state.is_freezing() && self.size_bytes() < ctx.cache_budget_bytes / WAITING_SHARE {
            return Ok(());
        }
        for _ in 0..PIECES_AT_ONCE {
            let Some(mut piece) = self.pieces.pop_front_if(|piece| piece.writes.bytes() >= PIECE_BYTES) else { break };
            piece.writes.flush(ctx.state.as_mut())?;
        }
        Ok(())
    }

    /// State has from now on what can be read from it alone.
    pub fn write_all(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.pieces.drain(..).try_for_each(|mut piece| piece.writes.flush(ctx.state.as_mut()))
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.writes.size_bytes() + piece.keys.allocation_size()).sum()
    }
}
