//! Runs the checkpoints of one attempt, one at a time, and decides when the attempt is over.
//!
//! A checkpoint is under way from its barriers to the end of its commit. Tasks only freeze their state; hashing,
//! copying and syncing happen here, beside the running tasks.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, never, select};

use super::done::DoneOperators;
use super::draft::draft;
use super::events::{Event, TaskId, TaskSnapshot};
use super::launch::{Plan, RunningTasks};
use super::publish::Publishers;
use crate::checkpoint::{Checkpoint, Manifest};
use crate::element::BarrierKind;
use crate::graph::NodeKind;
use crate::state::PendingSnapshot;
use crate::{Barrier, EngineError, Epoch, Result, failpoint};

/// What the job's owner asks for.
pub enum Command {
    Checkpoint {
        reply: Sender<Result<Epoch>>,
    },
    Savepoint {
        target: PathBuf,
        reply: Sender<Result<PathBuf>>,
    },
    /// A final checkpoint, copied into a savepoint if one is named; then the end.
    Stop {
        savepoint: Option<(PathBuf, Sender<Result<PathBuf>>)>,
    },
    /// Something outside the channel changed (cancellation).
    Look,
}

/// Why an attempt is over, where it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEnd {
    /// All input was read, all output is visible.
    Finished,
    /// All output is visible, and no input could add to it.
    Satisfied,
    /// Stopped with a final checkpoint.
    Stopped,
    Cancelled,
    /// Torn down behind a checkpoint, as the test mode asks.
    CrashedOnPurpose,
}

/// How the job's owner reaches the coordinator.
#[derive(Clone, Copy)]
pub struct Requests<'a> {
    pub commands: &'a Receiver<Command>,
    pub cancelled: &'a AtomicBool,
    /// The end was asked for, perhaps of an earlier attempt.
    pub stopping: &'a AtomicBool,
}

pub struct Coordinator<'a> {
    plan: Arc<Plan>,
    tasks: RunningTasks,
    publishers: Publishers,
    requests: Requests<'a>,
    /// Goes on over all attempts of a run: not even the number of a checkpoint that failed is used again (I5).
    next_epoch: &'a mut Epoch,
    schedule: Schedule,
    running: Option<Running>,
    ended_sources: BTreeSet<TaskId>,
    done: DoneOperators,
}

/// What has been asked for and when the next periodic checkpoint is due.
#[derive(Default)]
struct Schedule {
    checkpoints: Vec<Sender<Result<Epoch>>>,
    savepoints: Vec<(PathBuf, Sender<Result<PathBuf>>)>,
    /// A source waits for a checkpoint.
    wanted: bool,
    stop: bool,
    last_started: Option<Instant>,
    last_completed: Option<Instant>,
}

/// The checkpoint that is under way.
struct Running {
    barrier: Barrier,
    started: Instant,
    /// How often it has exceeded its timeout.
    timeouts: u32,
    /// All sources had ended before the barrier.
    finished: bool,
    /// Tasks whose snapshot is still to come.
    waiting: BTreeSet<TaskId>,
    snapshots: Vec<TaskSnapshot>,
    checkpoints: Vec<Sender<Result<Epoch>>>,
    savepoints: Vec<(PathBuf, Sender<Result<PathBuf>>)>,
}

impl<'a> Coordinator<'a> {
    pub fn new(
        plan: Arc<Plan>,
        tasks: RunningTasks,
        publishers: Publishers,
        requests: Requests<'a>,
        next_epoch: &'a mut Epoch,
    ) -> Self {
        let stop = requests.stopping.load(Ordering::Relaxed);
        let wanted = tasks.held.load(Ordering::Relaxed);
        let schedule = Schedule { last_started: Some(Instant::now()), stop, wanted, ..Schedule::default() };
        let (running, ended_sources) = (None, BTreeSet::new());
        let done = DoneOperators::default();
        Self { plan, tasks, publishers, requests, next_epoch, schedule, running, ended_sources, done }
    }

