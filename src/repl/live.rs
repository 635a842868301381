//! A query on a terminal: a table that refreshes in place, or rows that append above one line of status.
//!
//! What is done within a moment is shown as a plain table. A result that changes then gets the whole screen, until it ends
//! or a key ends it; what it held last stays on the screen behind.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use tidemill_engine::Batch;

use super::format::{Sheet, Style};
use super::keys::Key;
use super::output::say;
use super::results::CUT_HINT;
use super::running::{Heard, Running};
use super::shell::{Failure, Shell};
use super::terminal::{self, Keyboard, Typed};
use super::waiting;
use crate::query::FoldedView;
use crate::status;

/// A query that ends within this shows its result and nothing else.
const MOMENT: Duration = Duration::from_millis(400);
/// Rows wait so long at most before they are on the screen, and keys before they are seen.
const TICK: Duration = Duration::from_millis(25);
/// Often enough to seem alive, seldom enough to be read.
const REFRESH: Duration = Duration::from_millis(200);
/// Rows of a table that stay on the screen when its query has ended.
const ROWS_LEFT_MAX: usize = 100;

const ALTERNATE_SCREEN: &str = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J";
const MAIN_SCREEN: &str = "\x1b[?25h\x1b[?1049l";
const WIPE_LINE: &str = "\r\x1b[2K";
const REST_OF_LINE: &str = "\x1b[K\n";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// How watching came to its end.
enum End {
    /// The input did; what was lost on the way, a line each.
    Input(Vec<String>),
    Stopped,
}

/// Shows a query until it ends, or until Ctrl-C ends it.
pub fn show(
    shell: &mut Shell,
    query: &mut dyn Running,
    keyboard: &mut Keyboard,
    begun: Instant,
) -> Result<(), Failure> {
    let folds = !query.appends() || query.is_sorted_by_reader();
    let mut watch = Watch { query, keyboard, begun, rows: 0 };
    let shown = if folds { watch.folded(shell) } else { watch.appended(shell) };
    if matches!(shown, Ok(End::Stopped)) {
        watch.query.cancel();
    }
    let (rows, bounded) = (watch.rows, watch.query.is_bounded());
    match shown? {
        End::Input(losses) => {
            say(&format!("{}{}{PLAIN}", DIM, ended(bounded, rows, begun.elapsed())));
            losses.iter().for_each(|line| say(line));
            Ok(())
        }
        End::Stopped => {
            say(&format!("{DIM}stopped: {} in {}{PLAIN}", counted(rows), status::duration(begun.elapsed())));
            Err(Failure::Interrupted)
        }
    }
}

fn ended(bounded: bool, rows: u64, time: Duration) -> String {
    let end = if bounded { "" } else { "; the input has ended" };
    format!("{} in {}{end}", counted(rows), status::duration(time))
}

fn counted(rows: u64) -> String {
    if rows == 1 { "1 row".into() } else { format!("{} rows", status::count(rows)) }
}

struct Watch<'a> {
    query: &'a mut dyn Running,
    keyboard: &'a mut Keyboard,
    begun: Instant,
    /// In the result.
    rows: u64,
}

