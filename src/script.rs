//! From a script file to jobs that can run. Nothing is started before the whole script was found right.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use tidemill_sql::Diagnostic;
use tidemill_sql::catalog::Connectors;
use tidemill_sql::parser::parse_script;
use tidemill_sql::parser::statement::{InsertQuery, Statement, StatementKind};
use tidemill_sql::plan::{Output, PlannedJob, plan_job};
use tidemill_sql::session::{Outcome, Session};
use tidemill_sql::settings::Settings;

use crate::cli::ScriptArgs;

/// A script as the user wrote it.
pub struct Script {
    pub name: String,
    pub text: String,
}

/// What a statement of a script asks for, in order.
pub enum Step {
    /// An answer that needs no job: SHOW, DESCRIBE, EXPLAIN, notes on options.
    Answer(String),
    Job(Box<ScriptJob>),
}

/// One job of a script, with the settings at its place.
pub struct ScriptJob {
    pub planned: PlannedJob,
    pub settings: Settings,
}

/// A script that was found right.
pub struct PlannedScript {
    pub steps: Vec<Step>,
}

/// Why a script cannot run, as text for the user.
pub struct ScriptError(pub String);

impl Script {
    pub fn of(args: &ScriptArgs) -> Result<Self, ScriptError> {
        match &args.text {
            Some(text) => Ok(Self { name: args.script.display().to_string(), text: text.clone() }),
            None => Self::load(&args.script),
        }
    }

    /// `-` is standard input.
    pub fn load(path: &Path) -> Result<Self, ScriptError> {
        if path == Path::new("-") {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            return match read {
                Ok(_) => Ok(Self { name: "standard input".into(), text }),
                Err(error) => Err(ScriptError(format!("error: cannot read standard input: {error}"))),
            };
        }
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => Err(ScriptError(format!("error: cannot read {name}: {error}"))),
        }
    }

    /// Plans everything that the script asks for.
    pub fn plan(&self, settings: Settings, connectors: Arc<dyn Connectors>) -> Result<PlannedScript, ScriptError> {
        let statements = parse_script(&self.text).map_err(|found| self.explain(&found))?;
        let mut planner = ScriptPlanner::new(settings, connectors);
        for statement in &statements {
            planner.add(statement).map_err(|found| self.explain(&[found]))?;
        }
        planner.finish().map_err(|found| self.explain(&[found]))
    }

    fn explain(&self, found: &[Diagnostic]) -> ScriptError {
        let texts: Vec<String> = found.iter().map(|found| found.render(&self.name, &self.text)).collect();
        ScriptError(texts.join("\n"))
    }
}

/// Walks through a script. INSERTs that stand together become one job, so that they share their sources; each SELECT
/// is a job of its own.
pub struct ScriptPlanner {
    session: Session,
    inserts: Vec<InsertQuery>,
    steps: Vec<Step>,
}

impl ScriptPlanner {
    pub fn new(settings: Settings, connectors: Arc<dyn Connectors>) -> Self {
        Self { session: Session::new(settings, connectors), inserts: Vec::new(), steps: Vec::new() }
    }

    /// What the statements so far have made.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    pub fn add(&mut self, statement: &Statement) -> Result<(), Diagnostic> {
        match &statement.kind {
            StatementKind::Insert(insert) => self.inserts.push(insert.clone()),
            StatementKind::StatementSet(inserts) => self.inserts.extend(inserts.iter().cloned()),
            StatementKind::Query(query) => {
                self.plan_inserts()?;
                self.plan(&[Output::Print(query)])?;
            }
            kind => {
                if changes_meaning(kind) {
                    self.plan_inserts()?;
                }
                self.answer(statement)?;
            }
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<PlannedScript, Diagnostic> {
        self.plan_inserts()?;
        Ok(PlannedScript { steps: self.steps })
    }

    fn plan_inserts(&mut self) -> Result<(), Diagnostic> {
        let inserts = std::mem::take(&mut self.inserts);
        if inserts.is_empty() {
            return Ok(());
        }
        let outputs: Vec<Output<'_>> = inserts.iter().map(Output::Insert).collect();
        self.plan(&outputs)
    }

    fn plan(&mut self, outputs: &[Output<'_>]) -> Result<(), Diagnostic> {
        let planned = plan_job(&self.session.context(), outputs)?;
        let settings = self.session.settings().clone();
        self.steps.push(Step::Job(Box::new(ScriptJob { planned, settings })));
        Ok(())
    }

    fn answer(&mut self, statement: &Statement) -> Result<(), Diagnostic> {
        match self.session.execute(statement)? {
            Outcome::Done { note } => self.steps.extend(note.map(Step::Answer)),
            Outcome::Rows(rows) => self.steps.push(Step::Answer(rows.to_string())),
            Outcome::Text(text) => self.steps.push(Step::Answer(text)),
        }
        Ok(())
    }
}

/// True for statements after which an earlier INSERT would mean something else.
fn changes_meaning(kind: &StatementKind) -> bool {
    matches!(kind, StatementKind::Drop { .. } | StatementKind::Set(Some(_)) | StatementKind::Reset(_))
}

impl PlannedScript {
    /// What the user should know before the jobs run, each said once.
    pub fn warnings(&self) -> Vec<&str> {
        let mut warnings: Vec<&str> = Vec::new();
        for warning in self.jobs().flat_map(|job| &job.planned.warnings) {
            if !warnings.contains(&warning.as_str()) {
                warnings.push(warning);
            }
        }
        warnings
    }

    pub fn jobs(&self) -> impl Iterator<Item = &ScriptJob> {
        self.steps.iter().filter_map(|step| match step {
            Step::Job(job) => Some(job.as_ref()),
            Step::Answer(_) => None,
        })
    }
}
