//! A sink in memory that keeps the promises of a real one: what it shows was committed, once, in its epoch.
//!
//! For tests of this crate and for the program's own test runner. It outlives the jobs that write to it (clones
//! share what was collected), but not the process.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parking_lot::Mutex;
use serde_json::Value;

use crate::graph::ChangelogMode;
use crate::sink::{Committable, Committer, Guarantee, Prepared, Sink, SinkWriter, WriterContext};
use crate::time::ProcessingTime;
use crate::{Batch, EngineError, Epoch, Result, RowKind};

/// Collects committed batches with their row kinds.
#[derive(Debug, Clone, Default)]
pub struct CollectSink {
    collected: Arc<Mutex<Collected>>,
}

#[derive(Debug, Default)]
struct Collected {
    /// Written and prepared, not visible; by name.
    prepared: HashMap<String, Vec<Batch>>,
    /// Visible; by epoch and name.
    committed: BTreeMap<(Epoch, String), Vec<Batch>>,
    finished: bool,
}

impl CollectSink {
    pub fn new() -> Self {
        Self::default()
    }

    /// What is visible, in the order of the epochs; within an epoch in no particular order of subtasks.
    pub fn batches(&self) -> Vec<(Epoch, Batch)> {
        let collected = self.collected.lock();
        let all = collected.committed.iter();
        all.flat_map(|((epoch, _), batches)| batches.iter().map(|batch| (*epoch, batch.clone()))).collect()
    }

    /// Visible rows as text, `+I[1, a]`, in the order of [`Self::batches`].
    pub fn rows(&self) -> Vec<String> {
        self.batches().iter().flat_map(|(_, batch)| show_batch(batch)).collect()
    }

    /// [`Self::rows`], sorted: equal for equal results whatever the parallelism.
    pub fn sorted_rows(&self) -> Vec<String> {
        let mut rows = self.rows();
        rows.sort();
        rows
    }

    /// The rows that remain when all changes are applied in order, sorted, without their kinds.
    ///
    /// Panics where a row is taken back that is not there: the changelog is wrong.
    pub fn table(&self) -> Vec<String> {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for (_, batch) in self.batches() {
            for row in 0..batch.num_rows() {
                let change = if batch.kind(row).is_retraction() { -1 } else { 1 };
                let count = counts.entry(show_values(batch.rows(), row)).or_default();
                *count += change;
                assert!(*count >= 0, "the changelog takes back a row that is not there: {}", show_row(&batch, row));
            }
        }
        counts.into_iter().flat_map(|(row, count)| std::iter::repeat_n(row, count as usize)).collect()
    }

    /// The bounded input ended and all of it is visible.
    pub fn is_finished(&self) -> bool {
        self.collected.lock().finished
    }
}

fn show_batch(batch: &Batch) -> Vec<String> {
    (0..batch.num_rows()).map(|row| show_row(batch, row)).collect()
}

fn show_row(batch: &Batch, row: usize) -> String {
    format!("{}{}", batch.kind(row).symbol(), show_values(batch.rows(), row))
}

fn show_values(rows: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let show = |column| match ArrayFormatter::try_new(column, &options) {
        Ok(formatter) => formatter.value(row).to_string(),
        Err(error) => format!("<{error}>"),
    };
    let values: Vec<String> = rows.columns().iter().map(|column| show(column.as_ref())).collect();
    format!("[{}]", values.join(", "))
}

impl Sink for CollectSink {
    fn accepts(&self) -> ChangelogMode {
        ChangelogMode::Retract
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn writer(&self, context: &WriterContext, _restored: Vec<Value>) -> Result<Box<dyn SinkWriter>> {
        let name = format!("{}/{}/{}", context.job_id, context.attempt, context.subtask.index);
        Ok(Box::new(CollectWriter { name, collected: Arc::clone(&self.collected), written: Vec::new() }))
    }

    fn committer(&self, _job_id: &str) -> Result<Option<Box<dyn Committer>>> {
        Ok(Some(Box::new(CollectCommitter { collected: Arc::clone(&self.collected) })))
    }
}

struct CollectWriter {
    name: String,
    collected: Arc<Mutex<Collected>>,
    written: Vec<Batch>,
}

impl SinkWriter for CollectWriter {
    fn write(&mut self, batch: &Batch, _now: ProcessingTime) -> Result<()> {
        self.written.push(batch.clone());
        Ok(())
    }

    fn prepare(&mut self, epoch: Epoch, _last: bool) -> Result<Prepared> {
        if self.written.is_empty() {
            return Ok(Prepared::default());
        }
        let name = format!("{}/{epoch}", self.name);
        self.collected.lock().prepared.insert(name.clone(), std::mem::take(&mut self.written));
        Ok(Prepared { committables: vec![Committable(Value::String(name))], state: None })
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        None
    }
}

struct CollectCommitter {
    collected: Arc<Mutex<Collected>>,
}

impl Committer for CollectCommitter {
    fn commit(&mut self, epoch: Epoch, committables: &[Committable]) -> Result<()> {
        let mut collected = self.collected.lock();
        for committable in committables {
            let name = committable.0.as_str().unwrap_or_default().to_string();
            if let Some(batches) = collected.prepared.remove(&name) {
                let again = collected.committed.insert((epoch, name), batches);
                assert!(again.is_none(), "names of prepared output never repeat");
            } else if !collected.committed.contains_key(&(epoch, name.clone())) {
                let reason = format!("the output {name} of epoch {epoch} is lost");
                return Err(EngineError::Connector { connector: "collect".into(), reason });
            }
        }
        Ok(())
    }

    fn discard_unknown(&mut self, job_id: &str, _restored: Epoch, _kept: &[Value]) -> Result<()> {
        let mine = format!("{job_id}/");
        self.collected.lock().prepared.retain(|name, _| !name.starts_with(&mine));
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.collected.lock().finished = true;
        Ok(())
    }
}

/// The kinds of a batch's rows, for assertions.
pub fn kinds(batch: &Batch) -> Vec<RowKind> {
    (0..batch.num_rows()).map(|row| batch.kind(row)).collect()
}
