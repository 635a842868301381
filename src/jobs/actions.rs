//! What can be done to a job: made, started, stopped, cancelled, restarted, rescaled, saved, deleted.
//!
//! Requests that change a job exclude each other. Cancelling does not wait for any of them, and a savepoint, which may
//! take long, holds none of them up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::MutexGuard;

use super::decide::{Action, AtStart, Phase, at_start, is_allowed};
use super::inlets::NoInboxes;
use super::logbook::Level;
use super::plan::PlanRequest;
use super::record::{Desired, JobRecord, PendingRestore, now_ms};
use super::refusal::Refusal;
use super::run::Run;
use super::savepoints::{
    self, CheckpointInfo, SAVEPOINTS_FOLDER, STATE_FOLDER, SavepointInfo, check_name, newest_manifest, read_manifest,
};
use super::supervisor::{JobView, Slot, Supervisor, attempts, remove_whole};

/// Key groups are fixed at the first checkpoint; before it, the engine's own maximum is the bound.
const PARALLELISM_MAX: usize = 128;
/// How long a request waits for another one that is changing the same job.
const BUSY_PATIENCE: Duration = Duration::from_secs(3);
/// How often whoever waits for a job's end looks whether the server ends.
const FOLLOW_LOOK: Duration = Duration::from_millis(500);
/// Cancelling waits for threads, and for nothing else.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Default)]
pub struct NewJob {
    pub name: String,
    pub sql: String,
    pub settings: BTreeMap<String, String>,
    pub parallelism: Option<usize>,
    pub start: bool,
    pub from: Option<StartFrom>,
}

/// Where a start takes its state from, where that is not the last checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartFrom {
    /// `name` of this job, or `job/name`.
    Savepoint(String),
    Nothing,
}

impl Supervisor {
    /// Adds a job, and starts it if asked. It is there when this returns `Ok`, and not otherwise.
    pub fn create(self: &Arc<Self>, new: NewJob) -> Result<JobView, Refusal> {
        check_name("job", &new.name)?;
        if uuid::Uuid::parse_str(&new.name).is_ok() {
            return Err(Refusal::wrong("a job's name cannot look like an id"));
        }
        check_parallelism(new.parallelism)?;
        if self.store.list()?.len() >= self.limits.jobs_max {
            return Err(Refusal::Limit(format!("there are {} jobs already", self.limits.jobs_max)));
        }
        let job = record_of(&new);
        let slot = self.slot(&job.id);
        let request = PlanRequest { sql: new.sql, settings: new.settings, parallelism: new.parallelism };
        let planned = self.planner.plan_job(&request, slot.logbook.rows(), Arc::new(NoInboxes));
        let made = planned.and_then(|_| {
            let _acting = act(&slot)?;
            std::fs::create_dir_all(&slot.folder)
                .map_err(|error| Refusal::Engine(format!("cannot create {}: {error}", slot.folder.display())))?;
            let mut job = job.clone();
            job.restore = self.pending(&slot, new.from.as_ref())?;
            self.store.insert(&job)?;
            self.inlets.changed();
            if !new.start {
                return Ok(job);
            }
            let started = self.start_run(&slot, &job);
            started.map(|()| job).inspect_err(|_| drop(self.store.delete(&slot.id)))
        });
        match made {
            Ok(job) => Ok(self.view_of(job)),
            Err(refusal) => {
                // What stays of it goes at the next start.
                let _ = self.forget(&slot.id);
                Err(refusal)
            }
        }
    }

    pub fn start(self: &Arc<Self>, name: &str, from: Option<StartFrom>) -> Result<JobView, Refusal> {
        let action = if from.is_some() { Action::StartFrom } else { Action::Start };
        let slot = self.slot(&self.find(name)?.id);
        let _acting = act(&slot)?;
        self.require(&slot, action)?;
        let pending = self.pending(&slot, from.as_ref())?;
        let job = self.store.update(&slot.id, |job| {
            wanted(job, Desired::Running);
            job.restore = pending.or(job.restore.take());
        })?;
        self.start_or_record(&slot, &job)?;
        self.view(&slot.id)
    }

