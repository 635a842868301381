//! The parts that the runtime's tests build their jobs from.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::graph::{ChangelogMode, Exchange, Input, JobGraph, Node, NodeId, NodeKind, Parallelism};
use crate::keys::{KeyGroup, hash_key};
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory, SIDE_PORT};
use crate::operators::calc::Calc;
use crate::operators::row_error::RowErrorPolicy;
use crate::runtime::testing::CollectSink;
use crate::runtime::{JobOptions, JobSummary, Outcome, RestartStrategy, start};
use crate::source::{
    Boundedness, Position, Read, Rejected, Source, SourceSpec, Split, SplitReader, WatermarkSpec, rejected_schema,
};
use crate::time::EventTime;
use crate::{Batch, EngineError, Epoch, Result};

/// key, event time in ms.
pub type Row = (i64, i64);

pub const WINDOW_MS: i64 = 100;

pub fn row_schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false), Field::new("ts", time, true)]))
}

pub fn record_batch(rows: &[Row]) -> RecordBatch {
    let keys: Int64Array = rows.iter().map(|row| Some(row.0)).collect();
    // A time below zero stands for NULL.
    let times: TimestampMillisecondArray = rows.iter().map(|row| Some(row.1).filter(|ms| *ms >= 0)).collect();
    RecordBatch::try_new(row_schema(), vec![Arc::new(keys), Arc::new(times)]).unwrap()
}

pub fn column(name: &str, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(name, index))
}

/// What the readers of a source do beyond reading.
#[derive(Debug, Default)]
pub struct Mischief {
    /// Rows given before the reader fails, each time anew, until `failures_left` is used up.
    pub fail_after_rows: Option<u64>,
    pub failures_left: AtomicU64,
    /// Splits of this index wait for ever after this many rows, until `released`.
    pub stall: Option<(usize, usize)>,
    pub released: AtomicBool,
    /// Every row of this key is rejected.
    pub rejected_key: Option<i64>,
    /// Pause before each read.
    pub slow: Option<Duration>,
    /// Splits of this index take so long to open.
    pub slow_open: Option<(usize, Duration)>,
}

/// Splits in memory.
#[derive(Debug)]
pub struct SplitsSource {
    pub splits: Vec<Arc<Vec<Row>>>,
    pub boundedness: Boundedness,
    pub mischief: Arc<Mischief>,
    /// Splits that may be discovered; the rest appear when `released`.
    pub visible: Option<usize>,
}

impl SplitsSource {
    pub fn new(splits: Vec<Vec<Row>>) -> Self {
        Self {
            splits: splits.into_iter().map(Arc::new).collect(),
            boundedness: Boundedness::Bounded,
            mischief: Arc::default(),
            visible: None,
        }
    }

    pub fn with(splits: Vec<Vec<Row>>, mischief: Mischief) -> Self {
        Self { mischief: Arc::new(mischief), ..Self::new(splits) }
    }
}

impl Source for SplitsSource {
    fn schema(&self) -> SchemaRef {
        row_schema()
    }

    fn boundedness(&self) -> Boundedness {
        self.boundedness
    }

    fn discover(&self) -> Result<Vec<Split>> {
        let all = self.mischief.released.load(Ordering::Relaxed);
        let count = if all { self.splits.len() } else { self.visible.unwrap_or(self.splits.len()) };
        Ok((0..count).map(|index| Split { id: format!("split-{index}"), payload: index.into() }).collect())
    }

    fn discovery_interval(&self) -> Option<Duration> {
        self.visible.map(|_| Duration::from_millis(5))
    }

    fn open(&self, split: &Split, position: Option<&Position>) -> Result<Box<dyn SplitReader>> {
        let index = split.payload.as_u64().unwrap() as usize;
        let next = position.map_or(0, |position| position.as_u64().unwrap() as usize);
        let (rows, mischief) = (Arc::clone(&self.splits[index]), Arc::clone(&self.mischief));
        if let Some((_, pause)) = mischief.slow_open.filter(|(slow, _)| *slow == index) {
            std::thread::sleep(pause);
        }
        Ok(Box::new(RowsReader { index, rows, next, mischief, given: 0 }))
    }
}

