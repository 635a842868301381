//! `tidemill run`: plans a script, runs its jobs one after another, shows their status, and ends them in good order.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidemill_connectors::print::Console;
use tidemill_connectors::registry::Registry;
use tidemill_engine::EngineError;
use tidemill_engine::runtime::{JobHandle, JobSummary, start};
use tidemill_engine::time::{Clock, SystemClock};
use tidemill_sql::settings::Settings;

use crate::cli::{RunArgs, ScriptArgs};
use crate::connect::RegistryConnectors;
use crate::exit::Exit;
use crate::screen::{Screen, answer, columns};
use crate::script::{PlannedScript, Script, ScriptError, ScriptJob, Step};
use crate::status::{self, StatusLine};
use crate::{control, memory, options};

/// How often the status line is drawn and signals are looked at.
const TICK: Duration = Duration::from_millis(100);
/// The status line changes twice a second: often enough to be live, seldom enough to be read.
const TICKS_PER_STATUS: u32 = 5;

/// Settings from the command line, before the script's own.
pub fn settings_of(given: &[(String, String)]) -> Result<Settings, ScriptError> {
    let mut settings = Settings::new();
    let zone = iana_time_zone::get_timezone().unwrap_or_else(|_| "UTC".to_string());
    let defaults = [("table.local-time-zone".to_string(), zone)];
    for (key, value) in defaults.iter().chain(given) {
        settings.set_text(key, value).map_err(|found| ScriptError(format!("error: --set {key}={value}: {found}")))?;
    }
    Ok(settings)
}

/// Loads and plans a script; rows of its queries go to `screen`.
pub fn plan(args: &ScriptArgs, parallelism: Option<usize>, screen: &Screen) -> Result<PlannedScript, ScriptError> {
    let script = Script::of(args)?;
    let mut settings = settings_of(&args.settings)?;
    if let Some(parallelism) = parallelism {
        let set = settings.set_text("parallelism.default", &parallelism.to_string());
        set.map_err(|found| ScriptError(format!("error: --parallelism: {found}")))?;
    }
    let registry = Registry::new(Console::into_writer(screen.rows()));
    script.plan(settings, Arc::new(RegistryConnectors::new(registry)))
}

/// Runs the script of `args`; everything the user must know was said when this returns.
pub fn run(args: &RunArgs) -> Exit {
    let screen = Screen::new(args.quiet);
    let planned = match plan(&args.script, args.parallelism, &screen) {
        Ok(planned) => planned,
        Err(ScriptError(text)) => {
            screen.say(text.trim_end());
            return Exit::WrongInput;
        }
    };
    planned.warnings().iter().for_each(|warning| screen.say(&format!("warning: {warning}")));
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            screen.say(&format!("error: cannot catch Ctrl-C: {error}"));
            return Exit::JobFailed;
        }
    };
    run_steps(args, planned, &screen, &signals)
}

fn run_steps(args: &RunArgs, planned: PlannedScript, screen: &Screen, signals: &Signals) -> Exit {
    let jobs = planned.jobs().count();
    let mut number = 0;
    for step in planned.steps {
        let job = match step {
            Step::Answer(text) => {
                answer(&text);
                continue;
            }
            Step::Job(job) => job,
        };
        number += 1;
        let state = match StateDir::of(args, &job, number, jobs) {
            Ok(state) => state,
            Err(error) => {
                screen.say(&format!("error: {error}"));
                return Exit::JobFailed;
            }
        };
        let exit = run_job(args, *job, &state, screen, signals);
        if exit != Exit::Success || signals.count() > 0 {
            return exit;
        }
    }
    Exit::Success
}

/// Where a job keeps its state; a temporary folder when the user named none.
struct StateDir {
    path: PathBuf,
    /// Deleted with this value.
    temporary: Option<tempfile::TempDir>,
}