    /// Ends the job with a final checkpoint; with a savepoint if one is named.
    pub fn stop(self: &Arc<Self>, name: &str, savepoint: Option<Option<String>>) -> Result<JobView, Refusal> {
        let slot = self.slot(&self.find(name)?.id);
        let _acting = act(&slot)?;
        let action = if savepoint.is_some() { Action::Savepoint } else { Action::Stop };
        self.require(&slot, action)?;
        let target = savepoint.map(|name| self.new_savepoint(&slot, name)).transpose()?;
        self.store.update(&slot.id, job_stopped)?;
        if let Some(run) = slot.live_run() {
            self.stop_run(&slot, &run, target)?;
        }
        self.view(&slot.id)
    }

    /// Ends the job at once; what came after its last checkpoint is read again at its next start.
    pub fn cancel(&self, name: &str) -> Result<JobView, Refusal> {
        let slot = self.slot(&self.find(name)?.id);
        self.require(&slot, Action::Cancel)?;
        self.store.update(&slot.id, job_stopped)?;
        if let Some(run) = slot.live_run() {
            run.set_stopping();
            run.handle.cancel();
            if !run.wait_settled(CANCEL_TIMEOUT) {
                return Err(Refusal::TakesLonger("the job was cancelled; its threads have not ended yet".into()));
            }
        }
        self.view(&slot.id)
    }

    pub fn restart(self: &Arc<Self>, name: &str) -> Result<JobView, Refusal> {
        self.stop_and_start(name, Action::Restart, |_| ())
    }

    /// Another parallelism; the job goes on from a final checkpoint. A job at rest is only told.
    pub fn rescale(self: &Arc<Self>, name: &str, parallelism: usize) -> Result<JobView, Refusal> {
        check_parallelism(Some(parallelism))?;
        let job = self.find(name)?;
        let max = newest_manifest(&self.job_folder(&job.id)).map(|manifest| usize::from(manifest.max_parallelism));
        if let Some(max) = max.filter(|max| parallelism > *max) {
            return Err(Refusal::wrong(format!(
                "parallelism {parallelism} is more than the {max} key groups of the state"
            )));
        }
        if !self.phase(&job).is_live() {
            let slot = self.slot(&job.id);
            let _acting = act(&slot)?;
            self.require(&slot, Action::Rescale)?;
            self.store.update(&slot.id, |job| job.parallelism = Some(parallelism))?;
            return self.view(&slot.id);
        }
        self.stop_and_start(name, Action::Rescale, |job| job.parallelism = Some(parallelism))
    }

    /// Between stop and start the job stays one that is to run: a server that is killed there goes on with it.
    fn stop_and_start(
        self: &Arc<Self>,
        name: &str,
        action: Action,
        change: impl FnOnce(&mut JobRecord),
    ) -> Result<JobView, Refusal> {
        let slot = self.slot(&self.find(name)?.id);
        let _acting = act(&slot)?;
        self.require(&slot, action)?;
        let ended = match slot.live_run() {
            Some(run) => self.stop_run(&slot, &run, None).map(drop).inspect_err(|_| self.start_when_ended(&slot, run)),
            None => Ok(()),
        };
        // Also where it takes longer than the answer may: the start that follows finds it so.
        let job = self.store.update(&slot.id, |job| {
            wanted(job, Desired::Running);
            change(job);
        })?;
        ended?;
        self.start_or_record(&slot, &job)?;
        self.view(&slot.id)
    }

