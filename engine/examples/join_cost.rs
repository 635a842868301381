//! Measures what joins cost per input row, without a runtime around them:
//! `cargo run --release -p tidemill-engine --example join_cost`.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use tidemill_engine::keys::KeyGroupRange;
use tidemill_engine::metrics::NodeMetrics;
use tidemill_engine::operator::{Collector, OperatorContext, OperatorFactory, Subtask};
use tidemill_engine::operators::join::{Alone, JoinInput, RegularJoin, RowKey};
use tidemill_engine::operators::row_error::RowErrorPolicy;
use tidemill_engine::state::memory::MemoryState;
use tidemill_engine::time::{EventTime, ProcessingTime};
use tidemill_engine::{Batch, Epoch, Result};

const BATCH_ROWS: usize = 8192;
const ROWS: usize = 2_000_000;

struct RowCounter(usize);

impl Collector for RowCounter {
    fn emit(&mut self, _port: usize, batch: Batch) -> Result<()> {
        self.0 += batch.num_rows();
        Ok(())
    }
}

fn main() -> Result<()> {
    println!("{:28} {:>10} {:>12} {:>12} {:>12}", "join", "keys", "rows/s", "rows out", "barrier ms");
    let unmatched = Some(Alone::Unmatched);
    for keys in [1_000_000, 100_000] {
        measure("inner", [None, None], true, keys)?;
        measure("left", [unmatched, None], true, keys)?;
        measure("full", [unmatched, unmatched], true, keys)?;
        measure("semi", [Some(Alone::Matched), None], false, keys)?;
    }
    Ok(())
}

/// The right side has each key once; the left side has all others of the rows.
fn measure(name: &str, alone: [Option<Alone>; 2], pairs: bool, keys: usize) -> Result<()> {
    let input = input_schema();
    let inputs = alone.map(|alone| JoinInput {
        keys: vec![0],
        schema: input.clone(),
        row_key: RowKey::WholeRow,
        alone,
        lifetime: None,
    });
    let both = input.fields().iter().chain(input.fields()).cloned().collect::<Vec<_>>();
    let schema = if pairs { Arc::new(Schema::new(both)) } else { input.clone() };
    let plan = RegularJoin {
        inputs,
        null_fits_null: vec![false],
        condition: None,
        pairs,
        ttl_ms: None,
        on_error: RowErrorPolicy::Fail,
        schema,
    };
    let mut operator = plan.create()?;
    let mut ctx = context();
    let mut out = RowCounter(0);
    operator.open(&mut ctx)?;
    let sides = [(1, keys), (0, ROWS - keys)];
    let batches = sides.into_iter().flat_map(|(side, rows)| {
        (0..rows).step_by(BATCH_ROWS).map(move |start| (side, start, BATCH_ROWS.min(rows - start)))
    });
    let batches: Vec<_> = batches.map(|(side, start, rows)| (side, batch(&input, start, rows, keys))).collect();
    let begin = Instant::now();
    for (side, batch) in batches {
        operator.on_batch(side, batch, &mut ctx, &mut out)?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let begin = Instant::now();
    operator.on_barrier(Epoch(1), &mut ctx, &mut out)?;
    let barrier_ms = begin.elapsed().as_secs_f64() * 1000.0;
    println!("{name:28} {keys:>10} {:>12.0} {:>12} {barrier_ms:>12.0}", ROWS as f64 / seconds, out.0);
    Ok(())
}

fn input_schema() -> SchemaRef {
    let field = |name, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![field("k", DataType::Int64), field("v", DataType::Int64), field("text", DataType::Utf8)]))
}

fn batch(schema: &SchemaRef, start: usize, rows: usize, keys: usize) -> Batch {
    let numbers = start..start + rows;
    // A step that shares no factor with the number of keys visits all of them, far apart.
    let key = |number: usize| (number * 7919 % keys) as i64;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(numbers.clone().map(key))),
        Arc::new(Int64Array::from_iter_values(numbers.clone().map(|number| number as i64))),
        Arc::new(StringArray::from_iter_values(numbers.map(|number| format!("item {}", number % 1000)))),
    ];
    Batch::new(RecordBatch::try_new(schema.clone(), columns).expect("columns of the schema"))
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
        cache_budget_bytes: usize::MAX,
        metrics: Arc::new(NodeMetrics::default()),
    }
}
