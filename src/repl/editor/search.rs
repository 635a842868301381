//! Ctrl-R: what was typed before and has this in it.

use super::history::History;

/// A search under way.
#[derive(Debug, Default)]
pub struct Search {
    pattern: String,
    /// So many newer finds were passed over.
    skipped: usize,
}

impl Search {
    pub fn prompt(&self) -> String {
        format!("search `{}`: ", self.pattern)
    }

    pub fn add(&mut self, c: char) {
        self.pattern.push(c);
        self.skipped = 0;
    }

    pub fn remove(&mut self) {
        self.pattern.pop();
        self.skipped = 0;
    }

    /// On to the next older find.
    pub fn older(&mut self) {
        self.skipped += 1;
    }

    /// The find; the oldest one stays where there is none beyond it.
    pub fn find<'h>(&mut self, history: &'h History) -> Option<&'h str> {
        if self.pattern.is_empty() {
            return None;
        }
        let found: Vec<&str> = history.containing(&self.pattern).take(self.skipped + 1).collect();
        self.skipped = self.skipped.min(found.len().saturating_sub(1));
        found.last().copied()
    }
}
