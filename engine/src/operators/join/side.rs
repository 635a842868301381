//! The rows of one side of a join: in one cache or, where it is known how long they are needed, in one for each span of their times.
//!
//! A span ends when none of its rows can fit anything that the other input gives: its memory is dropped, and what state has of it is
//! deleted. Rows that come and go between two barriers are never written.

use super::Lifetime;
use super::entry::{Buckets, Frames};
use super::side_cache::{Present, SideCache};
use crate::operator::OperatorContext;
use crate::operators::key_table::BatchKeys;
use crate::operators::note::{NoteReader, NoteWriter};
use crate::operators::row_codec::EncodedRows;
use crate::operators::row_times::row_times_or_null;
use crate::time::EventTime;
use crate::{Batch, Result};

/// A span is this part of the time that its rows are needed: longer ones keep rows longer, of shorter ones each row of the other side
/// asks more.
const SPAN_SHARE: i64 = 4;
const SPAN_MS_MIN: i64 = 1_000;

/// Rows whose times are all over the place go to the last span, and are kept longer than they are needed.
const SPANS_MAX: usize = if cfg!(test) { 6 } else { 64 };

pub struct Side {
    side: u8,
    buckets: Buckets,
    lifetime: Option<Lifetime>,
    /// Ascending; one that never ends where rows have no lifetime.
    spans: Vec<Span>,
    /// The number of the span at hand.
    at: usize,
    /// What the other input had said of time at the last barrier.
    barrier_time: EventTime,
    /// Rows are needed for longer than from one barrier to the next.
    outlives_barriers: bool,
}

struct Span {
    number: i64,
    /// No row of it is younger.
    until: i64,
    cache: SideCache,
}

/// Rows of one batch that are added.
#[derive(Clone, Copy)]
pub struct Added<'a> {
    pub batch: &'a Batch,
    pub keys: &'a BatchKeys,
    pub can_fit: &'a [bool],
    /// How many rows of the other side each fits now.
    pub matches: &'a [i64],
    pub rows: &'a EncodedRows,
}

impl Side {
    pub fn new(side: u8, buckets: Buckets, lifetime: Option<Lifetime>) -> Self {
        let for_ever = || Span { number: 0, until: i64::MAX, cache: SideCache::new(Frames::of_side(side), buckets) };
        let spans = lifetime.is_none().then(for_ever).into_iter().collect();
        Self {
            side,
            buckets,
            lifetime,
            spans,
            at: 0,
            barrier_time: EventTime::MIN,
            outlives_barriers: lifetime.is_none(),
        }
    }

    /// True where rows are added without a look at the others of their keys.
    pub fn only_adds(&self) -> bool {
        self.buckets.only_adds()
    }

    pub fn has_lifetime(&self) -> bool {
        self.lifetime.is_some()
    }

    /// See [`Self::go_to`].
    pub fn cache(&self) -> &SideCache {
        &self.spans[self.at].cache
    }

    pub fn cache_mut(&mut self) -> &mut SideCache {
        &mut self.spans[self.at].cache
    }

    pub fn span_count(&self) -> usize {
        self.spans.len()
    }

    /// From here on [`Self::cache`] is that of the span with this number in the order of time.
    pub fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    pub fn caches(&self) -> impl Iterator<Item = &SideCache> {
        self.spans.iter().map(|span| &span.cache)
    }

    pub fn caches_mut(&mut self) -> impl Iterator<Item = &mut SideCache> {
        self.spans.iter_mut().map(|span| &mut span.cache)
    }