impl StateDir {
    /// A script with several jobs gives each a folder of its own.
    fn of(args: &RunArgs, job: &ScriptJob, number: usize, jobs: usize) -> Result<Self, EngineError> {
        let set = job.settings.checkpoint_dir().map(|dir| PathBuf::from(dir.strip_prefix("file://").unwrap_or(dir)));
        match args.state_dir.clone().or(set) {
            Some(path) if jobs == 1 => Ok(Self { path, temporary: None }),
            Some(path) => Ok(Self { path: path.join(format!("job-{number}")), temporary: None }),
            None => {
                let folder = tempfile::tempdir().map_err(|e| EngineError::io("create", std::env::temp_dir(), e))?;
                Ok(Self { path: folder.path().to_path_buf(), temporary: Some(folder) })
            }
        }
    }
}

fn run_job(args: &RunArgs, job: ScriptJob, state: &StateDir, screen: &Screen, signals: &Signals) -> Exit {
    let graph = Arc::new(job.planned.graph);
    let mut options = options::job_options(&graph.name, &job.settings, state.path.clone());
    options.restore = options::restore(args);
    if job.settings.memory_budget_bytes().is_none() {
        options.memory_budget_bytes = memory::budget_of_only_job();
    }
    let handle = match start(graph, options) {
        Ok(handle) => Arc::new(handle),
        Err(error) => return failed(&error, screen),
    };
    let control = match &state.temporary {
        Some(_) => None,
        None => control::serve(&state.path, Arc::clone(&handle))
            .inspect_err(|error| {
                screen.say(&format!("warning: `tidemill savepoint` will not reach this job: {error}"));
            })
            .ok(),
    };
    let outcome = watch(&handle, args, screen, signals);
    if let Some(control) = control {
        control.withdraw();
    }
    screen.clear();
    match outcome {
        Ok(summary) => {
            if !args.quiet {
                screen.say(&status::summary(&summary));
            }
            Exit::Success
        }
        Err(error) => failed(&error, screen),
    }
}

fn watch(handle: &JobHandle, args: &RunArgs, screen: &Screen, signals: &Signals) -> Result<JobSummary, EngineError> {
    let mut line = StatusLine::default();
    let mut seen = signals.count();
    let mut ticks = 0;
    loop {
        if let Some(outcome) = handle.wait_for(TICK) {
            return outcome;
        }
        if signals.count() > seen {
            seen = signals.count();
            on_signal(handle, seen, args, screen);
        }
        ticks += 1;
        if screen.is_live() && ticks % TICKS_PER_STATUS == 0 {
            screen.draw(&line.render(&handle.status(), SystemClock.now(), columns()));
        }
    }
}

/// The first Ctrl-C asks for a final checkpoint; the second ends the process, whose last checkpoint stands.
fn on_signal(handle: &JobHandle, count: usize, args: &RunArgs, screen: &Screen) {
    if count > 1 {
        screen.clear();
        screen.say("ended at once; the last checkpoint stands");
        std::process::exit(i32::from(Exit::Interrupted.code()));
    }
    screen.say("stopping: taking a final checkpoint (Ctrl-C again ends at once)");
    match &args.savepoint_on_stop {
        Some(folder) => match control::stop_with_savepoint(handle, folder) {
            Ok(path) => screen.say(&format!("savepoint: {}", path.display())),
            Err(error) => screen.say(&format!("no savepoint: {error}")),
        },
        None => handle.stop(),
    }
}

fn failed(error: &EngineError, screen: &Screen) -> Exit {
    if is_closed_output(error) {
        return Exit::Success;
    }
    screen.say(&format!("error: {error}"));
    match error {
        EngineError::DamagedCheckpoint { .. } | EngineError::StateMismatch { .. } => Exit::StateUnusable,
        _ => Exit::JobFailed,
    }
}

/// `tidemill run job.sql | head`: whoever reads the rows has had enough.
fn is_closed_output(error: &EngineError) -> bool {
    matches!(error, EngineError::OutputClosed { .. })
}

/// Counts Ctrl-C and requests to terminate.
struct Signals {
    count: Arc<AtomicUsize>,
}

impl Signals {
    fn install() -> std::io::Result<Self> {
        let count = Arc::new(AtomicUsize::new(0));
        let mut caught =
            signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])?;
        let counter = Arc::clone(&count);
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for _ in caught.forever() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        })?;
        Ok(Self { count })
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}
