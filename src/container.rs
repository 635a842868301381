//! `tidemill start`, what a container runs: the server, or the one job that the environment names. And `tidemill health`,
//! which asks the one or the other how it does, so that an image needs neither a shell nor curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use ureq::tls::TlsConfig;

use crate::cli::{RunArgs, ScriptArgs};
use crate::control::{self, Answer, Request};
use crate::exit::Exit;
use crate::run;
use crate::screen::answer;
use crate::server::{self, Config, ConfigArgs};

const JOB_FILE: &str = "TIDEMILL_JOB_FILE";
const JOB_SQL: &str = "TIDEMILL_JOB_SQL";
const JOB_STATE: &str = "TIDEMILL_JOB_STATE_DIR";
const JOB_PARALLELISM: &str = "TIDEMILL_JOB_PARALLELISM";
/// Variables that say what `tidemill start` runs.
pub const VARIABLES: &[&str] = &[JOB_FILE, JOB_SQL, JOB_STATE, JOB_PARALLELISM];
/// Below the data folder, unless the environment names another.
const JOB_FOLDER: &str = "job";
/// Shorter than what watches over containers waits for by default.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Ask only whether the process answers, and not whether its jobs have been started
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What the environment asks for.
pub enum Task {
    Server,
    Job(Box<RunArgs>),
}

impl Task {
    pub fn of_environment() -> Result<Self, String> {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
        Self::of(text, |args| Ok(Config::load(args)?.path("data-dir").ok_or("data-dir is empty")?))
    }

    fn of(
        text: impl Fn(&str) -> Option<String>,
        data_dir: impl Fn(&ConfigArgs) -> Result<PathBuf, String>,
    ) -> Result<Self, String> {
        let (script, sql) = match (text(JOB_FILE), text(JOB_SQL)) {
            (Some(_), Some(_)) => return Err(format!("{JOB_FILE} and {JOB_SQL} both name a job: give one of them")),
            (Some(file), None) => (PathBuf::from(file), None),
            (None, Some(sql)) => (PathBuf::from(JOB_SQL), Some(sql)),
            (None, None) => match [JOB_STATE, JOB_PARALLELISM].into_iter().find(|name| text(name).is_some()) {
                Some(name) => return Err(format!("{name} is set, but neither {JOB_FILE} nor {JOB_SQL}")),
                None => return Ok(Self::Server),
            },
        };
        let parallelism = match text(JOB_PARALLELISM).map(|text| (text.trim().parse::<usize>(), text)) {
            Some((Ok(number @ 1..), _)) => Some(number),
            Some((_, text)) => return Err(format!("{JOB_PARALLELISM} '{text}' is no number of instances")),
            None => None,
        };
        let state_dir = match text(JOB_STATE) {
            Some(folder) => PathBuf::from(folder),
            None => data_dir(&ConfigArgs::default())?.join(JOB_FOLDER),
        };
        let script = ScriptArgs { script, text: sql, settings: Vec::new() };
        let (state_dir, from, savepoint_on_stop) = (Some(state_dir), None, None);
        let args = RunArgs { script, parallelism, state_dir, from, fresh: false, savepoint_on_stop, quiet: false };
        Ok(Self::Job(Box::new(args)))
    }
}

/// `tidemill start`. `log`: begins the log of a job; a server has one of its own.
pub fn start(log: impl FnOnce()) -> Exit {
    match Task::of_environment() {
        Ok(Task::Server) => server::serve(&ConfigArgs::default()),
        Ok(Task::Job(args)) => {
            log();
            run::run(&args)
        }
        Err(error) => {
            eprintln!("error: {error}");
            Exit::WrongInput
        }
    }
}

/// `tidemill health`: 0 when all is well, 1 when not.
pub fn health(args: &HealthArgs) -> Exit {
    let asked = Task::of_environment().and_then(|task| match task {
        Task::Job(job) => Ok(ask_job(&job.state_dir.unwrap_or_default(), args.live)),
        Task::Server => Ok(ask_server(&Config::load(&args.config)?, args.live)),
    });
    match asked {
        Ok(Ok(told)) => {
            answer(&told);
            Exit::Success
        }
        Ok(Err(told)) => {
            eprintln!("not well: {told}");
            Exit::JobFailed
        }
        Err(error) => {
            eprintln!("error: {error}");
            Exit::WrongInput
        }
    }
}

