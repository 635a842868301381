//! A reader who types what a page says, in a folder of their own, and compares what is printed with what the page says.
//!
//! Commands that only look are asked again until they show what the page shows, as a reader would.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use regex::Regex;

use super::masks::{masked, without_figures};
use super::text::{Block, Step};
use crate::not_run::not_run;
use crate::ports;
use crate::process::wait;

/// What a reader waits for comes within this time, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);
const PORT_OF_PAGES: &str = "8080";

pub struct Reader {
    folder: tempfile::TempDir,
    port: u16,
    /// Variables that were set, and whatever else stands in front of each command.
    before: String,
    server: Option<Child>,
}

impl Reader {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, port: ports::free(), before: String::new(), server: None }
    }

    /// `None`, said loudly, where what the commands of pages need is not there.
    pub fn with_tools(page: &str) -> Option<Self> {
        let is_missing = |tool: &&str| Command::new(tool).arg("--version").output().is_err();
        let missing: Vec<&str> = ["bash", "curl", "jq"].into_iter().filter(is_missing).collect();
        if missing.is_empty() {
            return Some(Self::new());
        }
        not_run(&format!("the commands of {page}"), &format!("{} is not installed", missing.join(", ")));
        None
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Done in front of every command from now on, as in the shell of a reader who has typed it.
    pub fn first(&mut self, command: &str) {
        self.before += &format!("{}\n", self.own(command));
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("inside the folder")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Does all that blocks say, one after the other: files that the page shows with their names, commands.
    pub fn follow(&mut self, blocks: &[&Block]) {
        for block in blocks {
            if let Some(name) = block.file.as_ref().filter(|_| block.steps.is_empty()) {
                self.write(name, block.run());
            }
            block.steps.iter().for_each(|step| self.take(step));
        }
    }

    pub fn take(&mut self, step: &Step) {
        self.take_as(step, step.run());
    }

    /// Runs another command for that of the page, which is to print what the page says.
    pub fn take_as(&mut self, step: &Step, command: &str) {
        step.run();
        println!("$ {command}");
        if command.starts_with("tidemill serve") || command.starts_with("tidemill start") {
            return self.serve(command, step.prints.as_deref().unwrap_or_default());
        }
        if command.starts_with("kill -9 $(pidof tidemill)") {
            return self.kill();
        }
        if Regex::new("^(export )?[A-Z_]+=\\S+$").expect("a pattern").is_match(command) {
            return self.first(command);
        }
        match &step.prints {
            None => self.succeed(command),
            Some(prints) if command.contains("curl -sN") => self.listen(command, &prints.join("\n")),
            Some(prints) => self.compare(command, &prints.join("\n"), masked),
        }
    }

    /// As [`Self::take`], of pictures whose figures change.
    pub fn look(&self, step: &Step) {
        println!("$ {}", step.command);
        let prints = step.prints.as_ref().expect("the page shows a picture");
        self.compare(step.run(), &prints.join("\n"), without_figures);
    }

    fn compare(&self, command: &str, expected: &str, masked: impl Fn(&str) -> String) {
        let expected = masked(expected);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let printed = masked(&self.run(command));
            if printed == expected {
                return;
            }
            let is_over = !only_looks(command) || Instant::now() > deadline;
            assert!(!is_over, "$ {command}\nprints\n{printed}\nthe page says\n{expected}");
            std::thread::sleep(LOOK);
        }
    }

    /// A command whose output the page does not show.
    pub fn succeed(&self, command: &str) {
        let output = self.output(command);
        assert!(output.status.success(), "$ {command}\n{}\n{}", output.status, told(&output));
    }

    /// Addresses of the page are those of this server.
    pub fn own(&self, text: &str) -> String {
        text.replace(PORT_OF_PAGES, &self.port.to_string())
    }

    /// All that a command prints.
    pub fn run(&self, command: &str) -> String {
        told(&self.output(command)).trim_end().to_string()
    }

    pub fn output(&self, command: &str) -> Output {
        self.shell(&format!("{}{}", self.before, self.own(command))).output().expect("bash starts")
    }

    /// A stream of events that goes on: those of the page come one after the other, then it is ended. A status may come more often.
    fn listen(&self, command: &str, expected: &str) {
        let expected = masked(expected);
        let mut missing = expected.split("\n\n").peekable();
        let mut shell = self.shell(&format!("{}{}", self.before, self.own(command)));
        let mut child = shell.stdout(Stdio::piped()).process_group(0).spawn().expect("bash starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let (mut printed, mut event) = (String::new(), String::new());
        let deadline = Instant::now() + PATIENCE;
        while missing.peek().is_some() && Instant::now() < deadline {
            if lines.read_line(&mut event).is_err() || !event.ends_with('\n') {
                break;
            }
            if !event.ends_with("\n\n") {
                continue;
            }
            printed += &event;
            let event = masked(std::mem::take(&mut event).trim_end());
            if missing.next_if_eq(&event.as_str()).is_none() && !event.starts_with("event: status\n") {
                break;
            }
        }
        let group = libc::pid_t::try_from(child.id()).expect("a process id");
        // SAFETY: the group is that of our own child, which has not been waited for.
        unsafe { libc::kill(-group, libc::SIGTERM) };
        wait(&mut child);
        assert_eq!(missing.next(), None, "$ {command}\nprints\n{printed}{event}");
    }

    pub fn shell(&self, script: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_tidemill"));
        let path =
            format!("{}:{}", program.parent().expect("a folder").display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("bash");
        shell.args(["-c", script]).current_dir(self.path()).stdin(Stdio::null());
        shell
            .env("PATH", path)
            .env("TIDEMILL_SERVER", self.url())
            .env("XDG_STATE_HOME", self.path().join("state-home"));
        shell.env("TIDEMILL_LISTEN", format!("127.0.0.1:{}", self.port));
        shell
    }

    /// Starts the server and compares its first line.
    pub fn serve(&mut self, command: &str, prints: &[String]) {
        assert!(self.server.is_none(), "a server runs already");
        let command = self.own(command.trim_end_matches(" &"));
        let mut shell = self.shell(&format!("{}exec {command}", self.before));
        let mut child = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("bash starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let mut errors = child.stderr.take().expect("piped");
        std::thread::spawn(move || std::io::copy(&mut errors.by_ref(), &mut std::io::sink()));
        self.server = Some(child);
        if let Some(expected) = prints.first() {
            assert_eq!(masked(line.trim_end()), masked(expected), "$ {command}");
        }
    }

    pub fn kill(&mut self) {
        let mut server = self.server.take().expect("a server runs");
        server.kill().and_then(|()| server.wait()).expect("killed");
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

/// True for commands that may be given again.
fn only_looks(command: &str) -> bool {
    if command.contains("/queries ") {
        return true;
    }
    let changes = ["-X", "--json", "--data", "submit", "stop", " > ", "echo ", "token new"];
    !changes.iter().any(|change| command.contains(change))
}
