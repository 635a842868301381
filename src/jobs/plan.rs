//! From a job's SQL to a graph that can run on a server: planned with the server's connectors, findings with their places.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tidemill_connectors::http::Http;
use tidemill_connectors::http::posted::Inboxes;
use tidemill_connectors::print::Console;
use tidemill_connectors::registry::Registry;
use tidemill_sql::Diagnostic;
use tidemill_sql::catalog::{ColumnKind, Entry, TableDefinition};
use tidemill_sql::parser::parse_script;
use tidemill_sql::secret::{is_secret, without_secrets};
use tidemill_sql::session::{Outcome, Session};
use tidemill_sql::settings::Settings;
use tidemill_sql::types::quote_identifier;

use super::confine::ConfinedConnectors;
use super::inlets::NoInboxes;
use super::reach::Reach;
use super::refusal::Refusal;
use super::secrets::{Redactor, Secrets};
use crate::connect::RegistryConnectors;
use crate::script::{PlannedScript, ScriptJob, ScriptPlanner, Step};

/// Stored and planned whole: far beyond what people write, far below what would hurt.
pub const SQL_BYTES_MAX: usize = 1 << 20;
/// Servers are in no place: unlike a command at a desk they do not go by their machine's time zone.
const TIME_ZONE: &str = "UTC";

/// Something wrong with the SQL; lines and columns count from 1, in characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// Behind the last character of the place, where it ends in this line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_column: Option<u64>,
    /// Which text the place is in: that of an ad-hoc query, of its setup, or of the job whose tables it uses.
    #[serde(rename = "in")]
    pub text_name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The source line with carets under the place, as a terminal shows it.
    pub text: String,
}

/// What is to be planned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanRequest {
    pub sql: String,
    pub settings: BTreeMap<String, String>,
    pub parallelism: Option<usize>,
}

/// Plans the jobs of a server.
pub struct Planner {
    pub reach: Arc<Reach>,
    pub secrets: Secrets,
}

/// A script that was found right.
pub struct Planned {
    pub script: PlannedScript,
    pub objects: Vec<CatalogObject>,
}

/// A table or view that a job's SQL defines.
#[derive(Debug, Clone, Serialize)]
pub struct CatalogObject {
    pub name: String,
    pub kind: &'static str,
    pub columns: Vec<CatalogColumn>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub primary_key: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct CatalogColumn {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: String,
    pub nullable: bool,
}

impl Planner {
    pub fn redactor(&self) -> &Redactor {
        self.secrets.redactor()
    }

    /// Plans all that the text asks for; nothing is started. Rows of its SELECTs go to `rows`.
    pub fn plan(&self, request: &PlanRequest, rows: Arc<Mutex<dyn Write + Send>>) -> Result<Planned, Refusal> {
        self.plan_with(request, rows, Arc::new(NoInboxes))
    }

    fn plan_with(
        &self,
        request: &PlanRequest,
        rows: Arc<Mutex<dyn Write + Send>>,
        inboxes: Arc<dyn Inboxes>,
    ) -> Result<Planned, Refusal> {
        if request.sql.len() > SQL_BYTES_MAX {
            return Err(Refusal::wrong(format!("the SQL is longer than {SQL_BYTES_MAX} bytes")));
        }
        let registry = Registry::new(Console::into_writer(rows)).with(Box::new(Http::serving(inboxes)));
        let registry = RegistryConnectors::new(registry);
        let connectors = ConfinedConnectors::new(registry, Arc::clone(&self.reach), self.secrets.clone());
        let found = |found: &[Diagnostic]| {
            Refusal::Sql(found.iter().map(|found| finding(found, "sql", &request.sql, self.redactor())).collect())
        };
        let settings = settings_of(request)?;
        let statements = parse_script(&request.sql).map_err(|all| found(&all))?;
        let mut planner = ScriptPlanner::new(settings, Arc::new(connectors));
        for statement in &statements {
            planner.add(statement).map_err(|one| found(&[one]))?;
        }
        let objects = objects_of(planner.session());
        let mut script = planner.finish().map_err(|one| found(&[one]))?;
        self.hide_in(&mut script);
        Ok(Planned { script, objects })
    }

    /// As [`Self::plan`], of a text that is one job. `inboxes` has the logs of its tables that are posted to.
    pub fn plan_job(
        &self,
        request: &PlanRequest,
        rows: Arc<Mutex<dyn Write + Send>>,
        inboxes: Arc<dyn Inboxes>,
    ) -> Result<ScriptJob, Refusal> {
        let steps = self.plan_with(request, rows, inboxes)?.script.steps;
        let mut jobs = steps.into_iter().filter_map(|step| match step {
            Step::Job(job) => Some(*job),
            Step::Answer(_) => None,
        });
        let one = jobs.next();
        match (one, jobs.count()) {
            (Some(job), 0) => check_settings(job),
            (None, _) => Err(Refusal::wrong_with("the SQL runs nothing", "end it with INSERT INTO ... or SELECT ...")),
            (Some(_), more) => Err(Refusal::wrong_with(
                format!("the SQL is {} jobs, but a job of a server is one", more + 1),
                "put its INSERTs into EXECUTE STATEMENT SET BEGIN ... END, and each SELECT into a job of its own",
            )),
        }
    }

