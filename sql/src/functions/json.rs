//! Functions of JSON text. What a clause such as `NULL ON EMPTY` says comes as literal arguments (see the parser).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListBuilder, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use arrow::util::display::array_value_to_string;
use chrono_tz::Tz;
use datafusion_common::{Result, ScalarValue, plan_err};
use serde_json::Value;

use super::call::{Call, failure};
use super::definition::{Arg::*, Category, FunctionDef, Returns};
use super::json_path::JsonPath;

const JSON: Category = Category::Json;

pub(super) const FUNCTIONS: &[FunctionDef] = &[
    FunctionDef::new("json_value", JSON, &[Text, Text, Text, Text, Any, Text, Any], Returns::Computed(returning), json_value)
        .optional_after(2)
        .doc(
            "JSON_VALUE(json, path [RETURNING type] [NULL | ERROR | DEFAULT x ON EMPTY] [... ON ERROR])",
            "The scalar at a path such as '$.a.b[0]', as STRING unless said otherwise.",
        ),
    FunctionDef::new("json_query", JSON, &[Text, Text, Text, Text, Text, Text], QUERIED, json_query).optional_after(2).doc(
        "JSON_QUERY(json, path [RETURNING type] [WITH | WITHOUT WRAPPER] [NULL | EMPTY ARRAY | EMPTY OBJECT | ERROR ON EMPTY] [... ON ERROR])",
        "The object or array at a path, as JSON text or as ARRAY<STRING>.",
    ),
    FunctionDef::new("json_exists", JSON, &[Text, Text, Text], Returns::Boolean, json_exists)
        .optional_after(2)
        .doc("JSON_EXISTS(json, path [TRUE | FALSE | UNKNOWN | ERROR ON ERROR])", "True when the path leads to something."),
    FunctionDef::new("is_json", JSON, &[Text, Text], Returns::Boolean, is_json)
        .optional_after(1)
        .doc("text IS JSON [VALUE | SCALAR | ARRAY | OBJECT]", "True when the text is JSON (of that kind)."),
    FunctionDef::new("json_string", JSON, &[Any], Returns::Text, json_string).doc("JSON_STRING(x)", "Any value as JSON text."),
    FunctionDef::new("json_quote", JSON, &[Text], Returns::Text, |call| {
        call.to_text(|row| Ok(Some(Value::from(call.text(0, row)).to_string())))
    })
    .doc("JSON_QUOTE(text)", "The text as a JSON string."),
    FunctionDef::new("json_unquote", JSON, &[Text], Returns::Text, json_unquote)
        .doc("JSON_UNQUOTE(json)", "What a JSON string says; other text stays as it is."),
    FunctionDef::new("json_object", JSON, &[Text, Any], Returns::Text, json_object)
        .variadic()
        .optional_after(1)
        .doc("JSON_OBJECT(KEY k VALUE v, ... [NULL | ABSENT ON NULL])", "A JSON object as text."),
    FunctionDef::new("json_array", JSON, &[Text, Any], Returns::Text, json_array)
        .variadic()
        .optional_after(1)
        .doc("JSON_ARRAY(v, ... [NULL | ABSENT ON NULL])", "A JSON array as text."),
];

const QUERIED: Returns = Returns::Computed(|_, literals, _| {
    let returning = literals.get(5).and_then(|name| name.as_ref()?.try_as_str().flatten());
    let element = Arc::new(Field::new_list_field(DataType::Utf8, true));
    Ok(if returning == Some("ARRAY<STRING>") { DataType::List(element) } else { DataType::Utf8 })
});

/// The type after RETURNING, which the parser gives as text.
fn returning(_: &[DataType], literals: &[Option<ScalarValue>], _: Tz) -> Result<DataType> {
    let Some(Some(name)) = literals.get(2) else { return Ok(DataType::Utf8) };
    let name = name.try_as_str().flatten().unwrap_or("STRING");
    Ok(match name {
        "BOOLEAN" => DataType::Boolean,
        "INT" => DataType::Int32,
        "BIGINT" => DataType::Int64,
        "DOUBLE" => DataType::Float64,
        "STRING" => DataType::Utf8,
        _ => return plan_err!("JSON_VALUE cannot return {name}"),
    })
}

/// What a path leads to, or why it leads nowhere.
enum Found {
    Value(Value),
    Empty,
    /// The input is no JSON, or the path fails in strict mode, or the value has the wrong shape.
    Error(String),
}

/// The last path, compiled: paths are mostly the same for all rows.
#[derive(Default)]
struct Paths(Option<(String, JsonPath)>);

impl Paths {
    fn get(&mut self, text: &str) -> Result<&JsonPath> {
        if self.0.as_ref().is_none_or(|(known, _)| known != text) {
            self.0 = Some((text.to_string(), JsonPath::parse(text).map_err(failure)?));
        }
        Ok(&self.0.as_ref().expect("just set").1)
    }

