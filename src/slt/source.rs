//! The `script` connector: a source that plays the rows of a test file, and stops where the file says so.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use chrono::{NaiveDateTime, TimeZone};
use chrono_tz::Tz;
use parking_lot::Mutex;
use tidemill_connectors::format::{Block, Format, RowDecoder};
use tidemill_connectors::lookup::{self, LookupOptions};
use tidemill_connectors::options::{OptionDef, OptionProblem, OptionType};
use tidemill_connectors::registry::Connector;
use tidemill_connectors::table::TableSpec;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::lookup::KeyedLookup;
use tidemill_engine::sink::{Guarantee, Sink};
use tidemill_engine::source::{Boundedness, Position, Read, Source, Split, SplitReader};
use tidemill_engine::time::EventTime;
use tidemill_engine::{Batch, EngineError, Result, RowKind};

use super::answers::Answers;
use super::file::ScriptLine;
use super::lookup::ScriptLookup;

const CHANGELOG: OptionDef = OptionDef::new(
    "changelog",
    OptionType::Choice(&["append", "retract", "upsert"]),
    "what the rows mean together; else a source appends unless a row has a kind, and a sink takes all changes",
);

const LOOKUP: OptionDef =
    OptionDef::new("lookup", OptionType::Choice(&["whole", "by-key"]), "how its rows are looked up").default("whole");

/// Questions of a lookup that are under way at the same time.
const LOOKUP_THREADS: usize = 3;

/// How long a reader waits at a gate before it looks again.
const GATE_POLL: Duration = Duration::from_millis(2);

/// What happens to the job at a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateKind {
    Checkpoint,
    Restart,
    Kill,
}

/// The rows of all tables of a test, by table and split, and the gates that hold readers back.
#[derive(Default)]
pub struct Script {
    tables: Mutex<HashMap<String, BTreeMap<String, Vec<ScriptLine>>>>,
    gates: Arc<Gates>,
}

/// Gates are numbered in the order of the file, from 1; a reader passes those up to `open`.
#[derive(Default)]
pub struct Gates {
    kinds: Mutex<Vec<GateKind>>,
    open: AtomicUsize,
    /// Highest gate that a reader waits at.
    reached: AtomicUsize,
}

impl Script {
    pub fn add(&self, table: &str, split: &str, lines: &[ScriptLine]) {
        self.tables.lock().entry(table.into()).or_default().entry(split.into()).or_default().extend_from_slice(lines);
    }

    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    /// Before a job starts: no gate is open, none is known.
    pub fn rewind(&self) {
        self.gates.kinds.lock().clear();
        self.gates.open.store(0, Ordering::SeqCst);
        self.gates.reached.store(0, Ordering::SeqCst);
    }
}

impl Gates {
    fn add(&self, kind: GateKind) -> usize {
        let mut kinds = self.kinds.lock();
        kinds.push(kind);
        kinds.len()
    }

    /// The gate that a reader waits at, if any is closed.
    pub fn waiting(&self) -> Option<GateKind> {
        let next = self.open.load(Ordering::SeqCst) + 1;
        if self.reached.load(Ordering::SeqCst) < next {
            return None;
        }
        self.kinds.lock().get(next - 1).copied()
    }

    /// Lets readers pass the gate that `waiting` named.
    pub fn open_next(&self) {
        self.open.fetch_add(1, Ordering::SeqCst);
    }

    fn may_pass(&self, gate: usize) -> bool {
        self.reached.fetch_max(gate, Ordering::SeqCst);
        self.open.load(Ordering::SeqCst) >= gate
    }
}

/// `'connector' = 'script'`.
pub struct ScriptConnector {
    pub script: Arc<Script>,
    pub answers: Arc<Answers>,
}

