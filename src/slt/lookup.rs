//! `'connector' = 'script', 'lookup' = 'by-key'`: the rows of a test file looked up by key, by a server that is slow at times
//! and fails at times.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tidemill_engine::lookup::{Answer, Found, Lookup, LookupFailure, Question};

/// Every so many questions, one fails.
const FAILS_EVERY: u64 = 5;
/// The slowest answers take so long; the others less, so that they overtake each other.
const SLOWEST: Duration = Duration::from_millis(4);

pub struct ScriptLookup {
    /// Of the table.
    pub rows: RecordBatch,
    /// The key columns of `rows`.
    pub keys: Vec<usize>,
    /// The columns that rows have, in `rows`.
    pub columns: Vec<usize>,
    pub schema: SchemaRef,
    pub asked: AtomicU64,
}

impl Lookup for ScriptLookup {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn ask(&self, question: &Question) -> Result<Answer, LookupFailure> {
        let Question::Keys(keys) = question else { return Ok(Answer::Ready) };
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(SLOWEST / (1 + (number * 7 % 4) as u32));
        if number % FAILS_EVERY == FAILS_EVERY - 1 {
            return Err(LookupFailure::Passing("not just now".into()));
        }
        self.find(keys).map(Answer::Rows).map_err(|error| LookupFailure::Lasting(error.to_string()))
    }
}

impl ScriptLookup {
    /// Compares every key with every row.
    fn find(&self, keys: &RecordBatch) -> Result<Found, arrow::error::ArrowError> {
        let own = self.keys.iter().zip(keys.columns());
        let own = own.map(|(index, key)| cast(self.rows.column(*index), key.data_type()));
        let own = texts(&own.collect::<Result<Vec<_>, _>>()?)?;
        let (mut numbers, mut key_of_row) = (Vec::new(), Vec::new());
        for (number, key) in texts(keys.columns())?.into_iter().enumerate() {
            for row in (0..own.len()).filter(|row| own[*row] == key) {
                numbers.push(row as u32);
                key_of_row.push(number as u32);
            }
        }
        let rows = take_record_batch(&self.rows.project(&self.columns)?, &UInt32Array::from(numbers))?;
        Ok(Found { rows: RecordBatch::try_new(self.schema.clone(), rows.columns().to_vec())?, key_of_row })
    }
}

/// The values of each row, where NULL is none.
fn texts(columns: &[ArrayRef]) -> Result<Vec<Vec<Option<String>>>, arrow::error::ArrowError> {
    let options = FormatOptions::default();
    let formatters = columns.iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
    let formatters = formatters.collect::<Result<Vec<_>, _>>()?;
    let value =
        |row: usize, column: usize| columns[column].is_valid(row).then(|| formatters[column].value(row).to_string());
    let count = columns.first().map_or(0, |column| column.len());
    Ok((0..count).map(|row| (0..columns.len()).map(|column| value(row, column)).collect()).collect())
}
