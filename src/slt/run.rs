//! `tidemill test`: runs the steps of test files in one or many worlds and reports what differs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_connectors::print::Console;
use tidemill_connectors::registry::Registry;
use tidemill_engine::runtime::{JobHandle, JobOptions, RestartStrategy, start};
use tidemill_sql::catalog::Connectors;
use tidemill_sql::parser::parse_script;
use tidemill_sql::parser::statement::{InsertQuery, Statement, StatementKind};
use tidemill_sql::plan::{Output, PlannedJob, plan_job};
use tidemill_sql::session::{Outcome, Session};
use tidemill_sql::settings::Settings;

use super::answers::{Answers, QUERY};
use super::compare::{AnswerRow, changelog, difference, fold, fold_upserts};
use super::file::{AnswerForm, Expected, Step, StepKind, parse};
use super::source::{GateKind, Script, ScriptConnector};
use super::world::{TwoPhase, WORLDS, World, select};
use crate::cli::TestArgs;
use crate::connect::{PrintingTo, RegistryConnectors};
use crate::exit::Exit;
use crate::screen::answer;

/// A test's job that runs longer than this is stuck.
const JOB_TIMEOUT: Duration = Duration::from_secs(60);
/// Stands in SQL for the folder of the test's files.
const FILES: &str = "$files";
/// How often a running job is looked at.
const POLL: Duration = Duration::from_millis(1);

/// Runs all files of `args`; prints one line per failure and a summary.
pub fn run(args: &TestArgs) -> Exit {
    if args.list_worlds {
        WORLDS.iter().for_each(|world| answer(&format!("{:12} {}", world.name, world.purpose)));
        return Exit::Success;
    }
    let worlds = match select(if args.update { "default" } else { &args.worlds }) {
        Ok(worlds) => worlds,
        Err(message) => {
            eprintln!("error: {message}");
            return Exit::WrongInput;
        }
    };
    let files = match files(&args.files) {
        Ok(files) => files,
        Err(message) => {
            eprintln!("error: {message}");
            return Exit::WrongInput;
        }
    };
    let mut totals = Totals::default();
    for file in &files {
        run_file(file, &worlds, args.update, &mut totals);
    }
    totals.report(files.len(), worlds.len())
}

#[derive(Default)]
struct Totals {
    passed: usize,
    failed: usize,
}

impl Totals {
    fn report(&self, files: usize, worlds: usize) -> Exit {
        answer(&format!("{files} files in {worlds} worlds"));
        answer(&format!("{} passed, {} failed", self.passed, self.failed));
        if self.failed == 0 { Exit::Success } else { Exit::TestFailed }
    }
}

/// `.slt` files under the given paths, sorted.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() { collect(path, &mut files)? } else { files.push(path.clone()) }
    }
    files.sort();
    if files.is_empty() { Err("no .slt file found".to_string()) } else { Ok(files) }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            files.push(path);
        }
    }
    Ok(())
}

fn run_file(path: &Path, worlds: &[&'static World], update: bool, totals: &mut Totals) {
    let name = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return fail(totals, format!("{name}: {error}")),
    };
    let steps = match parse(&text) {
        Ok(steps) => steps,
        Err(error) => return fail(totals, format!("{name}: {error}")),
    };
    let mut updates = Vec::new();
    for world in worlds {
        let mut test = Test::new(world, update);
        for step in &steps {
            match test.step(step) {
                Ok(Checked::Nothing) => {}
                Ok(Checked::Right) => totals.passed += 1,
                Err(message) => fail(totals, format!("{name}:{} [{}] {message}", step.line, world.name)),
            }
        }
        updates.append(&mut test.updates);
    }
    if update && !updates.is_empty() {
        let updated = apply(&text, updates);
        if let Err(error) = std::fs::write(path, updated) {
            fail(totals, format!("{name}: {error}"));
        }
    }
}

fn fail(totals: &mut Totals, message: String) {
    totals.failed += 1;
    answer(&format!("FAILED {message}"));
}

/// Replaces expected rows, last first so that line numbers stay right.
fn apply(text: &str, mut updates: Vec<(Expected, Vec<String>)>) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    updates.sort_by_key(|(expected, _)| std::cmp::Reverse(expected.line));
    for (expected, rows) in updates {
        let start = expected.line - 1;
        lines.splice(start..start + expected.rows.len(), rows);
    }
    lines.join("\n") + "\n"
}

/// What a step gave for the count of cases.
enum Checked {
    Nothing,
    Right,
}

/// One file in one world.
struct Test {
    world: &'static World,
    update: bool,
    session: Session,
    script: Arc<Script>,
    answers: Arc<Answers>,
    /// Worlds of the next query or run, when an `only` step names some.
    only: Option<Vec<String>>,
    /// What `$files` stands for; made when first needed.
    files: Option<tempfile::TempDir>,
    /// The last `run` was left out in this world, so `expect` has nothing to say.
    skipped: bool,
    updates: Vec<(Expected, Vec<String>)>,
}