impl Connector for ScriptConnector {
    fn name(&self) -> &'static str {
        "script"
    }

    fn doc(&self) -> &'static str {
        "rows of a test file; as a sink, what `expect` compares"
    }

    fn options(&self, _spec: Option<&TableSpec>) -> Vec<OptionDef> {
        let mut options = vec![CHANGELOG, LOOKUP];
        options.extend(lookup::OPTIONS);
        options
    }

    fn reads(&self, _spec: Option<&TableSpec>) -> bool {
        true
    }

    fn looks_up(&self, spec: Option<&TableSpec>) -> bool {
        spec.is_some_and(|spec| spec.text(&LOOKUP) == Some("by-key"))
    }

    fn lookup(
        &self,
        spec: &TableSpec,
        columns: &[String],
        keys: &[(String, DataType)],
    ) -> Result<KeyedLookup, OptionProblem> {
        let all: Vec<String> = spec.columns.fields().iter().map(|field| field.name().clone()).collect();
        let decoder = LineDecoder::new(spec, &all)?;
        let tables = self.script.tables.lock();
        let lines = tables.get(&spec.name).into_iter().flat_map(BTreeMap::values).flatten();
        let rows = lines.filter_map(|line| match line {
            ScriptLine::Row { line, text } => Some(decoder.row(text).map_err(at_line(*line))),
            _ => None,
        });
        let rows = concat_batches(&spec.columns, &rows.collect::<Result<Vec<_>, _>>()?);
        let wrong = |error: ArrowError| OptionProblem::new(error.to_string());
        let place = |name: &String| spec.columns.index_of(name).map_err(wrong);
        let found = ScriptLookup {
            rows: rows.map_err(wrong)?,
            keys: keys.iter().map(|(name, _)| place(name)).collect::<Result<_, _>>()?,
            columns: columns.iter().map(place).collect::<Result<_, _>>()?,
            schema: spec.project(columns)?,
            asked: AtomicU64::new(0),
        };
        let LookupOptions { cache, retries_max, is_async } = LookupOptions::of(spec)?;
        Ok(KeyedLookup {
            lookup: Arc::new(found),
            keys: (0..keys.len()).collect(),
            keys_per_question: 2,
            questions_max: LOOKUP_THREADS,
            cache,
            retries_max,
            is_async,
        })
    }

    fn guarantee(&self) -> Option<Guarantee> {
        Some(Guarantee::ExactlyOnce)
    }

    fn accepts(&self, spec: Option<&TableSpec>) -> ChangelogMode {
        spec.and_then(declared_changelog).unwrap_or(ChangelogMode::Retract)
    }

    /// Appends, unless the option says otherwise or a row has a kind.
    fn gives(&self, spec: &TableSpec) -> ChangelogMode {
        let tables = self.script.tables.lock();
        let lines = tables.get(&spec.name).into_iter().flat_map(BTreeMap::values).flatten();
        let has_kind = |line: &ScriptLine| matches!(line, ScriptLine::Row { text, .. } if kind_of(text).is_some());
        let changes = lines.into_iter().any(has_kind);
        let given = if changes { ChangelogMode::Retract } else { ChangelogMode::Append };
        declared_changelog(spec).unwrap_or(given)
    }

    fn source(&self, spec: &TableSpec, columns: &[String]) -> Result<Arc<dyn Source>, OptionProblem> {
        let changelog = self.gives(spec);
        let decoder = match changelog {
            // A deleted row may lack all but its key.
            ChangelogMode::Upsert => {
                LineDecoder::new(&TableSpec { columns: nullable(&spec.columns), ..spec.clone() }, columns)?
            }
            _ => LineDecoder::new(spec, columns)?,
        };
        let tables = self.script.tables.lock();
        let splits = tables.get(&spec.name).cloned().unwrap_or_default();
        let splits = splits.into_iter().map(|(name, lines)| Ok((name, self.items(&decoder, &lines)?)));
        Ok(Arc::new(ScriptSource {
            schema: decoder.schema.clone(),
            splits: splits.collect::<Result<_, OptionProblem>>()?,
            changelog,
            gates: self.script.gates.clone(),
        }))
    }

    fn sink(&self, spec: &TableSpec, schema: SchemaRef) -> Result<Arc<dyn Sink>, OptionProblem> {
        let key = spec.primary_key.iter().filter_map(|name| schema.index_of(name).ok()).collect();
        let upserts = self.accepts(Some(spec)) == ChangelogMode::Upsert;
        Ok(self.answers.sink(&spec.name, schema, upserts.then_some(key)))
    }
}