impl Watch<'_> {
    /// Rows that only append go by, above a line of status.
    fn appended(&mut self, shell: &mut Shell) -> Result<End, Failure> {
        let mut sheet = Sheet::new(self.query.schema().clone(), shell.style())?;
        let mut drawn = Instant::now();
        let mut line_is_drawn = false;
        loop {
            let (text, end) = match self.query.next(TICK) {
                Heard::Rows(batch) => {
                    self.rows += batch.num_rows() as u64;
                    (sheet.add(batch.rows())?, None)
                }
                Heard::Quiet => (sheet.settle()?, None),
                Heard::Ended(outcome) => (sheet.settle()?, Some(outcome?)),
            };
            let wipe = if line_is_drawn && (!text.is_empty() || end.is_some()) { WIPE_LINE } else { "" };
            terminal::write(&format!("{wipe}{text}"));
            line_is_drawn &= wipe.is_empty();
            let stopped = end.is_none() && self.is_stopped(shell);
            if end.is_some() || stopped {
                if line_is_drawn {
                    terminal::write(WIPE_LINE);
                }
                let cut = sheet.is_cut();
                terminal::write(&sheet.finish()?);
                if cut {
                    say(CUT_HINT);
                }
                return Ok(end.map_or(End::Stopped, End::Input));
            }
            if self.begun.elapsed() > MOMENT && (drawn.elapsed() > REFRESH || !line_is_drawn) {
                let line = waiting::line(&self.query.progress(), self.rows, terminal::size().0);
                terminal::write(&format!("{WIPE_LINE}{DIM}{line}{PLAIN}"));
                (drawn, line_is_drawn) = (Instant::now(), true);
            }
        }
    }

    /// A result that changes is kept as a table.
    fn folded(&mut self, shell: &mut Shell) -> Result<End, Failure> {
        let mut view = FoldedView::new(self.query.schema().clone(), self.query.order(), shell.options.rows_max)?;
        let early = self.gather(&mut view, MOMENT, shell)?;
        let end = match early {
            Some(end) => end,
            None => {
                terminal::write(ALTERNATE_SCREEN);
                let end = self.refreshed(&mut view, shell);
                terminal::write(MAIN_SCREEN);
                end?
            }
        };
        self.rows = view.len() as u64 + view.beyond();
        let (text, cut) = table(&view.rows(0, ROWS_LEFT_MAX)?, shell.style())?;
        terminal::write(&text);
        let more = self.rows.saturating_sub(ROWS_LEFT_MAX as u64);
        if more > 0 {
            say(&format!("... {} more rows", status::count(more)));
        }
        if cut {
            say(CUT_HINT);
        }
        Ok(end)
    }

    /// Takes in changes for so long; the end, if that comes first.
    fn gather(&mut self, view: &mut FoldedView, time: Duration, shell: &mut Shell) -> Result<Option<End>, Failure> {
        let until = Instant::now() + time;
        loop {
            match self.query.next(TICK.min(until.saturating_duration_since(Instant::now()))) {
                Heard::Rows(batch) => self.apply(view, &batch)?,
                Heard::Quiet => {}
                Heard::Ended(outcome) => return Ok(Some(End::Input(outcome?))),
            }
            if self.is_stopped(shell) {
                return Ok(Some(End::Stopped));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
        }
    }

    fn apply(&mut self, view: &mut FoldedView, batch: &Batch) -> Result<(), Failure> {
        view.apply(batch)?;
        self.rows = view.len() as u64 + view.beyond();
        Ok(())
    }

    fn refreshed(&mut self, view: &mut FoldedView, shell: &mut Shell) -> Result<End, Failure> {
        let mut seen = None;
        loop {
            let size = terminal::size();
            if seen.replace(size) != Some(size) {
                terminal::write("\x1b[2J");
            }
            terminal::write(&self.frame(view, shell, size)?);
            if let Some(end) = self.gather(view, REFRESH, shell)? {
                return Ok(end);
            }
        }
    }

    /// The whole screen: the table as far as it fits, what is left out, and the status at the bottom.
    fn frame(&mut self, view: &FoldedView, shell: &Shell, (columns, lines): (usize, usize)) -> Result<String, Failure> {
        let style = Style { width: Some(columns), ..shell.style() };
        // Besides rows: three lines of header and rule each, a line for what is left out, one of status.
        let room =
            if style.expanded { lines / (self.query.schema().fields().len() + 1) } else { lines.saturating_sub(6) };
        let (text, cut) = table(&view.rows(0, room.max(1))?, style)?;
        let mut shown: Vec<&str> = text.lines().take(lines.saturating_sub(2)).collect();
        let more = (view.len() as u64 + view.beyond()).saturating_sub(room.max(1) as u64);
        let below = match (more, cut) {
            (0, true) => CUT_HINT.to_string(),
            (0, false) => String::new(),
            (more, _) => format!("... {} more rows", status::count(more)),
        };
        shown.push(&below);
        let mut frame = String::from("\x1b[H");
        shown.iter().for_each(|line| frame.extend([*line, REST_OF_LINE]));
        frame.push_str("\x1b[J");
        let line = waiting::line(&self.query.progress(), self.rows, columns);
        frame.push_str(&format!("\x1b[{lines};1H{DIM}{line}{PLAIN}\x1b[K"));
        Ok(frame)
    }

    /// Ctrl-C, `q`, or a terminal that is gone. What is typed while a query only takes a moment is for the next prompt.
    fn is_stopped(&mut self, shell: &Shell) -> bool {
        let mut asked = shell.signals.take_interrupt();
        while self.begun.elapsed() > MOMENT && !asked {
            match self.keyboard.key(false) {
                Typed::Key(key) => asked = matches!(key, Key::Char('q') | Key::Ctrl('d')),
                Typed::Nothing => break,
                Typed::Gone => asked = true,
            }
        }
        asked
    }
}

/// Rows as one table, and whether something of it is cut.
fn table(rows: &RecordBatch, style: Style) -> Result<(String, bool), Failure> {
    let mut sheet = Sheet::new(rows.schema(), style)?;
    let text = sheet.add(rows)? + &sheet.settle()?;
    let cut = sheet.is_cut();
    Ok((text + &sheet.finish()?, cut))
}