impl Test {
    fn new(world: &'static World, update: bool) -> Self {
        let (script, answers) = (Arc::<Script>::default(), Arc::<Answers>::default());
        let session = Session::new(settings_of(world), Arc::new(connectors(&script, &answers)));
        Self { world, update, session, script, answers, only: None, files: None, skipped: false, updates: Vec::new() }
    }

    fn step(&mut self, step: &Step) -> Result<Checked, String> {
        let mut kind = step.kind.clone();
        if let Some(sql) = kind.sql_mut().filter(|sql| sql.contains(FILES)) {
            *sql = sql.replace(FILES, &self.folder()?.display().to_string());
        }
        match &kind {
            StepKind::Only { worlds } => {
                self.only = Some(worlds.clone());
                Ok(Checked::Nothing)
            }
            StepKind::Rows { table, split, lines } => {
                self.script.add(table, split, lines);
                Ok(Checked::Nothing)
            }
            StepKind::File { name, lines } => self.write_file(name, lines).map(|()| Checked::Nothing),
            StepKind::Statement { sql } => self.statement(sql).map(|_| Checked::Nothing),
            StepKind::StatementError { sql, message } => must_fail(self.statement(sql).map(|_| ()), message),
            StepKind::Show { sql, expected } => {
                let text = self.statement(sql)?;
                let rows: Vec<String> = text.lines().map(|line| line.trim_end().to_string()).collect();
                self.compare(expected, rows, true)
            }
            _ if self.left_out(&kind) => Ok(Checked::Nothing),
            StepKind::Query { sql, form, expected } => {
                self.run_job(sql)?;
                self.check_answer(QUERY, *form, expected)
            }
            StepKind::JobError { sql, message } => must_fail(self.run_job(sql), message),
            StepKind::Run { sql } => self.run_job(sql).map(|()| Checked::Nothing),
            StepKind::Expect { sink, form, expected } => self.check_answer(sink, *form, expected),
        }
    }

    fn folder(&mut self) -> Result<&Path, String> {
        let folder = match self.files.take() {
            Some(folder) => folder,
            None => tempfile::tempdir().map_err(|error| error.to_string())?,
        };
        Ok(self.files.insert(folder).path())
    }

    fn write_file(&mut self, name: &str, lines: &[String]) -> Result<(), String> {
        let path = self.folder()?.join(name);
        let folder = path.parent().expect("below the folder of all files");
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, text));
        written.map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Whether an `only` step keeps the current query, run or expectation from this world. What a run is expected to
    /// have written is left out with it.
    fn left_out(&mut self, kind: &StepKind) -> bool {
        match self.only.take() {
            Some(worlds) => self.skipped = !worlds.iter().any(|name| name == self.world.name),
            None if matches!(kind, StepKind::Expect { .. }) => {}
            None => self.skipped = false,
        }
        self.skipped
    }

    /// Runs a statement that needs no job, or plans one that does; the answer as text.
    fn statement(&mut self, sql: &str) -> Result<String, String> {
        let mut text = String::new();
        for statement in parsed(sql)? {
            if is_job(&statement.kind) {
                self.plan(std::slice::from_ref(&statement), sql)?;
                continue;
            }
            match self.session.execute(&statement).map_err(|found| found.render("test", sql))? {
                Outcome::Done { .. } => {}
                Outcome::Rows(rows) => text.push_str(&rows.to_string()),
                Outcome::Text(answer) => text.push_str(&answer),
            }
        }
        Ok(text)
    }

    fn plan(&self, statements: &[Statement], sql: &str) -> Result<PlannedJob, String> {
        let mut inserts: Vec<InsertQuery> = Vec::new();
        let mut outputs = Vec::new();
        for statement in statements {
            match &statement.kind {
                StatementKind::Insert(insert) => inserts.push(insert.clone()),
                StatementKind::StatementSet(set) => inserts.extend(set.iter().cloned()),
                StatementKind::Query(query) => outputs.push(Output::Print(query)),
                _ => return Err("only INSERT and SELECT make a job".to_string()),
            }
        }
        outputs.extend(inserts.iter().map(Output::Insert));
        plan_job(&self.session.context(), &outputs).map_err(|found| found.render("test", sql))
    }

    fn run_job(&mut self, sql: &str) -> Result<(), String> {
        self.answers.clear();
        self.script.rewind();
        let statements = parsed(sql)?;
        let planned = self.plan(&statements, sql)?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let options = self.options(folder.path());
        let graph = Arc::new(planned.graph);
        let begin = || start(Arc::clone(&graph), options.clone()).map_err(|error| error.to_string());
        let mut job = begin()?;
        let deadline = Instant::now() + JOB_TIMEOUT;
        loop {
            if let Some(outcome) = job.wait_for(POLL) {
                return outcome.map(|_| ()).map_err(|error| error.to_string());
            }
            if Instant::now() > deadline {
                return Err(format!("still running after {} s", JOB_TIMEOUT.as_secs()));
            }
            if let Some(gate) = self.script.gates().waiting() {
                job = pass_gate(gate, job, &begin)?;
                self.script.gates().open_next();
            }
        }
    }

    fn options(&self, folder: &Path) -> JobOptions {
        let settings = self.session.settings();
        let mut options = crate::options::job_options("test", settings, folder.to_path_buf());
        options.checkpoint_interval = None;
        options.restart = RestartStrategy::never();
        options.parallelism = self.world.parallelism;
        options.batch_rows = self.world.batch_rows;
        options.checkpoint_every_batches = self.world.restart_every_batches;
        options.crash_after_checkpoint = self.world.restart_every_batches.is_some();
        options.memory_budget_bytes = self.world.memory_budget_bytes.unwrap_or(options.memory_budget_bytes);
        options
    }

    fn check_answer(&mut self, sink: &str, form: AnswerForm, expected: &Expected) -> Result<Checked, String> {
        let rows = self.answers.rows(sink).map_err(|error| error.to_string())?;
        let rows = rows.ok_or_else(|| format!("no job wrote to '{sink}'"))?;
        let key = self.answers.key(sink);
        if form == AnswerForm::Folded {
            return self.compare(expected, table_of(&rows, key.as_deref())?, false);
        }
        if self.world.keeps_order() && self.world.batch_rows > 1 || self.update {
            return self.compare(expected, changelog(&rows), true);
        }
        self.compare_folded_changelog(expected, &rows, key.as_deref())
    }

    /// Where the order of changes is not fixed, the table that they add up to must be the same.
    fn compare_folded_changelog(
        &mut self,
        expected: &Expected,
        actual: &[AnswerRow],
        key: Option<&[usize]>,
    ) -> Result<Checked, String> {
        let expected_rows =
            expected.rows.iter().filter_map(|row| super::compare::parse_change(row)).collect::<Vec<_>>();
        let (table, actual) = (table_of(&expected_rows, key)?, table_of(actual, key)?);
        match difference(&table, &actual, false) {
            None => Ok(Checked::Right),
            Some(difference) => Err(format!("the table differs:\n{difference}")),
        }
    }

    fn compare(&mut self, expected: &Expected, actual: Vec<String>, ordered: bool) -> Result<Checked, String> {
        match difference(&expected.rows, &actual, ordered) {
            None => Ok(Checked::Right),
            Some(_) if self.update => {
                self.updates.push((expected.clone(), actual));
                Ok(Checked::Right)
            }
            Some(difference) => Err(format!("the answer differs (- expected, + actual):\n{difference}")),
        }
    }
}

