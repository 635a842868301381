//! UNNEST: one row per element of an array or map column, beside the columns of its row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StructArray, UInt32Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute;
use arrow::datatypes::{DataType, SchemaRef};

use super::projection::{cast_to, with_schema};
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::{Batch, EngineError, Result};

/// Output: the input columns, the element (the fields of a ROW; key and value of a MAP), the ordinality as INT.
#[derive(Clone)]
pub struct Unnest {
    /// Index of the ARRAY or MAP column.
    pub column: usize,
    /// LEFT JOIN: a row without elements gives one row whose element is NULL.
    pub outer: bool,
    /// WITH ORDINALITY: the element's place, from 1.
    pub ordinality: bool,
    pub schema: SchemaRef,
}

impl OperatorFactory for Unnest {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(UnnestOperator { spec: self.clone() }))
    }
}

struct UnnestOperator {
    spec: Unnest,
}

impl Operator for UnnestOperator {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let lists = Lists::of(batch.column(self.spec.column))?;
        let mut start = 0;
        while start < batch.num_rows() {
            let end = self.chunk_end(&lists, start, ctx.batch_rows);
            let unnested = self.unnest(&batch, &lists, start..end)?;
            if !unnested.is_empty() {
                out.emit(MAIN_PORT, unnested)?;
            }
            start = end;
        }
        Ok(())
    }
}

impl UnnestOperator {
    /// Where to stop so that about `rows_max` rows come out: long arrays must not make a batch outgrow memory.
    fn chunk_end(&self, lists: &Lists, start: usize, rows_max: usize) -> usize {
        let mut rows = 0;
        for row in start..lists.len() {
            rows += lists.length(row).max(1);
            if rows >= rows_max {
                return row + 1;
            }
        }
        lists.len()
    }

    fn unnest(&self, batch: &Batch, lists: &Lists, range: std::ops::Range<usize>) -> Result<Batch> {
        let mut parents: Vec<u32> = Vec::new();
        let mut elements: Vec<Option<u32>> = Vec::new();
        let mut places: Vec<Option<i32>> = Vec::new();
        for row in range {
            let first = lists.first(row);
            for place in 0..lists.length(row) {
                parents.push(row as u32);
                elements.push(Some((first + place) as u32));
                places.push(Some(place as i32 + 1));
            }
            if lists.length(row) == 0 && self.spec.outer {
                parents.push(row as u32);
                elements.push(None);
                places.push(None);
            }
        }
        let parents = batch.take(&UInt32Array::from(parents))?;
        let mut columns = parents.rows().columns().to_vec();
        columns.extend(lists.take(&UInt32Array::from(elements))?);
        if self.spec.ordinality {
            columns.push(Arc::new(Int32Array::from(places)));
        }
        let fields = self.spec.schema.fields();
        if columns.len() != fields.len() {
            let (have, want) = (columns.len(), fields.len());
            return Err(EngineError::Unsupported(format!("UNNEST gives {have} columns where {want} were planned")));
        }
        let columns = columns.into_iter().zip(fields).map(|(column, field)| cast_to(column, field.data_type()));
        let rows = with_schema(&self.spec.schema, columns.collect::<Result<_>>()?, parents.num_rows())?;
        Ok(parents.replace_rows(rows))
    }
}

/// An array or map column as ranges over its flattened elements.
struct Lists {
    offsets: Vec<usize>,
    nulls: Option<NullBuffer>,
    /// One array per output column.
    elements: Vec<ArrayRef>,
}

impl Lists {
    fn of(column: &ArrayRef) -> Result<Self> {
        let (offsets, values) = match column.data_type() {
            DataType::List(_) => {
                let list = column.as_list::<i32>();
                (list.value_offsets().iter().map(|o| *o as usize).collect(), list.values().clone())
            }
            DataType::LargeList(_) => {
                let list = column.as_list::<i64>();
                (list.value_offsets().iter().map(|o| *o as usize).collect(), list.values().clone())
            }
            DataType::FixedSizeList(_, size) => {
                let list = column.as_fixed_size_list();
                ((0..=list.len()).map(|row| row * *size as usize).collect(), list.values().clone())
            }
            DataType::Map(_, _) => {
                let map = column.as_map();
                let entries: ArrayRef = Arc::new(map.entries().clone());
                (map.value_offsets().iter().map(|o| *o as usize).collect(), entries)
            }
            other => return Err(EngineError::Unsupported(format!("UNNEST takes an ARRAY or a MAP, not {other}"))),
        };
        let elements = match values.as_struct_opt() {
            Some(fields) => fields_under(fields)?,
            None => vec![values],
        };
        Ok(Self { offsets, nulls: column.nulls().cloned(), elements })
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn first(&self, row: usize) -> usize {
        self.offsets[row]
    }

    fn length(&self, row: usize) -> usize {
        match &self.nulls {
            Some(nulls) if nulls.is_null(row) => 0,
            _ => self.offsets[row + 1] - self.offsets[row],
        }
    }

    fn take(&self, indices: &UInt32Array) -> Result<Vec<ArrayRef>> {
        let take = |element: &ArrayRef| match element.is_empty() {
            true => Ok(new_null_array(element.data_type(), indices.len())),
            false => Ok(compute::take(element, indices, None)?),
        };
        self.elements.iter().map(take).collect()
    }
}

/// The fields of a ROW array; a field of a NULL row is NULL.
fn fields_under(rows: &StructArray) -> Result<Vec<ArrayRef>> {
    let Some(nulls) = rows.nulls() else { return Ok(rows.columns().to_vec()) };
    let masked = rows.columns().iter().map(|column| {
        let nulls = NullBuffer::union(Some(nulls), column.nulls());
        let data = column.to_data().into_builder().nulls(nulls).build()?;
        Ok(arrow::array::make_array(data))
    });
    masked.collect()
}
