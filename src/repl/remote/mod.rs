//! A shell whose statements a server carries out. What defines something (CREATE, DROP, SET, RESET) is kept here and sent
//! along with each query, so that the server holds nothing for a shell that may be gone.

use serde_json::{Map, Value, json};
use tidemill_sql::Diagnostic;
use tidemill_sql::parser::ast::Ident;
use tidemill_sql::parser::parse_script;
use tidemill_sql::parser::statement::{Statement, StatementKind};

use super::format::text_rows;
use super::input::Piece;
use super::output::say;
use super::shell::{Failure, Shell, done};
use crate::connection::{self, Connection, ServerArgs, text_of};
use crate::exit::Exit;

mod catalog;
mod query;

pub use catalog::{describe, list_entries, list_functions, list_jobs, stop_job};
pub use query::RemoteQuery;

/// Names that are tried for a job before the user has to choose one.
const NAMES_TRIED_MAX: usize = 100;

/// A server, and what this session has defined.
pub struct Remote {
    pub connection: Connection,
    /// From the command line.
    settings: Map<String, Value>,
    /// Statements that define, in their order.
    definitions: Vec<String>,
    /// Its tables and views can be used.
    pub job: Option<String>,
}

impl From<connection::Failure> for Failure {
    fn from(failure: connection::Failure) -> Self {
        match failure.exit {
            Exit::JobFailed => Self::Job(failure.text),
            _ => Self::Wrong(failure.text),
        }
    }
}

impl Remote {
    /// A server that answers.
    pub fn connect(server: &ServerArgs, settings: &[(String, String)]) -> Result<Self, Failure> {
        let connection = Connection::to(server)?;
        connection.ask("GET", "/queries", None)?;
        let settings = settings.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
        Ok(Self { connection, settings, definitions: Vec::new(), job: None })
    }

    /// All that was defined, as one text.
    fn setup(&self) -> String {
        self.definitions.iter().map(|text| format!("{text};\n")).collect()
    }

    fn body(&self, piece: &Piece) -> Value {
        let (setup, settings) = (self.setup(), &self.settings);
        let mut body = json!({ "sql": piece.padded(), "setup": setup, "settings": settings, "mode": "changelog" });
        if let Some(job) = &self.job {
            body["job"] = json!(job);
        }
        body
    }
}

/// What the server finds wrong, with its place in what was typed.
fn placed(failure: connection::Failure, piece: &Piece) -> Failure {
    let errors: Vec<String> = failure.problem["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|error| match (error["in"] == "sql", error["line"].as_u64(), error["column"].as_u64()) {
            (true, Some(line), Some(column)) => piece.explain(&Diagnostic {
                message: text_of(&error["message"]),
                line,
                column,
                end_column: error["end_column"].as_u64().unwrap_or(u64::MAX),
                hint: error["hint"].as_str().map(str::to_string),
            }),
            _ => text_of(&error["text"]),
        })
        .collect();
    if errors.is_empty() { failure.into() } else { Failure::Wrong(errors.join("\n")) }
}

/// Starts a query; `sorts`: its rows become a table here, which can sort them.
pub fn select(remote: &Remote, piece: &Piece, sorts: bool) -> Result<RemoteQuery, Failure> {
    let mut body = remote.body(piece);
    body["form"] = json!("arrow");
    body["order_by"] = json!(if sorts { "client" } else { "query" });
    let answer = remote.connection.stream("/queries", &body).map_err(|failure| placed(failure, piece))?;
    RemoteQuery::read(remote.connection.clone(), answer)
}

/// Carries out a statement that is no query of rows.
pub fn run(shell: &mut Shell, remote: &mut Remote, statement: &Statement, piece: &Piece) -> Result<(), Failure> {
    match &statement.kind {
        StatementKind::Insert(insert) => submit(shell, remote, piece, &insert.table),
        StatementKind::StatementSet(inserts) => match inserts.first() {
            Some(insert) => submit(shell, remote, piece, &insert.table),
            None => Ok(()),
        },
        kind => answer(shell, remote, piece, kind, statement),
    }
}

