//! What was typed before: kept in a file below the user's state folder, without what holds a secret.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tidemill_sql::secret::without_secrets;

/// Entries that are kept.
const ENTRIES_MAX: usize = 2_000;
/// A longer text is a script, and has a file of its own.
const ENTRY_BYTES_MAX: usize = 64 << 10;
/// Only the user reads it.
const FILE_MODE: u32 = 0o600;

/// `$XDG_STATE_HOME/tidemill/history`, or below `~/.local/state`.
pub fn default_path() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = folder("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("tidemill/history"))
}

/// Entries from the oldest to the newest, and where one stands among them.
#[derive(Debug, Default)]
pub struct History {
    entries: Vec<String>,
    path: Option<PathBuf>,
    /// Index of the entry that is shown, and what was being written before.
    shown: Option<(usize, String)>,
}

impl History {
    /// A file that is not there or cannot be read is an empty history.
    pub fn load(path: Option<PathBuf>) -> Self {
        let text = path.as_deref().and_then(|path| fs::read(path).ok()).unwrap_or_default();
        let mut entries: Vec<String> = String::from_utf8_lossy(&text).lines().map(unescaped).collect();
        if entries.len() > 2 * ENTRIES_MAX {
            entries.drain(..entries.len() - ENTRIES_MAX);
            // Losing the race with another shell costs old entries only.
            let _ = path.as_deref().map(|path| rewrite(path, &entries));
        }
        Self { entries, path, shown: None }
    }

    /// Adds what was typed, unless it is what was typed before it. What names a secret is not written.
    pub fn add(&mut self, text: &str) {
        let text = text.trim_end();
        let known = self.entries.last().is_some_and(|last| last == text);
        if text.trim().is_empty() || known || text.len() > ENTRY_BYTES_MAX {
            return;
        }
        self.entries.push(text.to_string());
        if without_secrets(text) != text {
            return;
        }
        // A history that cannot be written is still there for this session.
        let _ = self.path.as_deref().map(|path| append(path, text));
    }

    /// Nothing of it is shown.
    pub fn rewind(&mut self) {
        self.shown = None;
    }

    /// One further back; `written`: what stands in the line now.
    pub fn older(&mut self, written: &str) -> Option<String> {
        let (index, kept) = match self.shown.take() {
            None => (self.entries.len(), written.to_string()),
            Some(shown) => shown,
        };
        let next = index.checked_sub(1);
        self.shown = Some((next.unwrap_or(0), kept));
        next.map(|index| self.entries[index].clone())
    }

    /// One forward; behind the newest stands what was being written.
    pub fn newer(&mut self) -> Option<String> {
        let (index, kept) = self.shown.take()?;
        match self.entries.get(index + 1) {
            Some(entry) => {
                self.shown = Some((index + 1, kept));
                Some(entry.clone())
            }
            None => Some(kept),
        }
    }

    /// What followed where something began so; of the newest such entry, and of its line only.
    pub fn hint(&self, beginning: &str) -> Option<&str> {
        let rest = self.entries.iter().rev().filter_map(|entry| entry.strip_prefix(beginning));
        rest.filter_map(|rest| rest.lines().next()).find(|rest| !rest.is_empty())
    }

    /// From the newest to the oldest, each once.
    pub fn containing<'h>(&'h self, pattern: &str) -> impl Iterator<Item = &'h str> {
        let pattern = pattern.to_lowercase();
        let mut seen = std::collections::HashSet::new();
        let fitting = self.entries.iter().rev().filter(move |entry| entry.to_lowercase().contains(&pattern));
        fitting.map(String::as_str).filter(move |entry| seen.insert(*entry))
    }
}

fn open(path: &Path, truncate: bool) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.create(true).mode(FILE_MODE).write(true);
    if truncate {
        options.truncate(true)
    } else {
        options.append(true)
    };
    options.open(path)
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    open(path, false)?.write_all(format!("{}\n", escaped(text)).as_bytes())
}

fn rewrite(path: &Path, entries: &[String]) -> io::Result<()> {
    let new = path.with_extension("new");
    let lines: String = entries.iter().map(|entry| format!("{}\n", escaped(entry))).collect();
    open(&new, true)?.write_all(lines.as_bytes())?;
    fs::rename(new, path)
}

/// An entry on one line.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

fn unescaped(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => text.push('\n'),
                Some(other) => text.push(other),
                None => text.push('\\'),
            },
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_comes_back_in_another_session_without_secrets() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/history");
        let mut history = History::load(Some(path.clone()));
        let lines =
            ["SELECT 1;", "SELECT 1;", "SELECT\n'\\n';", "  ", "CREATE TABLE t WITH ('password' = 'geheim');", "\\d t"];
        lines.iter().for_each(|line| history.add(line));
        let mut again = History::load(Some(path.clone()));
        let mut seen: Vec<String> = std::iter::from_fn(|| again.older("draft")).collect();
        seen.reverse();
        assert_eq!(seen, ["SELECT 1;", "SELECT\n'\\n';", "\\d t"]);
        assert_eq!(again.newer().as_deref(), Some("SELECT\n'\\n';"));
        assert_eq!(
            (again.newer().as_deref(), again.newer().as_deref(), again.newer()),
            (Some("\\d t"), Some("draft"), None)
        );
        assert!(!fs::read_to_string(&path).expect("text").contains("geheim"));
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).expect("a file").permissions());
        assert_eq!(mode & 0o777, FILE_MODE);
    }

    #[test]
    fn hints_and_searches_prefer_what_is_newest() {
        let mut history = History::default();
        ["SELECT a FROM t;", "SELECT b\nFROM t;", "\\d t"].iter().for_each(|line| history.add(line));
        assert_eq!(history.hint("SELECT "), Some("b"));
        assert_eq!(history.hint("SELECT a"), Some(" FROM t;"));
        assert_eq!(history.hint("x"), None);
        assert_eq!(history.containing("from").collect::<Vec<_>>(), ["SELECT b\nFROM t;", "SELECT a FROM t;"]);
    }

    #[test]
    fn a_file_that_grew_too_long_is_cut() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("history");
        let lines: String = (0..2 * ENTRIES_MAX + 1).map(|n| format!("SELECT {n};\n")).collect();
        fs::write(&path, lines).expect("written");
        assert_eq!(History::load(Some(path.clone())).entries.len(), ENTRIES_MAX);
        let kept = fs::read_to_string(&path).expect("text");
        assert!(kept.lines().count() == ENTRIES_MAX && kept.ends_with(&format!("SELECT {};\n", 2 * ENTRIES_MAX)));
    }
}
