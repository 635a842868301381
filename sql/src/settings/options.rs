//! The list of all options: key, kind, default, meaning.

/// What values an option takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueKind {
    Text,
    Bool,
    Integer { min: u64, max: u64 },
    Float { min: f64 },
    Duration,
    Size,
    TimeZone,
    Choice(&'static [&'static str]),
}

impl ValueKind {
    /// For the manual.
    pub fn name(&self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Bool => "boolean".into(),
            Self::Integer { .. } => "integer".into(),
            Self::Float { .. } => "number".into(),
            Self::Duration => "duration".into(),
            Self::Size => "size".into(),
            Self::TimeZone => "time zone".into(),
            Self::Choice(choices) => choices.join(" | "),
        }
    }
}

/// What setting an option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Own,
    /// Another name for the option with this key.
    AliasOf(&'static str),
    /// Flink knows it; it changes no result, and here it changes nothing at all.
    Nothing,
    /// Only this value has a meaning here; the text says what to do about others.
    Only(&'static str, &'static str),
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    pub key: &'static str,
    pub kind: ValueKind,
    pub default: Option<&'static str>,
    pub doc: &'static str,
    pub effect: Effect,
}

impl OptionSpec {
    pub(super) fn stored_as(&self) -> &'static str {
        match self.effect {
            Effect::AliasOf(key) => key,
            _ => self.key,
        }
    }

    pub(super) fn note(&self) -> Option<String> {
        (self.effect == Effect::Nothing).then(|| format!("option `{}` is accepted and has no effect", self.key))
    }

    /// Why a value that Flink would take is not taken.
    pub(super) fn refused(&self, value: &str) -> Option<String> {
        match self.effect {
            Effect::Only(only, instead) if !value.trim().eq_ignore_ascii_case(only) => {
                Some(format!("`{}` can only be `{only}`: {instead}", self.key))
            }
            _ => None,
        }
    }
}

/// Keys that the code reads.
pub mod keys {
    pub const TIME_ZONE: &str = "table.local-time-zone";
    pub const PARALLELISM: &str = "parallelism.default";
    pub const MAX_PARALLELISM: &str = "pipeline.max-parallelism";
    pub const PIPELINE_NAME: &str = "pipeline.name";
    pub const CHECKPOINT_INTERVAL: &str = "execution.checkpointing.interval";
    pub const CHECKPOINT_MIN_PAUSE: &str = "execution.checkpointing.min-pause";
    pub const CHECKPOINT_TIMEOUT: &str = "execution.checkpointing.timeout";
    pub const TOLERABLE_CHECKPOINTS: &str = "execution.checkpointing.tolerable-failed-checkpoints";
    pub const CHECKPOINT_DIR: &str = "execution.checkpointing.dir";
    pub const RETAINED_CHECKPOINTS: &str = "execution.checkpointing.num-retained";
    pub const STATE_TTL: &str = "table.exec.state.ttl";
    pub const UNBOUNDED_STATE: &str = "table.exec.state.unbounded";
    pub const IDLE_TIMEOUT: &str = "table.exec.source.idle-timeout";
    pub const CDC_EVENTS_DUPLICATE: &str = "table.exec.source.cdc-events-duplicate";
    pub const UPSERT_MATERIALIZE: &str = "table.exec.sink.upsert-materialize";
    pub const MINI_BATCH: &str = "table.exec.mini-batch.enabled";
    pub const MINI_BATCH_LATENCY: &str = "table.exec.mini-batch.allow-latency";
    pub const MINI_BATCH_SIZE: &str = "table.exec.mini-batch.size";
    pub const RESTART_TYPE: &str = "restart-strategy.type";
    pub const FIXED_ATTEMPTS: &str = "restart-strategy.fixed-delay.attempts";
    pub const FIXED_DELAY: &str = "restart-strategy.fixed-delay.delay";
    pub const EXPONENTIAL_INITIAL: &str = "restart-strategy.exponential-delay.initial-backoff";
    pub const EXPONENTIAL_MAX: &str = "restart-strategy.exponential-delay.max-backoff";
    pub const EXPONENTIAL_MULTIPLIER: &str = "restart-strategy.exponential-delay.backoff-multiplier";
    pub const EXPONENTIAL_RESET: &str = "restart-strategy.exponential-delay.reset-backoff-threshold";
    pub const EXPONENTIAL_ATTEMPTS: &str = "restart-strategy.exponential-delay.attempts-before-reset-backoff";
    pub const FRUITLESS_ATTEMPTS: &str = "tidemill.restart.attempts-without-progress";
    pub const AGG_PHASE_STRATEGY: &str = "table.optimizer.agg-phase-strategy";
    pub const IDLE_TIME_RUNS: &str = "tidemill.source.idle-time-runs";
    pub const EARLY_FIRE: &str = "table.exec.emit.early-fire.enabled";
    pub const EARLY_FIRE_DELAY: &str = "table.exec.emit.early-fire.delay";
    pub const LATE_FIRE: &str = "table.exec.emit.late-fire.enabled";
    pub const LATE_FIRE_DELAY: &str = "table.exec.emit.late-fire.delay";
    pub const ALLOW_LATENESS: &str = "table.exec.emit.allow-lateness";
    pub const CORRECTIONS: &str = "tidemill.emit.corrections";
    pub const FILL_SPAN: &str = "tidemill.window-fill.span";
    pub const FILL_VALUES: &str = "tidemill.window-fill.values";
    pub const LOOKUP_CAPACITY: &str = "table.exec.async-lookup.buffer-capacity";
    pub const LOOKUP_TIMEOUT: &str = "table.exec.async-lookup.timeout";
    pub const LOOKUP_OUTPUT: &str = "table.exec.async-lookup.output-mode";
    pub const ROW_ERRORS: &str = "table.exec.row-errors";
    pub const NOT_NULL_ENFORCER: &str = "table.exec.sink.not-null-enforcer";
    pub const BATCH_ROWS: &str = "tidemill.batch-rows";
    pub const MEMORY_BUDGET: &str = "tidemill.memory.budget";
    pub const OPTIMIZER_ENABLED: &str = "tidemill.optimizer.enabled";
}

