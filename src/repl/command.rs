//! Backslash commands: one list says what there is, what it takes and what it does.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tidemill_engine::suggestion::closest;
use tidemill_sql::catalog::Entry;
use tidemill_sql::show::matches_like;
use tidemill_sql::types::quote_identifier;

use super::format::{Format, text_rows};
use super::input::{Input, Item};
use super::output::say;
use super::remote::{self, Remote};
use super::shell::{Failure, Shell};
use super::{help, start};
use clap::ValueEnum;

/// A command: its name, what it takes, what it is for, and what it does with its argument.
pub struct Command {
    pub name: &'static str,
    pub takes: &'static str,
    pub doc: &'static str,
    run: fn(&mut Shell, &str) -> Result<(), Failure>,
}

const fn command(
    name: &'static str,
    takes: &'static str,
    doc: &'static str,
    run: fn(&mut Shell, &str) -> Result<(), Failure>,
) -> Command {
    Command { name, takes, doc, run }
}

/// All commands, in the order of `\?`.
pub const COMMANDS: &[Command] = &[
    command("?", "", "list these commands", |shell, _| list_commands(shell)),
    command("h", "[statement]", "show how a statement is written", show_help),
    command("q", "", "leave", |_, _| Err(Failure::Leave)),
    command("d", "[table]", "describe a table or view; list all without a name", describe),
    command("dt", "[pattern]", "list tables", |shell, pattern| list_entries(shell, pattern, Some("table"))),
    command("dv", "[pattern]", "list views", |shell, pattern| list_entries(shell, pattern, Some("view"))),
    command("df", "[pattern]", "list functions whose name has this in it", list_functions),
    command("jobs", "", "list the jobs that INSERT started; with --server all jobs of the server", |shell, _| {
        list_jobs(shell)
    }),
    command("stop", "job", "end a job with a final checkpoint", stop_job),
    command("watch", "[seconds]", "run the last query every 2 seconds, or as often as said, until Ctrl-C", watch),
    command("i", "file", "run the statements of a file", run_file),
    command("o", "[file]", "write rows into a file; without a name to the screen again", redirect),
    command("format", "[format]", "write rows as table, csv, json or markdown", set_format),
    command("x", "", "show a line for each column, or stop doing so", |shell, _| toggle_expanded(shell)),
    command("timing", "", "tell how long each statement takes, or stop doing so", |shell, _| toggle_timing(shell)),
    command("set", "[name value]", "set what the shell goes by; without a name list it", set_option),
];

/// Runs a command given without its backslash.
pub fn run(shell: &mut Shell, text: &str) -> Result<(), Failure> {
    let (name, argument) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let argument = argument.trim();
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else { return Err(unknown(name)) };
    if command.takes.is_empty() && !argument.is_empty() {
        return Err(wrong(format!("\\{name} takes nothing, not `{argument}`"), None));
    }
    if !command.takes.starts_with('[') && !command.takes.is_empty() && argument.is_empty() {
        return Err(wrong(format!("\\{name} needs a {}", command.takes), Some(format!("\\{name} {}", command.takes))));
    }
    (command.run)(shell, argument)
}

fn wrong(message: String, hint: Option<String>) -> Failure {
    let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    Failure::Wrong(format!("error: {message}{hint}"))
}

/// Words that people bring along from other shells.
const ELSEWHERE: &[(&str, &str)] = &[
    ("quit", "q"),
    ("exit", "q"),
    ("help", "?"),
    ("tables", "dt"),
    ("views", "dv"),
    ("functions", "df"),
    ("include", "i"),
    ("source", "i"),
    ("describe", "d"),
    ("kill", "stop"),
    ("g", "watch"),
];

fn unknown(name: &str) -> Failure {
    let known = ELSEWHERE.iter().find(|(other, _)| *other == name).map(|(_, ours)| *ours);
    let near = known.or_else(|| closest(name, COMMANDS.iter().map(|command| command.name)));
    let hint = near.map_or("\\? lists all commands".to_string(), |near| format!("did you mean \\{near}?"));
    wrong(format!("there is no command \\{name}"), Some(hint))
}

