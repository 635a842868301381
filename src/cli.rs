//! The command line: what can be asked of the program, and nothing about how it is done.

use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use tidemill_engine::suggestion::closest;

use crate::client::ClientCommand;
use crate::connection::ServerArgs;
use crate::container::HealthArgs;
use crate::repl::Format;
use crate::server::{ConfigArgs, TokenCommand};

/// Streaming SQL in one native program. Without a command it opens a shell, or runs the SQL of standard input.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, about, args_conflicts_with_subcommands = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub shell: ShellArgs,
}

impl Cli {
    /// Of the process's arguments. Ends the process where they are wrong, or ask for no more than help.
    pub fn of_process() -> Self {
        let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        Self::try_parse().unwrap_or_else(|error| suggesting(error, &words).exit())
    }
}

/// With the command that was probably meant, also where it is too short for clap's own measure: `rnu`.
fn suggesting(mut error: clap::Error, words: &[String]) -> clap::Error {
    let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let root = Cli::command();
    let known = words.iter().take_while(|word| *word != unknown);
    let parent = known.fold(&root, |command, word| command.find_subcommand(word).unwrap_or(command));
    let names = parent.get_subcommands().map(|command| command.get_name());
    if error.get(ContextKind::SuggestedSubcommand).is_none()
        && let Some(meant) = closest(unknown, names)
    {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![meant.to_owned()]));
    }
    error
}

const EXIT_CODES: &str = "Exit codes: 0 done or stopped on request; 1 the job failed; 2 the SQL or the command line is wrong \
(nothing was started); 3 saved state cannot be used; 4 a test failed; 130 stopped at once by a second Ctrl-C.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Open a shell for SQL, as `tidemill` alone does, and run files in it first
    Repl(ReplArgs),
    /// Run a SQL script: definitions first, then its INSERTs or SELECTs, until the input ends or Ctrl-C
    Run(RunArgs),
    /// Say whether a script is right, without starting anything
    Check(ScriptArgs),
    /// Show how the jobs of a script would run
    Explain(ExplainArgs),
    /// List connectors, formats and every option that they take
    Connectors(ListArgs),
    /// List SQL functions
    Functions(ListArgs),
    /// Take, list or delete savepoints of a server's job; or ask a job of `run` for one: a checkpoint that is never deleted
    Savepoint(SavepointArgs),
    /// Run many jobs behind HTTP: a server with a REST API, metrics and savepoints
    Serve(ConfigArgs),
    /// Show the options that `serve` would have, and where each came from
    Config(ConfigArgs),
    /// Run what the environment names, as a container does: the job of TIDEMILL_JOB_FILE or TIDEMILL_JOB_SQL, else the server
    Start,
    /// Ask the server, or the job of `start`, how it does: exit code 0 when it is well, 1 when not
    Health(HealthArgs),
    /// Make tokens for a server
    #[command(subcommand)]
    Token(TokenCommand),
    #[command(flatten)]
    Client(ClientCommand),
    /// Run SQL tests from .slt files
    Test(TestArgs),
}

#[derive(Debug, Args)]
pub struct ReplArgs {
    /// SQL files to run before the first prompt
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub shell: ShellArgs,
}

/// What a shell is opened with.
#[derive(Debug, Args)]
pub struct ShellArgs {
    /// Run this SQL and leave; may be repeated
    #[arg(short, long, value_name = "SQL")]
    pub command: Vec<String>,
    /// Run this file and leave, before any --command; may be repeated. `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// How rows are written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Go on after a statement that fails
    #[arg(long)]
    pub keep_going: bool,
    /// Set an option first, as SET 'key' = 'value' would; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub settings: Vec<(String, String)>,
    /// Let this server carry out all statements instead of this process. The token is TIDEMILL_TOKEN
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Trust the certificates of this file (PEM) instead of the public ones
    #[arg(long, value_name = "FILE", requires = "server")]
    pub ca_cert: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ScriptArgs {
    /// The SQL script; `-` reads standard input
    pub script: PathBuf,
    /// The script itself, where it comes from elsewhere than a file; `script` is its name then
    #[arg(skip)]
    pub text: Option<String>,
    /// Set an option before the script runs, as SET 'key' = 'value' would; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub settings: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub script: ScriptArgs,
    /// Parallel instances of each operator [default: the number of cores]
    #[arg(short, long)]
    pub parallelism: Option<usize>,
    /// Where checkpoints live; the same folder resumes the job. Without it nothing outlives the process
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Start from a savepoint instead of the newest checkpoint
    #[arg(long, value_name = "SAVEPOINT")]
    pub from: Option<PathBuf>,
    /// Forget the checkpoints in --state-dir and start anew
    #[arg(long, conflicts_with = "from")]
    pub fresh: bool,
    /// When the job is stopped, write a savepoint into a new folder below this one
    #[arg(long, value_name = "DIR")]
    pub savepoint_on_stop: Option<PathBuf>,
    /// No status line and no summary
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    pub script: ScriptArgs,
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    pub format: PlanFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    Text,
    Json,
    Dot,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Show only what contains this word
    pub filter: Option<String>,
    /// Write Markdown, as the documentation holds it
    #[arg(long)]
    pub markdown: bool,
}

#[derive(Debug, Args)]
pub struct SavepointArgs {
    /// Name or id of a server's job; or a folder: the --state-dir of a job that `run` runs
    #[arg(value_name = "JOB|STATE_DIR")]
    pub job: PathBuf,
    /// What to call it; savepoint-N unless given
    #[arg(long)]
    pub name: Option<String>,
    /// List the job's savepoints
    #[arg(long, conflicts_with_all = ["name", "delete", "stop"])]
    pub list: bool,
    /// Delete the savepoint of this name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "stop"])]
    pub delete: Option<String>,
    #[command(flatten)]
    pub server: ServerArgs,
    /// Of a job of `run`: write it into a new folder below this one, and print that [default: STATE_DIR/savepoints]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["name", "list", "delete"])]
    pub to: Option<PathBuf>,
    /// Stop the job once the savepoint is written
    #[arg(long)]
    pub stop: bool,
}

#[derive(Debug, Args)]
pub struct TestArgs {
    /// .slt files, or folders that hold them
    #[arg(required_unless_present = "list_worlds")]
    pub files: Vec<PathBuf>,
    /// Worlds to run each case in: `all`, or names from --list-worlds, separated by commas
    #[arg(long, default_value = "default")]
    pub worlds: String,
    /// Write the answers of the default world into the files instead of comparing
    #[arg(long)]
    pub update: bool,
    /// Name the worlds and what each is for
    #[arg(long)]
    pub list_worlds: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_string(), value.trim().to_string())),
        _ => Err("write it as key=value, such as table.local-time-zone=UTC".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_command_is_told_which_was_meant() {
        for (words, meant) in [
            (&["tidemill", "rnu"][..], Some("run")),
            (&["tidemill", "connectorss"], Some("connectors")),
            (&["tidemill", "token", "nwe"], Some("new")),
            (&["tidemill", "zebra"], None),
        ] {
            let error = Cli::try_parse_from(words).expect_err("no such command");
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let text = suggesting(error, &words).to_string();
            assert!(text.contains("unrecognized subcommand"), "{text}");
            let tip = meant.map(|meant| format!("a similar subcommand exists: '{meant}'"));
            assert_eq!(tip.as_ref().is_some_and(|tip| text.contains(tip)), tip.is_some(), "{text}");
            assert_eq!(text.contains("similar"), tip.is_some(), "{text}");
        }
    }
}
