//! The durable store of jobs and of the audit log: one embedded database, every change one transaction that is on disk
//! when the call returns.
//!
//! After an error of the disk the database takes no more calls, however much space there is again: it is opened anew then.

use std::path::{Path, PathBuf};

use parking_lot::RwLock;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use serde::Serialize;

use super::record::{AuditEntry, JobRecord};
use super::refusal::Refusal;

/// Version of all that the tables hold. A server refuses a store of a later one.
const SCHEMA_VERSION: u64 = 1;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const JOBS: TableDefinition<&str, &[u8]> = TableDefinition::new("jobs");
/// From a job's name to its id.
const NAMES: TableDefinition<&str, &str> = TableDefinition::new("names");
const AUDIT: TableDefinition<u64, &[u8]> = TableDefinition::new("audit");

/// Ids of jobs that are deleted, and whose folders may still be there.
const DELETED: TableDefinition<&str, ()> = TableDefinition::new("deleted");

const SCHEMA_KEY: &str = "schema";

/// Refusals for want of a token or a role: apart, so that they push nothing out.
const REFUSED: TableDefinition<u64, &[u8]> = TableDefinition::new("refused");

/// Refusals kept: those of a day, where somebody asks without end.
const REFUSED_ENTRIES_MAX: u64 = 5_000;
/// Entries kept of the audit log: months of what people do, and a few megabytes. The server's log has them too.
const AUDIT_ENTRIES_MAX: u64 = 20_000;

pub struct JobStore {
    path: PathBuf,
    /// `None`: the last call failed, and the next one opens it.
    database: RwLock<Option<Database>>,
}

/// Entries of the audit log, newest first.
#[derive(Debug, Serialize)]
pub struct AuditPage {
    pub entries: Vec<AuditEntry>,
}

type Result<T> = std::result::Result<T, Refusal>;

fn failed(error: impl std::fmt::Display) -> Refusal {
    Refusal::Store(error.to_string())
}

impl JobStore {
    /// Opens the store, or makes an empty one.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_path_buf(), database: RwLock::new(Some(open_database(path)?)) })
    }

    /// Does it with a database that is open. One that failed is closed, and opened again for the next call: what it had
    /// promised is on disk.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        if self.database.read().is_none() {
            let mut database = self.database.write();
            if database.is_none() {
                *database = Some(open_database(&self.path)?);
            }
        }
        let done = match self.database.read().as_ref() {
            Some(database) => work(database),
            None => Err(Refusal::Store("it failed in another request just now".into())),
        };
        if matches!(done, Err(Refusal::Store(_))) {
            self.database.write().take();
        }
        done
    }

    /// Adds a job; its name must be free.
    pub fn insert(&self, job: &JobRecord) -> Result<()> {
        let bytes = encode(job)?;
        self.with(|database| {
            let write = database.begin_write().map_err(failed)?;
            {
                let mut names = write.open_table(NAMES).map_err(failed)?;
                if names.get(job.name.as_str()).map_err(failed)?.is_some() {
                    return Err(Refusal::Exists { what: "job", name: job.name.clone() });
                }
                names.insert(job.name.as_str(), job.id.as_str()).map_err(failed)?;
                write.open_table(JOBS).map_err(failed)?.insert(job.id.as_str(), bytes.as_slice()).map_err(failed)?;
            }
            write.commit().map_err(failed)
        })
    }

    /// Changes a job that is there; its name stays. Gives what it has become.
    pub fn update(&self, id: &str, change: impl FnOnce(&mut JobRecord)) -> Result<JobRecord> {
        self.with(|database| {
            let write = database.begin_write().map_err(failed)?;
            let changed = {
                let mut jobs = write.open_table(JOBS).map_err(failed)?;
                let found =
                    jobs.get(id).map_err(failed)?.map(|bytes| decode::<JobRecord>(bytes.value())).transpose()?;
                let mut job = found.ok_or_else(|| not_found(id))?;
                let before = (job.id.clone(), job.name.clone());
                change(&mut job);
                assert_eq!(before, (job.id.clone(), job.name.clone()), "a job keeps its id and its name");
                jobs.insert(id, encode(&job)?.as_slice()).map_err(failed)?;
                job
            };
            write.commit().map_err(failed)?;
            Ok(changed)
        })
    }

    /// Takes a job away; its folder is to go until [`Self::folder_is_gone`].
    pub fn delete(&self, id: &str) -> Result<()> {
        self.with(|database| {
            let write = database.begin_write().map_err(failed)?;
            {
                let mut jobs = write.open_table(JOBS).map_err(failed)?;
                let removed =
                    jobs.remove(id).map_err(failed)?.map(|bytes| decode::<JobRecord>(bytes.value())).transpose()?;
                let job = removed.ok_or_else(|| not_found(id))?;
                write.open_table(NAMES).map_err(failed)?.remove(job.name.as_str()).map_err(failed)?;
                write.open_table(DELETED).map_err(failed)?.insert(id, ()).map_err(failed)?;
            }
            write.commit().map_err(failed)
        })
    }

    /// Jobs whose deletion was cut off before their folders were gone.
    pub fn deleted(&self) -> Result<Vec<String>> {
        self.with(|database| {
            let read = database.begin_read().map_err(failed)?;
            // Stores of earlier versions have no such table.
            let Ok(deleted) = read.open_table(DELETED) else { return Ok(Vec::new()) };
            let ids = deleted.iter().map_err(failed)?;
            ids.map(|entry| Ok(entry.map_err(failed)?.0.value().to_string())).collect()
        })
    }

    pub fn folder_is_gone(&self, id: &str) -> Result<()> {
        self.with(|database| {
            let write = database.begin_write().map_err(failed)?;
            write.open_table(DELETED).map_err(failed)?.remove(id).map_err(failed)?;
            write.commit().map_err(failed)
        })
    }

    pub fn get(&self, id: &str) -> Result<JobRecord> {
        self.with(|database| {
            let read = database.begin_read().map_err(failed)?;
            let jobs = read.open_table(JOBS).map_err(failed)?;
            let found = jobs.get(id).map_err(failed)?;
            found.map(|bytes| decode(bytes.value())).transpose()?.ok_or_else(|| not_found(id))
        })
    }

    /// The id of the job of this name.
    pub fn id_of(&self, name: &str) -> Result<Option<String>> {
        self.with(|database| {
            let read = database.begin_read().map_err(failed)?;
            let names = read.open_table(NAMES).map_err(failed)?;
            Ok(names.get(name).map_err(failed)?.map(|id| id.value().to_string()))
        })
    }

    /// All jobs, by name.
    pub fn list(&self) -> Result<Vec<JobRecord>> {
        self.with(|database| {
            let read = database.begin_read().map_err(failed)?;
            let jobs = read.open_table(JOBS).map_err(failed)?;
            let mut all = Vec::new();
            for entry in jobs.iter().map_err(failed)? {
                all.push(decode::<JobRecord>(entry.map_err(failed)?.1.value())?);
            }
            all.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(all)
        })
    }

    /// Adds to the audit log, and takes away what is beyond its length.
    pub fn audit(&self, entry: &AuditEntry) -> Result<()> {
        self.with(|database| append(database, AUDIT, std::slice::from_ref(entry), AUDIT_ENTRIES_MAX))
    }

    /// As [`Self::audit`], of requests that were refused before anybody looked at what they wanted.
    pub fn audit_refused(&self, entries: &[AuditEntry]) -> Result<()> {
        self.with(|database| append(database, REFUSED, entries, REFUSED_ENTRIES_MAX))
    }

    /// The newest entries of both logs.
    pub fn audit_page(&self, count: usize) -> Result<AuditPage> {
        self.with(|database| {
            let mut entries = newest(database, AUDIT, count)?;
            entries.extend(newest(database, REFUSED, count)?);
            // Stable: what was done at the same time stays in its order.
            entries.sort_by_key(|entry| std::cmp::Reverse(entry.at_ms));
            entries.truncate(count);
            Ok(AuditPage { entries })
        })
    }
}

