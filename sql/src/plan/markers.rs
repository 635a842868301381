//! The functions that the parser writes in place of what DataFusion's SQL does not have; never run.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::window_call::{
    SYSTEM_TIME_MARKER, UNNEST_MARKER, UnnestColumn, WINDOW_END_MARKER, WINDOW_START_MARKER, WINDOW_TIME_MARKER,
};

#[derive(Debug, PartialEq, Eq, Hash)]
struct Marker {
    name: &'static str,
    signature: Signature,
}

/// All markers, for name resolution.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let names = [WINDOW_START_MARKER, WINDOW_END_MARKER, WINDOW_TIME_MARKER, UNNEST_MARKER, SYSTEM_TIME_MARKER];
    let marker = |name| Marker { name, signature: Signature::any(2, Volatility::Volatile) };
    names.into_iter().map(|name| Arc::new(ScalarUDF::new_from_impl(marker(name)))).collect()
}

impl ScalarUDFImpl for Marker {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        plan_err!("the type of this expression depends on its arguments")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let argument = args.arg_fields.get(1).map_or(&DataType::Null, |field| field.data_type());
        let data_type = if self.name == UNNEST_MARKER {
            let call = args.scalar_arguments.first().copied().flatten().and_then(text);
            element_type(call, argument)?
        } else if self.name == SYSTEM_TIME_MARKER {
            DataType::Boolean
        } else {
            window_type(self.name, argument)
        };
        Ok(Arc::new(Field::new(self.name, data_type, self.name == UNNEST_MARKER)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("a table function can only stand in FROM")
    }
}

fn text(value: &ScalarValue) -> Option<&str> {
    value.try_as_str().flatten()
}

/// window_start and window_end are local; window_time has the kind of the time column.
fn window_type(name: &str, time: &DataType) -> DataType {
    let zone = match time {
        DataType::Timestamp(_, zone) if name == WINDOW_TIME_MARKER => zone.clone(),
        _ => None,
    };
    DataType::Timestamp(TimeUnit::Millisecond, zone)
}

fn element_type(call: Option<&str>, collection: &DataType) -> Result<DataType> {
    let Some(column) = call.and_then(|json| serde_json::from_str::<UnnestColumn>(json).ok()) else {
        return plan_err!("UNNEST is written wrongly");
    };
    if column.ordinality {
        return Ok(DataType::Int32);
    }
    let fields = element_fields(collection, column.count)?;
    match fields.get(column.index) {
        Some(field) if fields.len() == column.count => Ok(field.data_type().clone()),
        _ => plan_err!("UNNEST gives {} columns here, but {} names are listed", fields.len(), column.count),
    }
}

/// The columns that an element becomes: key and value of a MAP, the fields of a ROW, else the element itself. `count`
/// is the number of names in the query; one name takes a one-field ROW as its field.
pub(crate) fn element_fields(collection: &DataType, count: usize) -> Result<Vec<FieldRef>> {
    let element = match collection {
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => element,
        DataType::Map(entries, _) => entries,
        _ => return plan_err!("UNNEST takes an ARRAY or a MAP"),
    };
    match element.data_type() {
        DataType::Struct(fields) => Ok(fields.iter().cloned().collect()),
        _ if count == 1 => Ok(vec![Arc::clone(element)]),
        _ => Ok(vec![Arc::clone(element)]),
    }
}

/// The arguments of a marker call, seen through aliases: its JSON and the column.
pub(crate) fn call_of<'a>(expr: &'a Expr, marker: &str) -> Option<(&'a str, &'a Expr)> {
    match expr {
        Expr::Alias(alias) => call_of(&alias.expr, marker),
        Expr::ScalarFunction(call) if call.name() == marker => match call.args.as_slice() {
            [Expr::Literal(json, _), argument] => Some((text(json)?, argument)),
            _ => None,
        },
        _ => None,
    }
}
