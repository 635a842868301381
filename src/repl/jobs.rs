//! The session's background jobs: what INSERT started and goes on while other statements run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_engine::EngineError;
use tidemill_engine::runtime::{JobHandle, JobState, JobSummary, NodeRole, NodeStatus, Outcome, start};
use tidemill_sql::plan::PlannedJob;
use tidemill_sql::settings::Settings;

use crate::{options, status};

/// Jobs that may run at once: each has its own threads and its own memory.
pub const JOBS_MAX: usize = 32;
/// A job that takes longer for its final checkpoint is ended without it.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// Characters of a statement that a list of jobs shows.
const STATEMENT_SHOWN_MAX: usize = 60;

/// A job that runs or has run.
pub struct Job {
    pub number: usize,
    pub statement: String,
    /// Ends before its folder goes.
    pub handle: JobHandle,
    _folder: Option<tempfile::TempDir>,
    started: Instant,
    told: bool,
}

impl Job {
    /// Starts what was planned. State outlives the session only where 'execution.checkpointing.dir' names a folder.
    pub fn start(planned: PlannedJob, settings: &Settings, statement: &str) -> Result<Self, EngineError> {
        let set = settings.checkpoint_dir().map(|dir| PathBuf::from(dir.strip_prefix("file://").unwrap_or(dir)));
        let (path, folder) = match set {
            Some(dir) => (dir.join(folder_name(&planned.graph.name)), None),
            None => {
                let folder = tempfile::Builder::new().prefix("tidemill-job-").tempdir();
                let folder = folder.map_err(|e| EngineError::io("create", std::env::temp_dir(), e))?;
                (folder.path().to_path_buf(), Some(folder))
            }
        };
        let options = options::job_options(&planned.graph.name, settings, path);
        let handle = start(Arc::new(planned.graph), options)?;
        let statement = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Self { number: 0, statement, handle, _folder: folder, started: Instant::now(), told: false })
    }

    /// `running`, `finished`, and for how long.
    fn row(&self) -> Vec<String> {
        let status = self.handle.status();
        let state = match status.state {
            JobState::Starting => "starting",
            JobState::Running => "running",
            JobState::Restarting => "restarting",
            JobState::Finished => "finished",
            JobState::Failed => "failed",
        };
        let rows = |role: NodeRole, of: fn(&NodeStatus) -> u64| {
            status::count(status.nodes.iter().filter(|node| node.role == role).map(of).sum())
        };
        let since = if self.handle.is_ended() { status.uptime } else { self.started.elapsed() };
        vec![
            self.number.to_string(),
            state.to_string(),
            rows(NodeRole::Source, |node| node.rows_out),
            rows(NodeRole::Sink, |node| node.rows_in),
            status::duration(since),
            super::format::cells::cut(&self.statement, STATEMENT_SHOWN_MAX),
            status.last_error.unwrap_or_default(),
        ]
    }
}

/// A folder for the state of a job, the same for the same target.
fn folder_name(job: &str) -> String {
    job.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect()
}

/// All jobs of a session, in the order of their start.
#[derive(Default)]
pub struct Jobs {
    all: Vec<Job>,
    started: usize,
}

impl Jobs {
    pub fn is_full(&self) -> bool {
        self.running() >= JOBS_MAX
    }

    pub fn running(&self) -> usize {
        self.all.iter().filter(|job| !job.handle.is_ended()).count()
    }

    /// Takes a job in, and gives its number.
    pub fn add(&mut self, job: Job) -> usize {
        self.started += 1;
        // What has ended and was told need not be listed for ever.
        while self.all.len() >= 2 * JOBS_MAX {
            let Some(old) = self.all.iter().position(|job| job.told) else { break };
            self.all.remove(old);
        }
        self.all.push(Job { number: self.started, ..job });
        self.started
    }

    /// Headers and rows of the list.
    pub fn list(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let mut headers = vec!["job", "state", "rows in", "rows out", "for", "statement", "error"];
        let mut rows: Vec<Vec<String>> = self.all.iter().map(Job::row).collect();
        if rows.iter().all(|row| row.last().is_none_or(String::is_empty)) {
            headers.pop();
            rows.iter_mut().for_each(|row| row.truncate(headers.len()));
        }
        (headers.into_iter().map(str::to_string).collect(), rows)
    }

    /// Which jobs have ended since this was asked last, and how.
    pub fn news(&mut self) -> Vec<String> {
        let mut news = Vec::new();
        for job in self.all.iter_mut().filter(|job| !job.told) {
            if let Some(outcome) = job.handle.wait_for(Duration::ZERO) {
                job.told = true;
                news.push(told(job.number, &outcome));
            }
        }
        news
    }

    /// Ends a job with a final checkpoint, and says how it ended.
    pub fn stop(&mut self, number: usize) -> Result<String, String> {
        let Some(job) = self.all.iter_mut().find(|job| job.number == number) else {
            let running: Vec<String> = self.all.iter().map(|job| job.number.to_string()).collect();
            let there =
                if running.is_empty() { "there are none".into() } else { format!("there are {}", running.join(", ")) };
            return Err(format!("there is no job {number}: {there}"));
        };
        if job.handle.is_ended() && job.told {
            return Err(format!("job {number} has ended already"));
        }
        job.told = true;
        Ok(told(number, &end(&job.handle)))
    }

    /// Ends all jobs, each with a final checkpoint, and says how they ended.
    pub fn stop_all(&mut self) -> Vec<String> {
        self.all.iter().for_each(|job| job.handle.stop());
        let mut said = Vec::new();
        for job in self.all.iter_mut().filter(|job| !job.told) {
            job.told = true;
            said.push(told(job.number, &end(&job.handle)));
        }
        said
    }
}

/// Stops and waits.
pub fn end(handle: &JobHandle) -> Result<JobSummary, EngineError> {
    handle.stop();
    handle.wait_for(STOP_PATIENCE).unwrap_or_else(|| {
        handle.cancel();
        handle.wait()
    })
}

fn told(number: usize, outcome: &Result<JobSummary, EngineError>) -> String {
    match outcome {
        Ok(summary) => {
            let (rows_in, rows_out) = status::totals(&summary.nodes);
            let [rows_in, rows_out] = [rows_in, rows_out].map(status::count);
            let time = status::duration(summary.uptime);
            let lost = status::losses(&summary.nodes).into_iter().map(|line| format!("\n  {line}"));
            let how = match summary.outcome {
                Outcome::Finished | Outcome::Satisfied => "is done",
                Outcome::AlreadyComplete => "had finished in an earlier run",
                Outcome::Stopped => "is stopped",
                Outcome::Cancelled => "is cancelled",
            };
            format!("job {number} {how}: {rows_in} rows in, {rows_out} rows out in {time}{}", lost.collect::<String>())
        }
        Err(error) => format!("job {number} failed: {error}"),
    }
}
