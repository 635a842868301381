//! What a batch changed: rows of the changelog from results before and after.

use arrow::array::{Array, ArrayRef, Int8Array, RecordBatch, RecordBatchOptions, make_comparator};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{SortOptions, interleave};
use arrow::datatypes::SchemaRef;

use crate::batch::RowKind;
use crate::{Batch, Result};

/// The results of some keys at one moment.
pub struct Results {
    /// False for keys that have no rows.
    pub exists: Vec<bool>,
    /// One column per aggregate call.
    pub columns: Vec<ArrayRef>,
}

/// Rows of a changelog: (position among the keys, kind).
pub struct Changes(Vec<(usize, RowKind)>);

impl Changes {
    /// Compares results of the same keys.
    pub fn between(before: &Results, after: &Results) -> Result<Self> {
        let columns = before.columns.iter().zip(&after.columns);
        let differs: Vec<BooleanBuffer> = columns.map(|(old, new)| differs(old, new)).collect::<Result<_>>()?;
        let differs = |position: usize| differs.iter().any(|column| column.value(position));
        let mut rows = Vec::new();
        for (position, exists) in before.exists.iter().zip(&after.exists).enumerate() {
            match exists {
                (false, true) => rows.push((position, RowKind::Insert)),
                (true, false) => rows.push((position, RowKind::Delete)),
                (true, true) if differs(position) => {
                    rows.extend([(position, RowKind::UpdateBefore), (position, RowKind::UpdateAfter)]);
                }
                _ => {}
            }
        }
        Ok(Self(rows))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key of each row.
    pub fn positions(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|(position, _)| *position)
    }

    /// The changelog, with the key columns of [`Self::positions`].
    pub fn into_batch(
        self,
        mut columns: Vec<ArrayRef>,
        before: &Results,
        after: &Results,
        schema: &SchemaRef,
    ) -> Result<Batch> {
        let source = |(position, kind): &(usize, RowKind)| (usize::from(!kind.is_retraction()), *position);
        let sources: Vec<(usize, usize)> = self.0.iter().map(source).collect();
        for (old, new) in before.columns.iter().zip(&after.columns) {
            columns.push(interleave(&[old.as_ref(), new.as_ref()], &sources)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.0.len()));
        let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
        let kinds = Int8Array::from_iter_values(self.0.iter().map(|(_, kind)| *kind as i8));
        Ok(Batch::with_kinds(rows, kinds))
    }
}

/// Row by row, whether two columns differ; two NULLs do not.
fn differs(old: &ArrayRef, new: &ArrayRef) -> Result<BooleanBuffer> {
    if !old.data_type().is_nested() {
        return Ok(distinct(old, new)?.values().clone());
    }
    let compare = make_comparator(old, new, SortOptions::default())?;
    Ok((0..old.len()).map(|row| compare(row, row).is_ne()).collect())
}