    /// The final checkpoint takes longer than an answer may wait: what was asked for is done behind it, unless the job is to be
    /// stopped by then.
    fn start_when_ended(self: &Arc<Self>, slot: &Arc<Slot>, run: Arc<Run>) {
        slot.logbook.add(Level::State, "stopping: it starts again when its final checkpoint is taken");
        let (supervisor, slot) = (Arc::clone(self), Arc::clone(slot));
        let follow = move || {
            while !run.wait_settled(FOLLOW_LOOK) {
                if supervisor.is_closing() {
                    return;
                }
            }
            let _acting = slot.acting.lock();
            let job = supervisor.store.get(&slot.id);
            let Some(job) = job.ok().filter(|job| at_start(job) == AtStart::Resume) else { return };
            if slot.live_run().is_none() && !supervisor.is_closing() {
                // A failure is recorded with the job.
                let _ = supervisor.start_or_record(&slot, &job);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("job-follow-up".into()).spawn(follow) {
            tracing::error!(%error, "a thread could not be started: the job stays stopped");
        }
    }

    pub fn savepoint(&self, name: &str, savepoint: Option<String>) -> Result<SavepointInfo, Refusal> {
        let slot = self.slot(&self.find(name)?.id);
        self.require(&slot, Action::Savepoint)?;
        let run = slot.live_run().ok_or(Refusal::NotNow { phase: Phase::Stopped, action: Action::Savepoint })?;
        let target = self.new_savepoint(&slot, savepoint)?;
        let path = run.handle.savepoint(&target)?;
        let name = self.remember_savepoint(&slot, &path)?;
        Ok(savepoints::savepoint(name, path))
    }

    pub fn savepoints(&self, name: &str) -> Result<Vec<SavepointInfo>, Refusal> {
        Ok(savepoints::savepoints(&self.job_folder(&self.find(name)?.id)))
    }

    pub fn checkpoints(&self, name: &str) -> Result<Vec<CheckpointInfo>, Refusal> {
        Ok(savepoints::checkpoints(&self.job_folder(&self.find(name)?.id)))
    }

    pub fn delete_savepoint(&self, name: &str, savepoint: &str) -> Result<(), Refusal> {
        let job = self.find(name)?;
        let slot = self.slot(&job.id);
        let _acting = act(&slot)?;
        let folder = self.existing_savepoint(&slot, savepoint)?;
        let is_needed = job.restore.as_ref().is_some_and(|pending| pending.savepoint.as_ref() == Some(&folder));
        if is_needed {
            return Err(Refusal::wrong("the job is about to start from this savepoint"));
        }
        self.store.update(&job.id, |job| {
            job.last_savepoint = job.last_savepoint.take().filter(|last| last != savepoint);
        })?;
        remove_whole(&folder)
    }

    /// Takes the job away with its state and its savepoints.
    pub fn delete(&self, name: &str) -> Result<(), Refusal> {
        let slot = self.slot(&self.find(name)?.id);
        let _acting = act(&slot)?;
        self.require(&slot, Action::Delete)?;
        self.store.delete(&slot.id)?;
        self.forget(&slot.id)
    }

    /// The phase, if the action has a meaning in it.
    pub(super) fn require(&self, slot: &Slot, action: Action) -> Result<Phase, Refusal> {
        let phase = self.phase(&self.store.get(&slot.id)?);
        if is_allowed(phase, action) { Ok(phase) } else { Err(Refusal::NotNow { phase, action }) }
    }

    pub(super) fn start_or_record(self: &Arc<Self>, slot: &Arc<Slot>, job: &JobRecord) -> Result<(), Refusal> {
        self.start_run(slot, job).inspect_err(|refusal| {
            self.record_failure(slot, &super::supervisor::describe(refusal), false);
        })
    }

    /// Waits for the end of the run, up to the server's patience.
    pub(super) fn stop_run(
        &self,
        slot: &Slot,
        run: &Run,
        savepoint: Option<PathBuf>,
    ) -> Result<Option<String>, Refusal> {
        run.set_stopping();
        let saved = match savepoint {
            None => {
                run.handle.stop();
                Ok(None)
            }
            Some(target) => run.handle.stop_with_savepoint(&target).map(Some),
        };
        if !run.wait_settled(self.limits.stop_timeout) {
            return Err(Refusal::TakesLonger(
                "the final checkpoint takes longer than this answer may: the job ends when it is done".into(),
            ));
        }
        match saved? {
            None => Ok(None),
            Some(path) => self.remember_savepoint(slot, &path).map(Some),
        }
    }

    fn remember_savepoint(&self, slot: &Slot, path: &std::path::Path) -> Result<String, Refusal> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_string();
        let last = name.clone();
        self.store.update(&slot.id, |job| job.last_savepoint = Some(last))?;
        Ok(name)
    }

    /// The folder of a savepoint that is not there yet.
    pub(super) fn new_savepoint(&self, slot: &Slot, name: Option<String>) -> Result<PathBuf, Refusal> {
        let folder = slot.folder.join(SAVEPOINTS_FOLDER);
        std::fs::create_dir_all(&folder)
            .map_err(|error| Refusal::Engine(format!("cannot create {}: {error}", folder.display())))?;
        let Some(name) = name else {
            let numbered = (1..).map(|number: u64| folder.join(format!("savepoint-{number}")));
            return Ok(numbered.into_iter().find(|path| !path.exists()).expect("folders are fewer than numbers"));
        };
        check_name("savepoint", &name)?;
        if name.ends_with(".tmp") {
            return Err(Refusal::wrong("a savepoint's name cannot end with '.tmp'"));
        }
        let target = folder.join(&name);
        if target.exists() { Err(Refusal::Exists { what: "savepoint", name }) } else { Ok(target) }
    }

    fn existing_savepoint(&self, slot: &Slot, name: &str) -> Result<PathBuf, Refusal> {
        check_name("savepoint", name)?;
        let folder = slot.folder.join(SAVEPOINTS_FOLDER).join(name);
        if folder.is_dir() {
            return Ok(folder);
        }
        let all = savepoints::savepoints(&slot.folder);
        let close = tidemill_engine::suggestion::closest(name, all.iter().map(|one| one.name.as_str()));
        let hint = close.map(|close| format!("did you mean '{close}'?"));
        Err(Refusal::NotFound { what: "savepoint", name: name.to_string(), hint })
    }

    fn pending(&self, slot: &Slot, from: Option<&StartFrom>) -> Result<Option<PendingRestore>, Refusal> {
        let Some(from) = from else { return Ok(None) };
        let savepoint = match from {
            StartFrom::Nothing => None,
            StartFrom::Savepoint(name) => {
                let folder = match name.split_once('/') {
                    Some((job, name)) => self.existing_savepoint(&self.slot(&self.find(job)?.id), name)?,
                    None => self.existing_savepoint(slot, name)?,
                };
                read_manifest(&folder).map_err(Refusal::wrong)?;
                Some(folder)
            }
        };
        let attempts_before = attempts(&slot.folder.join(STATE_FOLDER))?;
        Ok(Some(PendingRestore { savepoint, attempts_before }))
    }
}

/// Most changes are done in less time than it takes to ask again.
pub(super) fn act(slot: &Slot) -> Result<MutexGuard<'_, ()>, Refusal> {
    slot.acting.try_lock_for(BUSY_PATIENCE).ok_or(Refusal::Busy)
}

