//! Holds all jobs of a server: starts those that are to run, records how they end, and lets none hurt another.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use tidemill_engine::EngineError;
use tidemill_engine::checkpoint::CheckpointStore;
use tidemill_engine::runtime::{JobState, JobStatus, JobSummary, Outcome};

use super::decide::{self, AtStart, Phase};
use super::inlets::Inlets;
use super::logbook::{Level, LogEntry, Logbook};
use super::plan::{PlanRequest, Planner, shown_sql};
use super::record::{Desired, Ended, JobRecord, now_ms};
use super::refusal::Refusal;
use super::run::{Event, Run};
use super::savepoints::{SAVEPOINTS_FOLDER, STATE_FOLDER};
use super::store::JobStore;
use crate::options::job_options;
use crate::telemetry::{JobTrace, Tracer};

/// Begins the name of a deleted job's folder until it is gone.
const DELETED_PREFIX: &str = ".deleted-";

/// What the jobs of a server may take together.
#[derive(Debug, Clone)]
pub struct Limits {
    pub jobs_max: usize,
    pub running_max: usize,
    /// Of the memory budgets of all running jobs.
    pub memory_bytes_max: Option<u64>,
    /// How long an answer waits for the end of a job, and the server's own end for all of them.
    pub stop_timeout: Duration,
}

pub struct Supervisor {
    pub(super) store: Arc<JobStore>,
    pub planner: Planner,
    /// Holds a folder per job.
    folder: PathBuf,
    pub(super) limits: Limits,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    pub(super) inlets: Arc<Inlets>,
    /// Held while a job is admitted, so that two cannot take the last place.
    admission: Mutex<()>,
    closing: AtomicBool,
    ready: AtomicBool,
    tracer: Tracer,
}

/// A job's place in this process.
pub(super) struct Slot {
    pub id: String,
    pub folder: PathBuf,
    pub logbook: Logbook,
    /// The current run, or the last one.
    pub run: Mutex<Option<Arc<Run>>>,
    /// Held by the request that is changing the job.
    pub acting: Mutex<()>,
}

/// A job as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct JobView {
    pub id: String,
    pub name: String,
    pub phase: Phase,
    pub desired: Desired,
    pub parallelism: Option<usize>,
    pub settings: BTreeMap<String, String>,
    pub version: u64,
    pub created_ms: i64,
    pub changed_ms: i64,
    pub last_savepoint: Option<String>,
    pub last_error: Option<String>,
    /// Of the current run.
    pub uptime_ms: Option<u64>,
    /// The last completed checkpoint.
    pub epoch: Option<u64>,
    pub restarts: u64,
    pub sql: String,
}

impl Slot {
    pub fn run(&self) -> Option<Arc<Run>> {
        self.run.lock().clone()
    }

    /// The run that is not over.
    pub fn live_run(&self) -> Option<Arc<Run>> {
        self.run().filter(|run| !run.is_settled())
    }
}

