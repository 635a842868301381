//! Columns of one type out of those of another that means the same: fields of rows by name, numbers and times by value.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields};
use tidemill_engine::type_name::sql_type_name;

/// Makes `column` be of the field's type. Fields of rows that are missing are NULL. Errors: a sentence that names the column; values that do not
/// fit, and NULLs where there may be none, are errors, never changed.
pub fn conform(column: &ArrayRef, field: &Field) -> Result<ArrayRef, String> {
    let within = |reason: String| format!("column {}: {reason}", field.name());
    let column = converted(column, field.data_type()).map_err(within)?;
    if !field.is_nullable() && column.null_count() > 0 {
        return Err(within("NULL in a NOT NULL column".into()));
    }
    Ok(column)
}

fn converted(column: &ArrayRef, target: &DataType) -> Result<ArrayRef, String> {
    if column.data_type() == target {
        return Ok(column.clone());
    }
    let text = |error: arrow::error::ArrowError| error.to_string();
    match (column.data_type(), target) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let rows = column.as_struct();
            let columns = of_fields(rows, fields)?;
            let rows = StructArray::try_new_with_length(fields.clone(), columns, rows.nulls().cloned(), rows.len());
            Ok(Arc::new(rows.map_err(text)?))
        }
        (DataType::List(_), DataType::List(element)) => {
            let lists = column.as_list::<i32>();
            let values = conform(lists.values(), element)?;
            let lists = ListArray::try_new(element.clone(), lists.offsets().clone(), values, lists.nulls().cloned());
            Ok(Arc::new(lists.map_err(text)?))
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let DataType::Struct(fields) = entries.data_type() else { return Err(unlike(column, target)) };
            let maps = column.as_map();
            let columns = vec![conform(maps.keys(), &fields[0])?, conform(maps.values(), &fields[1])?];
            let pairs = StructArray::try_new(fields.clone(), columns, None).map_err(text)?;
            let (offsets, nulls) = (maps.offsets().clone(), maps.nulls().cloned());
            Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, pairs, nulls, *sorted).map_err(text)?))
        }
        (from, to) if from.is_nested() || to.is_nested() => Err(unlike(column, target)),
        // Text is not read as something else: that is what CAST in a query is for.
        (DataType::Utf8, other) if *other != DataType::Binary => Err(unlike(column, target)),
        (_, DataType::Utf8) if !is_text(column.data_type()) => Err(unlike(column, target)),
        _ => {
            let options = CastOptions { safe: false, ..Default::default() };
            cast_with_options(column, target, &options).map_err(text)
        }
    }
}

/// The fields of rows, looked up by name.
fn of_fields(rows: &StructArray, fields: &Fields) -> Result<Vec<ArrayRef>, String> {
    let column = |field: &Arc<Field>| match rows.column_by_name(field.name()) {
        // A row that is NULL has no fields.
        Some(column) if rows.null_count() > 0 => conform(column, &field.as_ref().clone().with_nullable(true)),
        Some(column) => conform(column, field),
        None => missing(field, rows.len()),
    };
    fields.iter().map(column).collect()
}

/// The column of a field that was not written.
pub fn missing(field: &Field, rows: usize) -> Result<ArrayRef, String> {
    match field.is_nullable() {
        true => Ok(new_null_array(field.data_type(), rows)),
        false => Err(format!("column {} is NOT NULL, but the schema of the record lacks it", field.name())),
    }
}

/// Text, and the symbols of an enum.
fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Dictionary(_, _) | DataType::Binary)
}

fn unlike(column: &ArrayRef, target: &DataType) -> String {
    format!("{} cannot be read as {}", sql_type_name(column.data_type()), sql_type_name(target))
}