impl ScriptConnector {
    fn items(&self, decoder: &LineDecoder, lines: &[ScriptLine]) -> Result<Arc<Vec<Item>>, OptionProblem> {
        let gate = |kind| Ok(Item::Gate(self.script.gates.add(kind)));
        let items = lines.iter().map(|line| match line {
            ScriptLine::Row { line, text } => decoder.change(text).map_err(at_line(*line)),
            ScriptLine::Watermark { line, text } => decoder.time(text).map(Item::Watermark).map_err(at_line(*line)),
            ScriptLine::Checkpoint => gate(GateKind::Checkpoint),
            ScriptLine::Restart => gate(GateKind::Restart),
            ScriptLine::Kill => gate(GateKind::Kill),
        });
        items.collect::<Result<Vec<_>, _>>().map(Arc::new)
    }
}

fn at_line(line: usize) -> impl Fn(String) -> OptionProblem {
    move |message| OptionProblem::new(format!("line {line} of the test file: {message}"))
}

/// Decodes one line of a `rows` step: a JSON object, or comma-separated values of the physical columns.
struct LineDecoder {
    schema: SchemaRef,
    table: SchemaRef,
    projection: Vec<usize>,
    zone: Tz,
}

impl LineDecoder {
    fn new(spec: &TableSpec, columns: &[String]) -> Result<Self, OptionProblem> {
        let schema = spec.project(columns)?;
        let index = |name: &String| spec.columns.index_of(name).map_err(|error| OptionProblem::new(error.to_string()));
        let projection = columns.iter().map(index).collect::<Result<_, _>>()?;
        Ok(Self { schema, table: spec.columns.clone(), projection, zone: spec.time_zone.parse().unwrap_or(Tz::UTC) })
    }

    /// A row with the kind that stands before it, if one does.
    fn change(&self, text: &str) -> Result<Item, String> {
        let (kind, row) = kind_of(text).unwrap_or((RowKind::Insert, text));
        Ok(Item::Row(kind, self.row(row)?))
    }

    fn row(&self, text: &str) -> Result<RecordBatch, String> {
        let name = if text.trim_start().starts_with('{') { "json" } else { "csv" };
        let text = if name == "csv" { trim_fields(text) } else { text.to_string() };
        let mut decoder = self.decoder(name)?;
        let block = Block::lines(text.as_bytes(), 0, true);
        let decoded = decoder.decode(block, 1).map_err(|error| error.to_string())?;
        match decoded.rows.num_rows() {
            1 => RecordBatch::try_new(self.schema.clone(), decoded.rows.columns().to_vec()).map_err(|e| e.to_string()),
            n => Err(format!("{n} rows in one line")),
        }
    }

    fn decoder(&self, name: &str) -> Result<Box<dyn RowDecoder>, String> {
        let options = BTreeMap::from([("csv.null-literal".to_string(), "NULL".to_string())]);
        let format = Format::parse(name, &options).map_err(|problems| format!("{problems:?}"))?;
        let decoder = format.decoder(&self.table, &self.projection, Path::new("test file"));
        let mut decoder = decoder.map_err(|error| error.to_string())?;
        let start = Block::lines(b"", 0, true);
        decoder.begin(start).map_err(|error| error.to_string())?;
        Ok(decoder)
    }

    /// A timestamp in the calendar of the table's session.
    fn time(&self, text: &str) -> Result<EventTime, String> {
        let parsed =
            NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").map_err(|error| format!("{text}: {error}"))?;
        let zoned = self
            .table
            .fields()
            .iter()
            .any(|field| matches!(field.data_type(), arrow::datatypes::DataType::Timestamp(_, Some(_))));
        let millis = match zoned {
            true => self.zone.from_local_datetime(&parsed).earliest().ok_or("no such local time")?.timestamp_millis(),
            false => parsed.and_utc().timestamp_millis(),
        };
        Ok(EventTime(millis))
    }
}