fn list_commands(shell: &mut Shell) -> Result<(), Failure> {
    let usage = |command: &Command| format!("\\{} {}", command.name, command.takes);
    let lines = COMMANDS.iter().map(|command| format!("  {:<20} {}\n", usage(command), command.doc));
    let keys = "\nA statement ends with `;`. Ctrl-C ends a query or clears the line, Ctrl-D leaves, Tab completes,\n\
                Ctrl-R searches what was typed before, Alt-Enter breaks the line.\n";
    shell.output.write(&(lines.collect::<String>() + keys))
}

fn show_help(shell: &mut Shell, topic: &str) -> Result<(), Failure> {
    match help::about(topic) {
        Ok(text) => shell.output.write(&text),
        Err((message, hint)) => Err(wrong(message, Some(hint))),
    }
}

fn describe(shell: &mut Shell, name: &str) -> Result<(), Failure> {
    if name.is_empty() {
        return list_entries(shell, "", None);
    }
    let name = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')).unwrap_or(name);
    if let Some(done) = remotely(shell, |shell, remote| remote::describe(shell, remote, name)) {
        return done;
    }
    let options = shell.session.catalog().table(name).map(|table| table.options.clone());
    run_sql(shell, &format!("DESCRIBE {}", quote_identifier(name)))?;
    if let Some(connector) = options.as_ref().and_then(|options| options.get("connector")) {
        say(&format!("connector: {connector}; SHOW CREATE TABLE {name} shows all of it"));
    }
    Ok(())
}

/// A statement that the shell itself wrote: its places would tell the user nothing.
fn run_sql(shell: &mut Shell, sql: &str) -> Result<(), Failure> {
    let mut input = Input::new("command");
    input.push(sql);
    let Some(Item::Statement(piece)) = input.finish() else { return Ok(()) };
    let statements = piece.parse().unwrap_or_default();
    for statement in statements {
        let mut outcome = shell.session.execute(&statement);
        if let Err(found) = &mut outcome {
            found.line = 0;
        }
        match outcome.map_err(|found| Failure::Wrong(piece.explain(&found)))? {
            tidemill_sql::session::Outcome::Rows(rows) => shell.show_rows(&super::format::rows_of(&rows)?)?,
            tidemill_sql::session::Outcome::Text(text) => shell.output.write(&format!("{text}\n"))?,
            tidemill_sql::session::Outcome::Done { .. } => {}
        }
    }
    Ok(())
}

/// `%` or `*` stand for anything; a pattern without them may be anywhere in the name.
pub fn matches(name: &str, pattern: &str) -> bool {
    match pattern.contains(['%', '*']) {
        true => matches_like(name, &pattern.replace('*', "%")),
        false => name.to_lowercase().contains(&pattern.to_lowercase()),
    }
}

/// What a server does instead, where the shell has one.
fn remotely(
    shell: &mut Shell,
    work: impl FnOnce(&mut Shell, &mut Remote) -> Result<(), Failure>,
) -> Option<Result<(), Failure>> {
    let mut remote = shell.remote.take()?;
    let done = work(shell, &mut remote);
    shell.remote = Some(remote);
    Some(done)
}

fn list_entries(shell: &mut Shell, pattern: &str, only: Option<&str>) -> Result<(), Failure> {
    if let Some(done) = remotely(shell, |shell, remote| remote::list_entries(shell, remote, pattern, only)) {
        return done;
    }
    let row = |(name, entry): (&str, &Entry)| {
        let (kind, connector, columns) = match entry {
            Entry::Table(table) => {
                let columns: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
                ("table", table.options.get("connector").cloned().unwrap_or_default(), columns.join(", "))
            }
            Entry::View(view) => {
                ("view", String::new(), view.query_text.split_whitespace().collect::<Vec<_>>().join(" "))
            }
        };
        vec![name.to_string(), kind.to_string(), connector, columns]
    };
    let rows: Vec<Vec<String>> = shell.session.catalog().entries().map(row).collect();
    let fits = |row: &Vec<String>| only.is_none_or(|kind| row[1] == kind) && matches(&row[0], pattern);
    let rows: Vec<Vec<String>> = rows.into_iter().filter(fits).collect();
    if rows.is_empty() {
        say(&format!("no {} here: CREATE TABLE makes one (\\h create table)", only.unwrap_or("table or view")));
        return Ok(());
    }
    let headers = ["name", "kind", "connector", "columns or query"].map(str::to_string);
    shell.show_rows(&text_rows(&headers, &rows)?)
}