/// The table that changes add up to; `key`: of a sink that upserts.
fn table_of(rows: &[AnswerRow], key: Option<&[usize]>) -> Result<Vec<String>, String> {
    match key {
        None => fold(rows),
        Some(key) => fold_upserts(rows, key),
    }
}

fn must_fail(outcome: Result<(), String>, message: &str) -> Result<Checked, String> {
    match outcome {
        Ok(()) => Err(format!("succeeded, but must fail with: {message}")),
        Err(text) if text.contains(message) => Ok(Checked::Right),
        Err(text) => Err(format!("must fail with: {message}\nbut failed with: {text}")),
    }
}

fn pass_gate(
    gate: GateKind,
    job: JobHandle,
    begin: &dyn Fn() -> Result<JobHandle, String>,
) -> Result<JobHandle, String> {
    if gate != GateKind::Kill {
        // A world that restarts by itself may be between two attempts: its own checkpoints cover this one.
        let _ = job.checkpoint();
    }
    if gate == GateKind::Checkpoint {
        return Ok(job);
    }
    job.cancel();
    // Cancelled: whatever came of it, the next attempt starts from the last checkpoint.
    let _ = job.wait();
    drop(job);
    begin()
}

fn parsed(sql: &str) -> Result<Vec<Statement>, String> {
    parse_script(sql)
        .map_err(|found| found.iter().map(|found| found.render("test", sql)).collect::<Vec<_>>().join("\n"))
}

fn is_job(kind: &StatementKind) -> bool {
    matches!(kind, StatementKind::Insert(_) | StatementKind::StatementSet(_) | StatementKind::Query(_))
}

fn settings_of(world: &World) -> Settings {
    let mut settings = Settings::new();
    let mut set = |key: &str, value: &str| settings.set_text(key, value).map(|_| ()).expect("a known option");
    set("table.local-time-zone", "UTC");
    if !world.optimizer {
        set("tidemill.optimizer.enabled", "false");
    }
    if world.mini_batch {
        set("table.exec.mini-batch.enabled", "true");
        set("table.exec.mini-batch.size", "5");
    }
    let phases = match world.two_phase {
        TwoPhase::Auto => "AUTO",
        TwoPhase::Never => "ONE_PHASE",
        TwoPhase::Always => "TWO_PHASE",
    };
    set("table.optimizer.agg-phase-strategy", phases);
    settings
}

/// The program's connectors, with `script` tables, and queries that end in memory.
fn connectors(script: &Arc<Script>, answers: &Arc<Answers>) -> impl Connectors + use<> {
    let tables = ScriptConnector { script: Arc::clone(script), answers: Arc::clone(answers) };
    let registry = Registry::new(Console::process()).with(Box::new(tables));
    let answers = Arc::clone(answers);
    PrintingTo::new(Box::new(RegistryConnectors::new(registry)), move |schema, _| answers.sink(QUERY, schema, None))
}
