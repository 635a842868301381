//! The list of candidates below the line, one of which is chosen.

use super::super::format::cells::{cut, fill, width};
use super::complete::Candidate;

/// Lines of the list; more candidates scroll.
const LINES_MAX: usize = 8;
/// Room between two columns.
const GAP: usize = 2;
const CHOSEN: &str = "\x1b[7m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

pub struct Menu {
    candidates: Vec<Candidate>,
    chosen: Option<usize>,
    typed: String,
    start: usize,
    /// Of the text that stands in the line now.
    length: usize,
}

impl Menu {
    /// `typed`: what stands at `start` now.
    pub fn new(candidates: Vec<Candidate>, typed: String, start: usize) -> Self {
        let length = typed.len();
        Self { candidates, chosen: None, typed, start, length }
    }

    pub fn select_next(&mut self) {
        let next = self.chosen.map_or(0, |chosen| (chosen + 1) % self.candidates.len());
        self.chosen = Some(next);
    }

    pub fn select_previous(&mut self) {
        let last = self.candidates.len() - 1;
        self.chosen = Some(self.chosen.map_or(last, |chosen| chosen.checked_sub(1).unwrap_or(last)));
    }

    pub fn chosen(&self) -> &str {
        self.chosen.map_or(&self.typed, |chosen| &self.candidates[chosen].text)
    }

    pub fn typed(&self) -> &str {
        &self.typed
    }

    /// What of the line a candidate takes the place of.
    pub fn range(&self) -> (usize, usize) {
        (self.start, self.start + self.length)
    }

    /// What is chosen now stands in the line.
    pub fn replaced(&mut self) {
        self.length = self.chosen().len();
    }

    /// In columns, read from top to bottom, and what there is to say of the chosen one.
    pub fn lines(&self, columns: usize) -> Vec<String> {
        let shown = |candidate: &Candidate| candidate.text.trim_matches('\'').trim_end_matches("' = ").to_string();
        let widest = self.candidates.iter().map(|candidate| width(&shown(candidate))).max().unwrap_or(0);
        let cell = (widest + GAP).min(columns.max(GAP + 1));
        let across = (columns / cell).max(1);
        let rows = self.candidates.len().div_ceil(across);
        let chosen = self.chosen.unwrap_or(0);
        let top = (chosen % rows).saturating_sub(LINES_MAX - 1);
        let mut lines = Vec::new();
        for row in top..rows.min(top + LINES_MAX) {
            let mut line = String::new();
            for index in (row..self.candidates.len()).step_by(rows) {
                let text = fill(&shown(&self.candidates[index]), cell - GAP, false);
                let style = if Some(index) == self.chosen { CHOSEN } else { "" };
                line.push_str(&format!("{style}{text}{PLAIN}{}", " ".repeat(GAP)));
            }
            lines.push(line);
        }
        let hidden = rows.saturating_sub(LINES_MAX);
        let about = self.chosen.map_or("", |chosen| self.candidates[chosen].about.as_str());
        let below = match (about, hidden) {
            ("", 0) => String::new(),
            ("", _) => format!("{} candidates", self.candidates.len()),
            (about, _) => about.to_string(),
        };
        if !below.is_empty() {
            lines.push(format!("{DIM}{}{PLAIN}", cut(&below, columns.saturating_sub(1))));
        }
        lines
    }
}