    fn hide_in(&self, script: &mut PlannedScript) {
        for step in &mut script.steps {
            match step {
                Step::Answer(text) => *text = self.redactor().hide(text),
                Step::Job(job) => {
                    job.planned.warnings.iter_mut().for_each(|warning| *warning = self.redactor().hide(warning));
                }
            }
        }
    }
}

pub(super) fn settings_of(request: &PlanRequest) -> Result<Settings, Refusal> {
    let mut settings = Settings::new();
    let zone = [("table.local-time-zone".to_string(), TIME_ZONE.to_string())];
    let parallelism = request.parallelism.map(|one| ("parallelism.default".to_string(), one.to_string()));
    let given = request.settings.iter().map(|(key, value)| (key.clone(), value.clone()));
    for (key, value) in zone.into_iter().chain(given).chain(parallelism) {
        settings.set_text(&key, &value).map_err(|found| Refusal::Wrong {
            message: format!("setting '{key}' = '{value}': {}", found.message),
            hint: found.hint,
        })?;
    }
    Ok(settings)
}

/// The server itself knows where state goes.
fn check_settings(job: ScriptJob) -> Result<ScriptJob, Refusal> {
    match job.settings.checkpoint_dir() {
        None => Ok(job),
        Some(_) => Err(Refusal::wrong_with(
            "a job of a server cannot set 'execution.checkpointing.dir'",
            "leave it out: the server keeps each job's state below its --data-dir",
        )),
    }
}

/// A finding in the text of this name.
pub(super) fn finding(found: &Diagnostic, name: &'static str, sql: &str, redactor: &Redactor) -> Finding {
    let place = |number: u64| found.has_place().then_some(number);
    Finding {
        message: redactor.hide(&found.message),
        line: place(found.line),
        column: place(found.column),
        end_column: place(found.end_column).filter(|end| *end != u64::MAX),
        text_name: name,
        hint: found.hint.as_ref().map(|hint| redactor.hide(hint)),
        text: redactor.hide(&found.render(name, sql)),
    }
}

/// The SQL as it may be shown: passwords that stand in it plainly are starred.
pub fn shown_sql(sql: &str) -> String {
    sql.split_inclusive('\n').map(without_secrets).collect()
}

fn objects_of(session: &mut Session) -> Vec<CatalogObject> {
    let entries: Vec<(String, Entry)> =
        session.catalog().entries().map(|(name, entry)| (name.to_string(), entry.clone())).collect();
    entries.into_iter().map(|(name, entry)| object(session, name, entry)).collect()
}

fn object(session: &mut Session, name: String, entry: Entry) -> CatalogObject {
    match entry {
        Entry::Table(table) => {
            let options = table.options.iter().map(|(key, value)| {
                let shown = if is_secret(key) { "******".to_string() } else { value.clone() };
                (key.clone(), shown)
            });
            CatalogObject {
                kind: "table",
                columns: table.columns.iter().map(|column| table_column(&table, &column.name)).collect(),
                primary_key: table.primary_key.clone(),
                watermark: table.watermark.as_ref().map(|mark| format!("{} AS {}", mark.column, mark.text)),
                options: options.collect(),
                query: None,
                name,
            }
        }
        Entry::View(view) => CatalogObject {
            kind: "view",
            columns: view_columns(session, &name),
            primary_key: Vec::new(),
            watermark: None,
            options: BTreeMap::new(),
            query: Some(view.query_text),
            name,
        },
    }
}

fn table_column(table: &TableDefinition, name: &str) -> CatalogColumn {
    let column = table.column(name).expect("a column of this table");
    let data_type = match &column.kind {
        // What a computed column is of, the planner found out.
        ColumnKind::Computed(_) => tidemill_engine::type_name::sql_type_name(&column.data_type),
        _ => column.sql_type.to_string(),
    };
    CatalogColumn { name: column.name.clone(), data_type, nullable: column.nullable }
}

/// As DESCRIBE tells them: name, type, whether NULL may be there.
fn view_columns(session: &mut Session, name: &str) -> Vec<CatalogColumn> {
    let text = format!("DESCRIBE {}", quote_identifier(name));
    let described = parse_script(&text).ok().and_then(|statements| session.execute(statements.first()?).ok());
    let Some(Outcome::Rows(rows)) = described else { return Vec::new() };
    let columns = rows.rows.into_iter().map(|row| CatalogColumn {
        name: row[0].clone(),
        data_type: row[1].clone(),
        nullable: row.get(2).is_none_or(|null| !null.eq_ignore_ascii_case("false")),
    });
    columns.collect()
}
