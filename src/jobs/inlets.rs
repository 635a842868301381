//! Tables of jobs whose rows are posted: which there are, and the log of each, opened once for those who post and for the job.
//!
//! A log lies in its job's folder and goes with it. Rows are kept for a job that is stopped, up to the table's bounds.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_connectors::http::posted::{
    Inbox, InboxFigures, Inboxes, LogPosition, Mark, NotTaken, PostedTable, Receipt,
};
use tidemill_engine::checkpoint::Manifest;
use tidemill_engine::suggestion::closest;
use tidemill_engine::{EngineError, Result};

use super::decide::{Action, Phase, is_allowed};
use super::plan::PlanRequest;
use super::record::{JobRecord, now_ms};
use super::refusal::Refusal;
use super::savepoints::{all_manifests, newest_manifest};
use super::supervisor::Supervisor;

/// Below a job's folder.
const ROWS_FOLDER: &str = "rows";

/// What is known of all jobs' tables.
#[derive(Debug, Default)]
pub(super) struct Inlets {
    /// By job and table.
    open: Mutex<HashMap<(String, String), Arc<Inbox>>>,
    directory: Mutex<Directory>,
    /// Held while all jobs are looked at.
    looking: Mutex<()>,
}

#[derive(Debug, Default)]
struct Directory {
    /// By job: the version of the SQL that was looked at, and the tables that it reads.
    tables: HashMap<String, (u64, Vec<PostedTable>)>,
    /// Goes up when a job comes, goes or changes.
    changes: u64,
    /// Every job was looked at after so many changes.
    whole_after: Option<u64>,
}

/// Rows that were stored.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Posted {
    pub job: String,
    pub table: String,
    pub rows: u32,
    pub first_sequence: u64,
    pub last_sequence: u64,
    /// An earlier request with the same key had stored them.
    pub repeated: bool,
}

/// What is posted: the body, and the key by which a repetition is known.
pub struct Post<'a> {
    pub body: &'a [u8],
    pub content_type: &'a str,
    pub key: Option<String>,
}

/// The logs of one job, as its plan and its sources see them.
#[derive(Debug)]
pub(super) struct JobInboxes {
    inlets: Arc<Inlets>,
    job: String,
    folder: PathBuf,
    reads: Mutex<Vec<PostedTable>>,
}

/// A plan that is not to run has no logs.
#[derive(Debug)]
pub(super) struct NoInboxes;

impl Inboxes for NoInboxes {
    fn reads(&self, _table: &PostedTable) {}

    fn open(&self, table: &PostedTable) -> Result<Arc<Inbox>> {
        Err(EngineError::Unsupported(format!("table '{}' is read by a job of the server alone", table.name)))
    }

    fn floor(&self, _inbox: &Inbox) -> Option<u64> {
        None
    }
}

impl Inboxes for JobInboxes {
    fn reads(&self, table: &PostedTable) {
        self.reads.lock().push(table.clone());
    }

    fn open(&self, table: &PostedTable) -> Result<Arc<Inbox>> {
        self.inlets.inbox(&self.job, &self.folder, table)
    }

    fn floor(&self, inbox: &Inbox) -> Option<u64> {
        let manifests = all_manifests(&self.folder)?;
        manifests.iter().filter_map(|manifest| needed_from(manifest, inbox.id())).map(|mark| mark.byte).min()
    }
}

impl JobInboxes {
    pub fn tables(&self) -> Vec<PostedTable> {
        self.reads.lock().clone()
    }
}

/// Where a checkpoint goes on in this log; `None` where it knows nothing of it.
fn needed_from(manifest: &Manifest, log: &str) -> Option<Mark> {
    let splits = manifest.sources.iter().flat_map(|source| &source.splits);
    let of_split = |split: &tidemill_engine::checkpoint::SplitState| match &split.position {
        // Not begun: it may be of this log, all of which is needed then.
        None if split.split.payload.is_null() => Some(Mark::default()),
        None => None,
        Some(position) => {
            let position: LogPosition = serde_json::from_value(position.clone()).ok()?;
            (position.log == log).then_some(Mark { row: position.row, byte: position.byte })
        }
    };
    splits.filter_map(of_split).min()
}

impl Inlets {
    pub fn of_job(self: &Arc<Self>, job: &str, folder: &Path) -> Arc<JobInboxes> {
        let (job, folder, reads) = (job.to_string(), folder.to_path_buf(), Mutex::default());
        Arc::new(JobInboxes { inlets: Arc::clone(self), job, folder, reads })
    }

    /// The SQL of this version reads these tables.
    pub fn learn(&self, job: &JobRecord, tables: Vec<PostedTable>) {
        let open = self.open.lock();
        for table in &tables {
            if let Some(inbox) = open.get(&(job.id.clone(), table.name.clone())) {
                inbox.set_limits(table.limits.clone());
            }
        }
        drop(open);
        self.directory.lock().tables.insert(job.id.clone(), (job.version, tables));
    }

