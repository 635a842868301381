//! What `SET` can set: one list of options, and typed access to their values.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlparser::tokenizer::Span;

use crate::diagnostic::Diagnostic;
use crate::parser::statement::{Setting, Text};

mod options;
mod value;

pub use options::{OPTIONS, OptionSpec, ValueKind, keys};
pub use value::{parse_duration, parse_size};

/// How an aggregation is split over the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregatePhases {
    Auto,
    One,
    Two,
}

/// What becomes of a plan whose state nothing ever frees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnboundedState {
    Allow,
    Warn,
    Forbid,
}

/// What a row does whose expressions fail (a cast of `abc` to INT, a division by zero).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowErrors {
    Fail,
    Skip,
}

/// What `table.exec.emit...` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowResults {
    /// Delay of early results; `None`: there are none.
    pub early: Option<Duration>,
    /// Delay of corrections; `None`: at once.
    pub late: Option<Duration>,
    pub lateness: Duration,
    /// Corrections are further rows, not updates.
    pub appended: bool,
}

/// How a job restarts after a failure.
#[derive(Debug, Clone, PartialEq)]
pub enum RestartStrategy {
    None,
    FixedDelay { attempts: u32, delay: Duration },
    ExponentialDelay { initial: Duration, max: Duration, multiplier: f64, reset_after: Duration, attempts: Option<u32> },
}

/// The settings of a session: what was set, over the defaults.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    values: BTreeMap<&'static str, String>,
}

/// When rows are kept in front of a sink that upserts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpsertMaterialize {
    /// Where the sink's key is not the query's.
    Auto,
    Force,
    Never,
}

/// How changes are gathered before they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MiniBatch {
    /// `None`: as long as it takes.
    pub latency: Option<Duration>,
    pub rows: usize,
}

impl Settings {
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an option from a statement; gives a note when the option is known but has no effect.
    pub fn set(&mut self, setting: &Setting) -> Result<Option<String>, Diagnostic> {
        let spec = find(&setting.key.value).ok_or_else(|| unknown(&setting.key))?;
        if let Some(instead) = spec.refused(&setting.value.value) {
            return Err(Diagnostic::at(setting.value.span, instead));
        }
        let value = spec.kind.check(&setting.value.value).map_err(|problem| {
            Diagnostic::at(setting.value.span, format!("`{}` of option `{}`: {problem}", setting.value.value, spec.key))
        })?;
        self.values.insert(spec.stored_as(), value);
        Ok(spec.note())
    }

    /// Sets an option from outside a script (`--set key=value`).
    pub fn set_text(&mut self, key: &str, value: &str) -> Result<Option<String>, Diagnostic> {
        let text = |value: &str| Text { value: value.to_string(), span: Span::empty() };
        self.set(&Setting { key: text(key), value: text(value) })
    }

    /// Back to the default; all options when `key` is `None`.
    pub fn reset(&mut self, key: Option<&Text>) -> Result<(), Diagnostic> {
        match key {
            None => self.values.clear(),
            Some(text) => {
                let spec = find(&text.value).ok_or_else(|| unknown(text))?;
                self.values.remove(spec.stored_as());
            }
        }
        Ok(())
    }

    /// What was set, by key.
    pub fn set_values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// The value or its default; `None` where there is neither, or no such option.
    pub fn get(&self, key: &str) -> Option<&str> {
        let spec = find(key)?;
        self.values.get(spec.stored_as()).map(String::as_str).or(find(spec.stored_as())?.default)
    }

    /// The session's time zone, an IANA name.
    pub fn time_zone(&self) -> &str {
        self.get(keys::TIME_ZONE).unwrap_or("UTC")
    }

    /// Instances per operator; `None`: one per processor.
    pub fn parallelism(&self) -> Option<usize> {
        self.integer(keys::PARALLELISM).map(|n| n as usize)
    }

    /// Key groups of a job: the most instances that its state can ever be spread over.
    pub fn max_parallelism(&self) -> Option<usize> {
        self.integer(keys::MAX_PARALLELISM).map(|n| n as usize)
    }

