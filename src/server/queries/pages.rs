//! A whole result as JSON, given out page by page: kept for a limited time, in a limited number of bytes.

use std::time::{Duration, Instant};

use serde_json::Value;
use tidemill_connectors::format::json::{JsonOptions, RowArrays};
use tidemill_engine::{Batch, Result, RowKind};

/// Begins a page token, behind which the number of its first row stands.
const TOKEN_PREFIX: &str = "r";

/// Rows as JSON arrays, one behind the other.
#[derive(Default)]
pub struct Rows {
    text: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
    /// Of the changes; empty where rows are only added.
    kinds: Vec<RowKind>,
}

impl Rows {
    /// Adds rows, of a changelog with their kinds.
    pub fn add(&mut self, batch: &Batch, changes: bool) -> Result<()> {
        let options = JsonOptions::default();
        let arrays = RowArrays::new(batch.rows(), &options)?;
        for row in 0..batch.num_rows() {
            arrays.write(row, &mut self.text)?;
            self.ends.push(self.text.len());
            if changes {
                self.kinds.push(batch.kind(row));
            }
        }
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn bytes(&self) -> usize {
        self.text.len() + self.ends.len() * size_of::<usize>() + self.kinds.len()
    }

    fn row(&self, index: usize) -> &[u8] {
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[begin..self.ends[index]]
    }

    /// Members of an answer: `"kinds":[...],"rows":[...],"next_page_token":"..."`.
    fn page(&self, begin: usize, count: usize) -> String {
        let end = self.len().min(begin.saturating_add(count));
        let mut page = String::new();
        if !self.kinds.is_empty() {
            let kinds: Vec<&str> = self.kinds[begin..end].iter().map(|kind| kind.symbol()).collect();
            page.push_str(&format!("\"kinds\":{},", serde_json::json!(kinds)));
        }
        page.push_str("\"rows\":[");
        for index in begin..end {
            if index > begin {
                page.push(',');
            }
            page.push_str(&String::from_utf8_lossy(self.row(index)));
        }
        page.push(']');
        if end < self.len() {
            page.push_str(&format!(",\"next_page_token\":\"{TOKEN_PREFIX}{end}\""));
        }
        page
    }
}

/// A page as the text of a JSON object, and whether there are more.
pub struct Page {
    pub text: String,
    pub is_last: bool,
}

/// A result that waits to be read to its end.
pub struct Kept {
    pub owner: String,
    rows: Rows,
    page_rows: usize,
    /// What stands in front of each page: the query and its columns.
    head: Value,
    pub until: Instant,
}

impl Kept {
    pub fn new(owner: String, rows: Rows, page_rows: usize, head: Value, time: Duration) -> Self {
        Self { owner, rows, page_rows, head, until: Instant::now() + time }
    }

    pub fn bytes(&self) -> usize {
        self.rows.bytes()
    }

    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// `None`: no page of this result has that token.
    pub fn page(&self, token: Option<&str>) -> Option<Page> {
        let begin = match token {
            None => 0,
            Some(token) => token.strip_prefix(TOKEN_PREFIX)?.parse().ok().filter(|row| *row < self.rows.len())?,
        };
        let head = self.head.to_string();
        let members = head.strip_suffix('}').unwrap_or(&head);
        Some(Page {
            text: format!("{members},{}}}", self.rows.page(begin, self.page_rows)),
            is_last: begin.saturating_add(self.page_rows) >= self.rows.len(),
        })
    }
}