    /// Takes in what state has, where that is little. The notes are those of [`Self::write_note`].
    pub fn open(&mut self, notes: &mut [NoteReader<'_>], present: Present<'_>, ctx: &OperatorContext) -> Result<()> {
        if self.has_lifetime() {
            for note in notes {
                for _ in 0..note.read()? {
                    let (number, until) = (note.read()?, note.read()?);
                    let at = self.span_at(number);
                    self.spans[at].until = self.spans[at].until.max(until);
                }
            }
        }
        self.caches_mut().try_for_each(|cache| cache.open(present, ctx))
    }

    /// The spans that there are, for sides that have some.
    pub fn write_note(&self, note: &mut NoteWriter) {
        if self.has_lifetime() {
            note.push(self.spans.len() as i64);
            for span in &self.spans {
                note.push(span.number);
                note.push(span.until);
            }
        }
    }

    /// The place of a span, which is added where it is new.
    fn span_at(&mut self, number: i64) -> usize {
        self.spans.binary_search_by_key(&number, |span| span.number).unwrap_or_else(|at| {
            let cache = SideCache::new(Frames::of_span(self.side, number), self.buckets);
            self.spans.insert(at, Span { number, until: i64::MIN, cache });
            at
        })
    }

    /// Adds the rows that can fit others, numbered from `first` on; gives the next number. `told`: the watermark of the other input.
    pub fn append(&mut self, added: Added<'_>, first: u64, told: EventTime, ctx: &mut OperatorContext) -> Result<u64> {
        let Some(lifetime) = self.lifetime else { return self.cache_mut().append(added, first, ctx) };
        let times = row_times_or_null("Join", added.batch.rows(), lifetime.time)?;
        let needed = times.iter().enumerate().filter_map(|(row, time)| {
            let time = time.filter(|time| added.can_fit[row] && !lifetime.is_over(*time, told))?;
            Some((lifetime.span(time), row, time))
        });
        let mut rows: Vec<(i64, usize, i64)> = needed.collect();
        // In order of arrival within a span.
        rows.sort_by_key(|(span, ..)| *span);
        let mut next = first;
        for rows in rows.chunk_by(|one, other| one.0 == other.0) {
            let at = self.span_for(rows[0].0);
            let mut can_fit = vec![false; times.len()];
            rows.iter().for_each(|(_, row, _)| can_fit[*row] = true);
            let span = &mut self.spans[at];
            span.until = rows.iter().fold(span.until, |until, (.., time)| until.max(*time));
            next = span.cache.append(Added { can_fit: &can_fit, ..added }, next, ctx)?;
        }
        Ok(next)
    }

    /// The place of the span that rows of one go to.
    fn span_for(&mut self, number: i64) -> usize {
        let is_known = self.spans.iter().any(|span| span.number == number);
        if !is_known && self.spans.len() >= SPANS_MAX {
            return self.spans.len() - 1;
        }
        let at = self.span_at(number);
        if !is_known {
            // State has nothing of a span that no note tells of.
            self.spans[at].cache.is_complete = true;
        }
        at
    }

    /// Drops the spans whose rows nobody needs any more. `told`: the watermark of the other input.
    pub fn forget(&mut self, told: EventTime, ctx: &mut OperatorContext) -> Result<()> {
        let Some(lifetime) = self.lifetime else { return Ok(()) };
        for at in (0..self.spans.len()).rev() {
            if lifetime.is_over(self.spans[at].until, told) {
                self.spans.remove(at).cache.delete_stored(ctx)?;
            }
        }
        Ok(())
    }

    /// Where rows mostly go before the next barrier, none is to be written before it.
    pub fn on_barrier(&mut self, told: EventTime) {
        if let Some(lifetime) = self.lifetime {
            let passed_ms = told.0.saturating_sub(self.barrier_time.0);
            self.outlives_barriers = passed_ms < lifetime.after_ms;
            self.barrier_time = told;
        }
    }

    /// It pays to write rows before a barrier asks for it.
    pub fn outlives_barriers(&self) -> bool {
        self.outlives_barriers
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.caches().map(SideCache::size_bytes).sum()
    }
}

impl Lifetime {
    /// True for the time of a row that fits nothing which comes behind this watermark.
    fn is_over(&self, time: i64, told: EventTime) -> bool {
        time.saturating_add(self.after_ms) <= told.0
    }

    fn span(&self, time: i64) -> i64 {
        time.div_euclid((self.after_ms / SPAN_SHARE).max(SPAN_MS_MIN))
    }
}
