//! Deals the splits of one source to its subtasks: split number i goes to subtask i modulo the parallelism.
//!
//! Shared by the subtasks of one attempt, so that a split is dealt exactly once even while new ones appear.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::Result;
use crate::checkpoint::{SourceState, SplitCounts, SplitState};
use crate::source::{Boundedness, Source};
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
    dealt: Mutex<Dealt>,
}

struct Dealt {
    known: HashSet<String>,
    /// Splits that their subtask has not taken yet, one list per subtask.
    waiting: Vec<Vec<NumberedSplit>>,
    discovered_at: Instant,
}

impl SplitPool {
    /// Deals what the checkpoint knows, or what there is at a fresh start.
    pub fn open(source: &Arc<dyn Source>, restored: Option<&SourceState>, parallelism: usize) -> Result<Self> {
        let interval = match source.boundedness() {
            Boundedness::Bounded => None,
            Boundedness::Unbounded => source.discovery_interval(),
        };
        let dealt =
            Dealt { known: HashSet::new(), waiting: vec![Vec::new(); parallelism], discovered_at: Instant::now() };
        let pool = Self { source: Arc::clone(source), interval, dealt: Mutex::new(dealt) };
        match restored {
            // The first discovery was final: what has appeared since is not part of the input.
            Some(state) if interval.is_none() => pool.dealt.lock().deal(state.splits.iter().cloned()),
            Some(state) => {
                pool.dealt.lock().deal(state.splits.iter().cloned());
                pool.discover()?;
            }
            None => pool.discover()?,
        }
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
        self.discover()
    }

    fn discover(&self) -> Result<()> {
        let found = self.source.discover()?;
        let mut dealt = self.dealt.lock();
        dealt.discovered_at = Instant::now();
        let unread = |split| SplitState {
            split,
            position: None,
            finished: false,
            watermark: EventTime::MIN,
            counts: SplitCounts::default(),
        };
        dealt.deal(found.into_iter().map(unread));
        Ok(())
    }

    /// Takes the splits that were dealt to a subtask since it last asked.
    pub fn take(&self, subtask: usize) -> Vec<NumberedSplit> {
        std::mem::take(&mut self.dealt.lock().waiting[subtask])
    }
}

impl Dealt {
    fn deal(&mut self, splits: impl Iterator<Item = SplitState>) {
        for state in splits {
            if self.known.contains(&state.split.id) {
                continue;
            }
            let number = self.known.len();
            self.known.insert(state.split.id.clone());
            let subtask = number % self.waiting.len();
            self.waiting[subtask].push(NumberedSplit { number, state });
        }
    }
}
