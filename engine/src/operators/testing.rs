//! A small world for operator tests: instances over in-memory state that can be restarted and rescaled at will.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, Int8Array, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::key_table::KeyColumns;
use crate::batch::RowKind;
use crate::keys::{KeyGroup, KeyGroupRange};
use crate::metrics::NodeMetrics;
use crate::operator::{MAIN_PORT, Operator, OperatorContext, OperatorFactory, SIDE_PORT, Subtask, VecCollector};
use crate::state::memory::MemoryState;
use crate::state::{KeyedState, Visit};
use crate::time::{EventTime, ProcessingTime};
use crate::{Batch, Epoch, Result};

/// Few groups, so that each has several keys.
pub const MAX_PARALLELISM: u16 = 8;

/// State that the test can look into while an operator owns a handle of it.
#[derive(Clone, Default)]
struct TestState {
    entries: Arc<Mutex<MemoryState>>,
    note: Arc<Mutex<Option<Vec<u8>>>>,
    restored: Vec<Vec<u8>>,
    /// Entries put or deleted one by one.
    writes: Arc<AtomicUsize>,
    /// Entries asked for one by one, and scans.
    reads: Arc<AtomicUsize>,
    /// Batches until the freeze of the last barrier is over.
    freezing: Arc<AtomicUsize>,
}

/// A freeze takes so many batches.
const FROZEN_BATCHES: usize = 2;

impl KeyedState for TestState {
    fn get(&self, group: KeyGroup, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.entries.lock().unwrap().get(group, key)
    }

    fn put(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<()> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.entries.lock().unwrap().put(group, key, value)
    }

    fn delete(&mut self, group: KeyGroup, key: &[u8]) -> Result<()> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.entries.lock().unwrap().delete(group, key)
    }

    fn is_freezing(&self) -> bool {
        self.freezing.load(Ordering::Relaxed) > 0
    }

    fn delete_prefix(&mut self, group: KeyGroup, prefix: &[u8]) -> Result<()> {
        self.entries.lock().unwrap().delete_prefix(group, prefix)
    }

    fn scan_from(&self, group: KeyGroup, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.entries.lock().unwrap().scan_from(group, prefix, from, visit)
    }

    fn set_note(&mut self, note: Vec<u8>) {
        *self.note.lock().unwrap() = Some(note);
    }

    fn restored_notes(&self) -> &[Vec<u8>] {
        &self.restored
    }
}

struct Instance {
    operator: Box<dyn Operator>,
    ctx: OperatorContext,
    state: TestState,
}

/// The instances of one node.
pub struct World<'a> {
    factory: &'a dyn OperatorFactory,
    /// Routes the rows of each input.
    keys: Vec<KeyColumns>,
    instances: Vec<Instance>,
    budget_bytes: usize,
    batch_rows: usize,
    pub now: i64,
    /// Operators have time for what the next barrier would have to do.
    pub works_ahead: bool,
    pub out: VecCollector,
    pub spilled: u64,
    pub late: u64,
}

impl<'a> World<'a> {
    pub fn new(
        factory: &'a dyn OperatorFactory,
        keys: &[usize],
        input: &SchemaRef,
        budget_bytes: usize,
        parallelism: usize,
    ) -> Self {
        Self::with_inputs(factory, &[(keys, input)], budget_bytes, parallelism)
    }

    /// A node with several inputs: the key columns and the schema of each.
    pub fn with_inputs(
        factory: &'a dyn OperatorFactory,
        inputs: &[(&[usize], &SchemaRef)],
        budget_bytes: usize,
        parallelism: usize,
    ) -> Self {
        let keys = inputs.iter().map(|(keys, input)| KeyColumns::new(keys, input).unwrap()).collect();
        let mut world = Self {
            factory,
            keys,
            instances: Vec::new(),
            budget_bytes,
            batch_rows: 7,
            now: 0,
            works_ahead: true,
            out: VecCollector::default(),
            spilled: 0,
            late: 0,
        };
        world.start(parallelism, Vec::new());
        world
    }