    /// Runs the attempt to its end; all its threads are gone on return.
    pub fn run(mut self) -> Result<AttemptEnd> {
        let end = self.serve();
        let failures = self.tasks.tear_down();
        match end {
            Ok(end) => Ok(end),
            Err(error) => Err(root_cause(error, failures)),
        }
    }

    fn serve(&mut self) -> Result<AttemptEnd> {
        loop {
            if self.requests.cancelled.load(Ordering::Relaxed) {
                return Ok(AttemptEnd::Cancelled);
            }
            self.check_timeout()?;
            if let Some(kind) = self.due_now() {
                self.start_checkpoint(kind);
            }
            // Cloned so that `self` is free within the branches; a receiver is a counted pointer.
            let (events, commands) = (self.tasks.events.clone(), self.requests.commands.clone());
            let due = self.next_due().map_or_else(never, at);
            select! {
                recv(events) -> event => {
                    let event = event.map_err(|_| EngineError::Cancelled)?;
                    if let Some(end) = self.on_event(event)? {
                        return Ok(end);
                    }
                }
                recv(commands) -> command => match command {
                    Ok(command) => self.on_command(command),
                    Err(_) => return Ok(AttemptEnd::Cancelled),
                },
                recv(due) -> _ => {}
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Checkpoint { reply } => self.schedule.checkpoints.push(reply),
            Command::Savepoint { target, reply } => self.schedule.savepoints.push((target, reply)),
            Command::Stop { savepoint } => {
                self.schedule.stop = true;
                self.schedule.savepoints.extend(savepoint);
            }
            Command::Look => {}
        }
    }

    fn due_now(&self) -> Option<BarrierKind> {
        if self.running.is_some() {
            return None;
        }
        let input_ended = self.ended_sources.len() == self.tasks.barriers.len();
        let options = &self.plan.options;
        self.schedule.due(input_ended, options.checkpoint_interval, options.checkpoint_min_pause, Instant::now())
    }

    /// When there is something to do though nothing is told or asked: a checkpoint is due, or takes too long.
    fn next_due(&self) -> Option<Instant> {
        let options = &self.plan.options;
        match &self.running {
            Some(running) => running.started.checked_add(running.patience(options.checkpoint_timeout)),
            None => self.schedule.next_due(options.checkpoint_interval, options.checkpoint_min_pause),
        }
    }

    /// A checkpoint that only takes long stays sound: while that is tolerated, it is waited for.
    fn check_timeout(&mut self) -> Result<()> {
        let (options, names) = (&self.plan.options, &self.tasks.names);
        let Some(running) = &mut self.running else { return Ok(()) };
        let timeout = options.checkpoint_timeout;
        if running.started.elapsed() < running.patience(timeout) {
            return Ok(());
        }
        running.timeouts += 1;
        let waiting = running.waiting.iter().map(|task| names[task.0].clone()).collect();
        let error = EngineError::CheckpointTimeout { epoch: running.barrier.epoch.0, timeout, waiting };
        // Said now: a task that is stuck may hold up the end of the attempt, too.
        tracing::warn!(job = options.job_name, %error, "a checkpoint takes long");
        if running.timeouts > options.tolerated_timeouts {
            return Err(error);
        }
        self.plan.monitor.note(format!("a checkpoint took longer than it may, which was tolerated: {error}"));
        Ok(())
    }

    fn start_checkpoint(&mut self, kind: BarrierKind) {
        let barrier = Barrier { epoch: *self.next_epoch, kind };
        *self.next_epoch = self.next_epoch.next();
        self.schedule.wanted = false;
        self.schedule.last_started = Some(Instant::now());
        self.running = Some(Running {
            barrier,
            started: Instant::now(),
            timeouts: 0,
            finished: self.ended_sources.len() == self.tasks.barriers.len(),
            waiting: (0..self.tasks.task_count).map(TaskId).collect(),
            snapshots: Vec::with_capacity(self.tasks.task_count),
            checkpoints: std::mem::take(&mut self.schedule.checkpoints),
            savepoints: std::mem::take(&mut self.schedule.savepoints),
        });
        self.plan.monitor.checkpoint_starts();
        tracing::debug!(epoch = barrier.epoch.0, ?kind, "checkpoint starts");
        self.tasks.begin(barrier);
    }

    fn on_event(&mut self, event: Event) -> Result<Option<AttemptEnd>> {
        match event {
            Event::Failed { error } => Err(error),
            Event::SourceEnded { task } => {
                self.ended_sources.insert(task);
                Ok(None)
            }
            Event::OperatorDone { node } => {
                self.on_done(node);
                Ok(None)
            }
            Event::CheckpointWanted { task } => {
                // The barrier that is already on its way to this task will do.
                let on_its_way = self.running.as_ref().is_some_and(|running| running.waiting.contains(&task));
                self.schedule.wanted |= !on_its_way;
                Ok(None)
            }
            Event::Snapshot { task, epoch, snapshot } => self.on_snapshot(task, epoch, snapshot),
        }
    }

    /// Sources whose rows can reach no sink any more come to their end.
    fn on_done(&mut self, node: usize) {
        for source in self.done.add(node, &self.plan.graph, self.plan.options.parallelism) {
            self.tasks.end_source(source);
        }
    }

    fn on_snapshot(&mut self, task: TaskId, epoch: Epoch, snapshot: TaskSnapshot) -> Result<Option<AttemptEnd>> {
        let running = self.running.as_mut().expect("a snapshot belongs to the checkpoint under way");
        assert_eq!(running.barrier.epoch, epoch, "one checkpoint at a time");
        assert!(running.waiting.remove(&task), "a task takes one snapshot per barrier");
        running.snapshots.push(snapshot);
        if !running.waiting.is_empty() {
            return Ok(None);
        }
        let running = self.running.take().expect("it was there just before");
        let (kind, finished) = (running.barrier.kind, running.finished);
        self.complete(running)?;
        match kind {
            BarrierKind::Stop if finished => {
                self.publishers.finish()?;
                Ok(Some(if self.done.cut_short() { AttemptEnd::Satisfied } else { AttemptEnd::Finished }))
            }
            BarrierKind::Stop => Ok(Some(AttemptEnd::Stopped)),
            _ if self.plan.options.crash_after_checkpoint => Ok(Some(AttemptEnd::CrashedOnPurpose)),
            _ => Ok(None),
        }
    }

    /// Makes the checkpoint durable, and only then its output visible.
    fn complete(&mut self, running: Running) -> Result<()> {
        let epoch = running.barrier.epoch;
        let now = self.plan.options.clock.now();
        let (manifest, pending) = draft(&self.plan, epoch, running.finished, running.snapshots, now);
        let snapshots = pending.into_iter().map(PendingSnapshot::finish).collect::<Result<Vec<_>>>()?;
        failpoint::reach("checkpoint.taken")?;
        let written = self.plan.store.write(manifest, &snapshots)?;
        failpoint::reach("checkpoint.durable")?;
        let durable_at = Instant::now();
        self.publishers.commit(epoch, &written.checkpoint.manifest.sinks)?;
        let commit = durable_at.elapsed();
        failpoint::reach("checkpoint.committed")?;
        self.plan.monitor.checkpoint_completed(&written.checkpoint.manifest, written.total_bytes, commit);
        self.schedule.last_completed = Some(Instant::now());
        self.tasks.release();
        tracing::debug!(epoch = epoch.0, new_bytes = written.new_bytes, "checkpoint completed");
        self.tell_sources(&written.checkpoint.manifest, running.barrier.kind == BarrierKind::Stop);
        for (target, reply) in running.savepoints {
            // A folder that cannot be written to is the asker's concern: the job goes on.
            let _ = reply.send(self.plan.store.savepoint(&written.checkpoint, &target));
        }
        for reply in running.checkpoints {
            let _ = reply.send(Ok(epoch));
        }
        self.retain(&written.checkpoint);
        Ok(())
    }

    fn tell_sources(&self, manifest: &Manifest, last: bool) {
        for node in self.plan.graph.nodes() {
            let NodeKind::Source(spec) = &node.kind else { continue };
            let states = manifest.sources.iter().filter(|state| state.uid == node.uid);
            let splits = states.flat_map(|state| &state.splits);
            let positions = splits.filter_map(|split| Some((&split.split, split.position.as_ref()?)));
            spec.source.completed(&positions.collect::<Vec<_>>(), last);
        }
    }

    /// A checkpoint that cannot be deleted costs space, not correctness: it is tried again after the next one.
    fn retain(&self, newest: &Checkpoint) {
        if let Err(error) = self.plan.store.retain(self.plan.options.retained_checkpoints) {
            tracing::warn!(epoch = newest.manifest.epoch.0, %error, "old checkpoints could not be deleted");
            self.plan.monitor.note(format!("old checkpoints could not be deleted: {error}"));
        }
    }
}

impl Running {
    /// How long it may take, after those times that were tolerated.
    fn patience(&self, timeout: Duration) -> Duration {
        timeout.saturating_mul(self.timeouts.saturating_add(1))
    }
}

impl Schedule {
    /// When the next periodic checkpoint is due, unless one is asked for.
    fn next_due(&self, interval: Option<Duration>, min_pause: Duration) -> Option<Instant> {
        let periodic = self.last_started?.checked_add(interval?)?;
        let rested = self.last_completed.map_or(Some(periodic), |completed| completed.checked_add(min_pause))?;
        Some(periodic.max(rested))
    }