    pub fn job_name(&self) -> Option<&str> {
        self.get(keys::PIPELINE_NAME)
    }

    /// `None`: no periodic checkpoints.
    pub fn checkpoint_interval(&self) -> Option<Duration> {
        self.duration(keys::CHECKPOINT_INTERVAL).filter(|interval| !interval.is_zero())
    }

    /// Rest between the end of a checkpoint and the start of the next periodic one.
    pub fn checkpoint_min_pause(&self) -> Duration {
        self.duration(keys::CHECKPOINT_MIN_PAUSE).unwrap_or_default()
    }

    /// From the barrier until every task has taken its snapshot.
    pub fn checkpoint_timeout(&self) -> Duration {
        self.duration(keys::CHECKPOINT_TIMEOUT).unwrap_or(Duration::from_secs(600))
    }

    /// How many times over a checkpoint may exceed its timeout before the job fails.
    pub fn tolerated_checkpoint_failures(&self) -> u32 {
        self.integer(keys::TOLERABLE_CHECKPOINTS).unwrap_or(0) as u32
    }

    /// Restarts in a row that bring a job no further, before it fails for good; `None`: not set.
    pub fn restarts_without_progress(&self) -> Option<u32> {
        self.integer(keys::FRUITLESS_ATTEMPTS).map(|n| n as u32)
    }

    pub fn checkpoint_dir(&self) -> Option<&str> {
        self.get(keys::CHECKPOINT_DIR)
    }

    pub fn retained_checkpoints(&self) -> usize {
        self.integer(keys::RETAINED_CHECKPOINTS).unwrap_or(2) as usize
    }

    /// How long the state of joins and unwindowed aggregations is kept after its last update; `None`: for ever.
    pub fn state_ttl(&self) -> Option<Duration> {
        self.duration(keys::STATE_TTL).filter(|ttl| !ttl.is_zero())
    }

