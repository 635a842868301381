//! The options of the connector, and a table's options resolved.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use regex::Regex;
use tidemill_engine::graph::ChangelogMode;

use super::partition_commit::{PartitionCommit, TimeExtractor, Trigger};
use crate::compression::Compression;
use crate::format::{FORMATS, Format, FormatProblem};
use crate::options::{OptionDef, OptionProblem, OptionType};
use crate::table::TableSpec;

/// Files that are read by range are cut every so many bytes, whatever the parallelism, so that splits never change.
const SPLIT_SIZE_DEFAULT: &str = "32MB";

const PATH: OptionDef = OptionDef::new(
    "path",
    OptionType::Text,
    "a file, a folder or (to read) a glob; relative to where the program runs, with or without file://",
)
.required();
/// Formats whose records follow one another in files.
const FILE_FORMATS: &[&str] =
    &["json", "csv", "raw", "debezium-json", "changelog-json", "canal-json", "maxwell-json", "parquet"];

const FORMAT: OptionDef =
    OptionDef::new("format", OptionType::Choice(FILE_FORMATS), "how records are written").required();
const COMPRESSION: OptionDef = OptionDef::new(
    "compression",
    OptionType::Choice(&["auto", "none", "gzip", "zstd"]),
    "how whole files are packed; 'auto' reads by file name (.gz, .zst) and writes plain files",
)
.default("auto");
const DEFAULT_PARTITION: OptionDef =
    OptionDef::new("partition.default-name", OptionType::Text, "the folder name that stands for NULL")
        .default("__HIVE_DEFAULT_PARTITION__");
const REGEX: OptionDef = OptionDef::new(
    "source.path.regex-pattern",
    OptionType::Text,
    "only files whose whole absolute path matches this regular expression are read",
)
.source();
const MONITOR_INTERVAL: OptionDef = OptionDef::new(
    "source.monitor-interval",
    OptionType::Duration,
    "look for new files so often, without end; a file is read as it was when first seen, so move whole files in",
)
.source();
const SPLIT_SIZE: OptionDef =
    OptionDef::new("source.split.size", OptionType::Size, "plain files of lines are read in ranges of so many bytes")
        .default(SPLIT_SIZE_DEFAULT)
        .source();
const FILE_SIZE: OptionDef =
    OptionDef::new("sink.rolling-policy.file-size", OptionType::Size, "a file that has grown so large is closed")
        .default("128MB")
        .sink();
const ROLLOVER_INTERVAL: OptionDef =
    OptionDef::new("sink.rolling-policy.rollover-interval", OptionType::Duration, "a file open for so long is closed")
        .default("30 min")
        .sink();
const INACTIVITY_INTERVAL: OptionDef = OptionDef::new(
    "sink.rolling-policy.inactivity-interval",
    OptionType::Duration,
    "a file that got no row for so long is closed",
)
.default("30 min")
.sink();
const CHECK_INTERVAL: OptionDef =
    OptionDef::new("sink.rolling-policy.check-interval", OptionType::Duration, "how often files are checked for age")
        .default("1 min")
        .sink();
