//! The life of a job: attempt after attempt, each going on from the last completed checkpoint, until it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::coordinator::{AttemptEnd, Command, Coordinator, Requests};
use super::launch::{Plan, RunningTasks};
use super::layout::{Layout, instances};
use super::monitor::Monitor;
use super::options::{JobOptions, Restore};
use super::publish::Publishers;
use super::restart::{Gained, Reason, Restarts, Verdict};
use super::status::{JobState, JobSummary, Outcome};
use crate::checkpoint::{CheckpointStore, PlanNode, Recovery, RestoreRequest, check_fit};
use crate::graph::JobGraph;
use crate::state::StateBackend;
use crate::{EngineError, Epoch, Result};

pub struct Job {
    pub graph: Arc<JobGraph>,
    pub layout: Arc<Layout>,
    pub options: Arc<JobOptions>,
    pub store: Arc<CheckpointStore>,
    pub monitor: Arc<Monitor>,
    pub commands: Receiver<Command>,
    pub cancelled: Arc<AtomicBool>,
    /// Somebody has asked for the end; the request itself comes as a command, and an attempt that fails may have taken it.
    pub stopping: Arc<AtomicBool>,
}

/// How one attempt, including its recovery, came out.
enum AttemptOutcome {
    Ended(AttemptEnd),
    /// The checkpoint says that nothing is left to do.
    AlreadyComplete,
}

/// What the attempts of one run hand on to each other.
struct Course {
    request: RestoreRequest,
    /// The number for the next checkpoint, as far as this run knows: above every one that it ever began.
    next_epoch: Epoch,
    restarts: Restarts,
    /// Records of the input that a completed checkpoint covers, at most so far.
    covered: u64,
}

impl Job {
    /// Runs to the end of the job. Every thread that it started is gone on return.
    pub fn run(&self) -> Result<JobSummary> {
        let backend = StateBackend::new(self.options.memory_budget_bytes);
        let mut course = Course {
            request: request_of(&self.options.restore),
            next_epoch: Epoch::ZERO.next(),
            restarts: Restarts::new(self.options.restart.clone()),
            covered: 0,
        };
        loop {
            let (began, completed) = (Instant::now(), self.monitor.checkpoints());
            let outcome = match self.attempt(&backend, &mut course) {
                Ok(outcome) => self.outcome_of(outcome),
                Err(error) => {
                    let covered = self.monitor.records_covered();
                    let gained = Gained {
                        input: covered > course.covered,
                        checkpoint: self.monitor.checkpoints() > completed,
                        ran: began.elapsed(),
                    };
                    course.covered = course.covered.max(covered);
                    self.monitor.outage(error.is_outage(), self.options.clock.now());
                    self.after_failure(error, &mut course.restarts, gained)?
                }
            };
            if let Some(outcome) = outcome {
                self.monitor.set_state(JobState::Finished);
                return Ok(self.monitor.summary(outcome));
            }
        }
    }

    /// How the job ended; `None`: it goes on with another attempt.
    fn outcome_of(&self, attempt: AttemptOutcome) -> Option<Outcome> {
        match attempt {
            // This very run may have completed the last checkpoint and failed only behind it.
            AttemptOutcome::AlreadyComplete if self.monitor.checkpoints() > 0 => Some(Outcome::Finished),
            AttemptOutcome::AlreadyComplete => Some(Outcome::AlreadyComplete),
            AttemptOutcome::Ended(AttemptEnd::Finished) => Some(Outcome::Finished),
            AttemptOutcome::Ended(AttemptEnd::Satisfied) => Some(Outcome::Satisfied),
            AttemptOutcome::Ended(AttemptEnd::Stopped) => Some(Outcome::Stopped),
            AttemptOutcome::Ended(AttemptEnd::Cancelled) => Some(Outcome::Cancelled),
            AttemptOutcome::Ended(AttemptEnd::CrashedOnPurpose) => {
                self.monitor.restarting(0, None);
                None
            }
        }
    }

    /// Waits before the next attempt, or gives the error back where there is to be none.
    fn after_failure(&self, error: EngineError, restarts: &mut Restarts, gained: Gained) -> Result<Option<Outcome>> {
        if let Some(outcome) = self.gave_up_waiting(&error) {
            return Ok(Some(outcome));
        }
        match restarts.after(&error, gained) {
            Verdict::GiveUp(Reason::Hopeless) => Err(error),
            Verdict::GiveUp(Reason::OutOfRestarts) => Err(EngineError::gave_up(restarts.attempt(), false, error)),
            Verdict::GiveUp(Reason::NoProgress) => Err(EngineError::gave_up(restarts.fruitless(), true, error)),
            Verdict::RestartAfter(pause) => Ok(self.back_off(&error, restarts.attempt(), pause)),
        }
    }

    /// Who asked for the end while the outside world was away is not to wait for it.
    fn gave_up_waiting(&self, error: &EngineError) -> Option<Outcome> {
        let waited = error.is_outage() || matches!(error, EngineError::Cancelled);
        if waited && self.cancelled.load(Ordering::Relaxed) {
            return Some(Outcome::Cancelled);
        }
        if waited && self.stopping.load(Ordering::Relaxed) {
            self.monitor.note(format!("stopped without a final checkpoint: {error}"));
            return Some(Outcome::Stopped);
        }
        None
    }