/// Instances of one operator at most: more than any machine has processors for.
const PARALLELISM_MAX: u64 = 1024;
/// Key groups at most, as in Flink.
const MAX_PARALLELISM_MAX: u64 = 32_768;
/// Rows of a batch at most: keeps a batch of wide rows within memory.
const BATCH_ROWS_MAX: u64 = 1 << 20;

/// Keys that a lookup join asks for at the same time at most: more would be a load that no server is meant for.
const LOOKUP_CAPACITY_MAX: u64 = 100_000;

const fn own(key: &'static str, kind: ValueKind, default: Option<&'static str>, doc: &'static str) -> OptionSpec {
    OptionSpec { key, kind, default, doc, effect: Effect::Own }
}

const fn alias(key: &'static str, of: &'static str, kind: ValueKind) -> OptionSpec {
    OptionSpec { key, kind, default: None, doc: "Another name for an option above.", effect: Effect::AliasOf(of) }
}

const fn nothing(key: &'static str, kind: ValueKind) -> OptionSpec {
    OptionSpec { key, kind, default: None, doc: "Accepted for Flink's sake; no effect.", effect: Effect::Nothing }
}

const fn only(key: &'static str, kind: ValueKind, value: &'static str, instead: &'static str) -> OptionSpec {
    let effect = Effect::Only(value, instead);
    OptionSpec { key, kind, default: Some(value), doc: "Accepted with this value only.", effect }
}

const COUNT: ValueKind = ValueKind::Integer { min: 1, max: PARALLELISM_MAX };

