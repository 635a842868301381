//! `tidemill submit`, `jobs`, `stop` and `logs`: a server's jobs from the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::cli::ScriptArgs;
use crate::exit::Exit;
use crate::screen::answer;
use crate::script::{Script, ScriptError};

const SERVER_ENVIRONMENT: &str = "TIDEMILL_SERVER";
const TOKEN_ENVIRONMENT: &str = "TIDEMILL_TOKEN";
const SERVER_DEFAULT: &str = "http://127.0.0.1:8080";
/// A little more than a server waits for a final checkpoint unless told otherwise.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
/// The type of the problem of a name that is taken.
const EXISTS: &str = "urn:tidemill:problem:exists";
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// How often a log that is followed is asked for more.
const FOLLOW_PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub struct ServerArgs {
    /// The server; else TIDEMILL_SERVER, else http://127.0.0.1:8080. The token is TIDEMILL_TOKEN
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Trust the certificates of this file (PEM) instead of the public ones
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
}

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
    };
    done.map_or_else(
        |failure| {
            eprintln!("{}", failure.text.trim_end());
            failure.exit
        },
        |()| Exit::Success,
    )
}

/// Why nothing came of it, and how to exit.
struct Failure {
    /// The type of a server's problem.
    kind: String,
    text: String,
    exit: Exit,
}

fn wrong(text: impl Into<String>) -> Failure {
    Failure { kind: String::new(), text: format!("error: {}", text.into()), exit: Exit::WrongInput }
}

fn submit(
    args: &ScriptArgs,
    name: Option<&str>,
    parallelism: Option<usize>,
    from: Option<&str>,
    server: &ServerArgs,
) -> Result<(), Failure> {
    let script =
        Script::of(args).map_err(|ScriptError(text)| Failure { kind: String::new(), text, exit: Exit::WrongInput })?;
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

/// Names of jobs need no escaping; what does is no name.
fn in_path(job: &str) -> Result<&str, Failure> {
    let is_plain = !job.is_empty() && job.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if is_plain { Ok(job) } else { Err(wrong(format!("'{job}' is no name of a job"))) }
}

/// A text as it is, anything else as JSON, nothing for `null`.
fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn ask(server: &ServerArgs, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
    let url = server.server.clone().or_else(|| std::env::var(SERVER_ENVIRONMENT).ok());
    let url = url.unwrap_or_else(|| SERVER_DEFAULT.to_string());
    let url = url.trim_end_matches('/');
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{url}/api/v1{path}"));
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    if let Ok(token) = std::env::var(TOKEN_ENVIRONMENT) {
        request = request.header("authorization", format!("Bearer {}", token.trim()));
    }
    let request = request.body(body.map(Value::to_string).unwrap_or_default());
    let request = request.map_err(|error| wrong(format!("'{url}' is no address of a server: {error}")))?;
    let failed = |error: ureq::Error| Failure {
        kind: String::new(),
        text: format!(
            "error: no answer of {url}: {error}\nhint: is the server running? --server and {SERVER_ENVIRONMENT} say where"
        ),
        exit: Exit::JobFailed,
    };
    let mut found = agent(server)?.run(request).map_err(failed)?;
    let text = found.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().map_err(failed)?;
    let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if found.status().is_success() {
        return Ok(value);
    }
    Err(problem(found.status(), &value))
}

/// What is wrong with SQL comes with its place, as `tidemill check` shows it.
fn problem(status: ureq::http::StatusCode, value: &Value) -> Failure {
    let errors: Vec<String> =
        value["errors"].as_array().into_iter().flatten().map(|one| text_of(&one["text"])).collect();
    let mut text = if errors.is_empty() { format!("error: {}", text_of(&value["detail"])) } else { errors.join("\n") };
    if value["detail"].is_null() {
        text = format!("error: the server answered {status}");
    }
    if let (true, Some(hint)) = (errors.is_empty(), value["hint"].as_str()) {
        text.push_str(&format!("\nhint: {hint}"));
    }
    let exit = if status.is_server_error() { Exit::JobFailed } else { Exit::WrongInput };
    Failure { kind: text_of(&value["type"]), text, exit }
}

fn agent(server: &ServerArgs) -> Result<ureq::Agent, Failure> {
    let mut config =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER_TIMEOUT)).max_redirects(0);
    if let Some(path) = &server.ca_cert {
        let pem = std::fs::read(path).map_err(|error| wrong(format!("cannot read {}: {error}", path.display())))?;
        let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if certificates.is_empty() {
            return Err(wrong(format!("{} holds no certificate in PEM", path.display())));
        }
        config = config.tls_config(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates)).build());
    }
    Ok(config.build().into())
}
