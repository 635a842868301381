//! Updates that tell of the old row only what changed: the rest of it is as in the new one.
//!
//! A field that is there with a null was NULL; one that is not there has not changed.

use std::sync::Arc;

use arrow::array::{Array, StructArray};
use arrow::compute::interleave;
use arrow::datatypes::{Schema, SchemaRef};
use tidemill_engine::Result;

use crate::format::flaw::Parsed;
use crate::format::json::JsonOptions;
use crate::format::json::decode::JsonDecoder;

pub(super) struct OldValues {
    json: JsonDecoder,
    /// Per column and old row of this batch: where its value is: 0 and the old row, or 1 and the new one.
    places: Vec<Vec<(usize, usize)>>,
    rows: usize,
}

impl OldValues {
    pub(super) fn new(options: &JsonOptions, row: &SchemaRef, place: String) -> Result<Self> {
        // Whether a NULL is wrong is decided over whole rows.
        let fields = row.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let places = vec![Vec::new(); schema.fields().len()];
        let options = JsonOptions { fail_on_missing_field: false, ..options.clone() };
        Ok(Self { json: JsonDecoder::new(&options, schema, place)?, places, rows: 0 })
    }

    /// Adds the old row of an update: the values that it tells as JSON, and the number of the new row. Gives its number.
    pub(super) fn push(&mut self, told: &str, new: usize) -> Parsed<usize> {
        self.json.append(told.as_bytes(), self.rows).map_err(|flaw| flaw.within("old"))?;
        for (column, places) in self.places.iter_mut().enumerate() {
            places.push(if self.json.appended(column) { (0, self.rows) } else { (1, new) });
        }
        self.rows += 1;
        Ok(self.rows - 1)
    }

    /// The whole old rows of this batch; the next one starts anew.
    pub(super) fn finish(&mut self, new: &StructArray) -> Result<StructArray> {
        let told = self.json.finish_appended(std::mem::take(&mut self.rows))?;
        let mut columns = Vec::with_capacity(self.places.len());
        for (column, places) in self.places.iter_mut().enumerate() {
            let sides: [&dyn Array; 2] = [told.column(column).as_ref(), new.column(column).as_ref()];
            columns.push(interleave(&sides, places)?);
            places.clear();
        }
        match columns.is_empty() {
            true => Ok(StructArray::new_empty_fields(told.num_rows(), None)),
            false => Ok(StructArray::try_new(told.schema().fields().clone(), columns, None)?),
        }
    }
}
