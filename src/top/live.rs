//! The screen of `tidemill top` and its keys. The server is asked by a thread of its own, so that no slow answer holds up a key.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::draw::{self, HELP, Line, Look, Size, Sort};
use super::figures::{JobDetail, JobRow};
use super::{fetch_detail, fetch_jobs};
use crate::connection::{Connection, Failure, wrong};
use crate::repl::keys::Key;
use crate::repl::signals::Signals;
use crate::repl::terminal::{Keyboard, Typed, size, write};

/// A screen of its own, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// What is known, and what is to be asked.
#[derive(Default)]
struct Known {
    jobs: Vec<JobRow>,
    detail: Option<JobDetail>,
    /// The job whose operators are shown.
    wanted: Option<String>,
    /// Why the last look failed.
    problem: Option<String>,
    looks: u64,
    over: bool,
}

#[derive(Default)]
struct Shared {
    known: Mutex<Known>,
    changed: Condvar,
}

pub fn run(client: &Connection, job: Option<String>, sort: Sort, interval: Duration) -> Result<(), Failure> {
    let failed = |error: std::io::Error| wrong(format!("the terminal cannot be used: {error}"));
    let signals = Signals::install().map_err(failed)?;
    let mut keyboard = Keyboard::open().map_err(failed)?;
    let shared = Arc::new(Shared::default());
    shared.known.lock().wanted = job;
    let (asked, asker) = (Arc::clone(&shared), client.clone());
    let asking = std::thread::Builder::new().name("top".into()).spawn(move || ask(&asked, &asker, interval));
    asking.map_err(failed)?;
    write(ENTER);
    let mut screen = Screen { shared, sort, chosen: 0, help: false, drawn: None, server: client.url.clone() };
    while !signals.take_interrupt() {
        screen.draw();
        match keyboard.key(true) {
            Typed::Key(key) => {
                if !screen.on_key(&key) {
                    break;
                }
            }
            Typed::Nothing => {}
            Typed::Gone => break,
        }
    }
    screen.shared.known.lock().over = true;
    screen.shared.changed.notify_all();
    write(LEAVE);
    Ok(())
}

/// Looks again and again, at once when another job is wanted.
fn ask(shared: &Shared, client: &Connection, interval: Duration) {
    loop {
        let wanted = shared.known.lock().wanted.clone();
        let jobs = fetch_jobs(client);
        let detail = wanted.as_deref().map(|job| fetch_detail(client, job)).transpose();
        let mut known = shared.known.lock();
        known.looks += 1;
        known.problem = jobs.as_ref().err().or(detail.as_ref().err()).map(|failure| failure.text.clone());
        if let Ok(jobs) = jobs {
            known.jobs = jobs;
        }
        if known.wanted == wanted
            && let Ok(detail) = detail
        {
            known.detail = detail;
        }
        let next = Instant::now() + interval;
        while !known.over && known.wanted == wanted {
            if shared.changed.wait_until(&mut known, next).timed_out() {
                break;
            }
        }
        if known.over {
            return;
        }
    }
}

struct Screen {
    shared: Arc<Shared>,
    sort: Sort,
    chosen: usize,
    help: bool,
    /// What stands there, to draw only what is new.
    drawn: Option<(Size, Vec<Line>)>,
    server: String,
}

impl Screen {
    /// False: leave.
    fn on_key(&mut self, key: &Key) -> bool {
        let is_list = self.shared.known.lock().wanted.is_none();
        let page = size().1.saturating_sub(3).max(1);
        match key {
            _ if self.help => self.help = false,
            Key::Char('?') | Key::Char('h') => self.help = true,
            Key::Char('q') | Key::Escape | Key::Left if !is_list => self.want(None),
            Key::Char('q') | Key::Ctrl('c' | 'd') => return false,
            Key::Char('s') => self.sort = self.sort.next(),
            Key::Enter | Key::Right if is_list => self.open(),
            Key::Up => self.chosen = self.chosen.saturating_sub(1),
            Key::Down => self.chosen += 1,
            Key::PageUp => self.chosen = self.chosen.saturating_sub(page),
            Key::PageDown => self.chosen += page,
            Key::Home => self.chosen = 0,
            Key::End => self.chosen = usize::MAX,
            _ => {}
        }
        self.chosen = self.chosen.min(self.shared.known.lock().jobs.len().saturating_sub(1));
        true
    }

