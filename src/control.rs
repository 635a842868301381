//! Asks of a running job, over a Unix socket in its state directory: only who may write there can ask.
//!
//! One request and one answer per connection, a JSON object on a line each.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidemill_engine::EngineError;
use tidemill_engine::runtime::JobHandle;

use crate::server::state_name;

const SOCKET_NAME: &str = "control.sock";
/// Of the job's id in a savepoint's name: enough to tell the jobs of one folder apart.
const JOB_TAG_CHARS: usize = 6;
/// A savepoint of much state takes a while; nobody waits for ever.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Request {
    /// Write a savepoint under `directory`; then end the job if `stop`.
    Savepoint { directory: PathBuf, stop: bool },
    /// How does the job do?
    Health,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    Savepoint { path: PathBuf },
    Health { state: String, last_error: Option<String> },
    Failed { reason: String },
}

/// The open socket of a job.
pub struct Control {
    socket: PathBuf,
    /// Held from a request to its answer.
    answering: Arc<Mutex<()>>,
}

/// Answers requests for `job` until the process ends. The socket file is replaced: its owner holds the state lock.
pub fn serve(state_dir: &Path, job: Arc<JobHandle>) -> std::io::Result<Control> {
    let path = state_dir.join(SOCKET_NAME);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    let control = Control { socket: path, answering: Arc::default() };
    let answering = Arc::clone(&control.answering);
    thread::Builder::new().name("control".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Err(error) = answer_one(stream, &job, &answering) {
                tracing::warn!("a control request broke off: {error}");
            }
        }
    })?;
    Ok(control)
}

impl Control {
    /// Takes the socket away when the job ended; nothing answers there any more. Whoever asked the job to end gets the
    /// answer before the process goes.
    pub fn withdraw(self) {
        // Missing where somebody else took it away.
        let _ = std::fs::remove_file(&self.socket);
        drop(self.answering.lock());
    }
}

fn answer_one(stream: UnixStream, job: &JobHandle, answering: &Mutex<()>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let _answering = answering.lock();
    let answer = match serde_json::from_str(&line) {
        Ok(request) => carry_out(request, job),
        Err(error) => Answer::Failed { reason: format!("not a request: {error}") },
    };
    write_line(&stream, &answer)
}

fn carry_out(request: Request, job: &JobHandle) -> Answer {
    let taken = match request {
        Request::Savepoint { directory, stop: true } => stop_with_savepoint(job, &directory),
        Request::Savepoint { directory, stop: false } => {
            new_savepoint(job, &directory).and_then(|path| job.savepoint(&path))
        }
        Request::Health => {
            let status = job.status();
            return Answer::Health { state: state_name(status.state).to_string(), last_error: status.last_error };
        }
    };
    taken.map_or_else(|error| Answer::Failed { reason: error.to_string() }, |path| Answer::Savepoint { path })
}

/// Ends the job with a savepoint in a new folder below `directory`: nothing is published behind it.
pub fn stop_with_savepoint(job: &JobHandle, directory: &Path) -> Result<PathBuf, EngineError> {
    job.stop_with_savepoint(&new_savepoint(job, directory)?)
}

/// A name below `directory` that no savepoint has.
fn new_savepoint(job: &JobHandle, directory: &Path) -> Result<PathBuf, EngineError> {
    std::fs::create_dir_all(directory).map_err(|error| EngineError::io("create folder", directory, error))?;
    let job_id = job.status().job_id;
    let tag = job_id.get(..JOB_TAG_CHARS).unwrap_or(&job_id);
    let names = (1..).map(|number: u64| directory.join(format!("savepoint-{tag}-{number}")));
    Ok(names.into_iter().find(|path| !path.exists()).expect("folders are fewer than numbers"))
}

/// Whether a job runs on the folder, or was killed there.
pub fn has_socket(state_dir: &Path) -> bool {
    state_dir.join(SOCKET_NAME).exists()
}

/// Asks the job that runs on `state_dir`. The error says what to check.
pub fn ask(state_dir: &Path, request: &Request) -> Result<Answer, String> {
    ask_within(state_dir, request, ANSWER_TIMEOUT)
}

/// As [`ask`], for those who cannot wait so long.
pub fn ask_within(state_dir: &Path, request: &Request, patience: Duration) -> Result<Answer, String> {
    let path = state_dir.join(SOCKET_NAME);
    let stream = UnixStream::connect(&path).map_err(|error| {
        format!("no job answers at {}: {error}\nhint: is a job running with this --state-dir?", path.display())
    })?;
    exchange(&stream, request, patience).map_err(|error| format!("the job broke off: {error}"))
}

fn exchange(stream: &UnixStream, request: &Request, patience: Duration) -> std::io::Result<Answer> {
    stream.set_read_timeout(Some(patience))?;
    write_line(stream, request)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

fn write_line<T: Serialize>(mut stream: &UnixStream, value: &T) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}
