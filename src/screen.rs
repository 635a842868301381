//! The terminal, shared by rows on standard output and one live status line on standard error.
//!
//! Rows push the status line down: it is wiped before rows are written and drawn again after them. Where either
//! stream is not a terminal, rows pass through untouched and no status line is drawn.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// Wipes the line that the cursor stands in.
const WIPE: &str = "\r\x1b[2K";

/// Longest wait for rows that are being written. A reader that has stopped must not stop Ctrl-C too.
const LOCK_PATIENCE: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Shown {
    line: String,
}

/// Both streams of the terminal behind one lock.
#[derive(Clone)]
pub struct Screen {
    shown: Arc<Mutex<Shown>>,
    live: bool,
    stdout_is_terminal: bool,
}

impl Screen {
    /// `quiet`: never draw a status line.
    pub fn new(quiet: bool) -> Self {
        let live = !quiet && io::stderr().is_terminal();
        Self { shown: Arc::default(), live, stdout_is_terminal: io::stdout().is_terminal() }
    }

    /// True where a status line is of use.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Replaces the status line.
    pub fn draw(&self, line: &str) {
        if !self.live {
            return;
        }
        let Some(mut shown) = self.shown.try_lock_for(LOCK_PATIENCE) else { return };
        shown.line = clip(line, columns());
        // A terminal that is gone is no reason to fail the job.
        let _ = write!(io::stderr(), "{WIPE}{}", shown.line);
    }

    /// Takes the status line away.
    pub fn clear(&self) {
        if self.live {
            if let Some(mut shown) = self.shown.try_lock_for(LOCK_PATIENCE) {
                shown.line.clear();
            }
            let _ = write!(io::stderr(), "{WIPE}");
        }
    }

    /// A message on standard error that stays.
    pub fn say(&self, message: &str) {
        // Rows that nobody reads hold the lock: what has to be said, is said all the same.
        let shown = self.shown.try_lock_for(LOCK_PATIENCE);
        let wipe = if self.live { WIPE } else { "" };
        let _ = writeln!(io::stderr(), "{wipe}{message}");
        let _ = write!(io::stderr(), "{}", shown.as_ref().map_or("", |shown| shown.line.as_str()));
    }

    /// Standard output for rows.
    pub fn rows(&self) -> Arc<Mutex<dyn Write + Send>> {
        Arc::new(Mutex::new(RowWriter { screen: self.clone() }))
    }
}

/// A line on standard output. Whoever reads it may stop early (`| head`): that is no failure.
pub fn answer(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

struct RowWriter {
    screen: Screen,
}

impl Write for RowWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let shown = self.screen.shown.lock();
        let shared = self.screen.live && self.screen.stdout_is_terminal && !shown.line.is_empty();
        if shared {
            write!(io::stderr(), "{WIPE}")?;
        }
        io::stdout().write_all(bytes)?;
        io::stdout().flush()?;
        if shared && bytes.ends_with(b"\n") {
            write!(io::stderr(), "{}", shown.line)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// Width assumed where the terminal does not tell.
const COLUMNS_DEFAULT: usize = 120;

/// Width of the terminal, in characters.
pub fn columns() -> usize {
    std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).unwrap_or_else(terminal_columns)
}

fn terminal_columns() -> usize {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => COLUMNS_DEFAULT,
    }
}

/// A line that wraps could not be wiped again.
fn clip(line: &str, columns: usize) -> String {
    line.chars().take(columns.saturating_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::clip;

    #[test]
    fn a_status_line_never_wraps() {
        assert_eq!(clip("abcdef", 4), "abc");
        assert_eq!(clip("äöü", 80), "äöü");
        assert_eq!(clip("abc", 0), "");
    }
}
