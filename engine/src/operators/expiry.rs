//! The time to live of state: which key group to search next for entries that have not been used for so long.

use std::collections::VecDeque;

use crate::keys::KeyGroup;
use crate::operator::OperatorContext;
use crate::time::ProcessingTime;

/// Within one time to live, every key group is searched this often for expired entries.
const SEARCHES_PER_TTL: i64 = 4;

/// Spreads the search for expired entries over time: one key group at a call, each a few times per time to live.
pub struct ExpirySearch {
    ttl_ms: Option<i64>,
    /// Key groups in the order in which they are searched.
    waiting: VecDeque<u16>,
    due_ms: i64,
}

impl ExpirySearch {
    /// Without a time to live nothing ever expires.
    pub fn new(ttl_ms: Option<i64>) -> Self {
        Self { ttl_ms, waiting: VecDeque::new(), due_ms: i64::MIN }
    }

    pub fn has_ttl(&self) -> bool {
        self.ttl_ms.is_some()
    }

    /// True for what was last used at this wall time.
    pub fn is_expired(&self, used_at_ms: i64, now_ms: i64) -> bool {
        self.ttl_ms.is_some_and(|ttl| now_ms >= used_at_ms.saturating_add(ttl))
    }

    /// True where the time of the last use that state has is old enough to be written again.
    pub fn is_worth_noting(&self, used_at_ms: i64, now_ms: i64) -> bool {
        self.ttl_ms.is_some_and(|ttl| now_ms >= used_at_ms.saturating_add(ttl / SEARCHES_PER_TTL))
    }

    /// When a key group is to be searched next.
    pub fn next_time(&self) -> Option<ProcessingTime> {
        self.ttl_ms.map(|_| ProcessingTime(self.due_ms))
    }

    /// The key group to search now, if it is time to.
    pub fn next_group(&mut self, ctx: &OperatorContext) -> Option<KeyGroup> {
        let ttl = self.ttl_ms.filter(|_| ctx.now.0 >= self.due_ms)?;
        if self.waiting.is_empty() {
            self.waiting = ctx.key_groups.groups().collect();
        }
        let group = self.waiting.pop_front()?;
        self.due_ms = ctx.now.0 + ttl / SEARCHES_PER_TTL / ctx.key_groups.groups().len() as i64;
        Some(KeyGroup(group))
    }
}