fn append(
    database: &Database,
    table: TableDefinition<'_, u64, &'static [u8]>,
    entries: &[AuditEntry],
    entries_max: u64,
) -> Result<()> {
    let write = database.begin_write().map_err(failed)?;
    {
        let mut log = write.open_table(table).map_err(failed)?;
        let mut last = log.last().map_err(failed)?.map_or(0, |(number, _)| number.value());
        for entry in entries {
            last += 1;
            log.insert(last, encode(entry)?.as_slice()).map_err(failed)?;
        }
        while log.first().map_err(failed)?.is_some_and(|(number, _)| number.value() + entries_max <= last) {
            log.pop_first().map_err(failed)?;
        }
    }
    write.commit().map_err(failed)
}

fn newest(
    database: &Database,
    table: TableDefinition<'_, u64, &'static [u8]>,
    count: usize,
) -> Result<Vec<AuditEntry>> {
    let read = database.begin_read().map_err(failed)?;
    // Stores of earlier versions have no log of refusals.
    let Ok(log) = read.open_table(table) else { return Ok(Vec::new()) };
    let entries = log.iter().map_err(failed)?.rev().take(count);
    entries.map(|entry| decode(entry.map_err(failed)?.1.value())).collect()
}

fn open_database(path: &Path) -> Result<Database> {
    let database = Database::create(path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => {
            Refusal::Store(format!("{} is in use: another server runs with this --data-dir", path.display()))
        }
        other => Refusal::Store(format!("{} cannot be opened: {other}", path.display())),
    })?;
    check_schema(&database, path)?;
    Ok(database)
}