    fn start(&mut self, parallelism: usize, old: Vec<Instance>) {
        let notes: Vec<Vec<u8>> =
            old.iter().filter_map(|instance| instance.state.note.lock().unwrap().clone()).collect();
        self.instances = (0..parallelism)
            .map(|index| {
                let range = KeyGroupRange::of_subtask(index, parallelism, MAX_PARALLELISM);
                let state = TestState { restored: notes.clone(), ..TestState::default() };
                copy_groups(&old, range, &state);
                let ctx = OperatorContext {
                    subtask: Subtask { index, parallelism },
                    key_groups: range,
                    state: Box::new(state.clone()),
                    now: ProcessingTime(self.now),
                    watermark: EventTime::MIN,
                    input_watermarks: vec![EventTime::MIN; self.keys.len()],
                    batch_rows: self.batch_rows,
                    cache_budget_bytes: self.budget_bytes,
                    metrics: Arc::new(NodeMetrics::default()),
                };
                let mut instance = Instance { operator: self.factory.create().unwrap(), ctx, state };
                instance.operator.open(&mut instance.ctx).unwrap();
                instance
            })
            .collect();
        for instance in old {
            self.spilled += instance.ctx.metrics.spilled.get();
            self.late += instance.ctx.metrics.late.get();
        }
    }

    /// Every row goes to the instance that owns its key.
    pub fn batch(&mut self, batch: &Batch) {
        self.batch_to(0, batch);
    }

    /// The same for one of several inputs.
    pub fn batch_to(&mut self, input: usize, batch: &Batch) {
        let keys = self.keys[input].encode(batch.rows()).unwrap();
        let parallelism = self.instances.len();
        let owner =
            |row: &u32| KeyGroup::of(keys.hash(*row as usize), MAX_PARALLELISM).owner(MAX_PARALLELISM, parallelism);
        for (index, instance) in self.instances.iter_mut().enumerate() {
            let rows: Vec<u32> = (0..batch.num_rows() as u32).filter(|row| owner(row) == index).collect();
            if !rows.is_empty() {
                let left = instance.state.freezing.load(Ordering::Relaxed).saturating_sub(1);
                instance.state.freezing.store(left, Ordering::Relaxed);
                instance.ctx.now = ProcessingTime(self.now);
                let own = batch.take(&UInt32Array::from(rows)).unwrap();
                instance.operator.on_batch(input, own, &mut instance.ctx, &mut self.out).unwrap();
                if self.works_ahead {
                    instance.operator.work_ahead(&mut instance.ctx).unwrap();
                }
            }
        }
    }

    pub fn watermark(&mut self, watermark: i64) {
        for instance in &mut self.instances {
            if EventTime(watermark) > instance.ctx.watermark {
                instance.ctx.watermark = EventTime(watermark);
                instance.ctx.input_watermarks.fill(EventTime(watermark));
                instance.operator.on_watermark(EventTime(watermark), &mut instance.ctx, &mut self.out).unwrap();
            }
        }
    }

    /// What one of several inputs says of time, where the others keep the operator's watermark back.
    pub fn input_watermark(&mut self, input: usize, watermark: i64) {
        for instance in &mut self.instances {
            let known = &mut instance.ctx.input_watermarks[input];
            *known = (*known).max(EventTime(watermark));
        }
    }

    pub fn time(&mut self, now: i64) {
        self.now = now;
        for instance in &mut self.instances {
            instance.ctx.now = ProcessingTime(now);
            let (due, emitted) = (instance.operator.next_time(), self.out.batches.len());
            let writes = instance.state.writes.load(Ordering::Relaxed);
            instance.operator.on_time(&mut instance.ctx, &mut self.out).unwrap();
            // The runtime would not have called it.
            if due.is_none_or(|due| due > ProcessingTime(now)) {
                assert_eq!(self.out.batches.len(), emitted, "rows at {now}, before {due:?}");
                assert_eq!(instance.state.writes.load(Ordering::Relaxed), writes, "writes at {now}, before {due:?}");
            }
        }
    }

    pub fn barrier(&mut self) {
        for instance in &mut self.instances {
            instance.operator.on_barrier(Epoch(1), &mut instance.ctx, &mut self.out).unwrap();
            instance.state.freezing.store(FROZEN_BATCHES, Ordering::Relaxed);
        }
    }

    /// A barrier, then a restart from it with so many instances.
    pub fn restart(&mut self, parallelism: usize) {
        self.barrier();
        let old = std::mem::take(&mut self.instances);
        self.start(parallelism, old);
    }

    /// Ends without a barrier, and goes on from what is in state; for operators that write to it at barriers alone.
    pub fn crash(&mut self, parallelism: usize) {
        let old = std::mem::take(&mut self.instances);
        self.start(parallelism, old);
    }

