//! One job that is made, changed, saved and deleted while the server is killed, and what the server has promised of it.

use std::collections::BTreeSet;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::kit::{Server, copying_job};

/// What was asked for.
#[derive(Debug, Clone, PartialEq)]
enum Change {
    Create,
    Stop { savepoint: Option<String> },
    Start,
    Sql { mark: u64 },
    Rescale { parallelism: u64 },
    Save { name: String },
    Delete,
}

/// What the server has promised of a job.
#[derive(Debug, Clone, PartialEq)]
struct Promised {
    id: String,
    desired: String,
    version: u64,
    /// Stands in the SQL.
    mark: u64,
    parallelism: u64,
    savepoints: BTreeSet<String>,
}

pub struct Lane {
    name: String,
    /// The first lane's job is made anew from time to time; those of the others live on, and their output is compared.
    may_delete: bool,
    promised: Option<Promised>,
    /// No answer came.
    pending: Option<Change>,
    counter: u64,
    rows: Vec<String>,
    pub answered: usize,
    pub cut_off: usize,
}

impl Lane {
    pub fn new(number: usize) -> Self {
        let (name, rows) = (format!("lane{number}"), Vec::new());
        let (promised, pending) = (None, None);
        Self { name, may_delete: number == 0, promised, pending, counter: 0, rows, answered: 0, cut_off: 0 }
    }

    pub fn id(&self) -> Option<String> {
        self.promised.as_ref().map(|promised| promised.id.clone())
    }

    fn path(&self) -> String {
        format!("/api/v1/jobs/{}", self.name)
    }

    fn sql(&self, mark: u64) -> String {
        format!("-- mark {mark} --\n{}", copying_job(&self.name))
    }

    pub fn feed(&mut self, server: &Server, round: usize) {
        let mut lines = String::new();
        for value in round * 20..round * 20 + 20 {
            lines += &format!("{{\"k\":\"a\",\"v\":{value}}}\n");
            self.rows.push(format!("a,{value}"));
        }
        server.feed(&format!("in/{}", self.name), &format!("{round:04}.json"), &lines);
    }

    /// Asks for one change after the other. The one that has no answer is remembered.
    pub fn change_until_the_server_dies(&mut self, server: &Server, rng: &mut ChaCha8Rng) {
        loop {
            let change = self.choose(rng);
            let Some((status, body)) = self.ask(server, &change) else {
                self.cut_off += 1;
                self.pending = Some(change);
                return;
            };
            match status {
                200..=299 => {
                    self.answered += 1;
                    self.hold(&change, &body);
                }
                // Not now: it is starting, or was resumed as stopped.
                409 => {}
                500 if body.to_string().contains("waiting to restart") || body.to_string().contains("ended before") => {
                }
                _ => panic!("{change:?}: {status} {body}"),
            }
        }
    }

    fn choose(&mut self, rng: &mut ChaCha8Rng) -> Change {
        self.counter += 1;
        let Some(promised) = &self.promised else { return Change::Create };
        if promised.desired == "stopped" {
            return match rng.random_range(0..4) {
                0 if self.may_delete => Change::Delete,
                1 => Change::Sql { mark: self.counter },
                2 => Change::Rescale { parallelism: rng.random_range(1..4) },
                _ => Change::Start,
            };
        }
        let name = format!("s{}", self.counter);
        match rng.random_range(0..5) {
            0 => Change::Stop { savepoint: None },
            1 => Change::Stop { savepoint: Some(name) },
            2 => Change::Sql { mark: self.counter },
            3 => Change::Rescale { parallelism: rng.random_range(1..4) },
            _ => Change::Save { name },
        }
    }

    fn ask(&self, server: &Server, change: &Change) -> Option<(u16, Value)> {
        let (method, path, body) = match change {
            Change::Create => {
                let body = json!({ "name": self.name, "sql": self.sql(0), "parallelism": 1 });
                ("POST", "/api/v1/jobs".to_string(), body)
            }
            Change::Stop { savepoint: None } => ("POST", self.path() + "/stop", json!({})),
            Change::Stop { savepoint } => ("POST", self.path() + "/stop", json!({ "savepoint_name": savepoint })),
            Change::Start => ("POST", self.path() + "/start", json!({})),
            Change::Sql { mark } => ("PUT", self.path() + "/sql", json!({ "sql": self.sql(*mark) })),
            Change::Rescale { parallelism } => {
                ("POST", self.path() + "/rescale", json!({ "parallelism": parallelism }))
            }
            Change::Save { name } => ("POST", self.path() + "/savepoints", json!({ "name": name })),
            Change::Delete => {
                let answer = server.try_ask("DELETE", &self.path(), None)?;
                return Some((answer.status, if answer.text.is_empty() { json!({}) } else { answer.json() }));
            }
        };
        let answer = server.try_ask(method, &path, Some(&body))?;
        Some((answer.status, answer.json()))
    }