    /// Some job has come, gone or changed.
    pub fn changed(&self) {
        self.directory.lock().changes += 1;
    }

    /// The job's folder is about to go.
    pub fn close(&self, job: &str) {
        self.open.lock().retain(|(of, _), inbox| {
            let stays = of != job;
            if !stays {
                inbox.close();
            }
            stays
        });
        let mut directory = self.directory.lock();
        directory.tables.remove(job);
        directory.changes += 1;
    }

    fn known(&self, job: &JobRecord) -> Option<Vec<PostedTable>> {
        let directory = self.directory.lock();
        directory.tables.get(&job.id).filter(|(version, _)| *version == job.version).map(|(_, tables)| tables.clone())
    }

    fn inbox(&self, job: &str, folder: &Path, table: &PostedTable) -> Result<Arc<Inbox>> {
        let mut open = self.open.lock();
        let key = (job.to_string(), table.name.clone());
        if let Some(inbox) = open.get(&key) {
            return Ok(Arc::clone(inbox));
        }
        if !folder.is_dir() {
            return Err(EngineError::Unsupported("the job was deleted".to_string()));
        }
        let newest = newest_manifest(folder);
        let passed = |log: &str| newest.as_ref().and_then(|one| needed_from(one, log)).unwrap_or_default();
        let log = folder.join(ROWS_FOLDER).join(folder_name(&table.name));
        let inbox = Arc::new(Inbox::open(&log, table.limits.clone(), passed)?);
        open.insert(key, Arc::clone(&inbox));
        Ok(inbox)
    }

