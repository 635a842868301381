//! Runs the real program as a child process, in a folder of its own, and looks at what it leaves behind.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// No run of the program in a test takes longer than this; a longer one is stuck.
const RUN_TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);

/// A job script with its data, outputs and state in a temporary folder.
pub struct Workspace {
    folder: tempfile::TempDir,
}

impl Workspace {
    pub fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let workspace = Self { folder };
        workspace.write("job.sql", script);
        workspace
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("inside the workspace")).expect("a folder for the file");
        fs::File::create(path).and_then(|mut file| file.write_all(text.as_bytes())).expect("a written file");
    }

    /// `tidemill ARGS` in the workspace's folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// `tidemill run job.sql --state-dir state ARGS`.
    pub fn run_command(&self, args: &[&str]) -> Command {
        let mut command = self.command(&["run", "job.sql", "--quiet", "--state-dir", "state"]);
        command.args(args);
        command
    }

    /// Runs to the end and demands success.
    pub fn run_to_end(&self, args: &[&str]) -> Output {
        let output = self.run_command(args).output().expect("the program starts");
        assert!(output.status.success(), "{}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        output
    }

    /// All visible lines of all visible files under `folder`, sorted.
    pub fn visible_lines(&self, folder: &str) -> Vec<String> {
        let mut lines: Vec<String> = visible_files(&self.path(folder))
            .iter()
            .flat_map(|file| fs::read_to_string(file).expect("text").lines().map(str::to_string).collect::<Vec<_>>())
            .collect();
        lines.sort();
        lines
    }

    pub fn remove(&self, name: &str) {
        let path = self.path(name);
        if path.exists() {
            fs::remove_dir_all(path).expect("removable");
        }
    }
}

/// Files whose names do not start with a dot or an underscore, through all folders, sorted.
pub fn visible_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().expect("entries have names").to_string_lossy().into_owned();
        if name.starts_with('.') || name.starts_with('_') {
            continue;
        }
        if path.is_dir() { files.extend(visible_files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Waits for `child` up to `limit`, then kills it with SIGKILL. `None`: it was killed.
pub fn wait_or_kill(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if Instant::now() >= deadline {
            child.kill().expect("a running child can be killed");
            child.wait().expect("a killed child ends");
            return None;
        }
        std::thread::sleep(POLL.min(deadline - Instant::now()));
    }
}

/// Waits for the child's own end; a child that never ends fails the test.
pub fn wait(child: &mut Child) -> ExitStatus {
    wait_or_kill(child, RUN_TIMEOUT).unwrap_or_else(|| panic!("the program was still running after {RUN_TIMEOUT:?}"))
}