struct RowsReader {
    index: usize,
    rows: Arc<Vec<Row>>,
    next: usize,
    mischief: Arc<Mischief>,
    given: u64,
}

impl RowsReader {
    fn stop_before(&self) -> usize {
        match self.mischief.stall {
            Some((index, rows)) if index == self.index && !self.mischief.released.load(Ordering::Relaxed) => rows,
            _ => self.rows.len(),
        }
    }

    fn fail_if_told(&self) -> Result<()> {
        let due = self.mischief.fail_after_rows.is_some_and(|rows| self.given >= rows);
        let take = |left: u64| left.checked_sub(1);
        if due && self.mischief.failures_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
            return Err(EngineError::Connector { connector: "toy".into(), reason: "it broke down".into() });
        }
        Ok(())
    }
}

impl SplitReader for RowsReader {
    fn next(&mut self, rows_max: usize) -> Result<Read> {
        if let Some(pause) = self.mischief.slow {
            std::thread::sleep(pause);
        }
        self.fail_if_told()?;
        let end = self.stop_before();
        if self.next >= end {
            return Ok(if end < self.rows.len() { Read::Wait(Duration::from_millis(1)) } else { Read::End });
        }
        let from = self.next;
        self.next = end.min(from + rows_max);
        self.given += (self.next - from) as u64;
        let (bad, good): (Vec<Row>, Vec<Row>) =
            self.rows[from..self.next].iter().partition(|row| Some(row.0) == self.mischief.rejected_key);
        let reject = |row: Row| Rejected { offset: row.1 as u64, record: vec![b'x'], reason: "a bad key".into() };
        Ok(Read::Rows { rows: Batch::new(record_batch(&good)), rejected: bad.into_iter().map(reject).collect() })
    }

    fn position(&self) -> Position {
        Position::from(self.next as u64)
    }
}

/// Counts rows per key and tumbling window; fires at the watermark, sends late rows to the side port.
#[derive(Default)]
pub struct ToyWindows {
    pub mischief: Arc<OperatorMischief>,
}

/// How a toy operator misbehaves.
#[derive(Default)]
pub struct OperatorMischief {
    /// At a row of this key, while `failures_left` lasts: an error, or a panic.
    pub bad_key: Option<i64>,
    pub panics: bool,
    pub failures_left: AtomicU64,
}

struct ToyWindowsOperator {
    mischief: Arc<OperatorMischief>,
    /// Written to the state at a barrier. By window end and key.
    counts: BTreeMap<(i64, i64), i64>,
}

impl OperatorFactory for ToyWindows {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(ToyWindowsOperator { mischief: Arc::clone(&self.mischief), counts: BTreeMap::new() }))
    }
}

pub fn toy_schema() -> SchemaRef {
    let field = |name| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![field("k"), field("window_end"), field("n")]))
}

fn toy_group(key: i64, ctx: &OperatorContext) -> KeyGroup {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![key]));
    let encoder = crate::keys::KeyEncoder::new(&[DataType::Int64]).unwrap();
    let rows = encoder.encode(&[column]).unwrap();
    KeyGroup::of(hash_key(rows.row(0).data()), ctx.key_groups.max_parallelism)
}

