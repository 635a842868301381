//! Spans of fixed length as plain numbers: `ts - INTERVAL '5' SECOND` is one subtraction per row then, where an interval
//! that might hold months is a walk over the calendar.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{BinaryExpr, Literal};

use super::physical::Physical;

/// The expression over `schema` with the same value where times are moved by constant hours, minutes or seconds.
pub(crate) fn with_fixed_spans(expr: Physical, schema: &Schema) -> Result<Physical> {
    let fixed = expr.transform_up(|node| {
        let replaced = node.downcast_ref::<BinaryExpr>().and_then(|binary| fixed_span(binary, schema));
        Ok(replaced.map_or_else(|| Transformed::no(node), Transformed::yes))
    })?;
    Ok(fixed.data)
}

fn fixed_span(binary: &BinaryExpr, schema: &Schema) -> Option<Physical> {
    if !matches!(binary.op(), Operator::Plus | Operator::Minus) {
        return None;
    }
    let DataType::Timestamp(unit, _) = binary.left().data_type(schema).ok()? else { return None };
    let span = duration(binary.right().downcast_ref::<Literal>()?.value(), unit)?;
    Some(Arc::new(BinaryExpr::new(Arc::clone(binary.left()), *binary.op(), Arc::new(Literal::new(span)))))
}

/// An interval as a duration in the unit of the time that it moves; `None` where its length depends on the calendar.
fn duration(interval: &ScalarValue, unit: TimeUnit) -> Option<ScalarValue> {
    let ScalarValue::IntervalMonthDayNano(Some(interval)) = interval else { return None };
    let whole = |nanos_per_unit: i64| {
        let is_fixed = interval.months == 0 && interval.days == 0 && interval.nanoseconds % nanos_per_unit == 0;
        is_fixed.then(|| Some(interval.nanoseconds / nanos_per_unit))
    };
    Some(match unit {
        TimeUnit::Second => ScalarValue::DurationSecond(whole(1_000_000_000)?),
        TimeUnit::Millisecond => ScalarValue::DurationMillisecond(whole(1_000_000)?),
        TimeUnit::Microsecond => ScalarValue::DurationMicrosecond(whole(1_000)?),
        TimeUnit::Nanosecond => ScalarValue::DurationNanosecond(whole(1)?),
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray, TimestampMillisecondArray};
    use arrow::datatypes::IntervalMonthDayNano;

    use super::*;
    use crate::plan::display::display;
    use crate::plan::physical::column;

    #[test]
    fn fixed_spans_give_what_intervals_give() {
        let times: [ArrayRef; 3] = [
            Arc::new(TimestampMillisecondArray::from(vec![Some(0), None, Some(1_700_000_000_123)])),
            Arc::new(TimestampMicrosecondArray::from(vec![-1, 5, 1_700_000_000_123_456])),
            Arc::new(TimestampMillisecondArray::from(vec![1_711_846_800_000; 3]).with_timezone("Europe/Berlin")),
        ];
        let mut replaced = 0;
        for times in times {
            let rows = RecordBatch::try_from_iter_with_nullable([("ts", times, true)]).unwrap();
            for (months, days, nanos) in [(0, 0, 5_000_000_000), (0, 0, -7_000_000), (0, 1, 0), (1, 0, 0), (0, 0, 1)] {
                for op in [Operator::Plus, Operator::Minus] {
                    let interval = IntervalMonthDayNano::new(months, days, nanos);
                    let literal = Arc::new(Literal::new(ScalarValue::IntervalMonthDayNano(Some(interval))));
                    let expr: Physical = Arc::new(BinaryExpr::new(column("ts", 0), op, literal));
                    let fixed = with_fixed_spans(Arc::clone(&expr), &rows.schema()).unwrap();
                    let value = |expr: &Physical| expr.evaluate(&rows).unwrap().into_array(3).unwrap();
                    assert_eq!(&value(&fixed), &value(&expr), "{}", display(&expr));
                    assert_eq!(display(&fixed), display(&expr));
                    replaced += usize::from(fixed.to_string() != expr.to_string());
                }
            }
        }
        assert_eq!(replaced, 12, "two of the intervals have a fixed length in every unit");
    }
}
