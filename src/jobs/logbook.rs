//! What a job did lately: changes of its state, errors, notes and the rows that it prints, in a ring of bounded size.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;

use super::record::now_ms;
use super::secrets::Redactor;

/// Entries kept of a job.
const ENTRIES_MAX: usize = 1_000;
/// Of an entry's text; the rest is cut off. Together at most 4 MB a job.
const TEXT_BYTES_MAX: usize = 4_096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A change of the job's state.
    State,
    Note,
    Error,
    /// A row that the job printed.
    Row,
}

#[derive(Debug, Clone, Serialize)]
pub struct LogEntry {
    /// From 1 on, without gaps, until the server starts again.
    pub number: u64,
    pub at_ms: i64,
    pub level: Level,
    pub text: String,
}

#[derive(Default)]
struct Ring {
    entries: VecDeque<LogEntry>,
    last: u64,
}

/// Shared by the job's threads and those who read it.
#[derive(Clone)]
pub struct Logbook {
    ring: Arc<Mutex<Ring>>,
    redactor: Redactor,
}

impl Logbook {
    pub fn new(redactor: Redactor) -> Self {
        Self { ring: Arc::default(), redactor }
    }

    pub fn add(&self, level: Level, text: &str) {
        let mut text = self.redactor.hide(text);
        if text.len() > TEXT_BYTES_MAX {
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
            text.push_str(" ...");
        }
        let mut ring = self.ring.lock();
        ring.last += 1;
        let entry = LogEntry { number: ring.last, at_ms: now_ms(), level, text };
        ring.entries.push_back(entry);
        if ring.entries.len() > ENTRIES_MAX {
            ring.entries.pop_front();
        }
        assert!(ring.entries.len() <= ENTRIES_MAX);
    }

    /// The newest `count` of those behind number `after`, oldest first. A number that has not been reached is from before a start of the server,
    /// with which numbers begin anew: its reader has seen none of these.
    pub fn read(&self, after: u64, count: usize) -> Vec<LogEntry> {
        let ring = self.ring.lock();
        let after = if after > ring.last { 0 } else { after };
        let newer = ring.entries.iter().filter(|entry| entry.number > after);
        let skipped = newer.clone().count().saturating_sub(count);
        newer.skip(skipped).cloned().collect()
    }

    /// A place to print rows to: each line is an entry.
    pub fn rows(&self) -> Arc<Mutex<dyn Write + Send>> {
        Arc::new(Mutex::new(RowWriter { logbook: self.clone(), line: Vec::new() }))
    }
}

struct RowWriter {
    logbook: Logbook,
    line: Vec<u8>,
}

impl Write for RowWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = (2 * TEXT_BYTES_MAX).saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.logbook.add(Level::Row, String::from_utf8_lossy(&line).trim_end());
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_bounded_and_readers_go_on_where_they_were() {
        let logbook = Logbook::new(Redactor::default());
        for number in 0..ENTRIES_MAX + 10 {
            logbook.add(Level::Note, &format!("entry {number}"));
        }
        let all = logbook.read(0, usize::MAX);
        assert_eq!((all.len(), all[0].number), (ENTRIES_MAX, 11));
        assert_eq!(logbook.read(0, 2).iter().map(|entry| entry.number).collect::<Vec<_>>(), [1_009, 1_010]);
        assert!(logbook.read(1_010, 5).is_empty());
        logbook.add(Level::Error, &"ä".repeat(TEXT_BYTES_MAX));
        assert!(logbook.read(1_010, 5)[0].text.len() <= TEXT_BYTES_MAX + 4);
        assert!(logbook.read(1_011, 5).is_empty());
    }

    #[test]
    fn a_reader_from_before_a_start_of_the_server_misses_nothing() {
        let logbook = Logbook::new(Redactor::default());
        logbook.add(Level::State, "going on after a start of the server");
        assert_eq!(logbook.read(17, 5).len(), 1);
        assert!(Logbook::new(Redactor::default()).read(17, 5).is_empty());
    }

    #[test]
    fn printed_rows_are_entries_however_they_are_cut() {
        let logbook = Logbook::new(Redactor::default());
        let rows = logbook.rows();
        for piece in ["+I[1", ", a]\n+I[2, b]\n", "+I[3"] {
            rows.lock().write_all(piece.as_bytes()).unwrap();
        }
        let texts: Vec<String> = logbook.read(0, 10).into_iter().map(|entry| entry.text).collect();
        assert_eq!(texts, ["+I[1, a]", "+I[2, b]"]);
    }
}
