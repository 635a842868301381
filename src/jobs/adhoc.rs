//! From the text of an ad-hoc query to one that runs: definitions first, then one statement that gives rows. It sees
//! connectors as a server's jobs do, within the same bounds.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_connectors::http::Http;
use tidemill_connectors::print::Console;
use tidemill_connectors::registry::Registry;
use tidemill_sql::Diagnostic;
use tidemill_sql::parser::ast::Query;
use tidemill_sql::parser::parse_script;
use tidemill_sql::parser::statement::{Statement, StatementKind};
use tidemill_sql::plan::PlanContext;
use tidemill_sql::session::{Outcome, Session};

use super::confine::ConfinedConnectors;
use super::inlets::NoInboxes;
use super::plan::{PlanRequest, Planner, SQL_BYTES_MAX, finding, settings_of};
use super::record::JobRecord;
use super::refusal::Refusal;
use crate::connect::RegistryConnectors;
use crate::query::{LiveQuery, QueryError, Reader};

const MEMORY_KEY: &str = "tidemill.memory.budget";
const PARALLELISM_KEY: &str = "parallelism.default";
/// A query that somebody looks at should leave the processors to the jobs.
const PARALLELISM: &str = "1";

/// An ad-hoc query as it is asked for.
#[derive(Debug, Clone)]
pub struct AdhocRequest {
    pub sql: String,
    /// Definitions that stand in front of it, with places of their own.
    pub setup: String,
    /// Its tables and views are there too.
    pub job: Option<JobRecord>,
    pub settings: BTreeMap<String, String>,
    pub reader: Reader,
    /// It may use tables, which lead out of the server.
    pub may_connect: bool,
    pub memory_bytes_max: u64,
}

/// What there is to read of it.
pub enum Adhoc {
    Query(Box<LiveQuery>),
    /// SHOW, DESCRIBE, EXPLAIN, or a definition.
    Answer(Outcome),
}

impl Planner {
    /// Plans and starts a query, which keeps what it must on disk below `folder`.
    pub fn start_query(&self, request: &AdhocRequest, folder: &Path) -> Result<Adhoc, Refusal> {
        if request.sql.len() + request.setup.len() > SQL_BYTES_MAX {
            return Err(Refusal::wrong(format!("the SQL is longer than {SQL_BYTES_MAX} bytes")));
        }
        let mut session = self.query_session(request)?;
        self.define(&mut session, &request.setup, "setup")?;
        let wrong = |found: &[Diagnostic]| self.wrong_in("sql", &request.sql, found);
        let statements = parse_script(&request.sql).map_err(|all| wrong(&all))?;
        let Some((last, before)) = statements.split_last() else {
            return Err(Refusal::wrong_with("the SQL asks for nothing", "end it with SELECT, VALUES, SHOW or EXPLAIN"));
        };
        for statement in before {
            define_one(&mut session, statement).map_err(|one| wrong(&[one]))?;
        }
        check_reach(&session, request)?;
        match &last.kind {
            StatementKind::Query(query) => {
                let settings = query_settings(&session, request.memory_bytes_max)?;
                let context = PlanContext { settings: &settings, ..session.context() };
                start(folder, &context, query, request.reader).map_err(|error| match error {
                    QueryError::Wrong(found) => wrong(&[found]),
                    QueryError::Failed(error) => error.into(),
                })
            }
            StatementKind::Insert(_) | StatementKind::StatementSet(_) => Err(wrong(&[runs_as_a_job(last)])),
            _ => {
                let answered = session.execute(last).map_err(|one| wrong(&[one]))?;
                check_reach(&session, request)?;
                Ok(Adhoc::Answer(answered))
            }
        }
    }

    /// With the tables and views of the job that it names.
    fn query_session(&self, request: &AdhocRequest) -> Result<Session, Refusal> {
        let registry = Registry::new(Console::into_writer(Arc::new(Mutex::new(std::io::sink()))));
        let registry = RegistryConnectors::new(registry.with(Box::new(Http::serving(Arc::new(NoInboxes)))));
        let connectors = ConfinedConnectors::new(registry, Arc::clone(&self.reach), self.secrets.clone());
        let of_job = request.job.as_ref().map(|job| job.settings.clone()).unwrap_or_default();
        let mut settings = of_job;
        // How a job runs is its own; what its tables mean is theirs.
        settings.retain(|key, _| key.starts_with("table."));
        settings.extend(request.settings.clone());
        let settings = settings_of(&PlanRequest { settings, ..PlanRequest::default() })?;
        let mut session = Session::new(settings, Arc::new(connectors));
        let Some(job) = &request.job else { return Ok(session) };
        let wrong = |found: &[Diagnostic]| self.wrong_in("job", &job.sql, found);
        for statement in parse_script(&job.sql).map_err(|all| wrong(&all))? {
            if is_definition(&statement.kind) {
                session.execute(&statement).map_err(|one| wrong(&[one]))?;
            }
        }
        Ok(session)
    }