/// Writes only where there is nothing yet: what a full disk holds can be read.
fn check_schema(database: &Database, path: &Path) -> Result<()> {
    let read = database.begin_read().map_err(failed)?;
    let found = read.open_table(META).ok().map(|meta| meta.get(SCHEMA_KEY)).transpose().map_err(failed)?.flatten();
    if found.is_some_and(|version| version.value() == SCHEMA_VERSION) {
        return Ok(());
    }
    let write = database.begin_write().map_err(failed)?;
    {
        let mut meta = write.open_table(META).map_err(failed)?;
        let found = meta.get(SCHEMA_KEY).map_err(failed)?.map(|version| version.value());
        match found {
            None => drop(meta.insert(SCHEMA_KEY, SCHEMA_VERSION).map_err(failed)?),
            Some(SCHEMA_VERSION) => {}
            Some(other) => {
                return Err(Refusal::Store(format!(
                    "{} has schema {other}, this program knows {SCHEMA_VERSION}: run the version that wrote it",
                    path.display()
                )));
            }
        }
        write.open_table(JOBS).map_err(failed)?;
        write.open_table(NAMES).map_err(failed)?;
        write.open_table(AUDIT).map_err(failed)?;
    }
    write.commit().map_err(failed)
}

fn not_found(id: &str) -> Refusal {
    Refusal::NotFound { what: "job", name: id.to_string(), hint: None }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(failed)
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Refusal::Store(format!("an entry cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::super::record::{Desired, Ended, PendingRestore};
    use super::*;

    fn job(name: &str) -> JobRecord {
        JobRecord {
            id: format!("id-of-{name}"),
            name: name.into(),
            sql: "SELECT 1".into(),
            settings: [("parallelism.default".to_string(), "2".to_string())].into(),
            parallelism: Some(3),
            desired: Desired::Running,
            ended: Some(Ended::Failed { lasting: true }),
            restore: Some(PendingRestore { savepoint: Some("/s".into()), attempts_before: 4 }),
            created_ms: 1,
            changed_ms: 2,
            version: 1,
            last_savepoint: None,
            last_error: Some("it broke".into()),
        }
    }

    #[test]
    fn what_is_stored_is_there_after_the_store_was_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.redb");
        let store = JobStore::open(&path).unwrap();
        store.insert(&job("b")).unwrap();
        store.insert(&job("a")).unwrap();
        assert!(matches!(store.insert(&job("a")), Err(Refusal::Exists { .. })));
        assert!(matches!(JobStore::open(&path), Err(Refusal::Store(text)) if text.contains("in use")));
        store.update("id-of-a", |job| job.desired = Desired::Stopped).unwrap();
        drop(store);

        let store = JobStore::open(&path).unwrap();
        let names: Vec<String> = store.list().unwrap().into_iter().map(|job| job.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(store.get("id-of-b").unwrap(), job("b"));
        assert_eq!(store.get("id-of-a").unwrap().desired, Desired::Stopped);
        store.delete("id-of-a").unwrap();
        assert_eq!(store.id_of("a").unwrap(), None);
        assert!(matches!(store.update("id-of-a", |_| ()), Err(Refusal::NotFound { .. })));
        store.insert(&job("a")).expect("the name is free again");
        assert_eq!(store.deleted().unwrap(), ["id-of-a"]);
        store.folder_is_gone("id-of-a").unwrap();
        assert!(store.deleted().unwrap().is_empty());
    }

    #[test]
    fn a_store_of_a_later_version_is_refused_and_a_damaged_one_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.redb");
        let store = JobStore::open(&path).unwrap();
        let later = |database: &Database| {
            let write = database.begin_write().unwrap();
            write.open_table(META).unwrap().insert(SCHEMA_KEY, SCHEMA_VERSION + 1).unwrap();
            write.commit().map_err(failed)
        };
        store.with(later).unwrap();
        drop(store);
        assert!(matches!(JobStore::open(&path), Err(Refusal::Store(text)) if text.contains("has schema 2")));
        std::fs::write(&path, "not a database").unwrap();
        assert!(matches!(JobStore::open(&path), Err(Refusal::Store(text)) if text.contains("cannot be opened")));
    }

    #[test]
    fn the_audit_log_gives_the_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let store = JobStore::open(&folder.path().join("jobs.redb")).unwrap();
        for at_ms in 0..5 {
            let (who, from, what) = ("w".to_string(), "f".to_string(), "POST".to_string());
            let entry = AuditEntry { at_ms, who, from, what, target: "/".into(), status: 200, times: 1 };
            store.audit(&entry).unwrap();
        }
        let times: Vec<i64> = store.audit_page(3).unwrap().entries.iter().map(|entry| entry.at_ms).collect();
        assert_eq!(times, [4, 3, 2]);
        // However many were refused: what was done is still there.
        let done = store.audit_page(1).unwrap().entries.remove(0);
        let refused = |at_ms| AuditEntry { at_ms, status: 401, times: 7, ..done.clone() };
        let many: Vec<AuditEntry> = (10..10 + 2 * REFUSED_ENTRIES_MAX as i64).map(refused).collect();
        store.audit_refused(&many).unwrap();
        let all = store.audit_page(100_000).unwrap().entries;
        assert_eq!(all.len() as u64, REFUSED_ENTRIES_MAX + 5);
        assert_eq!((all[0].status, all[0].times, all.last().unwrap().at_ms), (401, 7, 0));
    }
}