    /// Calls one instance as the runtime would, at this time.
    pub fn call<T>(
        &mut self,
        instance: usize,
        work: impl FnOnce(&mut dyn Operator, &mut OperatorContext, &mut VecCollector) -> T,
    ) -> T {
        let instance = &mut self.instances[instance];
        instance.ctx.now = ProcessingTime(self.now);
        work(instance.operator.as_mut(), &mut instance.ctx, &mut self.out)
    }

    /// Event time ends, then the input.
    pub fn end(&mut self) {
        self.watermark(i64::MAX);
        for instance in &mut self.instances {
            instance.operator.on_end(&mut instance.ctx, &mut self.out).unwrap();
        }
    }

    /// Rows left in state over all instances.
    pub fn state_entries(&self) -> usize {
        self.instances.iter().map(|instance| instance.state.entries.lock().unwrap().len()).sum()
    }

    /// Values left in state over all instances.
    pub fn state_values(&self) -> Vec<Vec<u8>> {
        let states = self.instances.iter().map(|instance| instance.state.entries.lock().unwrap());
        states.flat_map(|state| state.values().map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
    }

    /// Entries that the present instances have put or deleted.
    pub fn state_writes(&self) -> usize {
        self.instances.iter().map(|instance| instance.state.writes.load(Ordering::Relaxed)).sum()
    }

    /// How often the present instances have asked state for an entry or a range.
    pub fn state_reads(&self) -> usize {
        self.instances.iter().map(|instance| instance.state.reads.load(Ordering::Relaxed)).sum()
    }

    pub fn spilled_total(&self) -> u64 {
        self.spilled + self.instances.iter().map(|instance| instance.ctx.metrics.spilled.get()).sum::<u64>()
    }

    pub fn late_total(&self) -> u64 {
        self.late + self.instances.iter().map(|instance| instance.ctx.metrics.late.get()).sum::<u64>()
    }

    /// What the instances say that they hold in memory.
    pub fn cache_bytes(&self) -> usize {
        self.instances.iter().filter_map(|instance| instance.ctx.metrics.cache_bytes.get()).sum::<i64>() as usize
    }

    /// The emitted rows of a port, in order of emission, as text.
    pub fn rows(&self, port: usize) -> Vec<String> {
        let batches = self.out.batches.iter().filter(|(other, _)| *other == port);
        batches.flat_map(|(_, batch)| rows_as_text(batch.rows())).collect()
    }

    pub fn sorted_rows(&self) -> Vec<String> {
        sorted(self.rows(MAIN_PORT))
    }

    pub fn sorted_late_rows(&self) -> Vec<String> {
        sorted(self.rows(SIDE_PORT))
    }

    /// What was emitted since the last call.
    pub fn take_output(&mut self) -> VecDeque<(usize, Batch)> {
        std::mem::take(&mut self.out.batches).into()
    }
}

fn copy_groups(old: &[Instance], range: KeyGroupRange, to: &TestState) {
    for instance in old {
        for group in range.groups().map(KeyGroup) {
            let copy = &mut |key: &[u8], value: &[u8]| {
                to.entries.lock().unwrap().put(group, key, value)?;
                Ok(true)
            };
            instance.state.scan(group, &[], copy).unwrap();
        }
    }
}

/// A change of a row that is an id and a value.
pub type IdChange = (RowKind, i64, i64);

/// The columns `id` and `value`.
pub fn id_and_value() -> SchemaRef {
    let field = |name: &str| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![field("id"), field("value")]))
}

/// Gives changes to an operator over [`id_and_value`], in one batch, and takes what comes out.
pub fn give_changes(world: &mut World, changes: &[IdChange]) -> Vec<IdChange> {
    let ids = Int64Array::from_iter_values(changes.iter().map(|change| change.1));
    let values = Int64Array::from_iter_values(changes.iter().map(|change| change.2));
    let rows = RecordBatch::try_new(id_and_value(), vec![Arc::new(ids), Arc::new(values)]).unwrap();
    let kinds = Int8Array::from_iter_values(changes.iter().map(|change| change.0 as i8));
    world.batch(&Batch::with_kinds(rows, kinds));
    let mut given = Vec::new();
    for (_, batch) in world.take_output() {
        let value = |column: usize, row: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
        given.extend((0..batch.num_rows()).map(|row| (batch.kind(row), value(0, row), value(1, row))));
    }
    given
}

pub fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

/// Each row as its values with bars between.
pub fn rows_as_text(rows: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> =
        rows.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let text = |row: usize| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|");
    (0..rows.num_rows()).map(text).collect()
}
