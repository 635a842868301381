//! One run of a job: its threads in the engine, and the thread that watches them and tells what happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tidemill_engine::graph::JobGraph;
use tidemill_engine::runtime::{JobHandle, JobOptions, JobState, JobStatus, JobSummary, Outcome, start};
use tidemill_engine::{EngineError, Result};

use super::logbook::{Level, Logbook};

/// What happens to a run, told from the watcher's thread.
pub enum Event<'a> {
    /// State is restored and the attempt is part of the job's history.
    Began,
    /// It failed, and is about to be started again.
    Failed(&'a str),
    /// A checkpoint was completed; so many before it were completed since the last one that was told.
    Checkpoint(&'a JobStatus, u64),
    Ended(&'a Result<JobSummary>),
}

pub struct Run {
    pub handle: Arc<JobHandle>,
    pub budget_bytes: u64,
    stopping: AtomicBool,
    settled: Arc<Settled>,
}

/// True once the end was recorded.
#[derive(Default)]
struct Settled {
    done: Mutex<bool>,
    changed: Condvar,
}

impl Run {
    /// Starts the job and the thread that watches it.
    pub fn start(
        graph: Arc<JobGraph>,
        options: JobOptions,
        logbook: Logbook,
        tell: impl Fn(Event<'_>) + Send + 'static,
    ) -> Result<Self> {
        let budget_bytes = options.memory_budget_bytes as u64;
        let handle = Arc::new(start(graph, options)?);
        let settled = Arc::new(Settled::default());
        let watched = Watched { handle: Arc::clone(&handle), logbook, settled: Arc::clone(&settled) };
        let spawned = thread::Builder::new().name("job-watcher".into()).spawn(move || watched.watch(&tell));
        // Dropping the handle ends the job.
        spawned.map_err(|error| EngineError::io("start", "a thread", error))?;
        Ok(Self { handle, budget_bytes, stopping: AtomicBool::new(false), settled })
    }

    pub fn status(&self) -> JobStatus {
        self.handle.status()
    }

    /// It ended and the end is recorded.
    pub fn is_settled(&self) -> bool {
        *self.settled.done.lock()
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// To be said before the handle is asked to stop, so that nobody sees a running job that takes no request.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// True when the end was recorded within this time.
    pub fn wait_settled(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut done = self.settled.done.lock();
        while !*done {
            if self.settled.changed.wait_until(&mut done, deadline).timed_out() {
                break;
            }
        }
        *done
    }
}

struct Watched {
    handle: Arc<JobHandle>,
    logbook: Logbook,
    settled: Arc<Settled>,
}

/// What was told of a run so far.
#[derive(Default)]
struct Told {
    state: Option<JobState>,
    notes: usize,
    error: Option<String>,
    checkpoints: u64,
    began: bool,
}

impl Watched {
    fn watch(&self, tell: &dyn Fn(Event<'_>)) {
        let (mut told, mut seen) = (Told::default(), 0);
        let outcome = loop {
            seen = self.handle.wait_for_change(seen);
            let outcome = self.handle.wait_for(Duration::ZERO);
            self.look(&mut told, tell);
            if let Some(outcome) = outcome {
                break outcome;
            }
        };
        match &outcome {
            Ok(summary) => self.logbook.add(Level::State, ended(summary)),
            Err(error) => self.logbook.add(Level::Error, &error.to_string()),
        }
        tell(Event::Ended(&outcome));
        *self.settled.done.lock() = true;
        self.settled.changed.notify_all();
    }

    fn look(&self, told: &mut Told, tell: &dyn Fn(Event<'_>)) {
        let status = self.handle.status();
        for note in status.notes.iter().skip(told.notes) {
            self.logbook.add(Level::Note, note);
        }
        told.notes = told.notes.max(status.notes.len());
        if status.last_error != told.error {
            if let Some(error) = &status.last_error {
                self.logbook.add(Level::Error, error);
                tell(Event::Failed(error));
            }
            told.error.clone_from(&status.last_error);
        }
        if told.state != Some(status.state) {
            if let Some(text) = state_text(status.state) {
                self.logbook.add(Level::State, text);
            }
            told.state = Some(status.state);
        }
        let completed = status.checkpoint.completed;
        if completed > told.checkpoints {
            tell(Event::Checkpoint(&status, completed - told.checkpoints - 1));
            told.checkpoints = completed;
        }
        // Whatever came behind the start has it behind itself.
        let has_begun = matches!(status.state, JobState::Running | JobState::Finished) || status.epoch.0 > 0;
        if has_begun && !told.began {
            told.began = true;
            tell(Event::Began);
        }
    }
}

/// The ends are told with their outcome.
fn state_text(state: JobState) -> Option<&'static str> {
    match state {
        JobState::Starting => Some("starting"),
        JobState::Running => Some("running"),
        JobState::Restarting => Some("failed: waiting to start again"),
        JobState::Finished | JobState::Failed => None,
    }
}

fn ended(summary: &JobSummary) -> &'static str {
    match summary.outcome {
        Outcome::Finished => "finished: all input was read",
        Outcome::Satisfied => "finished: nothing more can come out",
        Outcome::AlreadyComplete => "finished in an earlier run already",
        Outcome::Stopped => "stopped with a final checkpoint",
        Outcome::Cancelled => "cancelled",
    }
}
