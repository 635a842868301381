//! A server's jobs from the command line: `tidemill submit`, `jobs`, `stop`, `logs`, `cancel` and the like.

use std::time::Duration;

use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::cli::ScriptArgs;
use crate::connection::{Connection, EXISTS, Failure, ServerArgs, in_path, text_of, wrong};
use crate::exit::Exit;
use crate::screen::answer;
use crate::script::{Script, ScriptError};
use crate::top::{self, TopArgs};

/// How often a log that is followed is asked for more.
const FOLLOW_PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Give a script to a server, which runs it as a job
    Submit {
        #[command(flatten)]
        script: ScriptArgs,
        /// Name of the job; that of the file unless given
        #[arg(long)]
        name: Option<String>,
        /// Parallel instances of each operator
        #[arg(short, long)]
        parallelism: Option<usize>,
        /// Go on from a savepoint of the server: its job and name, as job/name
        #[arg(long, value_name = "JOB/NAME")]
        from: Option<String>,
        /// Where there is a job of this name already, leave it as it is
        #[arg(long)]
        if_missing: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List a server's jobs
    Jobs {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Watch a server's jobs: rates, lag, back-pressure, checkpoints; Enter shows the operators of one
    Top(TopArgs),
    /// Stop a server's job with a final checkpoint
    Stop {
        /// Name or id
        job: String,
        /// With a savepoint of this name
        #[arg(long, value_name = "NAME")]
        savepoint: Option<String>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Start a server's job that was stopped or has failed, from its last checkpoint unless told otherwise
    Resume {
        /// Name or id
        job: String,
        /// From this savepoint: its name, or job/name for one of another job
        #[arg(long, value_name = "NAME")]
        from: Option<String>,
        /// With empty state
        #[arg(long, conflicts_with = "from")]
        fresh: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Stop a server's job with a checkpoint and start it again
    Restart {
        /// Name or id
        job: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Let a server's job go on with another parallelism
    Rescale {
        /// Name or id
        job: String,
        /// Parallel instances of each operator
        #[arg(short, long)]
        parallelism: usize,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// End a server's job at once, without a checkpoint: what came after the last one is read again when it is resumed
    Cancel {
        /// Name or id
        job: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Delete a server's job that does not run, with its state and its savepoints
    Delete {
        /// Name or id
        job: String,
        /// Cancel it first, if it runs
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show what a server's job did lately, and the rows that it printed
    Logs {
        /// Name or id
        job: String,
        /// Go on showing what comes
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
}

pub fn run(command: &ClientCommand) -> Exit {
    let done = match command {
        ClientCommand::Submit { script, name, parallelism, from, if_missing, server } => {
            let submitted = submit(script, name.as_deref(), *parallelism, from.as_deref(), server);
            match submitted {
                Err(Failure { kind, text, .. }) if *if_missing && kind == EXISTS => {
                    answer(text.trim_start_matches("error: "));
                    Ok(())
                }
                submitted => submitted,
            }
        }
        ClientCommand::Jobs { server } => jobs(server),
        ClientCommand::Stop { job, savepoint, server } => stop(job, savepoint.as_deref(), server),
        ClientCommand::Logs { job, follow, server } => logs(job, *follow, server),
        ClientCommand::Top(args) => top::run(args),
        ClientCommand::Resume { job, from, fresh, server } => {
            let body = json!({ "from_savepoint": from, "fresh": fresh });
            act(job, "start", Some(&body), server)
        }
        ClientCommand::Restart { job, server } => act(job, "restart", None, server),
        ClientCommand::Rescale { job, parallelism, server } => {
            act(job, "rescale", Some(&json!({ "parallelism": parallelism })), server)
        }
        ClientCommand::Cancel { job, server } => act(job, "cancel", None, server),
        ClientCommand::Delete { job, force, server } => delete(job, *force, server),
    };
    exit_of(done)
}

pub fn exit_of(done: Result<(), Failure>) -> Exit {
    done.map_or_else(
        |failure| {
            eprintln!("{}", failure.text.trim_end());
            failure.exit
        },
        |()| Exit::Success,
    )
}

fn submit(
    args: &ScriptArgs,
    name: Option<&str>,
    parallelism: Option<usize>,
    from: Option<&str>,
    server: &ServerArgs,
) -> Result<(), Failure> {
    let script = Script::of(args).map_err(|ScriptError(text)| Failure::new(text, Exit::WrongInput))?;
    let stem = args.script.file_stem().and_then(|stem| stem.to_str()).filter(|stem| *stem != "-");
    let name = name.or(stem).ok_or_else(|| wrong("a script from standard input needs --name"))?;
    let settings: Map<String, Value> =
        args.settings.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
    let body = json!({
        "name": name,
        "sql": script.text,
        "settings": settings,
        "parallelism": parallelism,
        "from_savepoint": from,
    });
    let job = ask(server, "POST", "/jobs", Some(&body))?;
    answer(&format!("{} {}", text_of(&job["name"]), text_of(&job["id"])));
    Ok(())
}

fn jobs(server: &ServerArgs) -> Result<(), Failure> {
    let found = ask(server, "GET", "/jobs", None)?;
    let jobs = found["jobs"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    let width = jobs.iter().map(|job| text_of(&job["name"]).chars().count()).max().unwrap_or(0).max(4);
    answer(&format!("{:width$}  {:10}  {:>8}  last error", "name", "phase", "epoch"));
    for job in jobs {
        let error = text_of(&job["last_error"]);
        let error = error.lines().next().unwrap_or_default();
        let (name, phase, epoch) = (text_of(&job["name"]), text_of(&job["phase"]), text_of(&job["epoch"]));
        answer(format!("{name:width$}  {phase:10}  {epoch:>8}  {error}").trim_end());
    }
    Ok(())
}

/// Asks for something that changes a job, and says what has become of it.
fn act(job: &str, action: &str, body: Option<&Value>, server: &ServerArgs) -> Result<(), Failure> {
    let job = ask(server, "POST", &format!("/jobs/{}/{action}", in_path(job)?), body)?;
    answer(&format!("{} is {}", text_of(&job["name"]), text_of(&job["phase"])));
    Ok(())
}

fn delete(job: &str, force: bool, server: &ServerArgs) -> Result<(), Failure> {
    let path = format!("/jobs/{}", in_path(job)?);
    if force && ask(server, "GET", &path, None)?["phase"] != "finished" {
        ask(server, "POST", &format!("{path}/cancel"), None)?;
    }
    ask(server, "DELETE", &path, None)?;
    answer(&format!("{job} is deleted"));
    Ok(())
}

/// What is to be done about a job's savepoints.
pub enum SavepointRequest<'a> {
    /// Its name; the server finds one unless given. `stop`: the job ends with it.
    Take {
        name: Option<&'a str>,
        stop: bool,
    },
    List,
    Delete(&'a str),
}

pub fn savepoint(job: &str, request: &SavepointRequest<'_>, server: &ServerArgs) -> Exit {
    exit_of(ask_savepoint(job, request, server))
}

fn ask_savepoint(job: &str, request: &SavepointRequest<'_>, server: &ServerArgs) -> Result<(), Failure> {
    let path = format!("/jobs/{}/savepoints", in_path(job)?);
    match request {
        SavepointRequest::Take { name, stop: true } => {
            let body = json!({ "savepoint": true, "savepoint_name": name });
            let stopped = ask(server, "POST", &format!("/jobs/{}/stop", in_path(job)?), Some(&body))?;
            answer(&format!("{}  {job} is {}", text_of(&stopped["last_savepoint"]), text_of(&stopped["phase"])));
        }
        SavepointRequest::Take { name, stop: false } => {
            let taken = ask(server, "POST", &path, Some(&json!({ "name": name })))?;
            answer(&format!("{}  {}", text_of(&taken["name"]), text_of(&taken["path"])));
        }
        SavepointRequest::Delete(name) => {
            ask(server, "DELETE", &format!("{path}/{}", in_path(name)?), None)?;
            answer(&format!("{name} is deleted"));
        }
        SavepointRequest::List => {
            let found = ask(server, "GET", &path, None)?;
            let all = found["savepoints"].as_array().map_or(&[] as &[Value], Vec::as_slice);
            let width = all.iter().map(|one| text_of(&one["name"]).chars().count()).max().unwrap_or(0).max(4);
            answer(&format!("{:width$}  {:>8}  {:>12}  taken", "name", "epoch", "bytes"));
            for one in all {
                let time = one["created_ms"].as_i64().and_then(chrono::DateTime::from_timestamp_millis);
                let time = time.map_or_else(|| text_of(&one["damage"]), |time| time.format("%F %T").to_string());
                let (name, epoch, bytes) =
                    (text_of(&one["name"]), text_of(&one["epoch"]), text_of(&one["state_bytes"]));
                answer(&format!("{name:width$}  {epoch:>8}  {bytes:>12}  {time}"));
            }
        }
    }
    Ok(())
}

fn stop(job: &str, savepoint: Option<&str>, server: &ServerArgs) -> Result<(), Failure> {
    let body = json!({ "savepoint_name": savepoint });
    let job = ask(server, "POST", &format!("/jobs/{}/stop", in_path(job)?), Some(&body))?;
    answer(&format!("{} is {}", text_of(&job["name"]), text_of(&job["phase"])));
    Ok(())
}

fn logs(job: &str, follow: bool, server: &ServerArgs) -> Result<(), Failure> {
    let job = in_path(job)?;
    let mut after = 0;
    loop {
        let found = ask(server, "GET", &format!("/jobs/{job}/logs?after={after}&limit=1000"), None)?;
        for entry in found["entries"].as_array().into_iter().flatten() {
            after = entry["number"].as_u64().unwrap_or(after);
            let time = entry["at_ms"].as_i64().and_then(chrono::DateTime::from_timestamp_millis);
            let time = time.map_or_else(String::new, |time| time.format("%Y-%m-%d %H:%M:%S%.3f").to_string());
            answer(&format!("{time}  {:5}  {}", text_of(&entry["level"]), text_of(&entry["text"])));
        }
        if !follow {
            return Ok(());
        }
        std::thread::sleep(FOLLOW_PAUSE);
    }
}

fn ask(server: &ServerArgs, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
    Connection::to(server)?.ask(method, path, body)
}
