//! Starts the server, asks it, feeds its jobs and looks at what they write.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;

use crate::process::{visible_files, wait};

/// Everything that is waited for comes within this time, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(20);

/// A data folder, and the server that runs on it at the time.
pub struct Server {
    folder: tempfile::TempDir,
    args: Vec<String>,
    /// In front of the program: what starts it.
    wrapper: Vec<String>,
    environment: Vec<(String, String)>,
    child: Option<Child>,
    pub url: String,
    log: Arc<Mutex<String>>,
    agent: ureq::Agent,
    pub token: Option<String>,
}

/// An answer, whatever its status.
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The answer, which must have this status.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() || !self.content_type.contains("json") { Value::Null } else { self.json() }
    }

    /// The problem that it tells, as `detail (hint)`.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!((self.status, self.content_type.as_str()), (status, "application/problem+json"), "{}", self.text);
        let body = self.json();
        assert_eq!(body["status"], status);
        assert!(body["type"].as_str().unwrap().starts_with("urn:tidemill:problem:"), "{body}");
        format!("{} ({})", body["detail"].as_str().unwrap(), body["hint"].as_str().unwrap_or_default())
    }
}

impl Server {
    /// A server that runs.
    pub fn start(args: &[&str]) -> Self {
        let mut server = Self::prepare(args, &[]);
        server.go();
        server
    }

    /// One that does not run yet.
    pub fn prepare(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("data/files")).expect("a folder");
        Self {
            folder,
            args: args.iter().map(|arg| arg.to_string()).collect(),
            wrapper: Vec::new(),
            environment: environment.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            child: None,
            url: String::new(),
            log: Arc::default(),
            agent: config.build().into(),
            token: None,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where jobs may read and write.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path("data/files").join(name)
    }

    /// The program is started by this one, which takes it and its arguments as its own last ones.
    pub fn wrap(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().map(|arg| arg.to_string()).collect();
    }

    pub fn command(&self) -> Command {
        let mut words = self.wrapper.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_tidemill")]);
        let mut command = Command::new(words.next().expect("the program itself"));
        command.args(words);
        // Arguments win over the environment.
        command
            .env("TIDEMILL_LISTEN", "127.0.0.1:0")
            .env("TIDEMILL_DATA_DIR", "data")
            .env("TIDEMILL_REQUESTS_PER_SECOND", "0");
        command.arg("serve").args(&self.args).current_dir(self.folder.path()).stdin(Stdio::null());
        // What the tests go by is no option of the server.
        for variable in ["TIDEMILL_SERVER_KILLS", "TIDEMILL_SERVER_JOBS", "TIDEMILL_SERVER_ABUSE"] {
            command.env_remove(variable);
        }
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the server and waits until it answers.
    pub fn go(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut child = self.command().spawn().expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let (log, mut stderr) = (Arc::clone(&self.log), child.stderr.take().expect("piped"));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut bytes) {
                log.lock().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        self.child = Some(child);
        let address = line.split_whitespace().nth(2).unwrap_or_else(|| panic!("no address: {line} {}", self.log()));
        self.url = address.to_string();
    }

    /// What the server wrote to standard error, over all of its lives.
    pub fn log(&self) -> String {
        self.log.lock().clone()
    }

    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("a server runs");
        child.kill().expect("killed");
        child.wait().expect("ended");
    }

    /// Kills the server at once; [`Self::kill`] then cleans up.
    pub fn strike(&self) {
        let id = i32::try_from(self.child.as_ref().expect("a server runs").id()).expect("a process id");
        // SAFETY: the process is our child and has not been waited for, so the id is its own.
        assert_eq!(unsafe { libc::kill(id, libc::SIGKILL) }, 0);
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a server runs").id()
    }