    fn open(&mut self) {
        let jobs = draw::sorted(self.shared.known.lock().jobs.clone(), self.sort);
        self.want(jobs.get(self.chosen).map(|job| job.name.clone()));
    }

    fn want(&self, job: Option<String>) {
        let mut known = self.shared.known.lock();
        known.wanted = job;
        known.detail = None;
        drop(known);
        self.shared.changed.notify_all();
    }

    fn draw(&mut self) {
        let (columns, rows) = size();
        let size = Size { columns, rows };
        let lines = self.lines(size);
        if self.drawn.as_ref().is_some_and(|drawn| drawn.0 == size && drawn.1 == lines) {
            return;
        }
        let is_resized = self.drawn.as_ref().is_none_or(|drawn| drawn.0 != size);
        let mut text = String::from(if is_resized { "\x1b[2J\x1b[H" } else { "\x1b[H" });
        for (index, line) in lines.iter().take(rows).enumerate() {
            let (begin, end) = match line.look {
                Look::Plain => ("", ""),
                Look::Head => ("\x1b[1m", "\x1b[0m"),
                Look::Chosen => ("\x1b[7m", "\x1b[0m"),
                Look::Bad => ("\x1b[31m", "\x1b[0m"),
            };
            let newline = if index == 0 { "" } else { "\r\n" };
            text.push_str(&format!("{newline}{begin}{}{end}\x1b[K", line.text));
        }
        text.push_str("\x1b[J");
        write(&text);
        self.drawn = Some((size, lines));
    }

    fn lines(&mut self, size: Size) -> Vec<Line> {
        let known = self.shared.known.lock();
        let body = Size { rows: size.rows.saturating_sub(2), ..size };
        let mut lines = vec![Line { text: draw::clip_to(&self.title(&known), size), look: Look::Plain }];
        lines.extend(match (&known.wanted, &known.detail) {
            _ if self.help => {
                HELP.iter().map(|line| Line { text: draw::clip_to(line, size), look: Look::Plain }).collect()
            }
            (Some(_), Some(detail)) => draw::detail(detail, body),
            (Some(job), None) => {
                vec![Line { text: draw::clip_to(&format!("asking about {job} ..."), size), look: Look::Plain }]
            }
            (None, _) if known.looks == 0 => vec![Line { text: "asking ...".into(), look: Look::Plain }],
            (None, _) => draw::list(&draw::sorted(known.jobs.clone(), self.sort), Some(self.chosen), body),
        });
        lines.truncate(size.rows.saturating_sub(1));
        let (text, look) = match &known.problem {
            Some(problem) => (problem.lines().next().unwrap_or_default().to_string(), Look::Bad),
            None if known.wanted.is_some() => ("q back   ? help".to_string(), Look::Plain),
            None => (format!("enter operators   s sort (by {})   ? help   q leave", self.sort.name()), Look::Plain),
        };
        lines.resize_with(size.rows.saturating_sub(1), || Line { text: String::new(), look: Look::Plain });
        lines.push(Line { text: draw::clip_to(&text, size), look });
        lines
    }

    fn title(&self, known: &Known) -> String {
        let of_phase = |phase: &str| known.jobs.iter().filter(|job| job.phase == phase).count();
        let time = chrono::Local::now().format("%H:%M:%S");
        format!(
            "tidemill top  {}  {} jobs, {} running, {} failed  {time}",
            self.server,
            known.jobs.len(),
            of_phase("running"),
            of_phase("failed")
        )
    }
}