impl Supervisor {
    /// `folder`: of all jobs. Starts nothing.
    pub fn new(
        store: Arc<JobStore>,
        planner: Planner,
        folder: PathBuf,
        limits: Limits,
        tracer: Tracer,
    ) -> std::io::Result<Self> {
        clear_deleted(&store, &folder)?;
        let (slots, inlets) = (Mutex::default(), Arc::default());
        let (closing, ready) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { store, planner, folder, limits, slots, inlets, admission: Mutex::default(), closing, ready, tracer })
    }

    /// Goes on with every job that is to run. One that cannot start is recorded as failed, and the others go on.
    pub fn resume_all(self: &Arc<Self>) -> Result<(), Refusal> {
        for job in self.store.list()? {
            if decide::at_start(&job) == AtStart::Leave {
                continue;
            }
            let slot = self.slot(&job.id);
            slot.logbook.add(Level::State, "going on after a start of the server");
            let _acting = slot.acting.lock();
            let started = catch_unwind(AssertUnwindSafe(|| self.start_run(&slot, &job)))
                .unwrap_or_else(|_| Err(Refusal::Engine("planning the job panicked".into())));
            if let Err(refusal) = started {
                self.record_failure(&slot, &describe(&refusal), false);
            }
        }
        self.ready.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Every job that was to go on has been started.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst) && !self.is_closing()
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Takes a final checkpoint of all jobs, together; those that do not end in time are cut off, and their last
    /// checkpoints stand. They stay jobs that are to run. Gives the names of those that were cut off.
    pub fn stop_all(&self) -> Vec<String> {
        self.closing.store(true, Ordering::SeqCst);
        // A job that was being admitted is in its slot when this is free.
        drop(self.admission.lock());
        let slots: Vec<Arc<Slot>> = self.slots.lock().values().cloned().collect();
        let live: Vec<_> = slots.into_iter().filter_map(|slot| slot.live_run().map(|run| (slot, run))).collect();
        for (_, run) in &live {
            run.set_stopping();
            run.handle.stop();
        }
        let deadline = Instant::now() + self.limits.stop_timeout;
        let mut cut_off = Vec::new();
        for (slot, run) in &live {
            if !run.wait_settled(deadline.saturating_duration_since(Instant::now())) {
                run.handle.cancel();
                cut_off.push(self.store.get(&slot.id).map_or_else(|_| slot.id.clone(), |job| job.name));
            }
        }
        cut_off
    }

    /// A job by its id or its name.
    pub fn find(&self, id_or_name: &str) -> Result<JobRecord, Refusal> {
        let id = self.store.id_of(id_or_name)?.unwrap_or_else(|| id_or_name.to_string());
        match self.store.get(&id) {
            Err(Refusal::NotFound { .. }) => Err(self.no_such_job(id_or_name)),
            found => found,
        }
    }

    fn no_such_job(&self, name: &str) -> Refusal {
        let all = self.store.list().unwrap_or_default();
        let close = tidemill_engine::suggestion::closest(name, all.iter().map(|job| job.name.as_str()));
        let hint = close.map(|close| format!("did you mean '{close}'?"));
        Refusal::NotFound { what: "job", name: name.to_string(), hint }
    }

    pub fn list(&self) -> Result<Vec<JobView>, Refusal> {
        Ok(self.store.list()?.into_iter().map(|job| self.view_of(job)).collect())
    }

    pub fn view(&self, id_or_name: &str) -> Result<JobView, Refusal> {
        Ok(self.view_of(self.find(id_or_name)?))
    }

    pub(super) fn view_of(&self, job: JobRecord) -> JobView {
        let run = self.slot(&job.id).run();
        let status = run.as_ref().map(|run| run.status());
        let live = run.as_ref().is_some_and(|run| !run.is_settled());
        let of_run = status.as_ref().filter(|_| live);
        let of_failure = status.as_ref().filter(|_| live || failed_untold(&job, status.as_ref()));
        let error = of_failure.and_then(|status| status.last_error.clone()).or(job.last_error.clone());
        JobView {
            phase: self.phase(&job),
            sql: shown_sql(&job.sql),
            uptime_ms: of_run.map(|status| status.uptime.as_millis() as u64),
            epoch: status.as_ref().map(|status| status.epoch.0),
            restarts: status.as_ref().map_or(0, |status| status.restarts),
            last_error: error.map(|error| self.planner.redactor().hide(&error)),
            id: job.id,
            name: job.name,
            desired: job.desired,
            parallelism: job.parallelism,
            settings: job.settings,
            version: job.version,
            created_ms: job.created_ms,
            changed_ms: job.changed_ms,
            last_savepoint: job.last_savepoint,
        }
    }

    pub fn phase(&self, job: &JobRecord) -> Phase {
        match self.slot(&job.id).live_run() {
            Some(run) => decide::phase_live(run.status().state, run.is_stopping()),
            None if failed_untold(job, self.status(job).as_ref()) => Phase::Failed,
            None => decide::phase_at_rest(job),
        }
    }

    /// What the engine says of the current run, or said of the last one in this process.
    pub fn status(&self, job: &JobRecord) -> Option<JobStatus> {
        self.slot(&job.id).run().map(|run| run.status())
    }

    /// As [`Self::status`], by id.
    pub fn status_of(&self, id: &str) -> Option<JobStatus> {
        self.slot(id).run().map(|run| run.status())
    }

    pub fn logs(&self, job: &JobRecord, after: u64, count: usize) -> Vec<LogEntry> {
        self.slot(&job.id).logbook.read(after, count)
    }

    pub fn job_folder(&self, id: &str) -> PathBuf {
        self.folder.join(id)
    }

    pub fn store(&self) -> &JobStore {
        &self.store
    }

    pub(super) fn slot(&self, id: &str) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        let slot = slots.entry(id.to_string()).or_insert_with(|| {
            let logbook = Logbook::new(self.planner.redactor().clone());
            let (run, acting) = (Mutex::default(), Mutex::default());
            Arc::new(Slot { id: id.to_string(), folder: self.folder.join(id), logbook, run, acting })
        });
        Arc::clone(slot)
    }

    /// Takes a deleted job's folder away; what a crash leaves of it goes at the next start.
    pub(super) fn forget(&self, id: &str) -> Result<(), Refusal> {
        self.slots.lock().remove(id);
        self.inlets.close(id);
        remove_whole(&self.job_folder(id))?;
        self.store.folder_is_gone(id)
    }

    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Plans the job and starts its threads. `acting` of the slot is held.
    pub(super) fn start_run(self: &Arc<Self>, slot: &Arc<Slot>, job: &JobRecord) -> Result<(), Refusal> {
        let redactor = self.planner.redactor().clone();
        let trace = JobTrace::begin(&self.tracer, &slot.id, &job.name, move |text| redactor.hide(text));
        let started = self.start_traced(slot, job, &trace);
        started.inspect_err(|refusal| trace.refused(&describe(refusal)))
    }

    fn start_traced(self: &Arc<Self>, slot: &Arc<Slot>, job: &JobRecord, trace: &Arc<JobTrace>) -> Result<(), Refusal> {
        let planning = trace.step("job plan");
        let request =
            PlanRequest { sql: job.sql.clone(), settings: job.settings.clone(), parallelism: job.parallelism };
        let inboxes = self.inlets.of_job(&slot.id, &slot.folder);
        let planned = self.planner.plan_job(&request, slot.logbook.rows(), inboxes.clone())?;
        drop(planning);
        self.inlets.learn(job, inboxes.tables());
        let state_dir = slot.folder.join(STATE_FOLDER);
        let mut options = job_options(&job.name, &planned.settings, state_dir.clone());
        options.parallelism = job.parallelism.unwrap_or(options.parallelism);
        options.restore = decide::restore(job.restore.as_ref(), attempts(&state_dir)?);
        let _admission = self.admission.lock();
        self.admit(&slot.id, options.memory_budget_bytes as u64)?;
        if self.store.get(&slot.id)?.desired == Desired::Stopped {
            return Err(Refusal::Engine("the job was cancelled before it had started".into()));
        }
        let (supervisor, id) = (Arc::downgrade(self), slot.id.clone());
        trace.started(options.parallelism);
        let of_run = Arc::clone(trace);
        let tell = move |event: Event<'_>| {
            match &event {
                Event::Began => {}
                Event::Failed(error) => of_run.restarts(error),
                Event::Checkpoint(status, unseen) => of_run.checkpoint(status, *unseen),
                Event::Ended(outcome) => of_run.ended(outcome),
            }
            let Some(supervisor) = supervisor.upgrade() else { return };
            if let Err(refusal) = supervisor.record(&id, &event) {
                tracing::error!(job = id, %refusal, "what happened to a job could not be stored");
            }
        };
        let run = Run::start(Arc::new(planned.planned.graph), options, slot.logbook.clone(), tell)?;
        *slot.run.lock() = Some(Arc::new(run));
        Ok(())
    }

    fn admit(&self, id: &str, budget_bytes: u64) -> Result<(), Refusal> {
        if self.is_closing() {
            return Err(Refusal::Limit("the server is about to end".into()));
        }
        let slots: Vec<Arc<Slot>> = self.slots.lock().values().cloned().collect();
        let live: Vec<_> = slots.iter().filter(|slot| slot.id != id).filter_map(|slot| slot.live_run()).collect();
        if live.len() >= self.limits.running_max {
            return Err(Refusal::Limit(format!(
                "{} jobs run already, as many as this server may have",
                self.limits.running_max
            )));
        }
        let taken: u64 = live.iter().map(|run| run.budget_bytes).sum();
        match self.limits.memory_bytes_max {
            Some(max) if taken + budget_bytes > max => Err(Refusal::Limit(format!(
                "the job's memory budget of {budget_bytes} bytes is more than what is left: {taken} of {max} bytes are \
                 taken ('tidemill.memory.budget' makes it smaller)"
            ))),
            _ => Ok(()),
        }
    }

    fn record(&self, id: &str, event: &Event<'_>) -> Result<(), Refusal> {
        match event {
            Event::Began => {
                if self.store.get(id)?.restore.is_some() {
                    self.store.update(id, |job| job.restore = None)?;
                }
            }
            Event::Failed(_) | Event::Checkpoint(..) => {}
            Event::Ended(outcome) => {
                let (ended, error) = self.ending(outcome);
                if error.is_some() || ended.is_some() {
                    self.store.update(id, |job| {
                        job.ended = ended;
                        job.last_error = error;
                        job.changed_ms = now_ms();
                    })?;
                }
            }
        }
        Ok(())
    }

    fn ending(&self, outcome: &tidemill_engine::Result<JobSummary>) -> (Option<Ended>, Option<String>) {
        match outcome {
            Ok(summary) => match summary.outcome {
                Outcome::Finished | Outcome::Satisfied | Outcome::AlreadyComplete => (Some(Ended::Finished), None),
                Outcome::Stopped | Outcome::Cancelled => (None, None),
            },
            Err(EngineError::Cancelled) => (None, None),
            Err(error) => {
                let lasting = decide::is_lasting(error);
                (Some(Ended::Failed { lasting }), Some(self.planner.redactor().hide(&error.to_string())))
            }
        }
    }

    pub(super) fn record_failure(&self, slot: &Slot, text: &str, lasting: bool) {
        let text = self.planner.redactor().hide(text);
        slot.logbook.add(Level::Error, &text);
        let recorded = self.store.update(&slot.id, |job| {
            job.ended = Some(Ended::Failed { lasting });
            job.last_error = Some(text);
            job.changed_ms = now_ms();
        });
        if let Err(refusal) = recorded {
            tracing::error!(job = slot.id, %refusal, "a failure could not be stored");
        }
    }
}

