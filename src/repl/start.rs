//! Opens the shell: at a prompt where somebody sits at a terminal, else from files, arguments or a pipe.

use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use super::input::Input;
use super::interactive;
use super::output::say;
use super::shell::{Failure, Options, ROWS_MAX_DEFAULT, Shell};
use super::signals::Signals;
use crate::cli::ShellArgs;
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
    for file in files.iter().chain(&args.file) {
        keep(run_file(shell, file, args.keep_going))?;
    }
    for sql in &args.command {
        keep(shell.run_text("command line", sql, args.keep_going))?;
    }
    if args.file.is_empty() && args.command.is_empty() {
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            return interactive::run(shell);
        }
        keep(run_standard_input(shell, args.keep_going))?;
    }
    first.map_or(Ok(()), Err)
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

/// Runs each statement as soon as it is there, so that another program can drive the shell.
fn run_standard_input(shell: &mut Shell, keep_going: bool) -> Result<(), Failure> {
    let mut input = Input::new("standard input");
    let mut first = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = io::stdin().lock().read_until(b'\n', &mut line);
        let end = match read {
            Ok(bytes) => bytes == 0,
            Err(error) => return Err(unreadable(&error.to_string())),
        };
        let Ok(text) = std::str::from_utf8(&line) else { return Err(unreadable("it is not UTF-8")) };
        let items = if end { input.finish().into_iter().collect() } else { input.push(text) };
        match shell.run_items(items, keep_going) {
            Err(failure) if keep_going && failure.message().is_some() => drop(first.get_or_insert(failure)),
            done => done?,
        }
        if end || shell.signals.leaves() {
            return first.map_or(Ok(()), Err);
        }
    }
}

fn unreadable(why: &str) -> Failure {
    let failure = Failure::Wrong(format!("error: cannot read standard input: {why}"));
    failure.message().into_iter().for_each(say);
    failure
}