fn list_functions(shell: &mut Shell, pattern: &str) -> Result<(), Failure> {
    if let Some(done) = remotely(shell, |shell, remote| remote::list_functions(shell, remote, pattern)) {
        return done;
    }
    let docs = crate::list::function_groups().into_iter().flat_map(|(_, docs)| docs);
    let docs = docs.filter(|doc| matches(&doc.name, pattern));
    let rows: Vec<Vec<String>> = docs.map(|doc| vec![doc.name, doc.usage, doc.doc]).collect();
    if rows.is_empty() {
        return Err(wrong(format!("no function has `{pattern}` in its name"), Some("\\df lists all".into())));
    }
    shell.show_rows(&text_rows(&["name", "usage", "meaning"].map(str::to_string), &rows)?)
}

fn list_jobs(shell: &mut Shell) -> Result<(), Failure> {
    if let Some(done) = remotely(shell, |shell, remote| remote::list_jobs(shell, remote)) {
        return done;
    }
    let (headers, rows) = shell.jobs.list();
    if rows.is_empty() {
        say("no jobs: INSERT INTO starts one");
        return Ok(());
    }
    shell.show_rows(&text_rows(&headers, &rows)?)
}

fn stop_job(shell: &mut Shell, number: &str) -> Result<(), Failure> {
    if let Some(done) = remotely(shell, |_, remote| remote::stop_job(remote, number)) {
        return done;
    }
    let number = number
        .parse()
        .map_err(|_| wrong(format!("`{number}` is not the number of a job"), Some("\\jobs lists them".into())))?;
    let said = shell.jobs.stop(number).map_err(|message| wrong(message, None))?;
    say(&said);
    Ok(())
}

/// Seconds between two runs of a watched query, where none are said; as psql has it.
const WATCH_SECONDS_DEFAULT: f64 = 2.0;
/// A day: a longer wait is a slip.
const WATCH_SECONDS_MAX: f64 = 86_400.0;
/// How often Ctrl-C is looked for meanwhile.
const WATCH_TICK: Duration = Duration::from_millis(50);

fn watch(shell: &mut Shell, seconds: &str) -> Result<(), Failure> {
    let asked = if seconds.is_empty() { Ok(WATCH_SECONDS_DEFAULT) } else { seconds.parse() };
    let seconds = asked.ok().filter(|seconds: &f64| *seconds > 0.0 && *seconds <= WATCH_SECONDS_MAX);
    let seconds = seconds.ok_or_else(|| wrong("\\watch takes a number of seconds up to 86400".into(), None))?;
    let Some(query) = shell.last_query.clone() else {
        return Err(wrong("there is no query yet to run again".into(), Some("write one, then \\watch".into())));
    };
    let pause = Duration::from_secs_f64(seconds);
    loop {
        say(&format!("every {seconds} s, {}", chrono::Local::now().format("%H:%M:%S")));
        match shell.run_text("watched query", &format!("{query};"), false) {
            // Ctrl-C in the query ends both.
            Err(Failure::Interrupted) => return Ok(()),
            done => done?,
        }
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if shell.signals.take_interrupt() {
                return Ok(());
            }
            thread::sleep(WATCH_TICK.min(pause));
        }
    }
}

/// Files that run files that run files: deeper than this it is a circle.
const FILES_NESTED_MAX: usize = 16;

fn run_file(shell: &mut Shell, path: &str) -> Result<(), Failure> {
    if shell.files_open >= FILES_NESTED_MAX {
        return Err(wrong(format!("files run each other more than {FILES_NESTED_MAX} deep"), None));
    }
    let path = path.trim_matches('\'');
    shell.files_open += 1;
    let done = start::run_file(shell, Path::new(path), false);
    shell.files_open -= 1;
    match done {
        // Said already, where it happened.
        Err(Failure::Wrong(_)) => Err(Failure::Wrong(String::new())),
        Err(Failure::Job(_)) => Err(Failure::Job(String::new())),
        done => done,
    }
}

