//! A real Apache Kafka broker on loopback, and the second client that writes to it and checks what is there.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::not_run::not_run;
use crate::ports;

/// How long a broker may take to start, beside other tests.
const START_TIMEOUT: Duration = Duration::from_secs(240);
const LOOK: Duration = Duration::from_millis(50);
/// Where the Python with the second client is; `make test` sets it.
const PYTHON_VARIABLE: &str = "TIDEMILL_KAFKA_PYTHON";

/// Runs the broker until the test process closes its input or is gone, however it ended: `$1` is the script, `$2` the folder. Says the
/// broker's process id, and takes the folder away where it is told to.
const GUARD: &str = r#"
"$@" > "$3/broker.log" 2>&1 < /dev/null &
broker=$!
echo $broker
read -r last || last=gone
kill -9 $broker 2> /dev/null
wait $broker 2> /dev/null
[ "$last" = again ] || rm -rf "$3"
"#;

/// A broker that is killed, with its data, when it is dropped or this process ends.
pub struct Broker {
    folder: PathBuf,
    port: u16,
    settings: Vec<String>,
    running: Mutex<Option<Running>>,
}

struct Running {
    guard: Child,
    input: ChildStdin,
    broker: u32,
}

/// What is there to run brokers with, or why there is nothing.
fn python() -> Result<&'static Path, &'static str> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let succeeds = |command: &mut Command| {
            command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        };
        if !succeeds(Command::new(script()).arg("ready")) {
            return Err("Java or the jars of Apache Kafka are not there (scripts/kafka/kafka.sh fetch)".to_string());
        }
        let python = std::env::var_os(PYTHON_VARIABLE).map(PathBuf::from);
        let python =
            python.filter(|python| succeeds(Command::new(python).args(["-c", "import confluent_kafka, fastavro"])));
        python.ok_or(format!(
            "Python's confluent-kafka and fastavro are not there ({PYTHON_VARIABLE}; `make test` installs it)"
        ))
    });
    found.as_deref().map_err(String::as_str)
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka/kafka.sh")
}

impl Broker {
    /// The broker that all tests of this process share. `None`, said loudly, where none can be run.
    pub fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        is_possible(test).then(|| SHARED.get_or_init(|| Broker::start(&[])))
    }

    /// A broker of the test's own, to do harm to. `None`, said loudly, where none can be run.
    pub fn own(test: &str, settings: &[&str]) -> Option<Self> {
        is_possible(test).then(|| Self::start(settings))
    }

    /// As [`Broker::own`], with a second port whose users are told that the broker is at `advertised`.
    pub fn own_behind(test: &str, advertised: u16) -> Option<Self> {
        if !is_possible(test) {
            return None;
        }
        let port = ports::free_neighbours(3);
        let (controller, second) = (port + 1, port + 2);
        let listeners = format!(
            "listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SECOND://127.0.0.1:{second}"
        );
        let advertised = format!("advertised.listeners=PLAINTEXT://127.0.0.1:{port},SECOND://127.0.0.1:{advertised}");
        let protocols =
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECOND:PLAINTEXT".to_string();
        let between = "inter.broker.listener.name=PLAINTEXT".to_string();
        Some(Self::started(port, vec![listeners, advertised, protocols, between]))
    }

    fn start(settings: &[&str]) -> Self {
        Self::started(ports::free_neighbours(3), settings.iter().map(ToString::to_string).collect())
    }

    fn started(port: u16, settings: Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder").keep();
        let broker = Self { folder, port, settings, running: Mutex::default() };
        broker.run();
        broker
    }

    /// Starts a broker that is not running.
    pub fn run(&self) {
        let mut command = Command::new("bash");
        command.args(["-c", GUARD, "guard"]).arg(script()).arg("run").arg(&self.folder).arg(self.port.to_string());
        command.args(&self.settings).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut guard = command.spawn().expect("bash starts");
        let mut line = String::new();
        BufReader::new(guard.stdout.take().expect("piped")).read_line(&mut line).expect("the guard speaks");
        let (input, broker) = (guard.stdin.take().expect("piped"), line.trim().parse().expect("a process id"));
        *self.running() = Some(Running { guard, input, broker });
        self.wait_until_there();
    }

    fn wait_until_there(&self) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if begun.elapsed() > START_TIMEOUT {
                let log = std::fs::read_to_string(self.folder.join("broker.log")).unwrap_or_default();
                panic!("the broker did not start:\n{log}");
            }
            std::thread::sleep(LOOK);
        }
    }

    /// With SIGKILL; its data stay.
    pub fn kill(&self) {
        let mut running = self.running().take().expect("the broker runs");
        running.input.write_all(b"again\n").expect("the guard listens");
        running.guard.wait().expect("the guard ends");
    }

    /// `STOP` freezes it, `CONT` lets it go on.
    pub fn signal(&self, name: &str) {
        signal(self.running().as_ref().expect("the broker runs").broker, name);
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of a broker that was started with [`Broker::own_behind`].
    pub fn second_port(&self) -> u16 {
        self.port + 2
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = python_command("tests/it/kafka/checker.py");
        command.arg(self.address()).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// What `checker.py` answers; `input`: its standard input.
    pub fn ask_with(&self, arguments: &[&str], input: &str) -> Value {
        let mut asked =
            Asked { child: self.client(arguments).spawn().expect("Python starts"), what: arguments.join(" ") };
        asked.child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("checker.py reads its input");
        asked.answer()
    }

    pub fn ask(&self, arguments: &[&str]) -> Value {
        self.ask_with(arguments, "")
    }

    /// Begins to ask, with an input that stays open until the answer is fetched.
    pub fn begin(&self, arguments: &[&str]) -> Asked {
        Asked { child: self.client(arguments).spawn().expect("Python starts"), what: arguments.join(" ") }
    }
}

/// One of the second client's scripts.
pub fn python_command(script: &str) -> Command {
    let mut command = Command::new(python().expect("there is a broker, so there is a client"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script));
    command
}

impl Drop for Broker {
    fn drop(&mut self) {
        let Some(mut running) = self.running().take() else {
            let _ = std::fs::remove_dir_all(&self.folder);
            return;
        };
        drop(running.input);
        let _ = running.guard.wait();
    }
}

/// A question to the second client.
pub struct Asked {
    child: Child,
    what: String,
}

impl Asked {
    /// Closes its input and waits for its answer.
    pub fn answer(mut self) -> Value {
        drop(self.child.stdin.take());
        let mut text = String::new();
        let mut output = self.child.stdout.take().expect("piped");
        std::io::Read::read_to_string(&mut output, &mut text).expect("checker.py speaks UTF-8");
        let status = self.child.wait().expect("checker.py ends");
        assert!(status.success(), "checker.py {}: {status}", self.what);
        serde_json::from_str(&text).expect("checker.py prints JSON")
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn is_possible(test: &str) -> bool {
    let Err(why) = python() else { return true };
    not_run(test, why);
    false
}

/// Sends a process a signal.
pub fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), process.to_string()]).status();
    assert!(status.expect("kill starts").success(), "process {process} takes the signal {name}");
}