const ON_CHECKPOINT: OptionDef = OptionDef::new(
    "sink.rolling-policy.on-checkpoint",
    OptionType::Boolean,
    "every checkpoint publishes; 'false' publishes only files that were closed for size or age, or at the end (extension)",
)
.default("true")
.sink();
const POLICY: OptionDef = OptionDef::new(
    "sink.partition-commit.policy.kind",
    OptionType::Described("'success-file' or 'none'"),
    "what marks a partition as complete; where neither this nor a trigger is given, success files are written when a bounded input has ended, and only then",
)
.sink();
const TRIGGER: OptionDef = OptionDef::new(
    "sink.partition-commit.trigger",
    OptionType::Choice(&["process-time", "partition-time"]),
    "when a partition is complete: so long after its first row by the machine's clock, or when the watermark has passed its own time ('process-time' unless given)",
)
.sink();
const DELAY: OptionDef = OptionDef::new(
    "sink.partition-commit.delay",
    OptionType::Duration,
    "how long after that moment; for hourly partitions and 'partition-time', one hour",
)
.default("0 s")
.sink();
const WATERMARK_ZONE: OptionDef = OptionDef::new(
    "sink.partition-commit.watermark-time-zone",
    OptionType::Text,
    "zone of the partitions' times, where the watermark is on a TIMESTAMP_LTZ",
)
.default("UTC")
.sink();
const TIME_PATTERN: OptionDef = OptionDef::new(
    "partition.time-extractor.timestamp-pattern",
    OptionType::Text,
    "a partition's time from its values, such as '$day $hour:00:00'; otherwise the first value is the time",
)
.sink();
const TIME_EXTRACTOR: OptionDef = OptionDef::new(
    "partition.time-extractor.kind",
    OptionType::Choice(&["default"]),
    "how a partition's values tell its time",
)
.default("default")
.sink();
const SUCCESS_FILE: OptionDef =
    OptionDef::new("sink.partition-commit.success-file.name", OptionType::Text, "name of the file that marks the end")
        .default("_SUCCESS")
        .sink();

const CHANGELOG: OptionDef = OptionDef::new(
    "sink.changelog",
    OptionType::Choice(&["append", "snapshot"]),
    "'snapshot': the file snapshot.json (.csv, ...) always holds the table as it is by PRIMARY KEY, replaced as a whole \
     at each checkpoint before which it changed (extension)",
)
.default("append")
.sink();

const OPTIONS: &[OptionDef] = &[
    PATH,
    FORMAT,
    COMPRESSION,
    DEFAULT_PARTITION,
    REGEX,
    MONITOR_INTERVAL,
    SPLIT_SIZE,
    FILE_SIZE,
    ROLLOVER_INTERVAL,
    INACTIVITY_INTERVAL,
    CHECK_INTERVAL,
    ON_CHECKPOINT,
    CHANGELOG,
    POLICY,
    TRIGGER,
    DELAY,
    WATERMARK_ZONE,
    TIME_EXTRACTOR,
    TIME_PATTERN,
    SUCCESS_FILE,
];

/// The connector's options and those of the table's format, or of all formats.
pub fn list(spec: Option<&TableSpec>) -> Vec<OptionDef> {
    let chosen = spec.and_then(|spec| spec.text(&FORMAT));
    let is_listed = |name: &&str| chosen.is_none_or(|chosen| chosen == *name);
    let formats = FORMATS.iter().filter(|format| FILE_FORMATS.contains(&format.name) && is_listed(&format.name));
    let of_formats = formats.flat_map(|format| format.options.iter().map(OptionDef::from));
    OPTIONS.iter().copied().chain(of_formats).collect()
}

/// What the table's sink takes.
pub fn accepts(spec: &TableSpec) -> ChangelogMode {
    if spec.text(&CHANGELOG) == Some("snapshot") { ChangelogMode::Upsert } else { changelog(spec) }
}

/// What the rows of a table's files mean together.
pub fn changelog(spec: &TableSpec) -> ChangelogMode {
    let format = spec.text(&FORMAT).and_then(|name| Format::parse(name, &spec.options).ok());
    format.map_or(ChangelogMode::Append, |format| format.changelog())
}

/// What reading and writing have in common.
#[derive(Debug, Clone)]
pub struct FileTable {
    /// May be a glob.
    pub path: PathBuf,
    pub format: Format,
    /// `None`: by file name.
    pub compression: Option<Compression>,
    /// Columns inside the files: the physical ones less the partition keys.
    pub file_schema: SchemaRef,
    pub partition_keys: Vec<String>,
    pub default_partition: String,
}

#[derive(Debug, Clone)]
pub struct SourceOptions {
    pub regex: Option<Regex>,
    pub monitor_interval: Option<Duration>,
    pub split_size: u64,
}

#[derive(Debug, Clone)]
pub struct SinkOptions {
    /// One file holds the table as it is.
    pub snapshot: bool,
    pub file_size_max: u64,
    pub rollover_interval: Duration,
    pub inactivity_interval: Duration,
    pub check_interval: Duration,
    pub roll_on_checkpoint: bool,
    /// `None`: nothing is marked as complete.
    pub success_file: Option<String>,
    pub partition_commit: PartitionCommit,
}