fn redirect(shell: &mut Shell, path: &str) -> Result<(), Failure> {
    let path = path.trim_matches('\'');
    let target = (!path.is_empty()).then(|| Path::new(path));
    shell.output.redirect(target).map_err(|error| wrong(format!("cannot write {path}: {error}"), None))
}

fn set_format(shell: &mut Shell, name: &str) -> Result<(), Failure> {
    if !name.is_empty() {
        shell.options.format = format_of(name)?;
    }
    say(&format!("format: {}", format_name(shell.options.format)));
    Ok(())
}

pub fn format_names() -> Vec<String> {
    Format::value_variants().iter().map(|format| format_name(*format)).collect()
}

fn format_name(format: Format) -> String {
    format.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
}

fn format_of(name: &str) -> Result<Format, Failure> {
    Format::from_str(name, true).map_err(|_| {
        let names = format_names();
        let hint = match closest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("there are {}", names.join(", ")),
        };
        wrong(format!("there is no format `{name}`"), Some(hint))
    })
}

fn toggle_expanded(shell: &mut Shell) -> Result<(), Failure> {
    shell.options.expanded = !shell.options.expanded;
    say(if shell.options.expanded { "a line for each column" } else { "a line for each row" });
    Ok(())
}

fn toggle_timing(shell: &mut Shell) -> Result<(), Failure> {
    shell.options.timing = !shell.options.timing;
    say(if shell.options.timing { "timing is on" } else { "timing is off" });
    Ok(())
}

/// What `\set` sets.
pub const OPTION_NAMES: [&str; 5] = ["format", "expanded", "timing", "rows_max", "job"];

fn set_option(shell: &mut Shell, text: &str) -> Result<(), Failure> {
    let (name, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() {
        return list_options(shell);
    }
    if !OPTION_NAMES.contains(&name) {
        let hint = match closest(name, OPTION_NAMES) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("there are {}; SET 'key' = 'value' sets what jobs go by", OPTION_NAMES.join(", ")),
        };
        return Err(wrong(format!("the shell has no option `{name}`"), Some(hint)));
    }
    if value.is_empty() {
        return Err(wrong(format!("\\set {name} needs a value"), None));
    }
    if name == "job" {
        return remotely(shell, |shell, remote| remote::use_job(shell, remote, value)).unwrap_or_else(|| {
            Err(wrong(
                "only a server has jobs whose tables can be used".into(),
                Some("tidemill repl --server URL".into()),
            ))
        });
    }
    let options = &mut shell.options;
    match name {
        "format" => options.format = format_of(value)?,
        "expanded" => options.expanded = switch(name, value)?,
        "timing" => options.timing = switch(name, value)?,
        _ => {
            let number = value.parse().ok().filter(|rows: &usize| *rows > 0);
            options.rows_max =
                number.ok_or_else(|| wrong(format!("rows_max takes a number from 1 on, not `{value}`"), None))?;
        }
    }
    Ok(())
}

fn switch(name: &str, value: &str) -> Result<bool, Failure> {
    match value {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err(wrong(format!("{name} takes on or off, not `{value}`"), None)),
    }
}

fn list_options(shell: &mut Shell) -> Result<(), Failure> {
    let on = |value: bool| if value { "on" } else { "off" }.to_string();
    let options = &shell.options;
    let job = shell.remote.as_ref().and_then(|remote| remote.job.clone()).unwrap_or_else(|| "none".into());
    let rows_max = options.rows_max.to_string();
    let values = [format_name(options.format), on(options.expanded), on(options.timing), rows_max, job];
    let rows: Vec<Vec<String>> =
        OPTION_NAMES.iter().zip(values).map(|(name, value)| vec![name.to_string(), value]).collect();
    shell.show_rows(&text_rows(&["option", "value"].map(str::to_string), &rows)?)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_of_names() {
        for (name, pattern, expected) in [
            ("DATE_FORMAT", "date", true),
            ("DATE_FORMAT", "format", true),
            ("DATE_FORMAT", "date%", true),
            ("DATE_FORMAT", "%date", false),
            ("DATE_FORMAT", "d*_*t", true),
            ("DATE_FORMAT", "", true),
            ("a", "a%a", false),
        ] {
            assert_eq!(matches(name, pattern), expected, "{name} {pattern}");
        }
    }
}
