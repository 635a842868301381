//! Deals the splits of one source to its subtasks: split number i goes to subtask i modulo the parallelism.
//!
//! Shared by the subtasks of one attempt, so that a split is dealt exactly once even while new ones appear. One that appears later holds
//! time from the moment in which it is dealt: until its subtask has begun with it, and so holds time itself, no other lets time go on.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use parking_lot::Mutex;

use crate::Result;
use crate::checkpoint::{SourceState, SplitCounts, SplitState};
use crate::source::{Boundedness, Source, Split, Waker};
use crate::time::EventTime;

/// A split with its number; the order of the numbers is the order in which splits are best read.
#[derive(Debug, Clone)]
pub struct NumberedSplit {
    pub number: usize,
    pub state: SplitState,
}

pub struct SplitPool {
    source: Arc<dyn Source>,
    /// Where new splits are looked for.
    interval: Option<Duration>,
    /// By subtask: what ends its pause, and where it hears of that.
    wakers: Vec<(Waker, Receiver<()>)>,
    dealt: Mutex<Dealt>,
    /// How many of [`Dealt::awaited`] there are, so that whoever asks for each batch needs no lock.
    awaited: AtomicUsize,
}

struct Dealt {
    known: HashSet<String>,
    /// [`Source::whole`] of the known ones.
    wholes: HashSet<String>,
    /// Splits that their subtask has not taken yet, one list per subtask.
    waiting: Vec<Vec<NumberedSplit>>,
    /// By subtask: new splits were dealt to it, and it does not hold time for them yet.
    awaited: Vec<bool>,
    discovered_at: Instant,
}

impl SplitPool {
    /// Deals what the checkpoint knows, or what there is at a fresh start.
    pub fn open(source: &Arc<dyn Source>, restored: Option<&SourceState>, parallelism: usize) -> Result<Self> {
        let interval = match source.boundedness() {
            Boundedness::Bounded => None,
            Boundedness::Unbounded => source.discovery_interval(),
        };
        let wakers = (0..parallelism).map(|_| Waker::new()).collect();
        let dealt = Dealt {
            known: HashSet::new(),
            wholes: HashSet::new(),
            waiting: vec![Vec::new(); parallelism],
            awaited: vec![false; parallelism],
            discovered_at: Instant::now(),
        };
        let (dealt, awaited) = (Mutex::new(dealt), AtomicUsize::new(0));
        let pool = Self { source: Arc::clone(source), interval, wakers, dealt, awaited };
        match restored {
            // The first discovery was final: what has appeared since is not part of the input.
            Some(state) if interval.is_none() => pool.dealt.lock().deal(source.as_ref(), state.splits.clone()),
            Some(state) => {
                pool.dealt.lock().deal(source.as_ref(), state.splits.clone());
                pool.deal_unknown(source.discover_new()?);
            }
            None => pool.deal_unknown(source.discover()?),
        }
        // No task runs yet, and none lets time go on before it has taken these.
        pool.dealt.lock().awaited.fill(false);
        pool.awaited.store(0, Ordering::SeqCst);
        Ok(pool)
    }

    /// More splits may appear.
    pub fn is_open(&self) -> bool {
        self.interval.is_some()
    }

    /// Looks for new splits if it is time to; called by one subtask.
    pub fn discover_if_due(&self) -> Result<()> {
        let Some(interval) = self.interval else { return Ok(()) };
        if self.dealt.lock().discovered_at.elapsed() < interval {
            return Ok(());
        }
        self.deal_unknown(self.source.discover_new()?);
        Ok(())
    }

    fn deal_unknown(&self, found: Vec<Split>) {
        let mut dealt = self.dealt.lock();
        dealt.discovered_at = Instant::now();
        let unread = |split| SplitState {
            split,
            position: None,
            finished: false,
            watermark: EventTime::MIN,
            counts: SplitCounts::default(),
        };
        let source = self.source.as_ref();
        let new = found.into_iter().filter(|split| !dealt.wholes.contains(&source.whole(split)));
        let new = new.map(unread).collect();
        dealt.deal(source, new);
        let Dealt { waiting, awaited, .. } = &mut *dealt;
        for ((splits, awaited), (waker, _)) in waiting.iter().zip(awaited).zip(&self.wakers) {
            if !splits.is_empty() {
                *awaited = true;
                waker.wake();
            }
        }
        self.count_awaited(&dealt);
    }

    fn count_awaited(&self, dealt: &Dealt) {
        self.awaited.store(dealt.awaited.iter().filter(|awaited| **awaited).count(), Ordering::SeqCst);
    }

    /// A subtask may not let time go on: new splits were dealt that it has not taken, or that another one has not begun with.
    pub fn holds_time(&self, subtask: usize) -> bool {
        if self.awaited.load(Ordering::SeqCst) == 0 {
            return false;
        }
        let dealt = self.dealt.lock();
        let others = dealt.awaited.iter().enumerate().any(|(other, awaited)| *awaited && other != subtask);
        others || !dealt.waiting[subtask].is_empty()
    }

    /// All splits that a subtask has taken hold time in its own channels from here on.
    pub fn begun(&self, subtask: usize) {
        if self.awaited.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut dealt = self.dealt.lock();
        if dealt.awaited[subtask] && dealt.waiting[subtask].is_empty() {
            dealt.awaited[subtask] = false;
            self.count_awaited(&dealt);
            // Whoever has waited for this looks how far time may go now.
            self.wake_all();
        }
    }

