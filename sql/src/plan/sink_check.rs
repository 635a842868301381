//! What a sink's column demands of every value, where rows enter the sink: that a NOT NULL column gets no NULL, that a
//! total which Flink keeps in a narrower type fits into it, that times have no more digits than their type.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::CastOptions;
use arrow::datatypes::{DataType, Int64Type, Schema};
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;
use tidemill_engine::EngineError;

use super::physical::Physical;
use crate::settings::keys;
use crate::types::flink_name;

/// What is demanded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Demand {
    NotNull,
    /// A BIGINT that must fit into this integer type.
    Fits(DataType),
    /// A time is cut to so many digits of a second.
    Digits(u8),
}

/// The value, if it is what the column takes; else the row fails.
pub(crate) fn demand(value: Physical, demand: Demand, column: &str, table: &str) -> Physical {
    Arc::new(Checked { value, demand, column: column.to_owned(), table: table.to_owned() })
}

#[derive(Debug, Clone)]
struct Checked {
    value: Physical,
    demand: Demand,
    column: String,
    table: String,
}

impl Checked {
    fn check(&self, values: ArrayRef) -> Result<ArrayRef> {
        match &self.demand {
            Demand::NotNull if values.null_count() > 0 => Err(self.refused_null()),
            Demand::NotNull => Ok(values),
            Demand::Fits(narrow) => self.narrowed(&values, narrow),
            Demand::Digits(digits) => cut(&values, *digits),
        }
    }

    fn narrowed(&self, values: &ArrayRef, narrow: &DataType) -> Result<ArrayRef> {
        let options = CastOptions { safe: true, ..CastOptions::default() };
        let narrowed = arrow::compute::cast_with_options(values, narrow, &options)?;
        if narrowed.null_count() == values.null_count() {
            return Ok(narrowed);
        }
        let row = (0..values.len()).find(|row| narrowed.is_null(*row) && values.is_valid(*row));
        let value = row.map_or(0, |row| values.as_primitive::<Int64Type>().value(row));
        let reason = format!(
            "column `{}` of `{}` is {}, and a SUM has grown to {value}, which does not fit",
            self.column,
            self.table,
            flink_name(narrow, true)
        );
        Err(self.bad_row(reason, format!("declare the column `{}` BIGINT", self.column)))
    }

    fn refused_null(&self) -> DataFusionError {
        let reason = format!("column `{}` of `{}` is NOT NULL, but the row has a NULL for it", self.column, self.table);
        let hint = format!(
            "leave such rows out in a WHERE clause, or with SET '{}' = 'DROP', or declare the column without NOT NULL",
            keys::NOT_NULL_ENFORCER
        );
        self.bad_row(reason, hint)
    }

    /// The operator that meets the error fills in its name and the row.
    fn bad_row(&self, reason: String, hint: String) -> DataFusionError {
        let (operator, row) = (String::new(), String::new());
        DataFusionError::External(Box::new(EngineError::BadRow { operator, reason, row, hint }))
    }
}

/// Times without the digits of a second behind the first `digits`, cut downward.
fn cut(times: &ArrayRef, digits: u8) -> Result<ArrayRef> {
    let unit_digits = match times.data_type() {
        DataType::Timestamp(unit, _) | DataType::Time32(unit) => crate::types::precision_of(*unit),
        _ => return Ok(Arc::clone(times)),
    };
    let step = 10_i64.pow(u32::from(unit_digits.saturating_sub(digits)));
    // A time of day is cast to BIGINT by way of INT, as Arrow has it.
    let ticks = match times.data_type() {
        DataType::Time32(_) => arrow::compute::cast(times, &DataType::Int32)?,
        _ => Arc::clone(times),
    };
    let ticks = arrow::compute::cast(&ticks, &DataType::Int64)?;
    let ticks: Int64Array = ticks.as_primitive::<Int64Type>().unary(|tick| tick.div_euclid(step) * step);
    let ticks: ArrayRef = match times.data_type() {
        DataType::Time32(_) => arrow::compute::cast(&ticks, &DataType::Int32)?,
        _ => Arc::new(ticks),
    };
    Ok(arrow::compute::cast(&ticks, times.data_type())?)
}

impl PartialEq for Checked {
    fn eq(&self, other: &Self) -> bool {
        let same_place = self.column == other.column && self.table == other.table;
        self.value.eq(&other.value) && self.demand == other.demand && same_place
    }
}

impl Eq for Checked {}

impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
        (&self.demand, &self.column, &self.table).hash(state);
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_sql(f)
    }
}

impl PhysicalExpr for Checked {
    fn data_type(&self, input: &Schema) -> Result<DataType> {
        match &self.demand {
            Demand::NotNull | Demand::Digits(_) => self.value.data_type(input),
            Demand::Fits(narrow) => Ok(narrow.clone()),
        }
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        match &self.demand {
            Demand::NotNull => Ok(false),
            Demand::Fits(_) | Demand::Digits(_) => self.value.nullable(input),
        }
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let values = self.value.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(self.check(values)?))
    }

    fn children(&self) -> Vec<&Physical> {
        vec![&self.value]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Physical>) -> Result<Physical> {
        let mut changed = self.as_ref().clone();
        if let Some(value) = children.into_iter().next() {
            changed.value = value;
        }
        Ok(Arc::new(changed))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = super::display::display(&self.value);
        match &self.demand {
            Demand::NotNull | Demand::Digits(_) => f.write_str(&value),
            Demand::Fits(narrow) => write!(f, "CAST({value} AS {})", flink_name(narrow, true)),
        }
    }
}