fn answer(
    shell: &mut Shell,
    remote: &mut Remote,
    piece: &Piece,
    kind: &StatementKind,
    statement: &Statement,
) -> Result<(), Failure> {
    let mut body = remote.body(piece);
    body["page_rows"] = json!(10_000);
    let found = remote.connection.ask("POST", "/queries", Some(&body)).map_err(|failure| placed(failure, piece))?;
    let is_definition = matches!(
        kind,
        StatementKind::CreateTable(_)
            | StatementKind::CreateView(_)
            | StatementKind::Drop { .. }
            | StatementKind::Set(Some(_))
            | StatementKind::Reset(_)
    );
    if is_definition {
        remote.definitions.push(piece.text().to_string());
        // The server found it right; here it is for completion alone.
        let _ = shell.session.execute(statement);
        found["warnings"].as_array().into_iter().flatten().for_each(|note| say(&format!("note: {}", text_of(note))));
        if shell.at_prompt {
            say(done(kind));
        }
        return Ok(());
    }
    let cells = |row: &Value| row.as_array().into_iter().flatten().map(text_of).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = found["rows"].as_array().into_iter().flatten().map(cells).collect();
    if found["text"] == true {
        let text = rows.concat().concat();
        return shell.output.write(&format!("{}\n", text.trim_end()));
    }
    let names = found["columns"].as_array().into_iter().flatten().map(|column| text_of(&column["name"]));
    shell.show_rows(&text_rows(&names.collect::<Vec<_>>(), &rows)?)
}

/// An INSERT becomes a job of the server, which goes on when the shell is gone.
fn submit(shell: &Shell, remote: &Remote, piece: &Piece, table: &Ident) -> Result<(), Failure> {
    let named = shell.session.settings().job_name().map(name_of);
    let stem = named.unwrap_or_else(|| name_of(&table.value));
    let (before, text) = (remote.setup(), piece.padded());
    let job = |name: &str| json!({ "name": name, "sql": format!("{before}{text}"), "settings": remote.settings });
    for number in 1..=NAMES_TRIED_MAX {
        let name = if number == 1 { stem.clone() } else { format!("{stem}-{number}") };
        match remote.connection.ask("POST", "/jobs", Some(&job(&name))) {
            Ok(made) => {
                let name = text_of(&made["name"]);
                say(&format!("job {name} runs on the server: \\jobs shows it, \\stop {name} ends it"));
                return Ok(());
            }
            Err(failure) if failure.kind == connection::EXISTS => {}
            Err(failure) => return Err(placed(behind(failure, before.matches('\n').count() as u64), piece)),
        }
    }
    Err(Failure::Wrong(format!(
        "error: there are {NAMES_TRIED_MAX} jobs '{stem}' already: SET 'pipeline.name' names this one"
    )))
}

/// The places of a problem without the lines that stood in front; what was wrong in those is told as it is.
fn behind(mut failure: connection::Failure, lines: u64) -> connection::Failure {
    for error in failure.problem["errors"].as_array_mut().into_iter().flatten() {
        match error["line"].as_u64() {
            Some(line) if line > lines => error["line"] = json!(line - lines),
            _ => error["in"] = json!("setup"),
        }
    }
    failure
}

/// As jobs may be named.
fn name_of(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    text.chars().map(plain).collect()
}

/// Uses the tables of a job from now on, or of none.
pub fn use_job(shell: &mut Shell, remote: &mut Remote, name: &str) -> Result<(), Failure> {
    if name == "none" {
        remote.job = None;
        return Ok(());
    }
    let job = remote.connection.ask("GET", &format!("/jobs/{}", connection::in_path(name)?), None)?;
    // For completion alone: the server knows the job.
    for statement in parse_script(&text_of(&job["sql"])).unwrap_or_default() {
        if matches!(statement.kind, StatementKind::CreateTable(_) | StatementKind::CreateView(_)) {
            let _ = shell.session.execute(&statement);
        }
    }
    remote.job = Some(name.to_string());
    Ok(())
}
