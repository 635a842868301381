//! Carries out statements in one session: answers at once, queries until they end, inserts in the background.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use tidemill_connectors::registry::Registry;
use tidemill_engine::EngineError;
use tidemill_sql::Diagnostic;
use tidemill_sql::parser::ast::Query;
use tidemill_sql::parser::{Statement, StatementKind};
use tidemill_sql::plan::{Output as Planned, PlannedJob, plan_job};
use tidemill_sql::session::{Outcome, Session};
use tidemill_sql::settings::Settings;

use super::format::{Format, Sheet, Style, rows_of};
use super::input::{Input, Item, Piece};
use super::jobs::{self, JOBS_MAX, Job, Jobs};
use super::output::{Output, say};
use super::remote::{self, Remote};
use super::running::{LocalQuery, Running};
use super::signals::Signals;
use super::terminal::Keyboard;
use super::{command, live, results, terminal};
use crate::connect::RegistryConnectors;
use crate::exit::Exit;
use crate::query::{LiveQuery, QueryError, Reader};
use crate::status;

/// How often a job in the foreground is looked at.
const TICK: Duration = Duration::from_millis(50);

/// Why a statement did not do what it says. The texts are whole messages.
#[derive(Debug)]
pub enum Failure {
    /// The SQL or the command is wrong.
    Wrong(String),
    /// It was right, and failed.
    Job(String),
    /// Ctrl-C.
    Interrupted,
    /// Whoever read the rows has had enough.
    OutputClosed,
    /// `\q`.
    Leave,
}

impl Failure {
    /// What is to be said of it.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Wrong(text) | Self::Job(text) => Some(text),
            Self::Interrupted | Self::OutputClosed | Self::Leave => None,
        }
    }

    pub fn exit(&self) -> Exit {
        match self {
            Self::Wrong(_) => Exit::WrongInput,
            Self::Job(_) => Exit::JobFailed,
            Self::Interrupted | Self::OutputClosed | Self::Leave => Exit::Success,
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::OutputClosed { .. } => Self::OutputClosed,
            error => Self::Job(format!("error: {error}")),
        }
    }
}

/// What can be set at the prompt, beside the session's own settings.
#[derive(Debug, Clone)]
pub struct Options {
    pub format: Format,
    pub expanded: bool,
    pub timing: bool,
    /// Rows that a table which changes keeps.
    pub rows_max: usize,
}

/// Rows of a table that changes: more than anybody reads, and some hundred megabytes at most.
pub const ROWS_MAX_DEFAULT: usize = 1_000_000;

/// A session with its jobs.
pub struct Shell {
    pub session: Session,
    pub jobs: Jobs,
    pub options: Options,
    pub output: Output,
    pub signals: Signals,
    /// Somebody sits at a prompt: INSERT goes to the background, and done is done with a word.
    pub at_prompt: bool,
    /// Of the prompt; a running query reads it too.
    pub keyboard: Option<Keyboard>,
    /// What was warned of already.
    warned: HashSet<String>,
    /// Files that `\i` is in the middle of.
    pub files_open: usize,
    /// For `\watch`.
    pub last_query: Option<String>,
    /// Carries out everything, where there is one.
    pub remote: Option<Remote>,
}

impl Shell {
    pub fn new(settings: Settings, options: Options, signals: Signals) -> Self {
        let connectors = Arc::new(RegistryConnectors::new(Registry::standard()));
        let session = Session::new(settings, connectors);
        let (jobs, output) = (Jobs::default(), Output::new());
        Self {
            session,
            jobs,
            options,
            output,
            signals,
            at_prompt: false,
            keyboard: None,
            warned: HashSet::new(),
            files_open: 0,
            last_query: None,
            remote: None,
        }
    }

    /// Everything that a text asks for; after a failure only `keep_going` goes on.
    pub fn run_text(&mut self, name: &str, text: &str, keep_going: bool) -> Result<(), Failure> {
        let mut input = Input::new(name);
        let items = input.push(text);
        let rest = input.finish();
        self.run_items(items.into_iter().chain(rest), keep_going)
    }

