//! Opens the shell: at a prompt where somebody sits at a terminal, else from files, arguments or a pipe.

use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::input::Input;
use super::interactive;
use super::output::say;
use super::remote::Remote;
use super::shell::{Failure, Options, ROWS_MAX_DEFAULT, Shell};
use super::signals::Signals;
use crate::cli::ShellArgs;
use crate::connection::ServerArgs;
use crate::exit::Exit;
use crate::run::settings_of;
use crate::script::ScriptError;

/// Runs the shell to its end.
pub fn run(args: &ShellArgs, files: &[PathBuf]) -> Exit {
    let settings = match settings_of(&args.settings) {
        Ok(settings) => settings,
        Err(ScriptError(text)) => {
            say(&text);
            return Exit::WrongInput;
        }
    };
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            say(&format!("error: cannot catch Ctrl-C: {error}"));
            return Exit::JobFailed;
        }
    };
    let options = Options { format: args.format, expanded: false, timing: false, rows_max: ROWS_MAX_DEFAULT };
    let mut shell = Shell::new(settings, options, signals);
    if args.server.is_some() {
        let server = ServerArgs { server: args.server.clone(), ca_cert: args.ca_cert.clone() };
        match Remote::connect(&server, &args.settings) {
            Ok(remote) => shell.remote = Some(remote),
            Err(failure) => {
                failure.message().into_iter().for_each(say);
                return failure.exit();
            }
        }
    }
    match run_all(&mut shell, args, files) {
        Ok(()) => Exit::Success,
        Err(failure) => failure.exit(),
    }
}

fn run_all(shell: &mut Shell, args: &ShellArgs, files: &[PathBuf]) -> Result<(), Failure> {
    let mut first = None;
    let mut keep = |done: Result<(), Failure>| match done {
        Err(failure) if args.keep_going && failure.message().is_some() => {
            first.get_or_insert(failure);
            Ok(())
        }
        done => done,
    };
    let given = !args.file.is_empty() || !args.command.is_empty();
    if !given && io::stdin().is_terminal() && io::stdout().is_terminal() {
        return open_prompt(shell, files);
    }
    for file in files.iter().chain(&args.file) {
        keep(run_file(shell, file, args.keep_going))?;
    }
    for sql in &args.command {
        keep(shell.run_text("command line", sql, args.keep_going))?;
    }
    if !given {
        keep(run_standard_input(shell, args.keep_going))?;
    }
    first.map_or(Ok(()), Err)
}

/// What is wrong in a file was said, and can be mended at the prompt.
fn open_prompt(shell: &mut Shell, files: &[PathBuf]) -> Result<(), Failure> {
    shell.at_prompt = true;
    for file in files {
        if let Err(Failure::Leave) = run_file(shell, file, false) {
            return Ok(());
        }
    }
    interactive::run(shell)
}

/// Runs all of a file.
pub fn run_file(shell: &mut Shell, path: &Path, keep_going: bool) -> Result<(), Failure> {
    if path == Path::new("-") {
        return run_standard_input(shell, keep_going);
    }
    match std::fs::read_to_string(path) {
        Ok(text) => shell.run_text(&path.display().to_string(), &text, keep_going),
        Err(error) => {
            let failure = Failure::Wrong(format!("error: cannot read {}: {error}", path.display()));
            failure.message().into_iter().for_each(say);
            Err(failure)
        }
    }
}

/// Lines that are read before what stands in front of them is done: one that waits, and one that is being read.
const LINES_AHEAD_MAX: usize = 1;
/// How often Ctrl-C is looked for while no line comes.
const TICK: Duration = Duration::from_millis(50);

/// Runs each statement as soon as it is there, so that another program can drive the shell.
fn run_standard_input(shell: &mut Shell, keep_going: bool) -> Result<(), Failure> {
    let (sender, lines) = bounded(LINES_AHEAD_MAX);
    let reader = thread::Builder::new().name("stdin".into()).spawn(move || read_lines(&sender));
    reader.map_err(|error| unreadable(&error.to_string()))?;
    let mut input = Input::new("standard input");
    let mut first = None;
    loop {
        let (items, end) = match lines.recv_timeout(TICK) {
            Ok(Ok(line)) => {
                let text = String::from_utf8(line).map_err(|_| unreadable("it is not UTF-8"))?;
                (input.push(&text), false)
            }
            Ok(Err(error)) => return Err(unreadable(&error.to_string())),
            Err(RecvTimeoutError::Timeout) if shell.signals.take_interrupt() => return Err(Failure::Interrupted),
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => (input.finish().into_iter().collect(), true),
        };
        match shell.run_items(items, keep_going) {
            Err(failure) if keep_going && failure.message().is_some() => drop(first.get_or_insert(failure)),
            done => done?,
        }
        if end {
            return first.map_or(Ok(()), Err);
        }
    }
}

/// In a thread of its own, since reading cannot be interrupted; it ends with the input or with the process.
fn read_lines(sender: &Sender<io::Result<Vec<u8>>>) {
    let mut stdin = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        let read = stdin.read_until(b'\n', &mut line);
        let over = !matches!(read, Ok(1..));
        if !matches!(read, Ok(0)) && sender.send(read.map(|_| line)).is_err() || over {
            return;
        }
    }
}

fn unreadable(why: &str) -> Failure {
    let failure = Failure::Wrong(format!("error: cannot read standard input: {why}"));
    failure.message().into_iter().for_each(say);
    failure
}
