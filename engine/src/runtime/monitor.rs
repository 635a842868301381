//! The live figures of a job, written by its threads and read by whoever shows its status.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::layout::Layout;
use super::probe::NodeProbe;
use super::status::{
    CheckpointStatus, EventTimeStatus, IdleSplit, JobState, JobStatus, JobSummary, Outcome, WatermarkHolder,
};
use crate::Epoch;
use crate::checkpoint::Manifest;
use crate::graph::{JobGraph, Node};
use crate::metrics::Counts;
use crate::time::{EventTime, ProcessingTime};

/// Notes kept; a job that restarts for months must not fill memory with them.
const NOTES_MAX: usize = 100;

pub struct Monitor {
    job_name: String,
    parallelism: usize,
    started: Instant,
    pub nodes: Vec<NodeProbe>,
    live: Mutex<Live>,
    changed: Condvar,
}

struct Live {
    /// Goes up when something has changed that somebody may wait for.
    changes: u64,
    state: JobState,
    job_id: String,
    epoch: Epoch,
    checkpoints: u64,
    records_covered: u64,
    last_checkpoint: Option<CompletedCheckpoint>,
    running_since: Option<Instant>,
    attempts: u32,
    restarts: u64,
    last_error: Option<String>,
    /// Since no attempt has come to a checkpoint because the outside world could not be reached.
    unreachable_since: Option<ProcessingTime>,
    notes: Vec<String>,
    /// What holds time back at each source node and subtask.
    sources: BTreeMap<(usize, usize), SourceTime>,
}

/// What a source subtask says of event time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SplitTimes {
    /// The split that holds time back, and where.
    pub holder: Option<(String, EventTime)>,
    /// Splits that time goes on without.
    pub idle: Vec<String>,
}

struct SourceTime {
    times: SplitTimes,
    /// When the holder was first seen where it is.
    held_since: Instant,
}

struct CompletedCheckpoint {
    at: Instant,
    duration: Duration,
    commit: Duration,
    bytes: u64,
}

impl Monitor {
    pub fn new(graph: &JobGraph, layout: &Layout, job_name: &str, parallelism: usize) -> Self {
        let stage = |node: &Node| graph.node(layout.head_of(node.id)).name.as_str();
        let live = Live {
            changes: 1,
            state: JobState::Starting,
            job_id: String::new(),
            epoch: Epoch::ZERO,
            checkpoints: 0,
            records_covered: 0,
            last_checkpoint: None,
            running_since: None,
            attempts: 0,
            restarts: 0,
            last_error: None,
            unreachable_since: None,
            notes: Vec::new(),
            sources: BTreeMap::new(),
        };
        Self {
            job_name: job_name.to_string(),
            parallelism,
            started: Instant::now(),
            nodes: graph.nodes().iter().map(|node| NodeProbe::of(node, stage(node), parallelism)).collect(),
            live: Mutex::new(live),
            changed: Condvar::new(),
        }
    }

    pub fn set_state(&self, state: JobState) {
        self.live.lock().state = state;
        self.tell_change();
    }

    /// Wakes those who wait for a change.
    pub fn tell_change(&self) {
        self.live.lock().changes += 1;
        self.changed.notify_all();
    }

    /// See [`super::JobHandle::wait_for_change`].
    pub fn wait_for_change(&self, seen: u64) -> u64 {
        let mut live = self.live.lock();
        while live.changes == seen {
            self.changed.wait(&mut live);
        }
        live.changes
    }

    /// An attempt goes on from this checkpoint (`None`: the empty one): what the tasks of an earlier one last said
    /// no longer holds.
    pub fn attempt_starts(&self, job_id: &str, restored: Option<&Manifest>) {
        let mut live = self.live.lock();
        live.state = JobState::Starting;
        live.job_id = job_id.to_string();
        live.epoch = restored.map_or(Epoch::ZERO, |manifest| manifest.epoch);
        live.records_covered = restored.map_or(0, Manifest::records_read);
        live.sources.clear();
        for node in &self.nodes {
            let counted = restored.and_then(|manifest| manifest.counts.iter().find(|one| one.uid == node.uid));
            node.restart(counted.map_or_else(Counts::default, |one| one.counts));
        }
        drop(live);
        self.tell_change();
    }

    /// Back-off `attempt` begins because of `error`; `None`: a restart that is no failure.
    pub fn restarting(&self, attempt: u32, error: Option<String>) {
        let mut live = self.live.lock();
        live.state = JobState::Restarting;
        live.attempts = attempt;
        live.restarts += u64::from(error.is_some());
        live.running_since = None;
        live.last_error = error.or(live.last_error.take());
        drop(live);
        self.tell_change();
    }