    /// When to look for new splits; `None`: there will be no others.
    pub fn next_discovery(&self) -> Option<Instant> {
        self.dealt.lock().discovered_at.checked_add(self.interval?)
    }

    pub fn waker(&self, subtask: usize) -> &Waker {
        &self.wakers[subtask].0
    }

    /// What a subtask listens to while it has nothing to do.
    pub fn wakes(&self, subtask: usize) -> Receiver<()> {
        self.wakers[subtask].1.clone()
    }

    /// All subtasks look up from their pauses.
    pub fn wake_all(&self) {
        self.wakers.iter().for_each(|(waker, _)| waker.wake());
    }

    /// Takes the splits that were dealt to a subtask since it last asked.
    pub fn take(&self, subtask: usize) -> Vec<NumberedSplit> {
        std::mem::take(&mut self.dealt.lock().waiting[subtask])
    }
}

impl Dealt {
    fn deal(&mut self, source: &dyn Source, splits: Vec<SplitState>) {
        for state in splits {
            if self.known.contains(&state.split.id) {
                continue;
            }
            let number = self.known.len();
            self.known.insert(state.split.id.clone());
            self.wholes.insert(source.whole(&state.split));
            let subtask = number % self.waiting.len();
            self.waiting[subtask].push(NumberedSplit { number, state });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use arrow::datatypes::{Schema, SchemaRef};

    use super::*;
    use crate::source::{Position, SplitReader};

    /// Two files: `a` grows range by range, `b` appears with the third look.
    #[derive(Debug)]
    struct GrowingFile {
        looks: AtomicU64,
    }

    impl Source for GrowingFile {
        fn schema(&self) -> SchemaRef {
            Arc::new(Schema::empty())
        }

        fn boundedness(&self) -> Boundedness {
            Boundedness::Unbounded
        }

        fn discover(&self) -> Result<Vec<Split>> {
            let looks = self.looks.fetch_add(1, Ordering::SeqCst);
            let a = (0..=looks).map(|range| Split { id: format!("a@{range}"), payload: "a".into() });
            let b = (2..=looks).take(1).map(|range| Split { id: format!("b@{range}"), payload: "b".into() });
            Ok(a.chain(b).collect())
        }

        fn whole(&self, split: &Split) -> String {
            split.payload.to_string()
        }

        fn discovery_interval(&self) -> Option<Duration> {
            Some(Duration::ZERO)
        }

        fn open(&self, _split: &Split, _position: Option<&Position>) -> Result<Box<dyn SplitReader>> {
            unreachable!("nothing is read here")
        }
    }

    fn taken(pool: &SplitPool) -> Vec<String> {
        pool.take(0).into_iter().map(|numbered| numbered.state.split.id).collect()
    }

    #[test]
    fn ranges_by_which_a_known_file_has_grown_are_not_dealt_even_after_a_restart() {
        let source: Arc<dyn Source> = Arc::new(GrowingFile { looks: AtomicU64::new(1) });
        let pool = SplitPool::open(&source, None, 1).unwrap();
        let first = pool.take(0);
        assert_eq!(first.len(), 2, "both ranges of the first look");
        pool.discover_if_due().unwrap();
        assert_eq!(taken(&pool), ["b@2"], "the new file, and nothing more of the old one");
        let splits = first.into_iter().map(|numbered| numbered.state).collect();
        let restored = SourceState { uid: "s".into(), splits, watermark: EventTime::MIN };
        let pool = SplitPool::open(&source, Some(&restored), 1).unwrap();
        assert_eq!(taken(&pool), ["a@0", "a@1", "b@2"]);
    }

    #[test]
    fn whoever_is_dealt_a_split_is_woken() {
        let source: Arc<dyn Source> = Arc::new(GrowingFile { looks: AtomicU64::new(1) });
        let pool = SplitPool::open(&source, None, 3).unwrap();
        let woken = || [0, 1, 2].map(|subtask| pool.wakes(subtask).try_recv().is_ok());
        woken();
        [0, 1, 2].iter().for_each(|subtask| drop(pool.take(*subtask)));
        pool.discover_if_due().unwrap();
        assert_eq!(woken(), [false, false, true], "b@2 is the third");
        pool.wake_all();
        assert_eq!(woken(), [true; 3]);
    }

    #[test]
    fn a_new_split_holds_the_time_of_all_others_until_its_subtask_has_begun_with_it() {
        let source: Arc<dyn Source> = Arc::new(GrowingFile { looks: AtomicU64::new(1) });
        let pool = SplitPool::open(&source, None, 3).unwrap();
        [0, 1, 2].iter().for_each(|subtask| drop(pool.take(*subtask)));
        let held = || [0, 1, 2].map(|subtask| pool.holds_time(subtask));
        assert_eq!(held(), [false; 3], "what there is at the start is taken before any task runs");
        pool.discover_if_due().unwrap();
        assert_eq!(held(), [true, true, true], "b@2 is of the third, which has not taken it");
        pool.begun(2);
        assert_eq!(held(), [true, true, true], "nobody begins with what it has not taken");
        drop(pool.take(2));
        assert_eq!(held(), [true, true, false], "it decides for itself now");
        pool.begun(0);
        assert_eq!(held(), [true, true, false], "that was another one");
        pool.begun(2);
        assert_eq!(held(), [false; 3]);
    }
}