/// The jobs of a script run one after another, each in a folder of its own: one of them must answer.
fn ask_job(state_dir: &Path, live: bool) -> Result<String, String> {
    let below = std::fs::read_dir(state_dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = std::iter::once(state_dir.to_path_buf()).chain(below).filter(|folder| control::has_socket(folder));
    let mut found = Err(format!("no job runs on {}", state_dir.display()));
    for folder in folders {
        match control::ask_within(&folder, &Request::Health, ANSWER_TIMEOUT) {
            Ok(Answer::Health { state, .. }) if live || state == "running" => return Ok(state),
            Ok(Answer::Health { state, last_error }) => {
                found = Err(format!("the job is {state}: {}", last_error.unwrap_or_default()));
            }
            Ok(_) => found = Err("the job gave another answer than was asked for".to_string()),
            // A socket may be left of a job that was killed.
            Err(_) => {}
        }
    }
    found
}

fn ask_server(config: &Config, live: bool) -> Result<String, String> {
    let url = url_of(config, live)?;
    // The server is asked where it listens itself, and told nothing: its certificate is made for other names than this.
    let tls = TlsConfig::builder().disable_verification(true).build();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(ANSWER_TIMEOUT))
        .proxy(None)
        .tls_config(tls)
        .build()
        .into();
    let mut found = agent.get(&url).call().map_err(|error| format!("no answer of {url}: {error}"))?;
    let text = found.body_mut().with_config().limit(64 << 10).read_to_string().unwrap_or_default();
    let text = text.trim().to_string();
    if found.status().is_success() { Ok(text) } else { Err(format!("{url} answers {}: {text}", found.status())) }
}

fn url_of(config: &Config, live: bool) -> Result<String, String> {
    let listen = config.text("listen").unwrap_or_default();
    let address: SocketAddr = listen.parse().map_err(|_| format!("--listen '{listen}' is no address"))?;
    if address.port() == 0 {
        return Err(format!("the server chooses its port itself (--listen {listen}): nobody can know where it is"));
    }
    let scheme = if config.text("tls-cert").is_some() { "https" } else { "http" };
    let path = if live { "/livez" } else { "/readyz" };
    let reached = SocketAddr::new(reachable(address.ip()), address.port());
    Ok(format!("{scheme}://{reached}{path}"))
}

/// Who listens on all addresses is found on the machine's own.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(variables: &[(&str, &str)]) -> Result<Task, String> {
        let text = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
        Task::of(text, |_| Ok(PathBuf::from("/data")))
    }

    #[test]
    fn the_environment_names_a_job_or_asks_for_the_server() {
        assert!(matches!(task(&[]), Ok(Task::Server)));
        let Ok(Task::Job(args)) = task(&[(JOB_FILE, "/job.sql"), (JOB_PARALLELISM, "3")]) else { panic!("a job") };
        assert_eq!((args.script.script, args.script.text), (PathBuf::from("/job.sql"), None));
        assert_eq!((args.state_dir, args.parallelism), (Some(PathBuf::from("/data/job")), Some(3)));
        let Ok(Task::Job(args)) = task(&[(JOB_SQL, "SELECT 1"), (JOB_STATE, "/s")]) else { panic!("a job") };
        assert_eq!(args.script.text.as_deref(), Some("SELECT 1"));
        assert_eq!(args.state_dir, Some(PathBuf::from("/s")));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (variables, expected) in [
            (vec![(JOB_FILE, "a"), (JOB_SQL, "b")], "both name a job"),
            (vec![(JOB_PARALLELISM, "2")], "neither TIDEMILL_JOB_FILE nor TIDEMILL_JOB_SQL"),
            (vec![(JOB_SQL, "SELECT 1"), (JOB_PARALLELISM, "0")], "is no number of instances"),
            (vec![(JOB_SQL, "SELECT 1"), (JOB_PARALLELISM, "two")], "is no number of instances"),
        ] {
            let error = task(&variables).err().unwrap_or_default();
            assert!(error.contains(expected), "{error}");
        }
    }
}