    /// The last attempt failed; `outage`: because the outside world could not be reached, as was first seen at `now`.
    pub fn outage(&self, outage: bool, now: ProcessingTime) {
        let mut live = self.live.lock();
        live.unreachable_since = outage.then(|| live.unreachable_since.unwrap_or(now));
    }

    pub fn failed(&self, error: String) {
        let mut live = self.live.lock();
        live.state = JobState::Failed;
        live.last_error = Some(error);
        drop(live);
        self.tell_change();
    }

    pub fn note(&self, note: String) {
        let mut live = self.live.lock();
        if live.notes.len() < NOTES_MAX && !live.notes.contains(&note) {
            live.notes.push(note);
            drop(live);
            self.tell_change();
        }
    }

    pub fn checkpoint_starts(&self) {
        self.live.lock().running_since = Some(Instant::now());
    }

    /// `commit`: how long it took to make the output visible.
    pub fn checkpoint_completed(&self, manifest: &Manifest, bytes: u64, commit: Duration) {
        let epoch = manifest.epoch;
        let mut live = self.live.lock();
        let at = Instant::now();
        let duration = live.running_since.take().map_or(Duration::ZERO, |since| at - since);
        assert!(epoch > live.epoch, "I5: epoch {epoch} comes after {}", live.epoch);
        live.epoch = epoch;
        live.unreachable_since = None;
        live.checkpoints += 1;
        live.records_covered = manifest.records_read();
        live.last_checkpoint = Some(CompletedCheckpoint { at, duration, commit, bytes });
        drop(live);
        self.tell_change();
    }

    /// Completed in this run.
    pub fn checkpoints(&self) -> u64 {
        self.live.lock().checkpoints
    }

    /// Records of the input that the last completed checkpoint covers, those of earlier runs included.
    pub fn records_covered(&self) -> u64 {
        self.live.lock().records_covered
    }

    /// `None` once the subtask has ended.
    pub fn set_split_times(&self, node: usize, subtask: usize, times: Option<SplitTimes>) {
        let mut live = self.live.lock();
        let place = (node, subtask);
        let Some(times) = times else {
            live.sources.remove(&place);
            return;
        };
        let before = live.sources.get(&place).filter(|before| before.times.holder == times.holder);
        let held_since = before.map_or_else(Instant::now, |before| before.held_since);
        live.sources.insert(place, SourceTime { times, held_since });
    }

    fn event_time(&self, live: &Live) -> EventTimeStatus {
        let name = |node: usize| self.nodes[node].name.clone();
        let holders = live.sources.iter().filter_map(|((node, _), source)| {
            let (split, watermark) = source.times.holder.clone()?;
            let since = source.held_since.elapsed();
            Some(WatermarkHolder { source: name(*node), split, watermark, since })
        });
        let idle = live.sources.iter().flat_map(|((node, _), source)| {
            source.times.idle.iter().map(|split| IdleSplit { source: name(*node), split: split.clone() })
        });
        let mut idle: Vec<IdleSplit> = idle.collect();
        idle.sort_unstable();
        EventTimeStatus { holder: holders.min_by_key(|holder| holder.watermark), idle }
    }

    pub fn status(&self) -> JobStatus {
        let live = self.live.lock();
        let last = live.last_checkpoint.as_ref();
        JobStatus {
            state: live.state,
            job_name: self.job_name.clone(),
            job_id: live.job_id.clone(),
            parallelism: self.parallelism,
            uptime: self.started.elapsed(),
            epoch: live.epoch,
            checkpoint: CheckpointStatus {
                completed: live.checkpoints,
                last_age: last.map(|last| last.at.elapsed()),
                last_duration: last.map(|last| last.duration),
                last_commit: last.map(|last| last.commit),
                last_bytes: last.map(|last| last.bytes),
                running_for: live.running_since.map(|since| since.elapsed()),
            },
            nodes: self.nodes.iter().map(NodeProbe::status).collect(),
            attempts: live.attempts,
            restarts: live.restarts,
            last_error: live.last_error.clone(),
            unreachable_since: live.unreachable_since.filter(|_| live.state != JobState::Running),
            notes: live.notes.clone(),
            event_time: self.event_time(&live),
        }
    }

    pub fn summary(&self, outcome: Outcome) -> JobSummary {
        let live = self.live.lock();
        JobSummary {
            outcome,
            job_id: live.job_id.clone(),
            epoch: live.epoch,
            uptime: self.started.elapsed(),
            checkpoints: live.checkpoints,
            restarts: live.restarts,
            nodes: self.nodes.iter().map(NodeProbe::status).collect(),
            notes: live.notes.clone(),
            event_time: self.event_time(&live),
        }
    }
}
