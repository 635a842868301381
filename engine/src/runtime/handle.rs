//! Starts a job and holds on to it: the one way in which the rest of the program talks to a running job.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex};

use super::coordinator::Command;
use super::job::Job;
use super::launch::panic_text;
use super::layout::Layout;
use super::monitor::Monitor;
use super::options::JobOptions;
use super::status::{JobStatus, JobSummary};
use crate::checkpoint::CheckpointStore;
use crate::graph::{JobGraph, NodeKind};
use crate::{EngineError, Epoch, Result};

/// Requests that may wait for the coordinator; beyond that the asker waits.
const COMMANDS_MAX: usize = 16;

/// A running job. Dropping it cancels the job and waits for its threads.
pub struct JobHandle {
    cancelled: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    /// Gone with the job: whoever reads a sink's other end learns of the job's end by that.
    graph: Weak<JobGraph>,
    monitor: Arc<Monitor>,
    ending: Arc<Ending>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How the job ended, once it has.
struct Ending {
    outcome: Mutex<Option<Result<JobSummary>>>,
    ended: Condvar,
    /// `None` once the job has ended. A request that it left unread lies in the channel, with the way to its answer, for
    /// as long as there is a sender: only when the last one goes does its asker learn that no answer will come.
    commands: Mutex<Option<Sender<Command>>>,
}

/// Starts a job in threads of its own.
///
/// Errors: a graph that cannot run, a state directory that cannot be locked. All that happens later, recovery
/// included, comes out of [`JobHandle::wait`].
pub fn start(graph: Arc<JobGraph>, options: JobOptions) -> Result<JobHandle> {
    let layout = Arc::new(Layout::of(&graph, options.parallelism)?);
    accept_epochs(&graph, &options)?;
    let store = Arc::new(CheckpointStore::open(&options.state_dir)?);
    let monitor = Arc::new(Monitor::new(&graph, &layout, &options.job_name, options.parallelism));
    let cancelled = Arc::new(AtomicBool::new(false));
    let stopping = Arc::new(AtomicBool::new(false));
    let (sender, commands) = bounded(COMMANDS_MAX);
    let job = Job {
        graph: Arc::clone(&graph),
        layout,
        options: Arc::new(options),
        store,
        monitor: Arc::clone(&monitor),
        commands,
        cancelled: Arc::clone(&cancelled),
        stopping: Arc::clone(&stopping),
    };
    let commands = Mutex::new(Some(sender));
    let ending = Arc::new(Ending { outcome: Mutex::default(), ended: Condvar::new(), commands });
    let thread = spawn(job, Arc::clone(&ending))?;
    Ok(JobHandle {
        cancelled,
        stopping,
        graph: Arc::downgrade(&graph),
        monitor,
        ending,
        thread: Mutex::new(Some(thread)),
    })
}

/// Every sink can hold its rows back for as long as an epoch may take.
fn accept_epochs(graph: &JobGraph, options: &JobOptions) -> Result<()> {
    let Some(longest) = options.longest_epoch() else { return Ok(()) };
    graph.nodes().iter().try_for_each(|node| match &node.kind {
        NodeKind::Sink(sink) => sink.accept_epochs(longest),
        _ => Ok(()),
    })
}

fn spawn(job: Job, ending: Arc<Ending>) -> Result<JoinHandle<()>> {
    let monitor = Arc::clone(&job.monitor);
    let run = move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| job.run())).unwrap_or_else(|panic| {
            Err(EngineError::Internal { place: "coordinator".into(), reason: panic_text(panic.as_ref()) })
        });
        if let Err(error) = &outcome {
            job.monitor.failed(error.to_string());
        }
        // Unlocks the state directory before anybody learns that the job is over.
        drop(job);
        ending.commands.lock().take();
        *ending.outcome.lock() = Some(outcome);
        ending.ended.notify_all();
        monitor.tell_change();
    };
    let builder = thread::Builder::new().name("tidemill-job".into());
    builder.spawn(run).map_err(|error| EngineError::io("start", "a thread", error))
}

