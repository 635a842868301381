//! The table that a changelog describes, kept up to date as changes come.
//!
//! A row that is taken back is found by its whole content, so no key is needed. What an update puts in takes the place of
//! what it took out: rows do not jump about. The table is bounded; rows beyond are counted, not kept.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use tidemill_engine::{Batch, Result, RowKind};

use super::order::SortedBy;

/// Bytes of rows kept, whatever their number.
const BYTES_MAX: usize = 256 << 20;
/// Places of rows that were taken out and may be filled by the update that took them.
const VACATED_MAX: usize = 8_192;

/// Where a row stands: by the query's order, then by when its place was first taken.
type Place = (Box<[u8]>, u64);

/// A bounded table, folded from changes.
pub struct FoldedView {
    schema: SchemaRef,
    rows_as_bytes: RowConverter,
    order: Order,
    rows: BTreeMap<Place, Arc<[u8]>>,
    places: HashMap<Arc<[u8]>, Vec<Place>>,
    vacated: VecDeque<u64>,
    next_place: u64,
    rows_max: usize,
    bytes_max: usize,
    bytes: usize,
    beyond: u64,
}

/// Makes bytes that sort as the query's ORDER BY does.
struct Order {
    columns: Vec<usize>,
    keys: Option<RowConverter>,
}

impl Order {
    fn of(schema: &SchemaRef, order: &[SortedBy]) -> Result<Self> {
        let columns: Vec<usize> = order.iter().map(|by| by.column).collect();
        let field =
            |by: &SortedBy| SortField::new_with_options(schema.field(by.column).data_type().clone(), by.options);
        let keys = if order.is_empty() { None } else { Some(RowConverter::new(order.iter().map(field).collect())?) };
        Ok(Self { columns, keys })
    }

    fn keys(&self, rows: &RecordBatch) -> Result<Vec<Box<[u8]>>> {
        let Some(keys) = &self.keys else { return Ok(vec![Box::default(); rows.num_rows()]) };
        let columns: Vec<_> = self.columns.iter().map(|column| Arc::clone(rows.column(*column))).collect();
        Ok(keys.convert_columns(&columns)?.iter().map(|key| key.as_ref().into()).collect())
    }
}

impl FoldedView {
    /// A table of at most `rows_max` rows, sorted by `order`.
    pub fn new(schema: SchemaRef, order: &[SortedBy], rows_max: usize) -> Result<Self> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Self {
            rows_as_bytes: RowConverter::new(fields)?,
            order: Order::of(&schema, order)?,
            schema,
            rows: BTreeMap::new(),
            places: HashMap::new(),
            vacated: VecDeque::new(),
            next_place: 0,
            rows_max,
            bytes_max: BYTES_MAX,
            bytes: 0,
            beyond: 0,
        })
    }

    /// The same with room for so many bytes of rows.
    pub fn with_bytes_max(self, bytes_max: usize) -> Self {
        Self { bytes_max: bytes_max.min(BYTES_MAX), ..self }
    }

    /// Rows that are kept.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Rows that the table has beyond those that are kept.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Takes in the changes of a batch.
    pub fn apply(&mut self, batch: &Batch) -> Result<()> {
        let rows = self.rows_as_bytes.convert_columns(batch.rows().columns())?;
        let keys = self.order.keys(batch.rows())?;
        for (index, (row, key)) in rows.iter().zip(keys).enumerate() {
            match batch.kind(index) {
                RowKind::Insert => self.add(row.as_ref(), key, None),
                RowKind::UpdateAfter => {
                    let place = self.vacated.pop_front();
                    self.add(row.as_ref(), key, place);
                }
                RowKind::UpdateBefore => {
                    if let Some(place) = self.remove(row.as_ref()) {
                        self.vacated.push_back(place);
                        self.vacated.truncate(VACATED_MAX);
                    }
                }
                RowKind::Delete => drop(self.remove(row.as_ref())),
            }
        }
        debug_assert!(self.rows.len() <= self.rows_max, "the table is bounded");
        Ok(())
    }

    fn add(&mut self, row: &[u8], key: Box<[u8]>, place: Option<u64>) {
        let number = place.unwrap_or_else(|| {
            self.next_place += 1;
            self.next_place
        });
        let place = (key, number);
        if self.rows.len() >= self.rows_max || self.bytes + row.len() > self.bytes_max {
            self.beyond += 1;
            // In an ordered table the first rows are those to keep.
            match self.rows.last_key_value() {
                Some((last, _)) if self.order.keys.is_some() && place < *last => self.remove_last(),
                _ => return,
            }
        }
        let row: Arc<[u8]> = row.into();
        self.bytes += row.len();
        self.places.entry(Arc::clone(&row)).or_default().push(place.clone());
        self.rows.insert(place, row);
    }

    fn remove_last(&mut self) {
        let Some((place, row)) = self.rows.pop_last() else { return };
        self.bytes -= row.len();
        if let Some(places) = self.places.get_mut(&row) {
            places.retain(|other| *other != place);
            if places.is_empty() {
                self.places.remove(&row);
            }
        }
    }

    /// Takes one such row out, and says which place it had; a row that is not kept was one of those beyond.
    fn remove(&mut self, row: &[u8]) -> Option<u64> {
        let Some(places) = self.places.get_mut(row) else {
            self.beyond = self.beyond.saturating_sub(1);
            return None;
        };
        let place = places.pop()?;
        if places.is_empty() {
            self.places.remove(row);
        }
        self.rows.remove(&place);
        self.bytes -= row.len();
        Some(place.1)
    }

    /// So many rows from the one at `offset` on, in order.
    pub fn rows(&self, offset: usize, count: usize) -> Result<RecordBatch> {
        let parser = self.rows_as_bytes.parser();
        let shown = self.rows.values().skip(offset).take(count).map(|row| parser.parse(row));
        let columns = self.rows_as_bytes.convert_rows(shown)?;
        let number = self.rows.len().saturating_sub(offset).min(count);
        let options = RecordBatchOptions::new().with_row_count(Some(number));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

#[cfg(test)]
mod tests;