impl FileTable {
    pub fn of(spec: &TableSpec) -> Result<Self, Vec<OptionProblem>> {
        let required = |option| spec.required_text(option).map_err(|problem| vec![problem]);
        let path = local_path(required(&PATH)?).map_err(|problem| vec![problem])?;
        let file_schema = file_schema(spec);
        let problems = |problems: Vec<FormatProblem>| problems.into_iter().map(OptionProblem::from).collect::<Vec<_>>();
        let format = Format::parse(required(&FORMAT)?, &spec.options).map_err(problems)?;
        let unfit = problems(format.check(&file_schema));
        if !unfit.is_empty() {
            return Err(unfit);
        }
        let compression = spec.text(&COMPRESSION).filter(|name| *name != "auto").and_then(Compression::parse);
        let whole = compression.filter(|compression| *compression != Compression::None);
        if let (Some(_), Format::Parquet(_)) = (whole, &format) {
            let problem = OptionProblem::at(COMPRESSION.key, "Parquet files pack their own pages");
            return Err(vec![problem.hint("use 'parquet.compression' instead")]);
        }
        let default_partition = spec.text(&DEFAULT_PARTITION).unwrap_or_default().to_string();
        let partition_keys = spec.partition_keys.clone();
        Ok(Self { path, format, compression, file_schema, partition_keys, default_partition })
    }
}

fn file_schema(spec: &TableSpec) -> SchemaRef {
    let inside = spec.columns.fields().iter().filter(|field| !spec.partition_keys.contains(field.name()));
    Arc::new(Schema::new(inside.cloned().collect::<Vec<_>>()))
}

impl SourceOptions {
    pub fn of(spec: &TableSpec) -> Result<Self, OptionProblem> {
        let regex = spec.text(&REGEX).map(|pattern| {
            Regex::new(&format!("^(?:{pattern})$")).map_err(|error| {
                OptionProblem::at(REGEX.key, format!("option '{}' is not a regular expression: {error}", REGEX.key))
            })
        });
        let split_size = spec.size(&SPLIT_SIZE)?.unwrap_or(u64::MAX);
        if split_size == 0 {
            return Err(OptionProblem::at(SPLIT_SIZE.key, "a split has at least one byte"));
        }
        Ok(Self { regex: regex.transpose()?, monitor_interval: spec.duration(&MONITOR_INTERVAL)?, split_size })
    }
}

impl SinkOptions {
    pub fn of(spec: &TableSpec, table: &FileTable) -> Result<Self, OptionProblem> {
        let interval = |option| Ok::<_, OptionProblem>(spec.duration(option)?.unwrap_or(Duration::MAX));
        let roll_on_checkpoint = spec.boolean(&ON_CHECKPOINT)?;
        if !roll_on_checkpoint && matches!(table.format, Format::Parquet(_)) {
            let problem = OptionProblem::at(ON_CHECKPOINT.key, "a Parquet file cannot stay open over a checkpoint");
            return Err(problem.hint("leave the option out, or use a format of lines such as 'json'"));
        }
        let success_file = spec.text(&SUCCESS_FILE).filter(|_| spec.text(&POLICY) != Some("none"));
        check_policy(spec.text(&POLICY))?;
        if success_file.is_some_and(|name| name.is_empty() || name.contains('/')) {
            return Err(OptionProblem::at(SUCCESS_FILE.key, "a file name without folders is needed"));
        }
        let snapshot = spec.text(&CHANGELOG) == Some("snapshot");
        if snapshot {
            check_snapshot(spec, table)?;
        }
        // A snapshot is one file, however large and old.
        let file_size_max = if snapshot { u64::MAX } else { spec.size(&FILE_SIZE)?.unwrap_or(u64::MAX) };
        let age = |option| if snapshot { Ok(Duration::MAX) } else { interval(option) };
        Ok(Self {
            snapshot,
            file_size_max,
            rollover_interval: age(&ROLLOVER_INTERVAL)?,
            inactivity_interval: age(&INACTIVITY_INTERVAL)?,
            check_interval: interval(&CHECK_INTERVAL)?,
            roll_on_checkpoint: roll_on_checkpoint || snapshot,
            success_file: success_file.map(str::to_string),
            partition_commit: partition_commit(spec)?,
        })
    }
}