    /// What is to hold from now on.
    fn hold(&mut self, change: &Change, body: &Value) {
        if *change == Change::Create {
            let id = body["id"].as_str().expect("an id").to_string();
            let desired = "running".to_string();
            self.promised =
                Some(Promised { id, desired, version: 1, mark: 0, parallelism: 1, savepoints: BTreeSet::new() });
            return;
        }
        if *change == Change::Delete {
            self.promised = None;
            return;
        }
        let promised = self.promised.as_mut().expect("only a job that is there is changed");
        apply(promised, change);
        if let (Change::Sql { .. }, Some(name)) = (change, body["savepoint"].as_str()) {
            promised.savepoints.insert(name.to_string());
        }
    }

    /// Compares what the server says after its restart with what it had promised.
    pub fn judge(&mut self, server: &Server) {
        let (before, pending) = (self.promised.take(), self.pending.take());
        let answer = server.get(&self.path());
        if answer.status == 404 {
            let is_right = before.is_none() || pending == Some(Change::Delete);
            assert!(is_right, "{} is lost; promised {before:?}, pending {pending:?}", self.name);
            return;
        }
        let found = self.found(server, &answer.expect(200));
        let Some(before) = before else {
            assert_eq!(pending, Some(Change::Create), "{} is there again: {found:?}", self.name);
            assert_eq!((found.version, found.mark, found.desired.as_str()), (1, 0, "running"));
            self.promised = Some(found);
            return;
        };
        let mut changed = before.clone();
        if let Some(change) = &pending {
            apply(&mut changed, change);
        }
        // What savepoints there are beyond those that were promised was cut off: whole, or not there.
        let head = |one: &Promised| (one.id.clone(), one.version, one.mark, one.parallelism);
        let is_old = head(&found) == head(&before) && found.desired == before.desired;
        let is_new = head(&found) == head(&changed) && found.desired == changed.desired;
        assert!(is_old || is_new, "promised {before:?}, pending {pending:?}, found {found:?}");
        assert!(before.savepoints.is_subset(&found.savepoints), "promised {before:?}, found {found:?}");
        self.promised = Some(found);
    }

    fn found(&self, server: &Server, job: &Value) -> Promised {
        let text = |key: &str| job[key].as_str().unwrap_or_default().to_string();
        let sql = text("sql");
        let mark = sql.split(' ').nth(2).and_then(|mark| mark.parse().ok()).expect("a mark");
        assert_eq!(sql, self.sql(mark), "the SQL is whole");
        let all = server.get(&format!("{}/savepoints", self.path())).expect(200)["savepoints"].clone();
        let all = all.as_array().expect("a list");
        assert!(all.iter().all(|one| one["damage"].is_null() && one["epoch"].is_u64()), "a damaged savepoint: {all:?}");
        let savepoints: BTreeSet<String> =
            all.iter().map(|one| one["name"].as_str().expect("a name").to_string()).collect();
        if let Some(last) = job["last_savepoint"].as_str() {
            assert!(savepoints.contains(last), "the last savepoint '{last}' is not there: {savepoints:?}");
        }
        let number = |key: &str| job[key].as_u64().expect("a number");
        Promised {
            id: text("id"),
            desired: text("desired"),
            version: number("version"),
            mark,
            parallelism: number("parallelism"),
            savepoints,
        }
    }

    /// All rows of a job that was never deleted are there once.
    pub fn finish(&mut self, server: &Server) {
        if self.may_delete {
            return;
        }
        let _ = server.post(&(self.path() + "/start"), json!({}));
        server.wait_for_phase(&self.name, "running");
        self.rows.sort();
        let folder = format!("out/{}", self.name);
        server.wait_until("all rows are visible", || server.lines(&folder).len() >= self.rows.len());
        server.post(&(self.path() + "/stop"), json!({})).expect(200);
        assert_eq!(server.lines(&folder), self.rows, "{}", self.name);
    }
}

fn apply(promised: &mut Promised, change: &Change) {
    match change {
        Change::Create | Change::Delete => {}
        Change::Stop { savepoint } => {
            promised.desired = "stopped".into();
            promised.savepoints.extend(savepoint.clone());
        }
        Change::Start => promised.desired = "running".into(),
        Change::Sql { mark } => {
            promised.version += 1;
            promised.mark = *mark;
        }
        Change::Rescale { parallelism } => promised.parallelism = *parallelism,
        Change::Save { name } => {
            promised.savepoints.insert(name.clone());
        }
    }
}