    /// All values at a path; `Err` is a failure of the row's data, not of the path's text.
    fn values(&mut self, call: &Call, row: usize) -> Result<std::result::Result<Vec<Value>, String>> {
        let path = self.get(call.text(1, row))?;
        let document: Value = match serde_json::from_str(call.text(0, row)) {
            Ok(document) => document,
            Err(error) => return Ok(Err(format!("not JSON: {error}"))),
        };
        let found = path.find(&document).map(|values| values.into_iter().cloned().collect());
        Ok(found.map_err(|_| format!("nothing at {}", call.text(1, row))))
    }
}

fn behaviour(call: &Call, index: usize, row: usize) -> String {
    call.text_or_none(index, row).unwrap_or("NULL").to_string()
}

fn json_value(call: &Call) -> Result<ArrayRef> {
    let mut paths = Paths::default();
    let default = |index: usize, row: usize| -> Result<Option<String>> {
        let column = &call.columns[index];
        if column.is_null(row) { Ok(None) } else { Ok(Some(array_value_to_string(column, row)?)) }
    };
    let texts = (0..call.rows).map(|row| {
        if call.is_null(0, row) || call.is_null(1, row) {
            return Ok(None);
        }
        let (choice, index, why) = match single(paths.values(call, row)?) {
            Found::Value(value) => match scalar_text(&value) {
                Some(text) if converts(&text, &call.returns) => return Ok(Some(text)),
                _ if value.is_null() => return Ok(None),
                _ => (
                    behaviour(call, 5, row),
                    6,
                    format!("the value at {} is not a scalar of that type", call.text(1, row)),
                ),
            },
            Found::Empty => (behaviour(call, 3, row), 4, format!("nothing at {}", call.text(1, row))),
            Found::Error(why) => (behaviour(call, 5, row), 6, why),
        };
        match choice.as_str() {
            "DEFAULT" => default(index, row),
            "ERROR" => Err(failure(format!("JSON_VALUE: {why}"))),
            _ => Ok(None),
        }
    });
    let texts: ArrayRef = Arc::new(StringArray::from(texts.collect::<Result<Vec<_>>>()?));
    Ok(cast(&texts, &call.returns)?)
}

fn single(found: std::result::Result<Vec<Value>, String>) -> Found {
    match found {
        Err(why) => Found::Error(why),
        Ok(values) if values.len() > 1 => Found::Error(format!("{} values found", values.len())),
        Ok(values) => values.into_iter().next().map_or(Found::Empty, Found::Value),
    }
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

fn converts(text: &str, target: &DataType) -> bool {
    match target {
        DataType::Utf8 => true,
        DataType::Boolean => matches!(text, "true" | "false"),
        DataType::Int32 => text.parse::<i32>().is_ok(),
        DataType::Int64 => text.parse::<i64>().is_ok(),
        DataType::Float64 => text.parse::<f64>().is_ok(),
        _ => false,
    }
}

fn json_query(call: &Call) -> Result<ArrayRef> {
    let mut paths = Paths::default();
    let as_array = matches!(call.returns, DataType::List(_));
    let texts = call.to_text_nulls(|row| {
        if call.is_null(0, row) || call.is_null(1, row) {
            return Ok(None);
        }
        let wrapper = call.text_or_none(2, row).unwrap_or("WITHOUT");
        let (choice, why) = match wrapped(paths.values(call, row)?, wrapper) {
            Found::Value(value) if value.is_array() || (value.is_object() && !as_array) => {
                return Ok(Some(value.to_string()));
            }
            Found::Value(value) if value.is_null() => return Ok(None),
            Found::Value(_) if as_array => (behaviour(call, 4, row), "the value is no array".to_string()),
            Found::Value(_) => (behaviour(call, 4, row), "the value is neither an object nor an array".to_string()),
            Found::Empty => (behaviour(call, 3, row), format!("nothing at {}", call.text(1, row))),
            Found::Error(why) => (behaviour(call, 4, row), why),
        };
        match choice.as_str() {
            "EMPTY ARRAY" => Ok(Some("[]".to_string())),
            "EMPTY OBJECT" => Ok(Some("{}".to_string())),
            "ERROR" => Err(failure(format!("JSON_QUERY: {why}"))),
            _ => Ok(None),
        }
    })?;
    if as_array { Ok(elements(texts.as_string::<i32>())) } else { Ok(texts) }
}

/// JSON arrays as ARRAY<STRING>: texts as they are, everything else as JSON text.
fn elements(arrays: &StringArray) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for array in arrays {
        let Some(Ok(Value::Array(values))) = array.map(serde_json::from_str) else {
            lists.append(false);
            continue;
        };
        for value in values {
            lists.values().append_option(match value {
                Value::Null => None,
                Value::String(text) => Some(text),
                other => Some(other.to_string()),
            });
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}

fn wrapped(found: std::result::Result<Vec<Value>, String>, wrapper: &str) -> Found {
    match (found, wrapper) {
        (Ok(values), "UNCONDITIONAL") if !values.is_empty() => Found::Value(Value::Array(values)),
        (Ok(values), "CONDITIONAL")
            if values.len() > 1 || values.first().is_some_and(|v| !v.is_array() && !v.is_object()) =>
        {
            Found::Value(Value::Array(values))
        }
        (found, _) => single(found),
    }
}

fn json_exists(call: &Call) -> Result<ArrayRef> {
    let mut paths = Paths::default();
    let values = (0..call.rows).map(|row| {
        if call.is_null(0, row) || call.is_null(1, row) {
            return Ok(None);
        }
        match (paths.values(call, row)?, call.text_or_none(2, row).unwrap_or("FALSE")) {
            (Ok(values), _) => Ok(Some(!values.is_empty())),
            (Err(_), "TRUE") => Ok(Some(true)),
            (Err(_), "UNKNOWN") => Ok(None),
            (Err(why), "ERROR") => Err(failure(format!("JSON_EXISTS: {why}"))),
            (Err(_), _) => Ok(Some(false)),
        }
    });
    Ok(Arc::new(BooleanArray::from(values.collect::<Result<Vec<_>>>()?)))
}

fn is_json(call: &Call) -> Result<ArrayRef> {
    call.to_boolean(|row| {
        let Ok(value) = serde_json::from_str::<Value>(call.text(0, row)) else { return Ok(Some(false)) };
        Ok(Some(match call.text_or_none(1, row).unwrap_or("VALUE") {
            "SCALAR" => !value.is_array() && !value.is_object(),
            "ARRAY" => value.is_array(),
            "OBJECT" => value.is_object(),
            _ => true,
        }))
    })
}

fn json_unquote(call: &Call) -> Result<ArrayRef> {
    call.to_text(|row| {
        let text = call.text(0, row);
        Ok(Some(serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_string())))
    })
}

/// A value of a column as JSON; texts that come from a JSON function are texts all the same.
fn json_of(column: &ArrayRef, row: usize) -> Result<Value> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    let text = array_value_to_string(column, row)?;
    Ok(match column.data_type() {
        DataType::Boolean => Value::Bool(text == "true"),
        data_type if data_type.is_numeric() => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        DataType::List(_) => {
            let elements = arrow::array::AsArray::as_list::<i32>(column).value(row);
            Value::Array((0..elements.len()).map(|index| json_of(&elements, index)).collect::<Result<_>>()?)
        }
        DataType::Struct(fields) => {
            let columns = arrow::array::AsArray::as_struct(column).columns();
            let members =
                fields.iter().zip(columns).map(|(field, column)| Ok((field.name().clone(), json_of(column, row)?)));
            Value::Object(members.collect::<Result<_>>()?)
        }
        DataType::Map(..) => {
            let entries = arrow::array::AsArray::as_map(column).value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            let members = (0..entries.len()).map(|i| Ok((array_value_to_string(keys, i)?, json_of(values, i)?)));
            Value::Object(members.collect::<Result<_>>()?)
        }
        _ => Value::String(text),
    })
}