impl JobHandle {
    /// Asks for a final checkpoint and then the end; returns at once. [`Self::wait`] tells when it is done.
    pub fn stop(&self) {
        self.stop_waiting();
        let _ = self.send(Command::Stop { savepoint: None });
    }

    /// Stops, and copies the final checkpoint into the new folder `target`.
    pub fn stop_with_savepoint(&self, target: &Path) -> Result<PathBuf> {
        self.stop_waiting();
        let (reply, answer) = bounded(1);
        self.ask(Command::Stop { savepoint: Some((target.to_path_buf(), reply)) }, &answer)
    }

    /// Ends the job at once, without a checkpoint; returns at once. Nothing that was visible is lost, and what came
    /// after the last checkpoint is read again at the next start.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.stop_waiting();
        if let Some(commands) = self.ending.commands.lock().as_ref() {
            let _ = commands.try_send(Command::Look);
        }
    }

    /// Nobody waits for an outside world that cannot be reached any more.
    fn stop_waiting(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        for node in self.graph.upgrade().iter().flat_map(|graph| graph.nodes()) {
            match &node.kind {
                NodeKind::Source(spec) => spec.source.stop_waiting(),
                NodeKind::Sink(sink) => sink.stop_waiting(),
                NodeKind::Operator(_) => {}
            }
        }
    }

    /// Takes a checkpoint now and waits until it is durable and committed.
    pub fn checkpoint(&self) -> Result<Epoch> {
        let (reply, answer) = bounded(1);
        self.ask(Command::Checkpoint { reply }, &answer)
    }

    /// Takes a checkpoint now and copies it into the new folder `target`, where nothing ever deletes it.
    pub fn savepoint(&self, target: &Path) -> Result<PathBuf> {
        let (reply, answer) = bounded(1);
        self.ask(Command::Savepoint { target: target.to_path_buf(), reply }, &answer)
    }

    pub fn status(&self) -> JobStatus {
        self.monitor.status()
    }

    /// Waits until the job's state, its last error, its notes or its last checkpoint are no longer those of `seen` (0: none), or it has
    /// ended. Gives what to ask with the next time. Rows change nothing here.
    pub fn wait_for_change(&self, seen: u64) -> u64 {
        self.monitor.wait_for_change(seen)
    }

    pub fn is_ended(&self) -> bool {
        self.ending.outcome.lock().is_some()
    }

    /// Waits for the end of the job; may be called again and from several threads.
    pub fn wait(&self) -> Result<JobSummary> {
        let mut outcome = self.ending.outcome.lock();
        while outcome.is_none() {
            self.ending.ended.wait(&mut outcome);
        }
        share(outcome.as_ref().expect("the loop ends with an outcome"))
    }

    /// Like [`Self::wait`], but no longer than this; `None`: the job still runs.
    pub fn wait_for(&self, timeout: Duration) -> Option<Result<JobSummary>> {
        let mut outcome = self.ending.outcome.lock();
        if outcome.is_none() {
            self.ending.ended.wait_for(&mut outcome, timeout);
        }
        outcome.as_ref().map(share)
    }

    fn ask<T>(&self, command: Command, answer: &Receiver<Result<T>>) -> Result<T> {
        self.send(command)?;
        answer.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Waits while too many requests wait already, but not while holding the lock: the end of the job takes it.
    fn send(&self, command: Command) -> Result<()> {
        let commands = self.ending.commands.lock().clone();
        commands.ok_or_else(ended)?.send(command).map_err(|_| ended())
    }
}

fn ended() -> EngineError {
    EngineError::Unsupported("the job ended before it could take a checkpoint".into())
}

/// The same outcome for one more asker.
fn share(outcome: &Result<JobSummary>) -> Result<JobSummary> {
    match outcome {
        Ok(summary) => Ok(summary.clone()),
        Err(error) => Err(error.duplicate()),
    }
}

impl Drop for JobHandle {
    fn drop(&mut self) {
        self.cancel();
        if let Some(thread) = self.thread.lock().take() {
            // A panic was caught inside and is the job's outcome.
            let _ = thread.join();
        }
    }
}
