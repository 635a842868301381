//! Filter and projection: WHERE, then the SELECT list. Keeps no state; row kinds and watermarks stay with their rows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;

use super::current_watermark;
use super::projection::{Projection, with_schema};
use super::row_error::{RowErrorPolicy, per_row};
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::{Batch, EngineError, Result, RowKind};

/// Filter, then columns. With neither it hands rows on, which is what UNION ALL needs.
#[derive(Clone)]
pub struct Calc {
    pub name: String,
    /// BOOLEAN, over the input; rows for which it is not true are left out.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// The output columns, over the input; `None` keeps the columns as they are.
    pub columns: Option<Vec<Arc<dyn PhysicalExpr>>>,
    /// Of the output.
    pub schema: SchemaRef,
    pub on_error: RowErrorPolicy,
}

impl OperatorFactory for Calc {
    fn create(&self) -> Result<Box<dyn Operator>> {
        let watermark = Arc::new(AtomicI64::new(i64::MIN));
        let filter = self.filter.as_ref().map(|filter| current_watermark::bind(filter, &watermark)).transpose()?;
        let (projection, needed) = match &self.columns {
            None => (None, None),
            Some(columns) => {
                let bound = Projection::new(columns.clone(), self.schema.clone())?.bind_watermark(&watermark)?;
                narrow(bound, filter.is_some())?
            }
        };
        let name = self.name.clone();
        Ok(Box::new(CalcOperator {
            name,
            filter,
            projection,
            needed,
            schema: self.schema.clone(),
            on_error: self.on_error,
            watermark,
        }))
    }
}

/// With a filter, only the columns that the projection reads are worth filtering: gives the projection over those
/// columns alone, and their indices in the input.
fn narrow(projection: Projection, filtered: bool) -> Result<(Option<Projection>, Option<Vec<usize>>)> {
    if !filtered {
        return Ok((Some(projection), None));
    }
    let mut used = BTreeSet::new();
    for column in projection.columns() {
        column.apply(|node| {
            used.extend(node.downcast_ref::<Column>().map(Column::index));
            Ok(datafusion_common::tree_node::TreeNodeRecursion::Continue)
        })?;
    }
    let needed: Vec<usize> = used.into_iter().collect();
    let remap = |node: Arc<dyn PhysicalExpr>| {
        let Some(column) = node.downcast_ref::<Column>() else { return Ok(Transformed::no(node)) };
        let position = needed.binary_search(&column.index()).expect("every column that is read was collected");
        let moved: Arc<dyn PhysicalExpr> = Arc::new(Column::new(column.name(), position));
        Ok(Transformed::yes(moved))
    };
    let columns = projection.columns().iter().map(|column| Ok(Arc::clone(column).transform_up(remap)?.data));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok((Some(Projection::new(columns, projection.schema().clone())?), Some(needed)))
}

struct CalcOperator {
    name: String,
    filter: Option<Arc<dyn PhysicalExpr>>,
    projection: Option<Projection>,
    /// Input columns that the projection reads, where it was narrowed to them.
    needed: Option<Vec<usize>>,
    schema: SchemaRef,
    on_error: RowErrorPolicy,
    /// What CURRENT_WATERMARK reads.
    watermark: Arc<AtomicI64>,
}

impl Operator for CalcOperator {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        self.watermark.store(ctx.watermark.0, Ordering::Relaxed);
        let (name, policy) = (self.name.as_str(), self.on_error);
        let pieces = per_row(policy, name, &batch, &ctx.metrics, &mut |part| self.compute(part))?;
        for piece in pieces {
            ctx.metrics.filtered.add(piece.filtered);
            if !piece.rows.is_empty() {
                out.emit(MAIN_PORT, piece.rows)?;
            }
        }
        Ok(())
    }
}

/// The outcome for one run of rows. Counted only once the whole run is known to be good.
struct Piece {
    rows: Batch,
    filtered: usize,
}

impl CalcOperator {
    fn compute(&self, batch: &Batch) -> Result<Piece> {
        let keep = self.filter.as_ref().map(|filter| evaluate_filter(filter, batch.rows())).transpose()?;
        let kept_count = keep.as_ref().map_or(batch.num_rows(), BooleanArray::true_count);
        let filtered = batch.num_rows() - kept_count;
        if kept_count == 0 {
            return Ok(Piece { rows: batch.slice(0, 0), filtered });
        }
        let narrowed = match &self.needed {
            Some(needed) => batch.replace_rows(batch.rows().project(needed)?),
            None => batch.clone(),
        };
        let kept = match &keep {
            Some(keep) if filtered > 0 => whole_updates(&narrowed, keep).filter(keep)?,
            _ => narrowed,
        };
        let rows = match &self.projection {
            Some(projection) => projection.evaluate(kept.rows())?,
            None => self.relabel(kept.rows())?,
        };
        Ok(Piece { rows: kept.replace_rows(rows), filtered })
    }

    /// The same columns under the declared schema (the inputs of a UNION ALL may name them differently).
    fn relabel(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        if Arc::ptr_eq(rows.schema_ref(), &self.schema) {
            return Ok(rows.clone());
        }
        let columns = rows.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| super::projection::cast_to(column.clone(), field.data_type()));
        with_schema(&self.schema, columns.collect::<Result<_>>()?, rows.num_rows())
    }
}

/// A row of an update whose other half is left out stands for itself: `-U` becomes `-D`, `+U` becomes `+I`. The halves
/// of an update stand side by side; where they do not, their kinds stay, and take rows out and in all the same.
fn whole_updates(batch: &Batch, keep: &BooleanArray) -> Batch {
    let Some(kinds) = batch.kinds() else { return batch.clone() };
    let mut codes = kinds.values().to_vec();
    for before in 0..codes.len().saturating_sub(1) {
        let is_update = codes[before] == RowKind::UpdateBefore as i8 && codes[before + 1] == RowKind::UpdateAfter as i8;
        if is_update && keep.value(before) != keep.value(before + 1) {
            codes[before] = RowKind::Delete as i8;
            codes[before + 1] = RowKind::Insert as i8;
        }
    }
    batch.replace_kinds(codes.into())
}

fn evaluate_filter(filter: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Result<BooleanArray> {
    let value = filter.evaluate(rows)?.into_array(rows.num_rows())?;
    let Some(keep) = value.as_boolean_opt() else {
        return Err(EngineError::Unsupported(format!("the filter {filter} is not a BOOLEAN")));
    };
    // NULL counts as false; without nulls the counts below are plain bit counts.
    if keep.null_count() == 0 { Ok(keep.clone()) } else { Ok(arrow::compute::prep_null_mask_filter(keep)) }
}
