//! Waiting rows as columns, batch by batch, each with its rows in the order of time.

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;

use crate::Result;
use crate::time::EventTime;

/// Batches with fewer rows are put together, so that a watermark need not look at very many.
const SMALL_ROWS: usize = 4096;

#[derive(Default)]
pub struct MemoryRows {
    batches: Vec<Waiting>,
}

struct Waiting {
    rows: RecordBatch,
    /// Time and number of the rows that still wait, the latest first.
    order: Vec<(i64, u32)>,
}

impl Waiting {
    fn new(rows: RecordBatch, times: &[i64]) -> Self {
        let mut order: Vec<(i64, u32)> = times.iter().copied().zip(0..).collect();
        order.sort_unstable_by(|one, other| other.cmp(one));
        Self { rows, order }
    }

    fn size_bytes(&self) -> usize {
        self.rows.get_array_memory_size() + self.order.capacity() * size_of::<(i64, u32)>()
    }
}

impl MemoryRows {
    pub fn add(&mut self, rows: RecordBatch, times: &[i64]) -> Result<()> {
        assert_eq!(rows.num_rows(), times.len(), "one time per row");
        self.batches.push(Waiting::new(rows, times));
        while let [.., one, other] = self.batches.as_slice()
            && one.order.len() + other.order.len() <= SMALL_ROWS
            && one.order.len() <= 2 * other.order.len()
        {
            self.merge_last_two()?;
        }
        Ok(())
    }

    fn merge_last_two(&mut self) -> Result<()> {
        let two = self.batches.split_off(self.batches.len() - 2);
        let places: Vec<(usize, usize)> = places(&two, |waiting| &waiting.order);
        let times: Vec<i64> = two.iter().flat_map(|waiting| waiting.order.iter().map(|(time, _)| *time)).collect();
        self.batches.push(Waiting::new(gather(&two, &places)?, &times));
        Ok(())
    }

    /// The rows that are due, if there are any.
    pub fn take_due(&mut self, watermark: EventTime) -> Result<Option<RecordBatch>> {
        let due = |waiting: &Waiting| waiting.order.partition_point(|(time, _)| *time > watermark.0);
        let starts: Vec<usize> = self.batches.iter().map(due).collect();
        let mut number = 0;
        let places = places(&self.batches, |waiting| {
            number += 1;
            &waiting.order[starts[number - 1]..]
        });
        if places.is_empty() {
            return Ok(None);
        }
        let rows = gather(&self.batches, &places)?;
        self.batches.iter_mut().zip(starts).for_each(|(waiting, start)| waiting.order.truncate(start));
        self.batches.retain(|waiting| !waiting.order.is_empty());
        Ok(Some(rows))
    }

    /// All rows, if there are any.
    pub fn take_all(&mut self) -> Result<Option<RecordBatch>> {
        self.take_due(EventTime::MAX)
    }

    pub fn rows(&self) -> usize {
        self.batches.iter().map(|waiting| waiting.order.len()).sum()
    }

    pub fn size_bytes(&self) -> usize {
        self.batches.iter().map(Waiting::size_bytes).sum()
    }
}

/// Rows of several batches: (batch, row).
fn places<'a>(batches: &'a [Waiting], mut rows: impl FnMut(&'a Waiting) -> &'a [(i64, u32)]) -> Vec<(usize, usize)> {
    let of_batch = |(batch, waiting): (usize, &'a Waiting)| {
        rows(waiting).iter().map(move |(_, row)| (batch, *row as usize)).collect::<Vec<_>>()
    };
    batches.iter().enumerate().flat_map(of_batch).collect()
}

fn gather(batches: &[Waiting], places: &[(usize, usize)]) -> Result<RecordBatch> {
    let rows: Vec<&RecordBatch> = batches.iter().map(|waiting| &waiting.rows).collect();
    Ok(interleave_record_batch(&rows, places)?)
}
