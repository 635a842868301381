//! Which entries of a write-back cache are written before the barrier asks for it, in the time that an operator has nothing else to
//! do, so that little is left to write while rows wait behind a barrier.
//!
//! What was not used for a while will hardly be used before the barrier, which so need not write it again. What is used
//! after all is left to the barrier: no entry is written more than twice between two.

use super::key_table::SlotSet;
use super::recent_use::RecentUse;
use crate::operator::OperatorContext;
use crate::time::ProcessingTime;

/// Fewer are left to the barrier.
const LEFT_MIN: usize = if cfg!(test) { 1 } else { 1024 };

/// What was used in a time so long is left alone, in milliseconds.
const ROUND_MS: i64 = if cfg!(test) { 0 } else { 50 };

/// At most so many entries are written at once, about a millisecond's work, and so many are looked at.
const WRITTEN_MAX: usize = if cfg!(test) { 3 } else { 512 };
const LOOKED_AT_MAX: usize = if cfg!(test) { 10 } else { 16 << 10 };

/// Goes round all entries that differ from state. A round takes those that were not used since the one before began.
#[derive(Default)]
pub struct Ahead {
    /// There was a barrier, so that there will be more.
    has_barriers: bool,
    /// Since the last barrier.
    written: SlotSet,
    /// Where the round goes on; `None` between two.
    next: Option<u32>,
    begun_at_ms: i64,
    /// The batch in which the round began, and that in which the one before did.
    begun: u64,
    begun_before: u64,
}

impl Ahead {
    /// All is written.
    pub fn on_barrier(&mut self) {
        self.has_barriers = true;
        self.forget_slots();
    }

    /// Slots have changed.
    pub fn forget_slots(&mut self) {
        self.written.clear();
        self.next = None;
    }

    /// Some of the dirty slots, which are to be written now and are no longer dirty; none where there is nothing to do for the time
    /// being.
    pub fn take(&mut self, dirty: &mut SlotSet, recent_use: &RecentUse, ctx: &OperatorContext) -> Vec<u32> {
        if ctx.state.is_freezing() {
            return Vec::new();
        }
        let found = self.find(dirty, recent_use, ctx.now);
        found.iter().for_each(|slot| dirty.remove(*slot));
        found
    }

    fn find(&mut self, dirty: &SlotSet, recent_use: &RecentUse, now: ProcessingTime) -> Vec<u32> {
        let mut found = Vec::new();
        if !self.has_barriers || dirty.len() < LEFT_MIN || !self.is_in_round(recent_use, now) {
            return found;
        }
        let from = self.next.take().unwrap_or(0);
        for (looked_at, slot) in dirty.iter_from(from).enumerate() {
            if looked_at == LOOKED_AT_MAX || found.len() == WRITTEN_MAX {
                self.next = Some(slot);
                break;
            }
            if recent_use.last(slot) <= self.begun_before && !self.written.contains(slot) {
                found.push(slot);
            }
        }
        found.iter().for_each(|slot| self.written.insert(*slot));
        found
    }

    /// Begins a round where it is time for one.
    fn is_in_round(&mut self, recent_use: &RecentUse, now: ProcessingTime) -> bool {
        if self.next.is_some() {
            return true;
        }
        // A clock that was set back begins one too.
        if (0..ROUND_MS).contains(&now.0.saturating_sub(self.begun_at_ms)) {
            return false;
        }
        (self.begun_before, self.begun, self.begun_at_ms) = (self.begun, recent_use.batch(), now.0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache with a barrier behind it whose slots `0..slots` were used in the first batch, and those of `later` in the second.
    fn cache(slots: u32, later: &[u32]) -> (Ahead, SlotSet, RecentUse) {
        let (mut ahead, mut recent_use) = (Ahead::default(), RecentUse::default());
        let dirty: SlotSet = (0..slots).collect();
        recent_use.next_batch();
        (0..slots).for_each(|slot| assert!(recent_use.touch(slot)));
        assert!(ahead.find(&dirty, &recent_use, ProcessingTime(0)).is_empty(), "there may never be a barrier");
        ahead.on_barrier();
        assert!(ahead.find(&dirty, &recent_use, ProcessingTime(0)).is_empty(), "all were used just now");
        recent_use.next_batch();
        later.iter().for_each(|slot| assert!(recent_use.touch(*slot)));
        (ahead, dirty, recent_use)
    }

    #[test]
    fn what_was_not_used_for_a_round_is_written_in_pieces_and_once() {
        let (mut ahead, mut dirty, recent_use) = cache(15, &[1, 4]);
        let mut take = |dirty: &SlotSet| ahead.find(dirty, &recent_use, ProcessingTime(0));
        let mut written = Vec::new();
        for _ in 0..20 {
            let slots = take(&dirty);
            assert!(slots.len() <= WRITTEN_MAX);
            slots.iter().for_each(|slot| dirty.remove(*slot));
            written.extend(slots);
        }
        // By then no slot has been used for a round.
        written.sort_unstable();
        assert_eq!(written, (0..15).collect::<Vec<_>>());
        dirty.insert(3);
        assert!((0..20).all(|_| take(&dirty).is_empty()), "what is used again is left to the barrier");
        ahead.on_barrier();
        let mut take = || ahead.find(&dirty, &recent_use, ProcessingTime(0));
        assert!((0..3).any(|_| take() == [3]), "and may be written again behind it");
    }

    #[test]
    fn what_is_in_use_stays() {
        let (mut ahead, dirty, mut recent_use) = cache(6, &[]);
        let mut written = SlotSet::default();
        for _ in 0..20 {
            recent_use.next_batch();
            [2, 5].iter().for_each(|slot| assert!(recent_use.touch(*slot)));
            ahead.find(&dirty, &recent_use, ProcessingTime(0)).iter().for_each(|slot| written.insert(*slot));
        }
        assert!(written.iter().eq([0, 1, 3, 4]), "{:?}", written.iter().collect::<Vec<_>>());
    }
}