    /// After how long without a row a split stops holding the watermark back; `None`: never.
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.duration(keys::IDLE_TIMEOUT).filter(|timeout| !timeout.is_zero())
    }

    pub fn upsert_materialize(&self) -> UpsertMaterialize {
        match self.get(keys::UPSERT_MATERIALIZE).map(str::to_ascii_uppercase).as_deref() {
            Some("FORCE") => UpsertMaterialize::Force,
            Some("NONE") => UpsertMaterialize::Never,
            _ => UpsertMaterialize::Auto,
        }
    }

    /// How unwindowed aggregations gather changes; `None`: they do not.
    pub fn mini_batch(&self) -> Option<MiniBatch> {
        let enabled = self.get(keys::MINI_BATCH).is_some_and(|text| text.eq_ignore_ascii_case("true"));
        enabled.then(|| MiniBatch {
            latency: self.duration(keys::MINI_BATCH_LATENCY).filter(|latency| !latency.is_zero()),
            rows: self.integer(keys::MINI_BATCH_SIZE).unwrap_or(u64::MAX) as usize,
        })
    }

    /// Changes may come twice from a source.
    pub fn cdc_events_repeat(&self) -> bool {
        self.get(keys::CDC_EVENTS_DUPLICATE).is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// Keys that a lookup join asks for at the same time.
    pub fn lookup_capacity(&self) -> usize {
        self.integer(keys::LOOKUP_CAPACITY).unwrap_or(100) as usize
    }

    /// How long a lookup may take, all tries included.
    pub fn lookup_timeout(&self) -> Duration {
        self.duration(keys::LOOKUP_TIMEOUT).unwrap_or(Duration::from_secs(180))
    }

    /// Rows leave a lookup join as they came.
    pub fn lookups_are_ordered(&self) -> bool {
        self.get(keys::LOOKUP_OUTPUT) != Some("ALLOW_UNORDERED")
    }

    pub fn batch_rows(&self) -> usize {
        self.integer(keys::BATCH_ROWS).unwrap_or(8192) as usize
    }

    /// Memory for state and caches of a job, in bytes; `None` unless it was set.
    pub fn memory_budget_bytes(&self) -> Option<usize> {
        self.get(keys::MEMORY_BUDGET).and_then(|text| parse_size(text).ok()).map(|bytes| bytes as usize)
    }

    pub fn optimizer_enabled(&self) -> bool {
        self.get(keys::OPTIMIZER_ENABLED) != Some("false")
    }

    pub fn aggregate_phases(&self) -> AggregatePhases {
        match self.get(keys::AGG_PHASE_STRATEGY) {
            Some("ONE_PHASE") => AggregatePhases::One,
            Some("TWO_PHASE") => AggregatePhases::Two,
            _ => AggregatePhases::Auto,
        }
    }

    /// What becomes of a plan whose state nothing ever frees.
    pub fn unbounded_state(&self) -> UnboundedState {
        match self.get(keys::UNBOUNDED_STATE) {
            Some("allow") => UnboundedState::Allow,
            Some("forbid") => UnboundedState::Forbid,
            _ => UnboundedState::Warn,
        }
    }

    pub fn row_errors(&self) -> RowErrors {
        match self.get(keys::ROW_ERRORS) {
            Some("skip") => RowErrors::Skip,
            _ => RowErrors::Fail,
        }
    }

    /// Event time goes on with the wall clock while all splits of a source are idle.
    pub fn idle_time_runs(&self) -> bool {
        self.get(keys::IDLE_TIME_RUNS) == Some("true")
    }

    /// Results of windows beside their final ones.
    pub fn window_results(&self) -> WindowResults {
        let delay = |enabled, delay| self.duration(delay).filter(|_| self.get(enabled) == Some("true"));
        WindowResults {
            early: delay(keys::EARLY_FIRE, keys::EARLY_FIRE_DELAY),
            late: delay(keys::LATE_FIRE, keys::LATE_FIRE_DELAY),
            lateness: self.duration(keys::ALLOW_LATENESS).unwrap_or_default(),
            appended: self.get(keys::CORRECTIONS) == Some("append"),
        }
    }

    /// Gaps between the results of a key that are filled; `None`: none are.
    pub fn fill_span(&self) -> Option<Duration> {
        self.duration(keys::FILL_SPAN).filter(|span| !span.is_zero())
    }

    /// `null`, `previous` or a number.
    pub fn fill_values(&self) -> &str {
        self.get(keys::FILL_VALUES).unwrap_or("null")
    }

    /// Rows with a NULL for a NOT NULL column of a sink are left out, instead of failing.
    pub fn drops_nulls(&self) -> bool {
        self.get(keys::NOT_NULL_ENFORCER).is_some_and(|enforcer| enforcer.eq_ignore_ascii_case("drop"))
    }

    pub fn restart_strategy(&self) -> RestartStrategy {
        let duration = |key| self.duration(key).unwrap_or_default();
        match self.get(keys::RESTART_TYPE) {
            Some("none" | "off" | "disable") => RestartStrategy::None,
            Some("fixed-delay" | "fixeddelay") => RestartStrategy::FixedDelay {
                attempts: self.integer(keys::FIXED_ATTEMPTS).unwrap_or(1) as u32,
                delay: duration(keys::FIXED_DELAY),
            },
            _ => RestartStrategy::ExponentialDelay {
                initial: duration(keys::EXPONENTIAL_INITIAL),
                max: duration(keys::EXPONENTIAL_MAX),
                multiplier: self.get(keys::EXPONENTIAL_MULTIPLIER).and_then(|m| m.parse().ok()).unwrap_or(1.5),
                reset_after: duration(keys::EXPONENTIAL_RESET),
                attempts: self.integer(keys::EXPONENTIAL_ATTEMPTS).map(|n| n as u32),
            },
        }
    }

    fn duration(&self, key: &str) -> Option<Duration> {
        self.get(key).and_then(|text| parse_duration(text).ok())
    }

    fn integer(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(|text| text.parse().ok())
    }
}

fn find(key: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|spec| spec.key == key)
}

fn unknown(key: &Text) -> Diagnostic {
    Diagnostic::at(key.span, format!("unknown option `{}`", key.value))
        .with_hint("`SET;` lists what is set; the options are in the manual")
        .with_suggestion(&key.value, OPTIONS.iter().map(|spec| spec.key))
}