impl Operator for ToyWindowsOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        for group in ctx.key_groups.groups() {
            ctx.state.scan(KeyGroup(group), &[], &mut |key, value| {
                let part = |range: std::ops::Range<usize>| i64::from_be_bytes(key[range].try_into().unwrap());
                let count = i64::from_be_bytes(value.try_into().unwrap());
                self.counts.insert((part(0..8), part(8..16)), count);
                Ok(true)
            })?;
        }
        Ok(())
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let keys = batch.column(0).as_primitive::<Int64Type>().clone();
        let times = batch.column(1).as_primitive::<TimestampMillisecondType>().clone();
        let mut late = vec![false; batch.num_rows()];
        for (row, late) in late.iter_mut().enumerate() {
            let (key, time) = (keys.value(row), times.value(row));
            assert!(ctx.key_groups.contains(toy_group(key, ctx)), "key {key} is not of this instance");
            self.misbehave(key)?;
            let end = (time.div_euclid(WINDOW_MS) + 1) * WINDOW_MS;
            *late = batch.watermark_before(row).max(ctx.watermark) >= EventTime(end - 1);
            if !*late {
                *self.counts.entry((end, key)).or_default() += 1;
            }
        }
        let late = BooleanArray::from(late);
        ctx.metrics.late.add(late.true_count());
        out.emit(SIDE_PORT, batch.filter(&late)?)
    }

    fn on_watermark(&mut self, mark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        let open = self.counts.split_off(&(mark.0.saturating_add(2), i64::MIN));
        let fired = std::mem::replace(&mut self.counts, open);
        for (end, key) in fired.keys() {
            ctx.state.delete(toy_group(*key, ctx), &[end.to_be_bytes(), key.to_be_bytes()].concat())?;
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(fired.keys().map(|(_, key)| Some(*key)).collect::<Int64Array>()),
            Arc::new(fired.keys().map(|(end, _)| Some(*end)).collect::<Int64Array>()),
            Arc::new(fired.values().map(|count| Some(*count)).collect::<Int64Array>()),
        ];
        out.emit(MAIN_PORT, Batch::new(RecordBatch::try_new(toy_schema(), columns)?))
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        for ((end, key), count) in &self.counts {
            let entry = [end.to_be_bytes(), key.to_be_bytes()].concat();
            ctx.state.put(toy_group(*key, ctx), &entry, &count.to_be_bytes())?;
        }
        Ok(())
    }
}

impl ToyWindowsOperator {
    fn misbehave(&self, key: i64) -> Result<()> {
        if self.mischief.bad_key != Some(key) {
            return Ok(());
        }
        let take = |left: u64| left.checked_sub(1);
        if self.mischief.failures_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
            return Ok(());
        }
        assert!(!self.mischief.panics, "told to panic at key {key}");
        Err(EngineError::Connector { connector: "toy".into(), reason: format!("told to fail at key {key}") })
    }
}

/// A graph under construction.
#[derive(Default)]
pub struct Graph {
    nodes: Vec<Node>,
}

impl Graph {
    pub fn add(&mut self, name: &str, kind: NodeKind, inputs: Vec<Input>, schema: SchemaRef) -> NodeId {
        let id = NodeId(self.nodes.len());
        self.nodes.push(Node {
            id,
            name: name.into(),
            uid: format!("{name}-{}", id.0),
            kind,
            inputs,
            parallelism: Parallelism::Job,
            schema,
            changelog: ChangelogMode::Append,
            details: vec![],
            state_signature: None,
        });
        id
    }

    pub fn source(&mut self, source: Arc<SplitsSource>, idle_timeout: Option<Duration>) -> NodeId {
        let watermark =
            WatermarkSpec { expression: column("ts", 1), time_column: 1, idle_timeout, idle_time_runs: false };
        self.source_with(source, Some(watermark))
    }

    /// A source whose event time runs on while all is idle.
    pub fn running_source(&mut self, source: Arc<SplitsSource>, idle_timeout: Duration) -> NodeId {
        let idle_timeout = Some(idle_timeout);
        let watermark =
            WatermarkSpec { expression: column("ts", 1), time_column: 1, idle_timeout, idle_time_runs: true };
        self.source_with(source, Some(watermark))
    }

    pub fn source_with(&mut self, source: Arc<dyn Source>, watermark: Option<WatermarkSpec>) -> NodeId {
        let spec = SourceSpec { source, columns: vec![column("k", 0), column("ts", 1)], watermark };
        self.add("Source", NodeKind::Source(spec), vec![], row_schema())
    }

    pub fn calc(&mut self, inputs: Vec<Input>) -> NodeId {
        let columns = (inputs.len() == 1).then(|| vec![column("k", 0), column("ts", 1)]);
        let calc =
            Calc { name: "Calc".into(), filter: None, columns, schema: row_schema(), on_error: RowErrorPolicy::Fail };
        self.add("Calc", NodeKind::Operator(Arc::new(calc)), inputs, row_schema())
    }

    pub fn windows(&mut self, from: NodeId, windows: ToyWindows) -> NodeId {
        let input = input(from, MAIN_PORT, Exchange::Hash(vec![0]));
        let id = self.add("Windows", NodeKind::Operator(Arc::new(windows)), vec![input], toy_schema());
        self.nodes[id.0].state_signature = Some("toy windows".into());
        id
    }