fn json_string(call: &Call) -> Result<ArrayRef> {
    call.to_text(|row| Ok(Some(json_of(&call.columns[0], row)?.to_string())))
}

fn json_object(call: &Call) -> Result<ArrayRef> {
    call.to_text_nulls(|row| {
        let clauses = Clauses::read(call, row);
        let mut members = serde_json::Map::new();
        for (pair, columns) in call.columns[1..].chunks_exact(2).enumerate() {
            if columns[0].is_null(row) {
                return Err(failure("a key of JSON_OBJECT is NULL"));
            }
            if let Some(value) = clauses.value(&columns[1], row, pair * 2 + 1)? {
                members.insert(array_value_to_string(&columns[0], row)?, value);
            }
        }
        Ok(Some(Value::Object(members).to_string()))
    })
}

fn json_array(call: &Call) -> Result<ArrayRef> {
    call.to_text_nulls(|row| {
        let clauses = Clauses::read(call, row);
        let values = call.columns[1..].iter().enumerate();
        let elements = values.filter_map(|(index, column)| clauses.value(column, row, index).transpose());
        Ok(Some(Value::Array(elements.collect::<Result<_>>()?).to_string()))
    })
}

/// The first argument of JSON_OBJECT and JSON_ARRAY: see the parser.
struct Clauses<'a> {
    absent_on_null: bool,
    /// Indexes of the arguments that are JSON themselves.
    json: Vec<&'a str>,
}

impl<'a> Clauses<'a> {
    fn read(call: &'a Call, row: usize) -> Self {
        let mut words = call.text_or_none(0, row).unwrap_or_default().split(' ');
        Self { absent_on_null: words.next() == Some("ABSENT"), json: words.collect() }
    }

    /// The argument's value; `None`: a NULL that is left out.
    fn value(&self, column: &ArrayRef, row: usize, index: usize) -> Result<Option<Value>> {
        let value = match json_of(column, row)? {
            Value::String(text) if self.json.iter().any(|json| json.parse() == Ok(index)) => {
                serde_json::from_str(&text).map_err(|problem| failure(format!("JSON inside JSON: {problem}")))?
            }
            value => value,
        };
        Ok(if self.absent_on_null && value.is_null() { None } else { Some(value) })
    }
}