    fn define(&self, session: &mut Session, text: &str, name: &'static str) -> Result<(), Refusal> {
        let wrong = |found: &[Diagnostic]| self.wrong_in(name, text, found);
        for statement in parse_script(text).map_err(|all| wrong(&all))? {
            define_one(session, &statement).map_err(|one| wrong(&[one]))?;
        }
        Ok(())
    }

    fn wrong_in(&self, name: &'static str, text: &str, found: &[Diagnostic]) -> Refusal {
        Refusal::Sql(found.iter().map(|found| finding(found, name, text, self.redactor())).collect())
    }
}

fn start(folder: &Path, context: &PlanContext<'_>, query: &Query, reader: Reader) -> Result<Adhoc, QueryError> {
    Ok(Adhoc::Query(Box::new(LiveQuery::start_in(folder, context, query, reader)?)))
}

/// What a job's SQL says about its tables: all but what it runs, and how.
fn is_definition(kind: &StatementKind) -> bool {
    match kind {
        StatementKind::CreateTable(_) | StatementKind::CreateView(_) | StatementKind::Drop { .. } => true,
        StatementKind::Set(Some(setting)) => setting.key.value.starts_with("table."),
        _ => false,
    }
}

fn define_one(session: &mut Session, statement: &Statement) -> Result<(), Diagnostic> {
    match &statement.kind {
        StatementKind::CreateTable(_)
        | StatementKind::CreateView(_)
        | StatementKind::Drop { .. }
        | StatementKind::Set(Some(_))
        | StatementKind::Reset(_) => session.execute(statement).map(drop),
        StatementKind::Insert(_) | StatementKind::StatementSet(_) => Err(runs_as_a_job(statement)),
        _ => Err(Diagnostic::at(statement.span, "only the last statement can ask for rows")
            .with_hint("in front of it stand CREATE, DROP, SET and RESET; send each query on its own")),
    }
}

fn runs_as_a_job(statement: &Statement) -> Diagnostic {
    Diagnostic::at(statement.span, "INSERT runs as a job, not as a query")
        .with_hint("POST /api/v1/jobs makes a job of it")
}

/// Closed by default: any table leads out, also one that is not read.
fn check_reach(session: &Session, request: &AdhocRequest) -> Result<(), Refusal> {
    match session.catalog().tables().next() {
        Some(table) if !request.may_connect => Err(Refusal::NotAllowed(format!(
            "a query with tables, such as '{}', needs the role operate: they lead out of the server",
            table.name
        ))),
        _ => Ok(()),
    }
}

/// As the session has them, within what the server gives a query.
fn query_settings(session: &Session, memory_bytes_max: u64) -> Result<tidemill_sql::settings::Settings, Refusal> {
    let mut settings = session.settings().clone();
    let is_set = |key: &str| session.settings().set_values().any(|(other, _)| other == key);
    let mut defaults = Vec::new();
    if !is_set(PARALLELISM_KEY) {
        defaults.push((PARALLELISM_KEY, PARALLELISM.to_string()));
    }
    if settings.memory_budget_bytes().is_none() {
        defaults.push((MEMORY_KEY, memory_bytes_max.to_string()));
    }
    for (key, value) in defaults {
        settings.set_text(key, &value).map_err(|found| Refusal::Engine(format!("setting '{key}': {found}")))?;
    }
    let asked = settings.memory_budget_bytes().map_or(memory_bytes_max, |bytes| bytes as u64);
    match asked > memory_bytes_max {
        true => Err(Refusal::Limit(format!(
            "the query's memory budget of {asked} bytes is more than the {memory_bytes_max} that a query of this server may have \
             ('{MEMORY_KEY}')"
        ))),
        false => Ok(settings),
    }
}