/// A new order: how the last run ended counts no more.
pub(super) fn wanted(job: &mut JobRecord, desired: Desired) {
    job.desired = desired;
    job.ended = None;
    job.last_error = None;
    job.changed_ms = now_ms();
}

/// Its last error may still be of interest.
fn job_stopped(job: &mut JobRecord) {
    job.desired = Desired::Stopped;
    job.changed_ms = now_ms();
}

fn record_of(new: &NewJob) -> JobRecord {
    let now = now_ms();
    JobRecord {
        id: uuid::Uuid::new_v4().to_string(),
        name: new.name.clone(),
        sql: new.sql.clone(),
        settings: new.settings.clone(),
        parallelism: new.parallelism,
        desired: if new.start { Desired::Running } else { Desired::Stopped },
        ended: None,
        restore: None,
        created_ms: now,
        changed_ms: now,
        version: 1,
        last_savepoint: None,
        last_error: None,
    }
}

pub(super) fn check_parallelism(parallelism: Option<usize>) -> Result<(), Refusal> {
    match parallelism {
        Some(one) if one == 0 || one > PARALLELISM_MAX => {
            Err(Refusal::wrong(format!("parallelism {one} is not between 1 and {PARALLELISM_MAX}")))
        }
        _ => Ok(()),
    }
}
