//! Measures what windows cost per input row and per emitted row, without a runtime around them:
//! `cargo run --release -p tidemill-engine --example window_cost`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tidemill_engine::aggregate::{AggregateCall, resolve};
use tidemill_engine::keys::KeyGroupRange;
use tidemill_engine::metrics::NodeMetrics;
use tidemill_engine::operator::{Collector, OperatorContext, OperatorFactory, Subtask};
use tidemill_engine::operators::corrections::Correction;
use tidemill_engine::operators::session_aggregate::SessionAggregate;
use tidemill_engine::operators::window_aggregate::{Emission, WindowAggregate, WindowInput, WindowProperty};
use tidemill_engine::state::memory::MemoryState;
use tidemill_engine::time::window::{Span, TimeDomain, WindowKind, WindowSpec};
use tidemill_engine::time::{EventTime, ProcessingTime};
use tidemill_engine::{Batch, Epoch, Result};

const BATCH_ROWS: usize = 8192;
const SECOND_MS: i64 = 1000;
const HOUR_MS: i64 = 3600 * SECOND_MS;

struct RowCounter(usize);

impl Collector for RowCounter {
    fn emit(&mut self, _port: usize, batch: Batch) -> Result<()> {
        self.0 += batch.num_rows();
        Ok(())
    }
}

fn main() -> Result<()> {
    let hop = |size, slide| WindowKind::Hop { size: Span::Millis(size), slide: Span::Millis(slide), offset_ms: 0 };
    let tumble = |size| WindowKind::Tumble { size: Span::Millis(size), offset_ms: 0 };
    println!(
        "{:32} {:>8} {:>12} {:>12} {:>12} {:>12}",
        "window", "keys", "ns per row", "rows out", "ns per out", "barrier ms"
    );
    for keys in [1, 100, 10_000] {
        measure("TUMBLE 10 s", tumble(10 * SECOND_MS), keys, 4_000_000, 300 * SECOND_MS)?;
        measure("HOP 10 s by 1 s", hop(10 * SECOND_MS, SECOND_MS), keys, 4_000_000, 300 * SECOND_MS)?;
        measure("SESSION 1 s", WindowKind::Session { gap_ms: SECOND_MS }, keys, 4_000_000, 300 * SECOND_MS)?;
    }
    for keys in [1, 100, 1000] {
        measure("HOP 1 h by 5 min", hop(HOUR_MS, 300 * SECOND_MS), keys, 2_000_000, 3 * HOUR_MS)?;
        measure("HOP 1 h by 1 min", hop(HOUR_MS, 60 * SECOND_MS), keys, 2_000_000, 3 * HOUR_MS)?;
        measure("HOP 1 h by 1 s", hop(HOUR_MS, SECOND_MS), keys, 2_000_000, 3 * HOUR_MS)?;
    }
    Ok(())
}

fn measure(name: &str, kind: WindowKind, keys: i64, rows: usize, span_ms: i64) -> Result<()> {
    let input = input_schema();
    let factory = plan(kind, &input)?;
    let mut operator = factory.create()?;
    let mut ctx = context();
    let mut out = RowCounter(0);
    operator.open(&mut ctx)?;
    let (mut adding, mut firing, mut barriers, mut barrier_count) = (Duration::ZERO, Duration::ZERO, Duration::ZERO, 0);
    for (number, first) in (0..rows).step_by(BATCH_ROWS).enumerate() {
        let batch = batch(first, BATCH_ROWS.min(rows - first), rows, keys, span_ms, &input)?;
        let last_ms = (first as i64 + BATCH_ROWS as i64) * span_ms / rows as i64;
        let start = Instant::now();
        operator.on_batch(0, batch, &mut ctx, &mut out)?;
        adding += start.elapsed();
        ctx.watermark = EventTime(last_ms - SECOND_MS);
        let start = Instant::now();
        operator.on_watermark(ctx.watermark, &mut ctx, &mut out)?;
        firing += start.elapsed();
        if number % 50 == 49 {
            let start = Instant::now();
            operator.on_barrier(Epoch(number as u64), &mut ctx, &mut out)?;
            barriers += start.elapsed();
            barrier_count += 1;
        }
    }
    ctx.watermark = EventTime::MAX;
    let start = Instant::now();
    operator.on_watermark(ctx.watermark, &mut ctx, &mut out)?;
    firing += start.elapsed();
    println!(
        "{name:32} {keys:>8} {:>12.1} {:>12} {:>12.1} {:>12.2}",
        adding.as_nanos() as f64 / rows as f64,
        out.0,
        firing.as_nanos() as f64 / out.0 as f64,
        barriers.as_secs_f64() * 1000.0 / f64::from(barrier_count.max(1)),
    );
    Ok(())
}

fn input_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("value", DataType::Int64, true),
        Field::new("time", DataType::Timestamp(TimeUnit::Millisecond, None), true),
    ]))
}

fn call(name: &str, args: &[usize]) -> Result<AggregateCall> {
    let factory = resolve(name, &vec![DataType::Int64; args.len()], &[], false)?;
    let output = Field::new(name, factory.output_type(), true);
    Ok(AggregateCall { display: name.into(), output, factory, args: args.to_vec(), filter: None })
}

fn plan(kind: WindowKind, input: &SchemaRef) -> Result<Box<dyn OperatorFactory>> {
    let spec = WindowSpec { kind, domain: TimeDomain::Event, zone: None };
    let aggregates = vec![call("count", &[])?, call("sum", &[1])?];
    let properties = vec![WindowProperty::Start, WindowProperty::End];
    let window = WindowInput::Time { column: 2, spec: spec.clone() };
    let schema = WindowAggregate::output_schema(&window, &[0], &aggregates, &properties, input);
    let (keys, input) = (vec![0], input.clone());
    Ok(match kind {
        WindowKind::Session { .. } => {
            let (emission, correction, row_count) = (Emission::default(), Correction::Update, None);
            Box::new(SessionAggregate {
                spec,
                time_column: 2,
                keys,
                aggregates,
                properties,
                emission,
                correction,
                row_count,
                input,
                schema,
            })
        }
        _ => {
            let emission = Emission::default();
            Box::new(WindowAggregate { window, keys, aggregates, properties, emission, input, schema })
        }
    })
}

fn context() -> OperatorContext {
    OperatorContext {
        subtask: Subtask { index: 0, parallelism: 1 },
        key_groups: KeyGroupRange::all(128),
        state: Box::new(MemoryState::default()),
        now: ProcessingTime(0),
        watermark: EventTime::MIN,
        input_watermarks: Vec::new(),
        batch_rows: BATCH_ROWS,
        cache_budget_bytes: 1 << 30,
        metrics: Arc::new(NodeMetrics::default()),
    }
}

fn batch(first: usize, count: usize, rows: usize, keys: i64, span_ms: i64, schema: &SchemaRef) -> Result<Batch> {
    let numbers = || (first..first + count).map(|row| row as i64);
    let scattered = |row: i64| row.wrapping_mul(0x9E37_79B9_7F4A_7C15u64 as i64) as u64 >> 32;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(numbers().map(|row| (scattered(row) % keys as u64) as i64))),
        Arc::new(Int64Array::from_iter_values(numbers())),
        Arc::new(TimestampMillisecondArray::from_iter_values(numbers().map(|row| row * span_ms / rows as i64))),
    ];
    Ok(Batch::new(RecordBatch::try_new(schema.clone(), columns)?))
}
