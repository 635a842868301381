//! Measures what Top-N, deduplication and OVER cost per row, with state on disk and without a runtime around them:
//! `cargo run --release -p tidemill-engine --example ranking_cost`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tidemill_engine::aggregate::{AggregateCall, resolve};
use tidemill_engine::keys::KeyGroupRange;
use tidemill_engine::metrics::NodeMetrics;
use tidemill_engine::operator::{Collector, OperatorContext, OperatorFactory, Subtask};
use tidemill_engine::operators::first_row::FirstRow;
use tidemill_engine::operators::ordering::{RankFunction, RankRange, SortColumn};
use tidemill_engine::operators::over::{Frame, FrameBound, FrameUnit, Over, OverFunction};
use tidemill_engine::operators::top_n::{Emission, Order, TopN};
use tidemill_engine::state::{InstanceId, KeyShape, Restored, StateBackend};
use tidemill_engine::time::{EventTime, ProcessingTime};
use tidemill_engine::{Batch, Epoch, Result};

const BATCH_ROWS: usize = 8192;
const ROWS: usize = 1_000_000;
const SPAN_MS: i64 = 1_000_000;
const BARRIER_EVERY_BATCHES: usize = 25;
const BUDGET_BYTES: usize = 512 << 20;

struct RowCounter(usize);

impl Collector for RowCounter {
    fn emit(&mut self, _port: usize, batch: Batch) -> Result<()> {
        self.0 += batch.num_rows();
        Ok(())
    }
}

fn main() -> Result<()> {
    println!("{:40} {:>8} {:>12} {:>12} {:>12}", "operator", "keys", "rows/s", "rows out", "barriers ms");
    for keys in [100, 10_000, 100_000] {
        measure("Top 10", keys, &top_n(10, false))?;
        measure("Top 10 with number", keys, &top_n(10, true))?;
        measure("last row (Top 1)", keys, &top_n(1, false))?;
        measure("first row by time", keys, &first_row())?;
    }
    for keys in [1, 100, 10_000] {
        measure("OVER ROWS 10 PRECEDING", keys, &over(rows_before(FrameUnit::Rows, 10)))?;
        measure("OVER ROWS 1000 PRECEDING", keys, &over(rows_before(FrameUnit::Rows, 1000)))?;
        measure("OVER RANGE 10 s", keys, &over(rows_before(FrameUnit::Range, 10_000)))?;
        measure("OVER ROWS 10 FOLLOWING", keys, &over(rows_behind(FrameUnit::Rows, 10)))?;
        measure("OVER RANGE 1 s FOLLOWING", keys, &over(rows_behind(FrameUnit::Range, 1_000)))?;
        measure("OVER all rows so far", keys, &over(Frame::so_far(FrameUnit::Range)))?;
    }
    Ok(())
}

fn measure(name: &str, keys: i64, factory: &dyn OperatorFactory) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("ranking-cost-{}", std::process::id()));
    let all = KeyGroupRange::all(128);
    let subtask = Subtask { index: 0, parallelism: 1 };
    let id = InstanceId { uid: "measured".into(), subtask, key_groups: all };
    let state = StateBackend::new(BUDGET_BYTES).instance(id, KeyShape::Plain, &folder, Restored::default())?;
    let mut ctx = OperatorContext {
        subtask,
        key_groups: all,
        state: state.view(),
        now: ProcessingTime(0),
        watermark: EventTime::MIN,
        input_watermarks: Vec::new(),
        batch_rows: BATCH_ROWS,
        cache_budget_bytes: BUDGET_BYTES / 2,
        metrics: Arc::new(NodeMetrics::default()),
    };
    let mut out = RowCounter(0);
    let mut operator = factory.create()?;
    operator.open(&mut ctx)?;
    let (mut working, mut barriers) = (Duration::ZERO, Duration::ZERO);
    for (number, first) in (0..ROWS).step_by(BATCH_ROWS).enumerate() {
        let batch = batch(first, BATCH_ROWS.min(ROWS - first), keys)?;
        let start = Instant::now();
        operator.on_batch(0, batch, &mut ctx, &mut out)?;
        ctx.watermark = EventTime((first as i64) * SPAN_MS / ROWS as i64);
        operator.on_watermark(ctx.watermark, &mut ctx, &mut out)?;
        working += start.elapsed();
        if number % BARRIER_EVERY_BATCHES == BARRIER_EVERY_BATCHES - 1 {
            let start = Instant::now();
            operator.on_barrier(Epoch(number as u64), &mut ctx, &mut out)?;
            barriers += start.elapsed();
        }
    }
    ctx.watermark = EventTime::MAX;
    let start = Instant::now();
    operator.on_watermark(ctx.watermark, &mut ctx, &mut out)?;
    working += start.elapsed();
    let per_second = ROWS as f64 / (working + barriers).as_secs_f64();
    println!("{name:40} {keys:>8} {per_second:>12.0} {:>12} {:>12.0}", out.0, barriers.as_secs_f64() * 1000.0);
    drop((operator, ctx, state));
    // A state that stayed small has no folder.
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}

fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("value", DataType::Int64, true),
        Field::new("time", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("text", DataType::Utf8, true),
    ]))
}

fn with_column(kept: &[usize], added: Option<Field>) -> Result<SchemaRef> {
    let kept = input().project(kept)?;
    let added = added.map(Arc::new);
    Ok(Arc::new(Schema::new(kept.fields().iter().cloned().chain(added).collect::<Vec<_>>())))
}

fn top_n(to: u64, with_rank: bool) -> TopN {
    let rank = with_rank.then(|| Field::new("rank", DataType::Int64, false));
    TopN {
        keys: vec![0],
        order: Order::Columns(vec![SortColumn { column: 1, descending: true, nulls_first: false }]),
        function: RankFunction::RowNumber,
        range: RankRange { from: 1, to },
        bound: None,
        kept: vec![0, 1, 2, 3],
        with_rank,
        updated: false,
        emission: Emission::Changes,
        ttl_ms: None,
        input: input(),
        schema: with_column(&[0, 1, 2, 3], rank).expect("the columns are the input's"),
    }
}

fn first_row() -> FirstRow {
    FirstRow {
        keys: vec![0],
        order: vec![SortColumn { column: 2, descending: false, nulls_first: true }],
        is_event_time: true,
        kept: vec![0, 1, 2, 3],
        ttl_ms: None,
        input: input(),
        schema: input(),
    }
}

fn rows_before(unit: FrameUnit, count: i64) -> Frame {
    Frame { unit, start: FrameBound::Offset(-count), end: FrameBound::Offset(0) }
}

fn rows_behind(unit: FrameUnit, count: i64) -> Frame {
    Frame { unit, start: FrameBound::Offset(0), end: FrameBound::Offset(count) }
}

fn over(frame: Frame) -> Over {
    let factory = resolve("sum", &[DataType::Int64], &[], false).expect("numbers can be added");
    let output = Field::new("total", factory.output_type(), true);
    let call =
        AggregateCall { display: "SUM(value)".into(), output: output.clone(), factory, args: vec![1], filter: None };
    Over {
        keys: vec![0],
        order: vec![SortColumn { column: 2, descending: false, nulls_first: true }],
        is_event_time: true,
        functions: vec![OverFunction::Aggregate(call, frame)],
        kept: vec![0, 1, 2, 3],
        ttl_ms: None,
        input: input(),
        schema: with_column(&[0, 1, 2, 3], Some(output)).expect("the columns are the input's"),
    }
}

fn batch(first: usize, count: usize, keys: i64) -> Result<Batch> {
    let numbers = || (first..first + count).map(|row| row as i64);
    let scattered = |row: i64| row.wrapping_mul(0x9E37_79B9_7F4A_7C15u64 as i64) as u64 >> 32;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(numbers().map(|row| (scattered(row) % keys as u64) as i64))),
        Arc::new(Int64Array::from_iter_values(numbers().map(|row| (scattered(row ^ 0x5555) % 1_000_003) as i64))),
        Arc::new(TimestampMillisecondArray::from_iter_values(numbers().map(|row| row * SPAN_MS / ROWS as i64))),
        Arc::new(StringArray::from_iter_values(numbers().map(|row| format!("row {row}")))),
    ];
    Ok(Batch::new(RecordBatch::try_new(input(), columns)?))
}