/// Removes what a crash left of deleted jobs and savepoints, and of jobs whose making it cut off.
fn clear_deleted(store: &JobStore, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let as_io = |refusal: Refusal| std::io::Error::other(refusal.to_string());
    for id in store.deleted().map_err(as_io)? {
        remove_whole(&folder.join(&id)).map_err(as_io)?;
        store.folder_is_gone(&id).map_err(as_io)?;
    }
    for entry in std::fs::read_dir(folder)?.flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        if name.starts_with(DELETED_PREFIX) {
            std::fs::remove_dir_all(entry.path())?;
        } else if matches!(store.get(&name), Err(Refusal::NotFound { .. })) {
            // Only an empty one: a folder with state belongs to a job that another store knows.
            let _ = std::fs::remove_dir(entry.path());
        }
        let savepoints = std::fs::read_dir(entry.path().join(SAVEPOINTS_FOLDER)).into_iter().flatten().flatten();
        for left in savepoints.filter(|one| one.file_name().as_encoded_bytes().starts_with(DELETED_PREFIX.as_bytes())) {
            std::fs::remove_dir_all(left.path())?;
        }
    }
    Ok(())
}

/// Takes a folder away so that after a crash it is there whole or not at all.
pub(super) fn remove_whole(folder: &Path) -> Result<(), Refusal> {
    if !folder.exists() {
        return Ok(());
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let deleted = folder.with_file_name(format!("{DELETED_PREFIX}{name}"));
    let removed = std::fs::rename(folder, &deleted).and_then(|()| std::fs::remove_dir_all(&deleted));
    removed.map_err(|error| Refusal::Engine(format!("cannot remove {}: {error}", folder.display())))
}

/// The last run failed, and that could not be stored (a full disk).
fn failed_untold(job: &JobRecord, status: Option<&JobStatus>) -> bool {
    let is_told = job.ended.is_some() || job.desired == Desired::Stopped;
    !is_told && status.is_some_and(|status| status.state == JobState::Failed)
}

/// A refusal in one text, with what is wrong in the SQL.
pub(super) fn describe(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Sql(findings) => findings.iter().map(|finding| finding.text.as_str()).collect::<Vec<_>>().join("\n"),
        Refusal::Wrong { message, hint: Some(hint) } => format!("{message}\n  hint: {hint}"),
        Refusal::StateMismatch { reasons } => format!("{refusal}:\n  {}", reasons.join("\n  ")),
        other => other.to_string(),
    }
}

pub(super) fn attempts(state_dir: &Path) -> Result<u64, Refusal> {
    CheckpointStore::attempts(state_dir).map_err(Refusal::from)
}
