//! What must hold of two rows beside the equality of their keys: evaluated over many pairs at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;

use crate::metrics::NodeMetrics;
use crate::operators::current_watermark;
use crate::operators::projection::with_schema;
use crate::operators::row_error::{RowErrorPolicy, per_row};
use crate::time::EventTime;
use crate::{Batch, EngineError, Result};

/// A condition over only those columns that it reads.
pub struct Condition {
    expr: Arc<dyn PhysicalExpr>,
    /// Columns of the joined row, in order.
    columns: Vec<usize>,
    /// Of those columns, and of the pair's number behind them.
    schema: SchemaRef,
    on_error: RowErrorPolicy,
    /// What CURRENT_WATERMARK reads.
    watermark: Arc<AtomicI64>,
}

impl Condition {
    /// `joined` is the schema of the left, then of the right input.
    pub fn new(expr: &Arc<dyn PhysicalExpr>, joined: &Schema, on_error: RowErrorPolicy) -> Result<Self> {
        let watermark = Arc::new(AtomicI64::new(i64::MIN));
        let expr = current_watermark::bind(expr, &watermark)?;
        let mut read = BTreeSet::new();
        expr.apply(|node| {
            read.extend(node.downcast_ref::<Column>().map(Column::index));
            Ok(TreeNodeRecursion::Continue)
        })?;
        let columns: Vec<usize> = read.into_iter().collect();
        let narrowed = expr.transform_up(|node| {
            let Some(column) = node.downcast_ref::<Column>() else { return Ok(Transformed::no(node)) };
            let place = columns.binary_search(&column.index()).expect("every column that is read was collected");
            let moved: Arc<dyn PhysicalExpr> = Arc::new(Column::new(column.name(), place));
            Ok(Transformed::yes(moved))
        })?;
        let fields = columns.iter().map(|column| joined.field(*column).clone());
        let fields = fields.chain([Field::new("pair", DataType::UInt32, false)]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Self { expr: narrowed.data, columns, schema, on_error, watermark })
    }

    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    pub fn set_watermark(&self, watermark: EventTime) {
        self.watermark.store(watermark.0, Ordering::Relaxed);
    }

    /// The numbers of the pairs for which the condition is true. `columns` are those of [`Self::columns`].
    pub fn fitting(&self, mut columns: Vec<ArrayRef>, pairs: usize, metrics: &NodeMetrics) -> Result<Vec<u32>> {
        columns.push(Arc::new(UInt32Array::from_iter_values(0..pairs as u32)));
        let joined = Batch::new(with_schema(&self.schema, columns, pairs)?);
        let pieces = per_row(self.on_error, "Join", &joined, metrics, &mut |part| self.fitting_of(part))?;
        Ok(pieces.into_iter().flatten().collect())
    }

    fn fitting_of(&self, pairs: &Batch) -> Result<Vec<u32>> {
        let value = self.expr.evaluate(pairs.rows())?.into_array(pairs.num_rows())?;
        let Some(holds) = value.as_boolean_opt() else {
            return Err(EngineError::Unsupported(format!("the join condition {} is not a BOOLEAN", self.expr)));
        };
        let numbers = pairs.column(self.columns.len()).as_primitive::<UInt32Type>().values();
        let fits = |row: &usize| holds.is_valid(*row) && holds.value(*row);
        Ok((0..pairs.num_rows()).filter(fits).map(|row| numbers[row]).collect())
    }
}