    /// One attempt from recovery to its end. Once it has begun, later ones go on from what it leaves.
    fn attempt(&self, backend: &StateBackend, course: &mut Course) -> Result<AttemptOutcome> {
        self.monitor.set_state(JobState::Starting);
        let mut publishers = Publishers::open(&self.graph, &self.store.job_id())?;
        let recovery = self.store.recover(&course.request, &publishers.recorded()?)?;
        self.tell_skipped(&recovery);
        let max_parallelism = self.check_fit(&recovery)?;
        let start = self.store.begin(&recovery)?;
        course.request = RestoreRequest::Latest;
        course.next_epoch = course.next_epoch.max(recovery.next_epoch);
        let restored = recovery.checkpoint.as_ref().map_or(Epoch::ZERO, |one| one.manifest.epoch);
        self.monitor.attempt_starts(&start.job_id, recovery.checkpoint.as_ref().map(|one| one.manifest.as_ref()));
        tracing::info!(job = self.options.job_name, attempt = start.attempt, epoch = restored.0, "attempt starts");
        publish_again(&mut publishers, &recovery)?;
        if recovery.checkpoint.as_ref().is_some_and(|one| one.manifest.finished) {
            publishers.finish()?;
            return Ok(AttemptOutcome::AlreadyComplete);
        }
        let plan = Arc::new(Plan {
            graph: Arc::clone(&self.graph),
            layout: Arc::clone(&self.layout),
            options: Arc::clone(&self.options),
            monitor: Arc::clone(&self.monitor),
            store: Arc::clone(&self.store),
            backend: backend.clone(),
            job_id: start.job_id,
            attempt: start.attempt,
            work_dir: start.work_dir,
            max_parallelism,
            checkpoint: recovery.checkpoint,
        });
        let tasks = RunningTasks::launch(Arc::clone(&plan))?;
        self.monitor.set_state(JobState::Running);
        let requests = Requests { commands: &self.commands, cancelled: &self.cancelled, stopping: &self.stopping };
        let coordinator = Coordinator::new(plan, tasks, publishers, requests, &mut course.next_epoch);
        coordinator.run().map(AttemptOutcome::Ended)
    }

    /// Gives the number of key groups, which a checkpoint fixes for ever.
    fn check_fit(&self, recovery: &Recovery) -> Result<u16> {
        let nodes: Vec<PlanNode> = self.graph.nodes().iter().map(|node| self.plan_node(node)).collect();
        let max_parallelism =
            recovery.checkpoint.as_ref().map_or(self.options.max_parallelism, |one| one.manifest.max_parallelism);
        let wanted = nodes.iter().map(|node| node.parallelism).max().unwrap_or(0).max(self.options.parallelism);
        if wanted > usize::from(max_parallelism) {
            let reason = format!("parallelism {wanted} is more than the maximum parallelism {max_parallelism}");
            return Err(EngineError::StateMismatch { reasons: vec![reason] });
        }
        match &recovery.checkpoint {
            None => Ok(max_parallelism),
            Some(checkpoint) => match check_fit(&checkpoint.manifest, &nodes, max_parallelism) {
                reasons if reasons.is_empty() => Ok(max_parallelism),
                reasons => Err(EngineError::StateMismatch { reasons }),
            },
        }
    }

    fn plan_node(&self, node: &crate::graph::Node) -> PlanNode {
        PlanNode {
            uid: node.uid.clone(),
            name: node.name.clone(),
            signature: node.state_signature.clone(),
            parallelism: instances(node, self.options.parallelism),
        }
    }

    fn tell_skipped(&self, recovery: &Recovery) {
        for skipped in &recovery.skipped {
            let (path, reason) = (skipped.path.display(), &skipped.reason);
            tracing::warn!(%path, reason, "a checkpoint is damaged: going on from the one before");
            self.monitor.note(format!("checkpoint {path} is damaged and was skipped: {reason}"));
        }
    }

    /// Waits before the next attempt; `Some` when the job is to end instead.
    fn back_off(&self, error: &EngineError, attempt: u32, pause: Duration) -> Option<Outcome> {
        let pause_ms = pause.as_millis() as u64;
        tracing::warn!(job = self.options.job_name, attempt, pause_ms, %error, "the job failed and will start again");
        self.monitor.restarting(attempt, Some(error.to_string()));
        let until = Instant::now() + pause;
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                return Some(Outcome::Cancelled);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            match self.commands.recv_timeout(left) {
                Ok(Command::Stop { savepoint }) => {
                    self.monitor.note("stopped while waiting to restart: no final checkpoint was taken".into());
                    drop(savepoint);
                    return Some(Outcome::Stopped);
                }
                Ok(Command::Checkpoint { reply }) => {
                    let _ = reply.send(Err(not_running(error)));
                }
                Ok(Command::Savepoint { reply, .. }) => {
                    let _ = reply.send(Err(not_running(error)));
                }
                Ok(Command::Look) | Err(_) => {}
            }
        }
    }
}

/// The restored epoch is durable but perhaps not yet visible; what came after it must never be.
fn publish_again(publishers: &mut Publishers, recovery: &Recovery) -> Result<()> {
    let (epoch, prepared) = match &recovery.checkpoint {
        Some(checkpoint) => (checkpoint.manifest.epoch, checkpoint.manifest.sinks.as_slice()),
        None => (Epoch::ZERO, [].as_slice()),
    };
    if epoch > Epoch::ZERO {
        publishers.commit(epoch, prepared)?;
    }
    publishers.discard_unknown(epoch, prepared)
}

fn not_running(error: &EngineError) -> EngineError {
    EngineError::Unsupported(format!(
        "the job is waiting to restart and cannot take a checkpoint now; it failed: {error}"
    ))
}

fn request_of(restore: &Restore) -> RestoreRequest {
    match restore {
        Restore::Latest => RestoreRequest::Latest,
        Restore::From(path) => RestoreRequest::From(path.clone()),
        Restore::Fresh => RestoreRequest::Fresh,
    }
}
