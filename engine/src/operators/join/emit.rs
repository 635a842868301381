//! Output rows of a join: noted one by one, made all at once.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int8Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use hashbrown::HashMap;

use super::side_rows::{NONE, SideRows};
use crate::batch::RowKind;
use crate::operators::projection::{cast_to, with_schema};
use crate::operators::row_codec::RowCodec;
use crate::{Batch, Result};

/// Rows of the side that is not being read, decoded.
pub struct Decoded {
    pub rows: RecordBatch,
    places: HashMap<u32, u32>,
}

impl Decoded {
    /// Each row once, however often it is named.
    pub fn of(numbers: impl Iterator<Item = u32>, side: &SideRows, codec: &RowCodec) -> Result<Self> {
        let (mut distinct, mut places) = (Vec::new(), HashMap::new());
        for number in numbers {
            places.entry(number).or_insert_with(|| {
                distinct.push(number);
                distinct.len() as u32 - 1
            });
        }
        let rows = codec.decode(distinct.iter().map(|number| side.bytes(*number)))?;
        Ok(Self { rows, places })
    }

    pub fn place(&self, number: u32) -> u32 {
        *self.places.get(&number).expect("all rows that are named were decoded")
    }
}

/// An output row: the number of the row in the batch at hand and that of the row kept of the other side; [`NONE`]
/// where one of them is missing.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    pub kind: RowKind,
    pub own: u32,
    pub other: u32,
    /// Whether a row that stands alone fits others.
    pub mark: bool,
}

/// How output rows are put together.
pub struct Layout {
    /// Columns of which sides are given.
    pub gives: [bool; 2],
    /// The mark stands behind them.
    pub marks: bool,
    pub schema: SchemaRef,
}

impl Layout {
    /// The changelog of some changes; `own` is the batch at hand, of input `side`.
    pub fn batch(&self, changes: &[Change], side: usize, own: &RecordBatch, others: &Decoded) -> Result<Batch> {
        let optional = |number: u32, place: &dyn Fn(u32) -> u32| (number != NONE).then(|| place(number));
        let own_rows: UInt32Array = changes.iter().map(|change| optional(change.own, &|row| row)).collect();
        let other_rows: UInt32Array =
            changes.iter().map(|change| optional(change.other, &|row| others.place(row))).collect();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for given in (0..2).filter(|given| self.gives[*given]) {
            let (rows, numbers) = if given == side { (own, &own_rows) } else { (&others.rows, &other_rows) };
            for column in rows.columns() {
                let data_type = self.schema.field(columns.len()).data_type();
                columns.push(cast_to(take(column, numbers, None)?, data_type)?);
            }
        }
        if self.marks {
            columns.push(Arc::new(changes.iter().map(|change| Some(change.mark)).collect::<BooleanArray>()));
        }
        let rows = with_schema(&self.schema, columns, changes.len())?;
        if changes.iter().all(|change| change.kind == RowKind::Insert) {
            return Ok(Batch::new(rows));
        }
        Ok(Batch::with_kinds(rows, Int8Array::from_iter_values(changes.iter().map(|change| change.kind as i8))))
    }
}
