//! How often each side has a row: a write-back cache over durable state, one entry per distinct row.

use crate::Result;
use crate::keys::hash_key;
use crate::operator::OperatorContext;
use crate::operators::expiry::ExpirySearch;
use crate::operators::key_table::{BatchKeys, KeyTable, SlotSet};
use crate::operators::note::{NoteReader, NoteWriter};
use crate::operators::recent_use::{RecentUse, is_state_empty};
use crate::state::Writes;
use crate::time::ProcessingTime;

#[derive(Clone, Copy, Default)]
struct Counts {
    sides: [i64; 2],
    /// Wall time when the row came last.
    used_at_ms: i64,
}

/// The rows of a batch.
pub struct Touched {
    /// Number of each row.
    pub of_row: Vec<u32>,
    /// Each number once, in order of first appearance.
    pub distinct: Vec<u32>,
}

pub struct RowCounts {
    rows: KeyTable,
    counts: Vec<Counts>,
    /// Rows that differ from state.
    dirty: SlotSet,
    expiry: ExpirySearch,
    /// Memory has every row that state has.
    is_complete: bool,
    recent_use: RecentUse,
}

impl RowCounts {
    pub fn new(ttl_ms: Option<i64>) -> Self {
        Self {
            rows: KeyTable::default(),
            counts: Vec::new(),
            dirty: SlotSet::default(),
            expiry: ExpirySearch::new(ttl_ms),
            is_complete: false,
            recent_use: RecentUse::default(),
        }
    }

    pub fn open(&mut self, ctx: &OperatorContext) -> Result<()> {
        self.is_complete = is_state_empty(ctx)?;
        Ok(())
    }

    pub fn row(&self, number: u32) -> &[u8] {
        self.rows.key(number)
    }

    /// How often left and right have a row.
    pub fn sides(&self, number: u32) -> [i64; 2] {
        self.counts[number as usize].sides
    }

    /// Numbers for the rows of a batch, read from state where memory does not have them.
    pub fn touch(&mut self, keys: &BatchKeys, rows: usize, ctx: &OperatorContext) -> Result<Touched> {
        self.recent_use.next_batch();
        let known = self.counts.len();
        let of_row: Vec<u32> = (0..rows).map(|row| self.rows.intern(keys.hash(row), keys.key(row))).collect();
        self.counts.resize(self.rows.len(), Counts::default());
        if !self.is_complete {
            (known..self.counts.len()).try_for_each(|number| self.load(number as u32, ctx))?;
        }
        let mut distinct = Vec::new();
        for number in &of_row {
            if self.recent_use.touch(*number) {
                let counts = &mut self.counts[*number as usize];
                if self.expiry.is_expired(counts.used_at_ms, ctx.now.0) {
                    counts.sides = [0, 0];
                }
                counts.used_at_ms = ctx.now.0;
                distinct.push(*number);
                self.dirty.insert(*number);
            }
        }
        Ok(Touched { of_row, distinct })
    }

    fn load(&mut self, number: u32, ctx: &OperatorContext) -> Result<()> {
        let group = self.rows.group(number, ctx.key_groups);
        if let Some(entry) = ctx.state.get(group, self.rows.key(number))? {
            self.counts[number as usize] = decode(&entry)?;
        }
        Ok(())
    }

    pub fn add(&mut self, number: u32, side: usize, delta: i64) {
        self.counts[number as usize].sides[side] += delta;
    }

    /// A retraction of what never came leaves no debt behind.
    pub fn settle(&mut self, numbers: &[u32]) {
        for number in numbers {
            let sides = &mut self.counts[*number as usize].sides;
            *sides = sides.map(|count| count.max(0));
        }
    }

    /// Writes what changed since the last barrier.
    pub fn write_back(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let mut writes = Writes::default();
        for number in self.dirty.iter() {
            let (group, row) = (self.rows.group(number, ctx.key_groups), self.rows.key(number));
            match &self.counts[number as usize] {
                Counts { sides: [0, 0], .. } => writes.delete(group, &[row]),
                counts => writes.put(group, &[row], &encode(counts)),
            }
            writes.flush_when_full(ctx.state.as_mut())?;
        }
        writes.flush(ctx.state.as_mut())?;
        self.dirty.clear();
        Ok(())
    }

    /// Drops rows from memory where it holds more than the budget; those used last stay.
    pub fn keep_to_budget(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        if !self.recent_use.is_beyond_budget(self.size_bytes(), ctx) {
            return Ok(());
        }
        self.write_back(ctx)?;
        self.retain(&self.recent_use.to_keep(self.size_bytes(), ctx));
        ctx.metrics.cache_bytes.set(self.size_bytes() as i64);
        Ok(())
    }

    /// Keeps only some rows; all must be written.
    fn retain(&mut self, kept: &[u32]) {
        assert!(self.dirty.is_empty(), "write_back comes first");
        let mut rows = KeyTable::default();
        let mut counts = Vec::with_capacity(kept.len());
        for number in kept {
            rows.intern(self.rows.hash(*number), self.rows.key(*number));
            counts.push(self.counts[*number as usize]);
        }
        self.recent_use = self.recent_use.of_kept(kept);
        (self.rows, self.counts, self.is_complete) = (rows, counts, false);
    }

    fn size_bytes(&self) -> usize {
        self.rows.size_bytes() + self.counts.capacity() * size_of::<Counts>() + self.recent_use.size_bytes()
    }

    /// When entries are to be searched next that have not been used for long.
    pub fn next_time(&self) -> Option<ProcessingTime> {
        self.expiry.next_time()
    }

    /// Removes expired rows of one key group, now and then.
    pub fn forget_some_expired(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let Some(group) = self.expiry.next_group(ctx) else { return Ok(()) };
        let mut expired = Vec::new();
        ctx.state.scan(group, &[], &mut |row, entry| {
            // Memory knows better where it has the row.
            let cached = self.rows.find(hash_key(row), row).map(|number| self.counts[number as usize].used_at_ms);
            let used_at_ms = cached.map_or_else(|| decode(entry).map(|counts| counts.used_at_ms), Ok)?;
            if self.expiry.is_expired(used_at_ms, ctx.now.0) {
                expired.push(row.to_vec());
            }
            Ok(true)
        })?;
        for row in expired {
            if let Some(number) = self.rows.find(hash_key(&row), &row) {
                self.counts[number as usize].sides = [0, 0];
            }
            ctx.state.delete(group, &row)?;
        }
        Ok(())
    }
}

fn encode(counts: &Counts) -> Vec<u8> {
    let mut writer = NoteWriter::default();
    [counts.sides[0], counts.sides[1], counts.used_at_ms].iter().for_each(|number| writer.push(*number));
    writer.finish()
}

fn decode(entry: &[u8]) -> Result<Counts> {
    let mut reader = NoteReader::new(entry);
    let sides = [reader.read()?, reader.read()?];
    Ok(Counts { sides, used_at_ms: reader.read()? })
}