    /// Asks the server to end, and gives its exit code.
    pub fn terminate(&mut self) -> i32 {
        let mut child = self.child.take().expect("a server runs");
        let id = i32::try_from(child.id()).expect("a process id");
        // SAFETY: the process is our child and has not been waited for, so the id is its own.
        assert_eq!(unsafe { libc::kill(id, libc::SIGTERM) }, 0);
        wait(&mut child).code().expect("it ended by itself")
    }

    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let headers = [("content-type", "application/json")];
        self.ask_with(method, path, &headers, body.map(Value::to_string).unwrap_or_default())
    }

    pub fn ask_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
        self.try_ask_with(method, path, headers, body).expect("an answer")
    }

    /// `None` where no answer comes, or only part of one.
    pub fn try_ask(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        let headers = [("content-type", "application/json")];
        self.try_ask_with(method, path, &headers, body.map(Value::to_string).unwrap_or_default())
    }

    fn try_ask_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Option<Answer> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut answer = self.agent.run(request.body(body).expect("a request")).ok()?;
        let header = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
        let content_type = header.unwrap_or_default().to_string();
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().ok()?;
        Some(Answer { status: answer.status().as_u16(), content_type, text })
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None)
    }

    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, Some(&body))
    }

    /// The phase of a job.
    pub fn phase(&self, job: &str) -> String {
        self.get(&format!("/api/v1/jobs/{job}")).expect(200)["phase"].as_str().expect("a text").to_string()
    }

    pub fn wait_for_phase(&self, job: &str, phase: &str) {
        self.wait_until(&format!("{job} is {phase}"), || self.phase(job) == phase);
    }

    pub fn wait_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            if Instant::now() > deadline {
                panic!("waited in vain until {what}\njobs: {}\nlog: {}", self.get("/api/v1/jobs").text, self.log());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Puts a whole file where a job reads: it never sees half of one.
    pub fn feed(&self, folder: &str, name: &str, lines: &str) {
        let folder = self.file(folder);
        fs::create_dir_all(&folder).expect("a folder");
        let hidden = folder.join(format!(".{name}"));
        fs::write(&hidden, lines).expect("written");
        fs::rename(hidden, folder.join(name)).expect("renamed");
    }

    /// All visible lines below a folder of files, sorted.
    pub fn lines(&self, folder: &str) -> Vec<String> {
        lines_in(&self.file(folder))
    }
}

pub fn lines_in(folder: &Path) -> Vec<String> {
    let texts = visible_files(folder).into_iter().filter_map(|file| fs::read_to_string(file).ok());
    let mut lines: Vec<String> = texts.flat_map(|text| text.lines().map(str::to_string).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A job that copies rows from `in/NAME` to `out/NAME` as files come, and keeps totals by key in `totals/NAME`.
pub fn copying_job(name: &str) -> String {
    format!(
        "SET 'execution.checkpointing.interval' = '50 ms';
CREATE TABLE events (k STRING, v INT)
  WITH ('connector' = 'filesystem', 'path' = 'in/{name}', 'format' = 'json', 'source.monitor-interval' = '50 ms');
CREATE TABLE copies (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = 'out/{name}', 'format' = 'csv');
CREATE TABLE totals (k STRING, n BIGINT, total BIGINT, PRIMARY KEY (k) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = 'totals/{name}', 'format' = 'csv', 'sink.changelog' = 'snapshot');
EXECUTE STATEMENT SET BEGIN
INSERT INTO copies SELECT k, v FROM events;
INSERT INTO totals SELECT k, COUNT(*), SUM(v) FROM events GROUP BY k;
END;"
    )
}

/// As [`copying_job`], of rows that are posted; all its output is in `out` and `totals`.
pub fn posted_job(interval: &str) -> String {
    format!(
        "SET 'execution.checkpointing.interval' = '{interval}';
CREATE TABLE events (k STRING, v INT NOT NULL, n BIGINT METADATA FROM 'sequence' VIRTUAL)
  WITH ('connector' = 'http', 'format' = 'json');
CREATE TABLE copies (k STRING, v INT, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
CREATE TABLE totals (k STRING, n BIGINT, total BIGINT, PRIMARY KEY (k) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = 'totals', 'format' = 'csv', 'sink.changelog' = 'snapshot');
EXECUTE STATEMENT SET BEGIN
INSERT INTO copies SELECT k, v, n FROM events;
INSERT INTO totals SELECT k, COUNT(*), SUM(v) FROM events WHERE k IS NOT NULL GROUP BY k;
END;"
    )
}