    /// Fails with the first failure, after all was done that is to be done.
    pub fn run_items(&mut self, items: impl IntoIterator<Item = Item>, keep_going: bool) -> Result<(), Failure> {
        let mut first = None;
        for item in items {
            match self.run_item(&item) {
                Ok(()) => {}
                Err(failure) if keep_going && failure.message().is_some() => {
                    say(failure.message().unwrap_or_default());
                    first.get_or_insert(failure);
                }
                Err(failure) => {
                    failure.message().into_iter().for_each(say);
                    return Err(failure);
                }
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn run_item(&mut self, item: &Item) -> Result<(), Failure> {
        let begun = Instant::now();
        let done = match item {
            Item::Command(text) => return command::run(self, text),
            Item::Statement(piece) => self.run_piece(piece),
        };
        if self.options.timing {
            say(&format!("time: {:.1} ms", begun.elapsed().as_secs_f64() * 1e3));
        }
        done
    }

    fn run_piece(&mut self, piece: &Piece) -> Result<(), Failure> {
        let statements = piece.parse().map_err(|found| {
            let texts: Vec<String> = found.iter().map(|found| piece.explain(found)).collect();
            Failure::Wrong(texts.join("\n"))
        })?;
        for statement in &statements {
            self.run_statement(statement, piece)?;
        }
        Ok(())
    }

    fn run_statement(&mut self, statement: &Statement, piece: &Piece) -> Result<(), Failure> {
        let wrong = |found: Diagnostic| Failure::Wrong(piece.explain(&found));
        if matches!(statement.kind, StatementKind::Query(_)) {
            self.last_query = Some(piece.text().to_string());
        }
        if let Some(mut remote) = self.remote.take() {
            let done = self.run_remotely(&mut remote, statement, piece);
            self.remote = Some(remote);
            return done;
        }
        match &statement.kind {
            StatementKind::Query(query) => self.select(query).map_err(|error| error.into_failure(piece)),
            StatementKind::Insert(insert) => {
                let planned = plan_job(&self.session.context(), &[Planned::Insert(insert)]).map_err(wrong)?;
                self.insert(planned, piece.text())
            }
            StatementKind::StatementSet(inserts) => {
                let outputs: Vec<Planned<'_>> = inserts.iter().map(Planned::Insert).collect();
                let planned = plan_job(&self.session.context(), &outputs).map_err(wrong)?;
                self.insert(planned, piece.text())
            }
            kind => {
                let outcome = self.session.execute(statement).map_err(wrong)?;
                self.answer(outcome, kind)
            }
        }
    }

    fn answer(&mut self, outcome: Outcome, kind: &StatementKind) -> Result<(), Failure> {
        match outcome {
            Outcome::Done { note } => {
                note.iter().for_each(|note| say(&format!("note: {note}")));
                if self.at_prompt {
                    say(done(kind));
                }
                Ok(())
            }
            Outcome::Rows(rows) => self.show_rows(&rows_of(&rows)?),
            Outcome::Text(text) => self.output.write(&format!("{}\n", text.trim_end())),
        }
    }

    /// Rows that are all there.
    pub fn show_rows(&mut self, rows: &RecordBatch) -> Result<(), Failure> {
        let mut sheet = Sheet::new(rows.schema(), self.style())?;
        let text = sheet.add(rows)? + &sheet.settle()?;
        let cut = sheet.is_cut();
        let text = text + &sheet.finish()?;
        self.output.write(&text)?;
        if cut {
            say(results::CUT_HINT);
        }
        Ok(())
    }

    pub fn style(&self) -> Style {
        let width = self.output.is_terminal().then(|| terminal::size().0);
        Style { format: self.options.format, expanded: self.options.expanded, width }
    }

    fn run_remotely(&mut self, remote: &mut Remote, statement: &Statement, piece: &Piece) -> Result<(), Failure> {
        if !matches!(statement.kind, StatementKind::Query(_)) {
            return remote::run(self, remote, statement, piece);
        }
        let begun = Instant::now();
        let mut running = remote::select(remote, piece, self.is_watched())?;
        self.warn(&running.warnings);
        self.show(&mut running, begun)
    }

    /// Somebody looks at a result as it changes.
    fn is_watched(&self) -> bool {
        self.keyboard.is_some() && self.output.is_terminal() && self.options.format == Format::Table
    }

    fn select(&mut self, query: &Query) -> Result<(), SelectError> {
        let begun = Instant::now();
        let reader = if self.is_watched() { Reader::Table } else { Reader::Rows };
        let running = LiveQuery::start(&self.session.context(), query, reader).map_err(SelectError::Start)?;
        self.warn(running.warnings());
        self.show(&mut LocalQuery::new(running), begun).map_err(SelectError::Run)
    }

    /// Shows a query to its end.
    fn show(&mut self, running: &mut dyn Running, begun: Instant) -> Result<(), Failure> {
        let keyboard = if self.is_watched() { self.keyboard.take() } else { None };
        match keyboard {
            Some(mut keyboard) => {
                let shown = live::show(self, running, &mut keyboard, begun);
                self.keyboard = Some(keyboard);
                shown
            }
            None => results::write(self, running),
        }
    }

    /// Says each warning once in a session.
    fn warn(&mut self, warnings: &[String]) {
        for warning in warnings {
            if self.warned.insert(warning.clone()) {
                say(&format!("warning: {warning}"));
            }
        }
    }

    fn insert(&mut self, planned: PlannedJob, text: &str) -> Result<(), Failure> {
        self.warn(&planned.warnings);
        if self.jobs.is_full() {
            return Err(Failure::Job(format!("error: {JOBS_MAX} jobs run already: \\stop one of them")));
        }
        let job = Job::start(planned, self.session.settings(), text)?;
        if self.at_prompt {
            let number = self.jobs.add(job);
            say(&format!("job {number} runs in the background: \\jobs shows it, \\stop {number} ends it"));
            return Ok(());
        }
        let outcome = loop {
            if let Some(outcome) = job.handle.wait_for(TICK) {
                break outcome;
            }
            if self.signals.take_interrupt() {
                jobs::end(&job.handle)?;
                return Err(Failure::Interrupted);
            }
        };
        status::losses(&outcome?.nodes).iter().for_each(|line| say(line));
        Ok(())
    }
}

/// A query's failure, before it is known where its text stands.
enum SelectError {
    Start(QueryError),
    Run(Failure),
}

impl SelectError {
    fn into_failure(self, piece: &Piece) -> Failure {
        match self {
            Self::Start(QueryError::Wrong(found)) => Failure::Wrong(piece.explain(&found)),
            Self::Start(QueryError::Failed(error)) => error.into(),
            Self::Run(failure) => failure,
        }
    }
}

/// The word at the prompt for what has no other answer.
pub fn done(kind: &StatementKind) -> &'static str {
    match kind {
        StatementKind::CreateTable(_) => "table created",
        StatementKind::CreateView(_) => "view created",
        StatementKind::Drop { .. } => "dropped",
        StatementKind::Set(_) => "set",
        StatementKind::Reset(_) => "reset",
        _ => "done",
    }
}
