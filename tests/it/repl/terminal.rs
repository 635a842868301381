//! A pseudo-terminal with the program in it, and what its screen shows.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::process::{Workspace, wait};

/// The machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

pub const CTRL_C: &str = "\x03";
pub const CTRL_D: &str = "\x04";
pub const UP: &str = "\x1b[A";
pub const ENTER: &str = "\r";
pub const TAB: &str = "\t";

/// The program at work in a terminal of its own.
pub struct Terminal {
    keys: File,
    child: Child,
    screen: Arc<Mutex<vt100::Parser>>,
    /// Prompts shown so far, each of which asks for pasted text to be marked as such.
    prompts: Arc<AtomicUsize>,
    /// Lines read so far.
    lines: Arc<AtomicUsize>,
}

/// What the program writes when it begins to read a line.
const PROMPT_BEGINS: &[u8] = b"\x1b[?2004h";

/// What it writes when it has read one.
const PROMPT_ENDS: &[u8] = b"\x1b[?2004l";

impl Terminal {
    /// `tidemill ARGS` in the workspace's folder, on a screen of 100 columns and 30 lines.
    pub fn open(workspace: &Workspace, args: &[&str]) -> Self {
        let mut command = workspace.command(args);
        command
            .env("XDG_STATE_HOME", workspace.path("state-home"))
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR");
        Self::running(command)
    }

    /// On a screen of 100 columns and 30 lines.
    pub fn running(command: Command) -> Self {
        Self::sized(command, 30, 100)
    }

    pub fn sized(mut command: Command, lines: u16, columns: u16) -> Self {
        let (ours, theirs) = pair();
        set_size(&ours, lines, columns);
        let stream = || Stdio::from(theirs.try_clone().expect("a copy of the terminal"));
        command.stdin(stream()).stdout(stream()).stderr(stream());
        // SAFETY: between fork and exec only these two system calls are made, which both may be; the descriptor 0 is the
        // terminal by then.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().expect("the program starts");
        drop(command);
        drop(theirs);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(lines, columns, 1_000)));
        let [prompts, read] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let counters = [(PROMPT_BEGINS, Arc::clone(&prompts)), (PROMPT_ENDS, Arc::clone(&read))];
        let (mut output, shown) = (File::from(ours.try_clone().expect("a copy")), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            let mut seen = Vec::new();
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                shown.lock().expect("no panic").process(&bytes[..length]);
                seen.extend_from_slice(&bytes[..length]);
                for (mark, counter) in &counters {
                    let count = seen.windows(mark.len()).filter(|window| window == mark).count();
                    counter.store(count, Ordering::SeqCst);
                }
            }
        });
        Self { keys: File::from(ours), child, screen, prompts, lines: read }
    }

    pub fn type_(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Types a line and Enter at a prompt. Once the program has it, keys mean what they mean to whatever it does then; before, Ctrl-C and
    /// Ctrl-D could be taken by nobody.
    pub fn enter(&mut self, line: &str) {
        let before = self.lines.load(Ordering::SeqCst);
        self.type_(&format!("{line}{ENTER}"));
        self.wait("the line to be read", |_| self.lines.load(Ordering::SeqCst) > before);
    }

    /// Types a line that does not complete its statement, and waits for the prompt of the next one.
    pub fn begin(&mut self, line: &str) {
        self.type_(&format!("{line}{ENTER}"));
        self.wait_for_further_line();
    }

    /// What stands on the screen, without blanks at the ends of lines.
    pub fn text(&self) -> String {
        let parser = self.screen.lock().expect("no panic");
        let columns = parser.screen().size().1;
        let rows: Vec<String> = parser.screen().rows(0, columns).map(|row| row.trim_end().to_string()).collect();
        rows.join("\n").trim_end().to_string()
    }

    /// True while the program has taken the whole screen.
    pub fn is_full_screen(&self) -> bool {
        self.screen.lock().expect("no panic").screen().alternate_screen()
    }

    /// The colour of the first character of a text on the screen.
    pub fn colour_of(&self, text: &str) -> vt100::Color {
        let parser = self.screen.lock().expect("no panic");
        let columns = parser.screen().size().1;
        let rows: Vec<String> = parser.screen().rows(0, columns).collect();
        let (row, column) = rows
            .iter()
            .enumerate()
            .rev()
            .find_map(|(row, line)| Some((row, line[..line.find(text)?].chars().count())))
            .unwrap_or_else(|| panic!("no `{text}` in\n{}", rows.join("\n")));
        parser.screen().cell(row as u16, column as u16).expect("a cell").fgcolor()
    }

    /// Waits until the screen is as the test wants it, and gives it.
    pub fn wait(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let text = self.text();
            if is_so(&text) {
                return text;
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}; the screen:\n{text}");
            std::thread::sleep(POLL);
        }
    }

    /// Waits until a text is on the screen.
    pub fn wait_for(&self, expected: &str) -> String {
        self.wait(&format!("`{expected}`"), |text| text.contains(expected))
    }

    /// Waits for one prompt more than there were.
    fn wait_for_prompt_after(&self, before: usize) -> String {
        let shown = self.wait("the next prompt", |_| self.prompts.load(Ordering::SeqCst) > before);
        drop(shown);
        self.wait_for_prompt()
    }

    /// Waits for a prompt with nothing behind it at the bottom of the screen.
    pub fn wait_for_prompt(&self) -> String {
        self.wait("a prompt", |text| text.lines().last().is_some_and(|line| line.trim_end() == "tidemill>"))
    }

    /// Waits for the prompt of a statement's further lines.
    fn wait_for_further_line(&self) -> String {
        self.wait("a further line", |text| text.lines().last().is_some_and(|line| line.trim() == "->"))
    }

    /// Types a line and waits for what it shows and for the next prompt.
    pub fn run(&mut self, line: &str, expected: &str) -> String {
        let before = self.prompts.load(Ordering::SeqCst);
        self.enter(line);
        let shown = self.wait_for_prompt_after(before);
        assert!(shown.contains(expected), "no `{expected}` in\n{shown}");
        shown
    }

    pub fn resize(&self, lines: u16, columns: u16) {
        self.screen.lock().expect("no panic").screen_mut().set_size(lines, columns);
        set_size(&self.keys, lines, columns);
    }

    /// Waits for the program's end.
    pub fn end(mut self) -> ExitStatus {
        wait(&mut self.child)
    }
}

impl Drop for Terminal {
    /// A test that fails leaves no program behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pair() -> (OwnedFd, OwnedFd) {
    let (mut ours, mut theirs) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: both descriptors are written before they are read; name, settings and size may be null.
    let opened = unsafe { libc::openpty(&mut ours, &mut theirs, none, none.cast(), none.cast()) };
    assert_eq!(opened, 0, "a pseudo-terminal: {}", std::io::Error::last_os_error());
    // SAFETY: they were opened just now, and nothing else knows them.
    let pair = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    // The program must not inherit the end that we hold, or the terminal would never close.
    // SAFETY: sets a flag of an open descriptor.
    unsafe { libc::fcntl(pair.0.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    pair
}

fn set_size(terminal: &impl AsRawFd, lines: u16, columns: u16) {
    let size = libc::winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request reads a winsize, which outlives the call.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    assert_eq!(done, 0, "the terminal takes a size");
}
