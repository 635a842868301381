//! All ad-hoc queries of a server and the results that wait to be read, within the server's limits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::pages::{Kept, Page};
use super::stop::{Reason, Stop};
use crate::jobs::now_ms;
use crate::server::auth::{Caller, Role};
use crate::server::problem::{Kind, Problem};

/// What the ad-hoc queries of a server may take.
#[derive(Debug, Clone)]
pub struct QueryLimits {
    pub queries_max: usize,
    /// Of the state of one query.
    pub memory_bytes_max: u64,
    /// Of a query that is answered as a whole.
    pub timeout: Duration,
    /// How long a client may take nothing.
    pub stall_timeout: Duration,
    /// Of all results that wait to be read.
    pub results_bytes_max: usize,
    pub results_time: Duration,
}

/// A query that runs.
pub struct Entry {
    pub id: String,
    pub owner: String,
    /// As it may be shown.
    pub sql: String,
    pub mode: &'static str,
    started_ms: i64,
    started: Instant,
    /// That went to the client.
    pub rows: AtomicU64,
    pub rows_read: AtomicU64,
    pub stop: Arc<Stop>,
}

impl Entry {
    pub fn new(owner: &str, sql: String, mode: &'static str) -> Self {
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            owner: owner.to_string(),
            sql,
            mode,
            started_ms: now_ms(),
            started: Instant::now(),
            rows: AtomicU64::new(0),
            rows_read: AtomicU64::new(0),
            stop: Arc::new(Stop::new()),
        }
    }

    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    fn view(&self) -> Value {
        json!({
            "id": self.id,
            "state": "running",
            "owner": self.owner,
            "sql": self.sql,
            "mode": self.mode,
            "started_ms": self.started_ms,
            "uptime_ms": self.started.elapsed().as_millis() as u64,
            "rows": self.rows.load(Ordering::Relaxed),
            "rows_read": self.rows_read.load(Ordering::Relaxed),
        })
    }
}

pub struct Queries {
    pub limits: QueryLimits,
    /// Where running queries keep what does not fit into memory.
    pub folder: PathBuf,
    running: Mutex<BTreeMap<String, Arc<Entry>>>,
    kept: Mutex<BTreeMap<String, Kept>>,
    closing: AtomicBool,
    /// WebSockets that are not closed yet.
    pub sockets: AtomicUsize,
}

/// A running query's place, free again when this is dropped.
pub struct Place {
    queries: Arc<Queries>,
    pub entry: Arc<Entry>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queries.running.lock().remove(&self.entry.id);
    }
}

impl Queries {
    /// The folder is emptied: nothing in it outlives a server.
    pub fn new(limits: QueryLimits, folder: PathBuf) -> std::io::Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        let (running, kept) = (Mutex::default(), Mutex::default());
        Ok(Self { limits, folder, running, kept, closing: AtomicBool::new(false), sockets: AtomicUsize::new(0) })
    }

    /// Takes a place for a query, before anything is done for it.
    pub fn admit(self: &Arc<Self>, entry: Entry) -> Result<Place, Problem> {
        let mut running = self.running.lock();
        if self.closing.load(Ordering::SeqCst) {
            return Err(Problem::new(Kind::Overloaded, "the server is about to end"));
        }
        if running.len() >= self.limits.queries_max {
            let detail =
                format!("{} ad-hoc queries run already, as many as this server may have", self.limits.queries_max);
            return Err(Problem::new(Kind::Limit, detail)
                .with_hint("end one (GET and DELETE /api/v1/queries), or let an administrator raise --queries-max"));
        }
        let entry = Arc::new(entry);
        running.insert(entry.id.clone(), Arc::clone(&entry));
        Ok(Place { queries: Arc::clone(self), entry })
    }

    pub fn running(&self) -> usize {
        self.running.lock().len()
    }

    /// Those that run, and those whose results wait.
    pub fn list(&self) -> Vec<Value> {
        let mut all: Vec<Value> = self.running.lock().values().map(|entry| entry.view()).collect();
        let mut kept = self.kept.lock();
        forget_old(&mut kept);
        all.extend(kept.iter().map(|(id, kept)| {
            let left = kept.until.saturating_duration_since(Instant::now());
            json!({
                "id": id,
                "state": "finished",
                "owner": kept.owner,
                "rows": kept.row_count(),
                "kept_for_ms": left.as_millis() as u64,
            })
        }));
        all
    }

    /// Ends a query, or lets go of its result.
    pub fn cancel(&self, id: &str, caller: &Caller) -> Result<(), Problem> {
        let running = self.running.lock().get(id).cloned();
        if let Some(entry) = running {
            check_owner(&entry.owner, caller)?;
            entry.stop.ask(Reason::Cancelled);
            return Ok(());
        }
        let mut kept = self.kept.lock();
        let found = kept.get(id).ok_or_else(|| no_such_query(id))?;
        check_owner(&found.owner, caller)?;
        kept.remove(id);
        Ok(())
    }

    /// Keeps a result; older ones go if there is no room.
    pub fn keep(&self, id: &str, result: Kept) {
        let mut kept = self.kept.lock();
        forget_old(&mut kept);
        let room = self.limits.results_bytes_max.saturating_sub(result.bytes());
        while kept.values().map(Kept::bytes).sum::<usize>() > room {
            let oldest = kept.iter().min_by_key(|(_, kept)| kept.until).map(|(id, _)| id.clone());
            let Some(oldest) = oldest else { break };
            kept.remove(&oldest);
        }
        kept.insert(id.to_string(), result);
    }

    /// Lets go of results whose time is over.
    pub fn forget_old(&self) {
        forget_old(&mut self.kept.lock());
    }

    pub fn page(&self, id: &str, token: Option<&str>, caller: &Caller) -> Result<Page, Problem> {
        let mut kept = self.kept.lock();
        forget_old(&mut kept);
        let found = kept.get(id).ok_or_else(|| no_such_query(id))?;
        check_owner(&found.owner, caller)?;
        found.page(token).ok_or_else(|| {
            let token = token.unwrap_or_default();
            Problem::new(Kind::BadRequest, format!("'{token}' is no page token of this result"))
                .with_hint("the next_page_token of each page leads to the next one")
        })
    }

    /// Ends all queries, and admits no more.
    pub fn end_all(&self) {
        let running = self.running.lock();
        self.closing.store(true, Ordering::SeqCst);
        running.values().for_each(|entry| entry.stop.ask(Reason::ServerEnding));
    }
}

fn forget_old(kept: &mut BTreeMap<String, Kept>) {
    let now = Instant::now();
    kept.retain(|_, kept| kept.until > now);
}

/// Rows are for whoever asked for them.
fn check_owner(owner: &str, caller: &Caller) -> Result<(), Problem> {
    if owner == caller.name || caller.role >= Role::Operate {
        return Ok(());
    }
    Err(Problem::new(Kind::Forbidden, "the query is not yours: that needs the role operate"))
}

fn no_such_query(id: &str) -> Problem {
    Problem::new(Kind::NotFound, format!("there is no query '{id}'"))
        .with_hint("it has ended, or its result was kept for long enough; GET /api/v1/queries lists what there is")
}
