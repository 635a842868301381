//! CURRENT_WATERMARK(rowtime): a marker that the planner puts into expressions, and the expression that stands in
//! for it at run time, when each operator instance has a watermark of its own.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DataFusionError, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::Result;

/// The function as the planner registers it. Evaluating it outside an operator is an error.
pub fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(CurrentWatermark { signature: Signature::any(1, Volatility::Volatile) })
}

/// The marker; takes the event-time column and gives TIMESTAMP(3) of the same kind.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CurrentWatermark {
    signature: Signature,
}

impl ScalarUDFImpl for CurrentWatermark {
    fn name(&self) -> &str {
        "current_watermark"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> datafusion_common::Result<DataType> {
        match arg_types {
            [DataType::Timestamp(_, zone)] => Ok(DataType::Timestamp(TimeUnit::Millisecond, zone.clone())),
            _ => Err(DataFusionError::Plan("CURRENT_WATERMARK takes one argument, a time attribute".into())),
        }
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> datafusion_common::Result<ColumnarValue> {
        Err(DataFusionError::Plan("CURRENT_WATERMARK can only be used in SELECT lists and WHERE clauses".into()))
    }
}

/// `expr` with every marker replaced by a read of `cell` (epoch milliseconds; `i64::MIN` reads as NULL).
pub fn bind(expr: &Arc<dyn PhysicalExpr>, cell: &Arc<AtomicI64>) -> Result<Arc<dyn PhysicalExpr>> {
    let bound = Arc::clone(expr).transform_up(|node| {
        let Some(call) = ScalarFunctionExpr::try_downcast_func::<CurrentWatermark>(node.as_ref()) else {
            return Ok(Transformed::no(node));
        };
        let read: Arc<dyn PhysicalExpr> =
            Arc::new(WatermarkRead { cell: Arc::clone(cell), data_type: call.return_type().clone() });
        Ok(Transformed::yes(read))
    })?;
    Ok(bound.data)
}

/// Reads the watermark of the operator instance that evaluates it.
#[derive(Debug)]
struct WatermarkRead {
    cell: Arc<AtomicI64>,
    data_type: DataType,
}

impl PartialEq for WatermarkRead {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cell, &other.cell) && self.data_type == other.data_type
    }
}

impl Eq for WatermarkRead {}

impl Hash for WatermarkRead {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.cell).hash(state);
        self.data_type.hash(state);
    }
}

impl fmt::Display for WatermarkRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CURRENT_WATERMARK()")
    }
}

impl PhysicalExpr for WatermarkRead {
    fn data_type(&self, _input_schema: &Schema) -> datafusion_common::Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn nullable(&self, _input_schema: &Schema) -> datafusion_common::Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, _batch: &RecordBatch) -> datafusion_common::Result<ColumnarValue> {
        let known = Some(self.cell.load(Ordering::Relaxed)).filter(|ms| *ms != i64::MIN);
        let zone = match &self.data_type {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        Ok(ColumnarValue::Scalar(ScalarValue::TimestampMillisecond(known, zone)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![]
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> datafusion_common::Result<Arc<dyn PhysicalExpr>> {
        Ok(self)
    }

    fn is_volatile_node(&self) -> bool {
        true
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