fn check_snapshot(spec: &TableSpec, table: &FileTable) -> Result<(), OptionProblem> {
    let problem = |message: &str, hint: &str| Err(OptionProblem::at(CHANGELOG.key, message).hint(hint));
    if spec.primary_key.is_empty() {
        return problem("a snapshot holds one row per key", "declare PRIMARY KEY (...) NOT ENFORCED");
    }
    if !spec.partition_keys.is_empty() {
        return problem("a snapshot is one file and has no partitions", "leave PARTITIONED BY out");
    }
    if spec.options.get("sink.parallelism").is_some_and(|count| count.trim() != "1") {
        return problem("a snapshot is written by one instance", "leave 'sink.parallelism' out");
    }
    if table.format.changelog() != ChangelogMode::Append {
        return problem(
            "a snapshot holds rows, not changes",
            "use a format of rows such as 'json', 'csv' or 'parquet'",
        );
    }
    Ok(())
}

fn check_policy(policy: Option<&str>) -> Result<(), OptionProblem> {
    let Some(policy) = policy.filter(|policy| !["success-file", "none"].contains(policy)) else { return Ok(()) };
    let problem = OptionProblem::at(POLICY.key, format!("there is no partition commit policy '{policy}'"));
    Err(match policy {
        _ if policy.contains("metastore") => {
            problem.hint("no metastore is kept here: 'success-file' marks complete partitions with a file")
        }
        _ => problem.hint("write 'success-file' or 'none'"),
    })
}

fn partition_commit(spec: &TableSpec) -> Result<PartitionCommit, OptionProblem> {
    let asked = [&POLICY, &TRIGGER, &DELAY].iter().any(|option| spec.options.contains_key(option.key));
    let zone_name = spec.text(&WATERMARK_ZONE).unwrap_or_default();
    let zone = zone_name.parse().map_err(|_| {
        let message = format!("option '{}': there is no time zone '{zone_name}'", WATERMARK_ZONE.key);
        OptionProblem::at(WATERMARK_ZONE.key, message).hint("write a name such as 'Europe/Berlin' or 'UTC'")
    })?;
    let pattern = spec.text(&TIME_PATTERN).map(str::to_string);
    let trigger = match spec.text(&TRIGGER) {
        Some("partition-time") if spec.partition_keys.is_empty() => {
            let problem = OptionProblem::at(TRIGGER.key, "'partition-time' needs PARTITIONED BY columns");
            return Err(problem.hint("declare PARTITIONED BY (...), or leave the option out"));
        }
        Some("partition-time") => Trigger::PartitionTime(TimeExtractor { pattern, zone }),
        _ if asked => Trigger::ProcessTime,
        _ => Trigger::AtEnd,
    };
    Ok(PartitionCommit { trigger, delay: spec.duration(&DELAY)?.unwrap_or_default() })
}

/// A local path from a path or a `file:` URI.
fn local_path(text: &str) -> Result<PathBuf, OptionProblem> {
    let plain = text.strip_prefix("file://").or_else(|| text.strip_prefix("file:")).unwrap_or(text);
    if plain.is_empty() {
        return Err(OptionProblem::at(PATH.key, "option 'path' is empty"));
    }
    match plain.split_once("://") {
        Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
            let message = format!("option 'path' takes a local path, not a {scheme} address");
            Err(OptionProblem::at(PATH.key, message).hint("write a path, or file:///path"))
        }
        _ => Ok(PathBuf::from(plain)),
    }
}

/// True where the path has to be matched against names rather than opened.
pub fn is_glob(path: &std::path::Path) -> bool {
    path.to_str().is_some_and(|text| text.contains(['*', '?', '[']))
}