/// `+U a, 2` is the kind `+U` and the row `a, 2`.
fn kind_of(text: &str) -> Option<(RowKind, &str)> {
    let (symbol, row) = text.trim_start().split_once(' ')?;
    let kinds = [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete];
    kinds.into_iter().find(|kind| kind.symbol() == symbol).map(|kind| (kind, row))
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// What the table's option says, where it is set.
fn declared_changelog(spec: &TableSpec) -> Option<ChangelogMode> {
    match spec.text(&CHANGELOG)? {
        "append" => Some(ChangelogMode::Append),
        "upsert" => Some(ChangelogMode::Upsert),
        _ => Some(ChangelogMode::Retract),
    }
}

/// `a,  b` is `a,b`: files align their columns. Quoted fields keep their blanks.
fn trim_fields(text: &str) -> String {
    if text.contains('"') {
        return text.to_string();
    }
    text.split(',').map(str::trim).collect::<Vec<_>>().join(",")
}

#[derive(Debug, Clone)]
enum Item {
    Row(RowKind, RecordBatch),
    Watermark(EventTime),
    Gate(usize),
}

struct ScriptSource {
    schema: SchemaRef,
    splits: BTreeMap<String, Arc<Vec<Item>>>,
    changelog: ChangelogMode,
    gates: Arc<Gates>,
}

impl std::fmt::Debug for ScriptSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptSource").field("splits", &self.splits.len()).finish_non_exhaustive()
    }
}

impl Source for ScriptSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn changelog(&self) -> ChangelogMode {
        self.changelog
    }

    fn discover(&self) -> Result<Vec<Split>> {
        Ok(self.splits.keys().map(|id| Split { id: id.clone(), payload: serde_json::Value::Null }).collect())
    }

    fn open(&self, split: &Split, position: Option<&Position>) -> Result<Box<dyn SplitReader>> {
        let unknown =
            || EngineError::Connector { connector: "script".into(), reason: format!("no split {}", split.id) };
        let items = self.splits.get(&split.id).ok_or_else(unknown)?.clone();
        let next = position.and_then(Position::as_u64).unwrap_or_default() as usize;
        Ok(Box::new(ScriptReader { schema: self.schema.clone(), items, next, gates: self.gates.clone() }))
    }
}

struct ScriptReader {
    schema: SchemaRef,
    items: Arc<Vec<Item>>,
    next: usize,
    gates: Arc<Gates>,
}

impl ScriptReader {
    fn rows(&mut self, rows_max: usize) -> Result<Read> {
        let rows = self.items[self.next..].iter().map_while(|item| match item {
            Item::Row(kind, row) => Some((*kind, row)),
            _ => None,
        });
        let (kinds, rows): (Vec<RowKind>, Vec<&RecordBatch>) = rows.take(rows_max).unzip();
        self.next += rows.len();
        let rows = concat_batches(&self.schema, rows)?;
        let rows = match kinds.iter().all(|kind| *kind == RowKind::Insert) {
            true => Batch::new(rows),
            false => Batch::with_kinds(rows, kinds.iter().map(|kind| *kind as i8).collect::<Vec<i8>>().into()),
        };
        Ok(Read::Rows { rows, rejected: Vec::new() })
    }
}

impl SplitReader for ScriptReader {
    fn next(&mut self, rows_max: usize) -> Result<Read> {
        match self.items.get(self.next) {
            None => Ok(Read::End),
            Some(Item::Row(..)) => self.rows(rows_max),
            Some(Item::Watermark(time)) => {
                let time = *time;
                self.next += 1;
                Ok(Read::Watermark(time))
            }
            Some(Item::Gate(gate)) if self.gates.may_pass(*gate) => {
                self.next += 1;
                self.next(rows_max)
            }
            Some(Item::Gate(_)) => Ok(Read::Wait(GATE_POLL)),
        }
    }

    fn position(&self) -> Position {
        Position::from(self.next as u64)
    }
}