    pub fn sink(&mut self, from: NodeId, port: usize, sink: &CollectSink) -> NodeId {
        let schema = if port == MAIN_PORT { self.nodes[from.0].schema.clone() } else { rejected_schema() };
        self.add("Sink", NodeKind::Sink(Arc::new(sink.clone())), vec![input(from, port, Exchange::Forward)], schema)
    }

    pub fn node(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0]
    }

    pub fn build(self) -> Arc<JobGraph> {
        Arc::new(JobGraph::new("test".into(), self.nodes))
    }
}

pub fn input(from: NodeId, port: usize, exchange: Exchange) -> Input {
    Input { from, port, exchange }
}

/// The usual job: source, calc, exchange by key, windows, one sink for results and one for late rows.
pub struct Pipeline {
    pub graph: Arc<JobGraph>,
    pub results: CollectSink,
    pub late: CollectSink,
}

pub fn pipeline(source: SplitsSource) -> Pipeline {
    pipeline_with(Arc::new(source), ToyWindows::default(), None)
}

pub fn pipeline_with(source: Arc<SplitsSource>, windows: ToyWindows, idle_timeout: Option<Duration>) -> Pipeline {
    let (results, late) = (CollectSink::new(), CollectSink::new());
    let mut graph = Graph::default();
    let source = graph.source(source, idle_timeout);
    let calc = graph.calc(vec![input(source, MAIN_PORT, Exchange::Forward)]);
    let windows = graph.windows(calc, windows);
    graph.sink(windows, MAIN_PORT, &results);
    graph.sink(windows, SIDE_PORT, &late);
    Pipeline { graph: graph.build(), results, late }
}

pub fn options(state_dir: &Path) -> JobOptions {
    let restart = RestartStrategy { initial_backoff: Duration::from_millis(1), ..RestartStrategy::default() };
    JobOptions { checkpoint_interval: None, restart, ..JobOptions::new("test", state_dir) }
}

pub fn run(graph: &Arc<JobGraph>, options: JobOptions) -> Result<JobSummary> {
    start(Arc::clone(graph), options)?.wait()
}

/// Runs to the end of the input.
pub fn finish(graph: &Arc<JobGraph>, options: JobOptions) -> JobSummary {
    let summary = run(graph, options).unwrap();
    assert_eq!(summary.outcome, Outcome::Finished);
    summary
}

/// Splits of random rows whose time moves on, mostly.
pub fn random_splits(seed: u64, split_count: usize, rows: usize) -> Vec<Vec<Row>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut split = |start: i64| -> Vec<Row> {
        let mut time = start;
        let mut row = || {
            time += rng.random_range(0..20);
            let delay = if rng.random_bool(0.1) { rng.random_range(0..300) } else { 0 };
            (rng.random_range(0..9), (time - delay).max(0))
        };
        (0..rows).map(|_| row()).collect()
    };
    (0..split_count).map(|index| split(index as i64 * 37)).collect()
}

/// The slow, obviously right twin: rows are late by their own split's watermark alone.
pub fn expected(splits: &[Vec<Row>]) -> (Vec<String>, Vec<String>) {
    let mut counts: HashMap<(i64, i64), i64> = HashMap::new();
    let mut late = Vec::new();
    for split in splits {
        let mut watermark = i64::MIN;
        for row in split {
            let end = (row.1.div_euclid(WINDOW_MS) + 1) * WINDOW_MS;
            if watermark >= end - 1 {
                let batch = Batch::new(record_batch(&[*row]));
                let time = chrono::DateTime::from_timestamp_millis(row.1).unwrap().naive_utc();
                assert_eq!(batch.num_rows(), 1);
                late.push(format!("+I[{}, {}]", row.0, time.format("%Y-%m-%dT%H:%M:%S%.f")));
            } else {
                *counts.entry((row.0, end)).or_default() += 1;
            }
            watermark = watermark.max(row.1);
        }
    }
    let mut results: Vec<String> = counts.iter().map(|((key, end), n)| format!("+I[{key}, {end}, {n}]")).collect();
    results.sort();
    late.sort();
    (results, late)
}