/// All options, in the order of the manual.
pub const OPTIONS: &[OptionSpec] = &[
    own(
        keys::TIME_ZONE,
        ValueKind::TimeZone,
        Some("UTC"),
        "Time zone of TIMESTAMP_LTZ values: how they are shown and cast, and where days and months of their windows start.",
    ),
    own(keys::PARALLELISM, COUNT, None, "Instances per operator. Default: one per processor."),
    alias("table.exec.resource.default-parallelism", keys::PARALLELISM, COUNT),
    own(
        keys::MAX_PARALLELISM,
        ValueKind::Integer { min: 1, max: MAX_PARALLELISM_MAX },
        None,
        "Key groups of the job's state: the largest parallelism it can ever be restored with.",
    ),
    own(keys::PIPELINE_NAME, ValueKind::Text, None, "Name of the job."),
    own(
        keys::CHECKPOINT_INTERVAL,
        ValueKind::Duration,
        Some("10 s"),
        "Time between checkpoints, and so between results in files; 0 turns them off.",
    ),
    own(
        keys::CHECKPOINT_MIN_PAUSE,
        ValueKind::Duration,
        Some("0 ms"),
        "Rest between the end of a checkpoint and the start of the next.",
    ),
    own(
        keys::CHECKPOINT_TIMEOUT,
        ValueKind::Duration,
        Some("10 min"),
        "How long the operators may take until all have come to a checkpoint; after that it has failed.",
    ),
    own(
        keys::TOLERABLE_CHECKPOINTS,
        ValueKind::Integer { min: 0, max: u32::MAX as u64 },
        Some("0"),
        "How often a checkpoint may exceed its timeout, and be waited for, before the job fails and restarts.",
    ),
    own(keys::CHECKPOINT_DIR, ValueKind::Text, None, "Folder for checkpoints; `--state-dir` goes first."),
    alias("state.checkpoints.dir", keys::CHECKPOINT_DIR, ValueKind::Text),
    own(
        keys::RETAINED_CHECKPOINTS,
        ValueKind::Integer { min: 1, max: 1000 },
        Some("3"),
        "Completed checkpoints that are kept; 2 at least, so that there is one to fall back to.",
    ),
    alias("state.checkpoints.num-retained", keys::RETAINED_CHECKPOINTS, ValueKind::Integer { min: 1, max: 1000 }),
    own(
        keys::STATE_TTL,
        ValueKind::Duration,
        Some("0 ms"),
        "How long the state of joins and unwindowed aggregations is kept after its last update; 0 keeps it for ever.",
    ),
    own(
        keys::UNBOUNDED_STATE,
        ValueKind::Choice(&["allow", "warn", "forbid"]),
        Some("warn"),
        "What becomes of a query whose state nothing ever frees: it runs, runs with a warning, or is refused.",
    ),
    own(
        keys::IDLE_TIMEOUT,
        ValueKind::Duration,
        Some("0 ms"),
        "After how long without a row a split stops holding the watermark back; 0 is never.",
    ),
    own(
        keys::LOOKUP_CAPACITY,
        ValueKind::Integer { min: 1, max: LOOKUP_CAPACITY_MAX },
        Some("100"),
        "Keys that each instance of a lookup join asks its table for at the same time.",
    ),
    own(
        keys::LOOKUP_TIMEOUT,
        ValueKind::Duration,
        Some("3 min"),
        "How long a lookup may take, all tries included, before the job fails.",
    ),
    own(
        keys::LOOKUP_OUTPUT,
        ValueKind::Choice(&["ORDERED", "ALLOW_UNORDERED"]),
        Some("ORDERED"),
        "Whether rows leave a lookup join as they came, or may overtake each other between two watermarks.",
    ),
    own(
        keys::CDC_EVENTS_DUPLICATE,
        ValueKind::Bool,
        Some("false"),
        "Whether changes that a source reads may come twice; they are then put right by the table's primary key.",
    ),
    own(
        keys::IDLE_TIME_RUNS,
        ValueKind::Bool,
        Some("false"),
        "While all splits of a source are idle, event time goes on as the wall clock does, so that the last windows of a quiet stream fire; rows that come behind it are late.",
    ),
    own(
        keys::EARLY_FIRE,
        ValueKind::Bool,
        Some("false"),
        "Whether windows show results before they close, as updates.",
    ),
    own(
        keys::EARLY_FIRE_DELAY,
        ValueKind::Duration,
        Some("0 ms"),
        "How long after a change, on the wall clock, an open window shows it; 0 is at once.",
    ),
    own(
        keys::LATE_FIRE,
        ValueKind::Bool,
        Some("false"),
        "Whether corrections of windows that have fired wait for a delay; without, each late row corrects at once.",
    ),
    own(
        keys::LATE_FIRE_DELAY,
        ValueKind::Duration,
        Some("0 ms"),
        "How long after a late row, on the wall clock, a window that has fired shows its correction.",
    ),
    own(
        keys::ALLOW_LATENESS,
        ValueKind::Duration,
        Some("0 ms"),
        "For so long, in event time, a window that has fired still takes rows; later ones are late.",
    ),
    own(
        keys::CORRECTIONS,
        ValueKind::Choice(&["update", "append"]),
        Some("update"),
        "How an early or corrected result is told: as -U and +U, or as a further row, of which the last one counts.",
    ),
    own(
        keys::FILL_SPAN,
        ValueKind::Duration,
        Some("0 ms"),
        "A key gets a row in each empty window between two of its results that are no further apart; 0 is none.",
    ),
    own(
        keys::FILL_VALUES,
        ValueKind::Text,
        Some("null"),
        "What aggregates are in such rows, counts apart, which are 0: `null`, `previous` (the key's last result) or a number.",
    ),
    own(
        keys::UPSERT_MATERIALIZE,
        ValueKind::Choice(&["AUTO", "FORCE", "NONE"]),
        Some("AUTO"),
        "Whether rows are kept in front of a sink that upserts by another key than the query's, so that changes which overtake each other leave the right row.",
    ),
    own(
        keys::MINI_BATCH,
        ValueKind::Bool,
        Some("false"),
        "Whether an unwindowed aggregation gathers changes and tells only their net effect per key; results are the same.",
    ),
    own(
        keys::MINI_BATCH_LATENCY,
        ValueKind::Duration,
        Some("0 ms"),
        "How long changes are gathered at most; 0 is until the next checkpoint or until there are enough.",
    ),
    own(
        keys::MINI_BATCH_SIZE,
        ValueKind::Integer { min: 1, max: u32::MAX as u64 },
        Some("100000"),
        "How many rows are gathered at most, per instance.",
    ),
    own(
        keys::RESTART_TYPE,
        ValueKind::Choice(&[
            "exponential-delay",
            "fixed-delay",
            "none",
            "off",
            "disable",
            "exponentialdelay",
            "fixeddelay",
        ]),
        Some("exponential-delay"),
        "How a failed job restarts.",
    ),
    alias(
        "restart-strategy",
        keys::RESTART_TYPE,
        ValueKind::Choice(&["exponential-delay", "fixed-delay", "none", "off", "disable"]),
    ),
    own(
        keys::FIXED_ATTEMPTS,
        ValueKind::Integer { min: 0, max: u32::MAX as u64 },
        Some("1"),
        "Restarts in all before the job fails for good.",
    ),
    own(keys::FIXED_DELAY, ValueKind::Duration, Some("1 s"), "Time between failure and restart."),
    own(keys::EXPONENTIAL_INITIAL, ValueKind::Duration, Some("1 s"), "Time before the first restart."),
    own(keys::EXPONENTIAL_MAX, ValueKind::Duration, Some("1 min"), "Longest time before a restart."),
    own(
        keys::EXPONENTIAL_MULTIPLIER,
        ValueKind::Float { min: 1.0 },
        Some("1.5"),
        "By how much the time grows with each restart.",
    ),
    own(
        keys::EXPONENTIAL_RESET,
        ValueKind::Duration,
        Some("1 h"),
        "After how long without a failure the time is short again.",
    ),
    own(
        keys::EXPONENTIAL_ATTEMPTS,
        ValueKind::Integer { min: 1, max: u32::MAX as u64 },
        None,
        "Restarts since the time was last short, before the job fails for good. Default: no limit.",
    ),
    own(
        keys::FRUITLESS_ATTEMPTS,
        ValueKind::Integer { min: 0, max: u32::MAX as u64 },
        None,
        "Restarts in a row, none of which led to a checkpoint over a further row, before the job fails for good. Default: 10, or what the strategy's own option of attempts says where that is more.",
    ),
    own(
        keys::AGG_PHASE_STRATEGY,
        ValueKind::Choice(&["AUTO", "ONE_PHASE", "TWO_PHASE"]),
        Some("AUTO"),
        "Whether aggregates are computed before the exchange and merged after it.",
    ),
    own(
        keys::ROW_ERRORS,
        ValueKind::Choice(&["fail", "skip"]),
        Some("fail"),
        "What a row does whose expressions fail: fail the job, or be counted and left out.",
    ),
    own(
        keys::NOT_NULL_ENFORCER,
        ValueKind::Choice(&["ERROR", "DROP"]),
        Some("ERROR"),
        "What a row does that has a NULL for a NOT NULL column of a sink: fail, or be left out.",
    ),
    own(
        keys::BATCH_ROWS,
        ValueKind::Integer { min: 1, max: BATCH_ROWS_MAX },
        Some("8192"),
        "Rows per batch to aim for.",
    ),
    own(
        keys::MEMORY_BUDGET,
        ValueKind::Size,
        None,
        "Memory for state and caches; state beyond it lives on disk. Default: 256 mb where jobs share a process; with `tidemill run` a quarter of the memory of machine or container, from 64 mb to 1 gb.",
    ),
    own(keys::OPTIMIZER_ENABLED, ValueKind::Bool, Some("true"), "Whether optimizer rules run; results are the same."),
    only(
        "execution.runtime-mode",
        ValueKind::Choice(&["STREAMING", "BATCH", "AUTOMATIC"]),
        "streaming",
        "bounded inputs run as streams and end when they are read",
    ),
    only(
        "execution.checkpointing.mode",
        ValueKind::Choice(&["EXACTLY_ONCE", "AT_LEAST_ONCE"]),
        "exactly_once",
        "leave it out",
    ),
    only("table.sql-dialect", ValueKind::Choice(&["default", "hive"]), "default", "only Flink's own dialect is known"),
    nothing("sql-client.execution.result-mode", ValueKind::Choice(&["table", "changelog", "tableau"])),
    nothing("sql-client.execution.max-table-result.rows", ValueKind::Integer { min: 0, max: u64::MAX }),
    nothing("sql-client.verbose", ValueKind::Bool),
    nothing("table.optimizer.distinct-agg.split.enabled", ValueKind::Bool),
    nothing("table.dml-sync", ValueKind::Bool),
    nothing("state.backend.type", ValueKind::Text),
    nothing("state.backend", ValueKind::Text),
    nothing("state.backend.incremental", ValueKind::Bool),
    nothing("execution.checkpointing.incremental", ValueKind::Bool),
    nothing("pipeline.object-reuse", ValueKind::Bool),
];