    fn figures(&self, job: &str) -> Vec<(String, InboxFigures)> {
        let open = self.open.lock();
        let of_job = open.iter().filter(|((of, _), _)| of == job);
        let mut all: Vec<_> = of_job.map(|((_, table), inbox)| (table.clone(), inbox.figures())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

/// A table's name can hold anything; a folder's cannot.
fn folder_name(table: &str) -> String {
    table.bytes().fold(String::new(), |mut name, byte| {
        match byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' {
            true => name.push(char::from(byte)),
            false => drop(write!(name, "%{byte:02x}")),
        }
        name
    })
}

impl Supervisor {
    /// Stores rows for a job; with `job: None` for the only one that reads a table of this name.
    pub fn post(&self, job: Option<&str>, table: &str, post: &Post<'_>) -> std::result::Result<Posted, Refusal> {
        let (job, table) = match job {
            Some(name) => {
                let job = self.find(name)?;
                let tables = self.posted_tables(&job)?;
                let found = tables.iter().find(|one| one.name == table).cloned();
                let found = found.ok_or_else(|| no_such_table(table, tables.iter().map(|one| one.name.as_str())));
                (job, found?)
            }
            None => self.only_table(table)?,
        };
        let phase = self.phase_for_posts(&job);
        if !is_allowed(phase, Action::Post) {
            return Err(Refusal::NotNow { phase, action: Action::Post });
        }
        check_type(&table, post.content_type)?;
        let rows = table.check(post.body).map_err(Refusal::BadRows)?;
        let inbox = self.inlets.inbox(&job.id, &self.job_folder(&job.id), &table)?;
        let receipt =
            inbox.append(rows, post.key.clone(), now_ms()).map_err(|refused| not_taken(&job, &table, refused))?;
        let Receipt { first, rows, repeated } = receipt;
        let last = first + u64::from(rows) - 1;
        Ok(Posted { job: job.name, table: table.name, rows, first_sequence: first, last_sequence: last, repeated })
    }

    /// Figures of the tables of a job that were posted to or read since the server started.
    pub fn posted(&self, job: &JobRecord) -> Vec<(String, InboxFigures)> {
        self.inlets.figures(&job.id)
    }

    /// That a live job is in none of the phases in which nothing is read any more needs no look at its status.
    fn phase_for_posts(&self, job: &JobRecord) -> Phase {
        match self.slot(&job.id).live_run() {
            Some(_) => Phase::Running,
            None => self.phase(job),
        }
    }

    fn posted_tables(&self, job: &JobRecord) -> std::result::Result<Vec<PostedTable>, Refusal> {
        if let Some(known) = self.inlets.known(job) {
            return Ok(known);
        }
        let request =
            PlanRequest { sql: job.sql.clone(), settings: job.settings.clone(), parallelism: job.parallelism };
        let inboxes = self.inlets.of_job(&job.id, &self.job_folder(&job.id));
        self.planner.plan_job(&request, Arc::new(Mutex::new(std::io::sink())), inboxes.clone())?;
        self.inlets.learn(job, inboxes.tables());
        Ok(inboxes.tables())
    }

    fn only_table(&self, table: &str) -> std::result::Result<(JobRecord, PostedTable), Refusal> {
        self.look_at_all_jobs()?;
        let (found, names) = {
            let directory = self.inlets.directory.lock();
            let all = directory.tables.iter();
            let all = all.flat_map(|(job, (_, tables))| tables.iter().map(move |table| (job, table)));
            let found: Vec<String> =
                all.clone().filter(|(_, one)| one.name == table).map(|(job, _)| job.clone()).collect();
            (found, all.map(|(_, one)| one.name.clone()).collect::<Vec<_>>())
        };
        match found.as_slice() {
            [] => Err(no_such_table(table, names.iter().map(String::as_str))),
            [job] => {
                let job = self.store.get(job)?;
                let tables = self.posted_tables(&job)?;
                let found = tables.into_iter().find(|one| one.name == table);
                Ok((job, found.ok_or_else(|| no_such_table(table, names.iter().map(String::as_str)))?))
            }
            several => {
                let mut jobs: Vec<String> =
                    several.iter().filter_map(|job| Some(self.store.get(job).ok()?.name)).collect();
                jobs.sort();
                Err(Refusal::wrong_with(
                    format!("table '{table}' is read by the jobs {}", jobs.join(", ")),
                    "name the job: /api/v1/jobs/{id}/tables/{table}/rows",
                ))
            }
        }
    }

    /// A job whose SQL cannot be planned now (a secret is gone) has no tables.
    fn look_at_all_jobs(&self) -> std::result::Result<(), Refusal> {
        let is_whole = |directory: &Directory| directory.whole_after == Some(directory.changes);
        if is_whole(&self.inlets.directory.lock()) {
            return Ok(());
        }
        let _looking = self.inlets.looking.lock();
        let changes = self.inlets.directory.lock().changes;
        for job in self.store.list()? {
            if let Err(refusal) = self.posted_tables(&job) {
                tracing::warn!(job = job.name, %refusal, "the tables that a job reads cannot be told");
            }
        }
        self.inlets.directory.lock().whole_after = Some(changes);
        Ok(())
    }
}

fn no_such_table<'a>(table: &str, all: impl Iterator<Item = &'a str>) -> Refusal {
    let hint = match closest(table, all) {
        Some(close) => format!("did you mean '{close}'?"),
        None => "rows are posted to tables with 'connector' = 'http' and no 'url' that a job reads".to_string(),
    };
    Refusal::NotFound { what: "table that takes rows", name: table.to_string(), hint: Some(hint) }
}

/// Types of bodies, by format.
const TYPES: &[(&str, &[&str])] = &[
    ("json", &["application/x-ndjson", "application/json", "application/jsonl", "application/ndjson"]),
    ("csv", &["text/csv"]),
];

/// All types that some table takes.
pub const CONTENT_TYPES: &[&str] =
    &["application/x-ndjson", "application/json", "application/jsonl", "application/ndjson", "text/csv"];

fn check_type(table: &PostedTable, given: &str) -> std::result::Result<(), Refusal> {
    let format = table.format.name();
    let types = TYPES.iter().find(|(name, _)| *name == format).map(|(_, types)| *types).unwrap_or_default();
    if types.contains(&given) {
        return Ok(());
    }
    Err(Refusal::WrongType {
        message: format!("the body's type is '{given}', and rows of table '{}' are {format}", table.name),
        hint: format!("send Content-Type: {}", types.first().copied().unwrap_or_default()),
    })
}

fn not_taken(job: &JobRecord, table: &PostedTable, refused: NotTaken) -> Refusal {
    let name = &table.name;
    match refused {
        NotTaken::Behind { backlog, max } => Refusal::Behind(format!(
            "job '{}' is {backlog} bytes behind in table '{name}', and 'http.backlog.max-size' is {max}",
            job.name
        )),
        NotTaken::Full { held, max } => Refusal::Limit(format!(
            "the log of table '{name}' holds {held} bytes, and 'http.log.max-size' is {max}: rows that were read go once no checkpoint, no \
             savepoint and no retention needs them"
        )),
        NotTaken::OtherBody => Refusal::OtherBody,
        NotTaken::Closed => Refusal::NotFound { what: "job", name: job.name.clone(), hint: None },
        NotTaken::Failed(reason) => Refusal::Engine(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_tables_are_names_and_differ() {
        for (table, expected) in
            [("orders_2", "orders_2"), ("Orders", "%4frders"), ("../x", "%2e%2e%2fx"), ("ä", "%c3%a4")]
        {
            assert_eq!(folder_name(table), expected);
        }
    }

    #[test]
    fn the_list_of_types_is_that_of_the_formats() {
        let all: Vec<&str> = TYPES.iter().flat_map(|(_, types)| types.iter().copied()).collect();
        assert_eq!(all, CONTENT_TYPES);
    }
}