    fn due(
        &self,
        input_ended: bool,
        interval: Option<Duration>,
        min_pause: Duration,
        now: Instant,
    ) -> Option<BarrierKind> {
        if self.stop || input_ended {
            return Some(BarrierKind::Stop);
        }
        if !self.savepoints.is_empty() {
            return Some(BarrierKind::Savepoint);
        }
        let since = |then: Option<Instant>| then.map_or(Duration::MAX, |then| now.saturating_duration_since(then));
        let periodic = interval.is_some_and(|interval| since(self.last_started) >= interval);
        let rested = since(self.last_completed) >= min_pause;
        (self.wanted || !self.checkpoints.is_empty() || (periodic && rested)).then_some(BarrierKind::Checkpoint)
    }
}

/// The first error that is not the echo of another task's end.
fn root_cause(first: EngineError, others: Vec<EngineError>) -> EngineError {
    let is_cause = |error: &EngineError| !matches!(error, EngineError::Cancelled);
    if is_cause(&first) {
        return first;
    }
    others.into_iter().find(is_cause).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_when_asked_for_or_when_its_time_has_come() {
        let start = Instant::now();
        let interval = Some(Duration::from_secs(10));
        let at = |seconds| start + Duration::from_secs(seconds);
        let schedule = || Schedule { last_started: Some(start), ..Schedule::default() };
        let due =
            |schedule: &Schedule, ended, seconds| schedule.due(ended, interval, Duration::from_secs(5), at(seconds));
        assert_eq!(due(&schedule(), false, 9), None);
        assert_eq!(due(&schedule(), false, 10), Some(BarrierKind::Checkpoint));
        assert_eq!(due(&schedule(), true, 1), Some(BarrierKind::Stop));
        assert_eq!(due(&Schedule { wanted: true, ..schedule() }, false, 1), Some(BarrierKind::Checkpoint));
        assert_eq!(due(&Schedule { stop: true, ..schedule() }, false, 1), Some(BarrierKind::Stop));
        let slow = Schedule { last_completed: Some(at(8)), ..schedule() };
        assert_eq!(due(&slow, false, 12), None, "it rests between two checkpoints");
        assert_eq!(due(&slow, false, 13), Some(BarrierKind::Checkpoint));
        let next_due = |schedule: &Schedule, interval| schedule.next_due(interval, Duration::from_secs(5));
        assert_eq!(next_due(&schedule(), interval), Some(at(10)));
        assert_eq!(next_due(&slow, interval), Some(at(13)));
        assert_eq!(next_due(&slow, None), None, "there are none but those that are asked for");
        assert_eq!(next_due(&slow, Some(Duration::MAX)), None, "never");
    }
}
