//! Sessions as they stand: runs of slots whose rows are no further apart than the gap.

use std::ops::Range;

use crate::time::assign::Window;

/// One session of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub key: u32,
    pub start: i64,
    pub end: i64,
    /// Where its slots are listed.
    slots: Range<u32>,
}

impl Run {
    pub fn window(&self) -> Window {
        Window { end: self.end, start: self.start }
    }
}

/// Sessions and the slots that hold their rows.
#[derive(Default, Debug)]
pub struct Runs {
    pub list: Vec<Run>,
    slots: Vec<u32>,
}

impl Runs {
    /// A session that is one slot.
    pub fn push_slot(&mut self, key: u32, start: i64, end: i64, slot: u32) {
        let first = self.slots.len() as u32;
        self.slots.push(slot);
        self.list.push(Run { key, start, end, slots: first..first + 1 });
    }

    /// The sessions of a key's slots, which are given in order of their times.
    pub fn push_times(&mut self, key: u32, slots: &[(i64, u32)], gap_ms: i64) {
        let mut open: Option<Run> = None;
        for (time, slot) in slots {
            let place = self.slots.len() as u32;
            self.slots.push(*slot);
            match &mut open {
                Some(run) if *time <= run.end => {
                    run.end = time + gap_ms;
                    run.slots.end = place + 1;
                }
                _ => {
                    let run = Run { key, start: *time, end: time + gap_ms, slots: place..place + 1 };
                    self.list.extend(open.replace(run));
                }
            }
        }
        self.list.extend(open);
    }

    pub fn slots_of(&self, run: &Run) -> &[u32] {
        &self.slots[run.slots.start as usize..run.slots.end as usize]
    }

    /// The slots of some of the sessions, one after the other, and for each the position of its session among them.
    pub fn slots_by_run(&self, runs: &[Run]) -> (Vec<u32>, Vec<u32>) {
        let slots =
            runs.iter().zip(0u32..).flat_map(|(run, at)| self.slots_of(run).iter().map(move |slot| (*slot, at)));
        slots.unzip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_no_further_apart_than_the_gap_are_a_session() {
        let mut runs = Runs::default();
        runs.push_slot(3, 0, 4, 9);
        runs.push_times(7, &[(-5, 0), (5, 4), (16, 2), (26, 3), (27, 1)], 10);
        let found: Vec<_> = runs.list.iter().map(|run| (run.key, run.start, run.end, runs.slots_of(run))).collect();
        assert_eq!(found, [(3, 0, 4, &[9][..]), (7, -5, 15, &[0, 4]), (7, 16, 37, &[2, 3, 1])]);
        assert_eq!(runs.slots_by_run(&runs.list[1..]), (vec![0, 4, 2, 3, 1], vec![0, 0, 1, 1, 1]));
    }
}
