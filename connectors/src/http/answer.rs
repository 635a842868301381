//! From the JSON that a server answers to rows.

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use serde_json::Value;
use tidemill_engine::EngineError;

use crate::format::{Block, Format, excerpt};

/// How an answer is read.
pub struct AnswerReader {
    pub format: Format,
    /// Of the values that the answer gives.
    pub schema: SchemaRef,
    /// Where in the answer the rows are; empty: it is them.
    pub path: Vec<String>,
}

impl AnswerReader {
    /// An object is a row, an array of objects several, `null` none. Errors say what is wrong with the answer.
    pub fn rows(&self, body: &[u8]) -> Result<RecordBatch, String> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| format!("the answer is not JSON ({error}): {}", excerpt(body)))?;
        let objects = match self.at_path(&value)? {
            Value::Null => Vec::new(),
            Value::Array(values) => values.iter().collect(),
            value => vec![value],
        };
        if let Some(other) = objects.iter().find(|value| !value.is_object()) {
            let found = excerpt(other.to_string().as_bytes());
            return Err(format!("the answer should be an object or an array of objects, but there is: {found}"));
        }
        if self.schema.fields().is_empty() {
            return no_columns(&self.schema, objects.len());
        }
        let mut lines = Vec::with_capacity(body.len());
        for object in objects {
            serde_json::to_writer(&mut lines, object).map_err(|error| error.to_string())?;
            lines.push(b'\n');
        }
        self.decode(&lines).map_err(|error| match error {
            EngineError::BadRecord { reason, excerpt, .. } => format!("bad row in the answer: {reason}: {excerpt}"),
            other => other.to_string(),
        })
    }

    fn at_path<'a>(&self, value: &'a Value) -> Result<&'a Value, String> {
        self.path.iter().try_fold(value, |value, name| match value {
            Value::Null => Ok(value),
            value => value.get(name).ok_or_else(|| {
                format!("the answer has no '{}': {}", self.path.join("."), excerpt(value.to_string().as_bytes()))
            }),
        })
    }

    fn decode(&self, lines: &[u8]) -> tidemill_engine::Result<RecordBatch> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let mut decoder = self.format.decoder(&self.schema, &all, Path::new("the answer"))?;
        let block = |offset: usize| Block::lines(&lines[offset..], offset as u64, true);
        let mut offset = decoder.begin(block(0))?.unwrap_or(0);
        let mut batches = Vec::new();
        while offset < lines.len() {
            let decoded = decoder.decode(block(offset), usize::MAX)?;
            if decoded.consumed == 0 {
                break;
            }
            offset += decoded.consumed;
            batches.push(decoded.rows);
        }
        Ok(concat_batches(&self.schema, &batches)?)
    }
}

/// Rows of which only their number is known.
fn no_columns(schema: &SchemaRef, count: usize) -> Result<RecordBatch, String> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(schema.clone(), Vec::new(), &options).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::util::pretty::pretty_format_batches;
    use expect_test::{Expect, expect};

    use super::*;

    fn check(path: &str, body: &str, expected: &Expect) {
        let reader = AnswerReader {
            format: Format::parse("json", &Default::default()).unwrap(),
            schema: Arc::new(Schema::new(vec![
                Field::new("name", DataType::Utf8, true),
                Field::new("price", DataType::Decimal128(10, 2), true),
            ])),
            path: path.split('.').filter(|name| !name.is_empty()).map(str::to_string).collect(),
        };
        let text = match reader.rows(body.as_bytes()) {
            Ok(rows) => pretty_format_batches(&[rows]).unwrap().to_string(),
            Err(reason) => reason,
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn objects_are_rows_wherever_they_stand() {
        let one = r#"{"name": "a\nb", "price": 1234567.10, "more": [1]}"#;
        let table = expect![[r#"
            +------+------------+
            | name | price      |
            +------+------------+
            | a    | 1234567.10 |
            | b    |            |
            +------+------------+"#]];
        check("", one, &table);
        check("", &format!("[{one}]"), &table);
        check("data.items", &format!(r#"{{"data": {{"items": [{one}]}}}}"#), &table);
        let none = expect![[r#"
            +------+-------+
            | name | price |
            +------+-------+
            +------+-------+"#]];
        check("", "null", &none);
        check("", "[]", &none);
        check("data.items", r#"{"data": null}"#, &none);
    }

    #[test]
    fn what_is_no_row_is_said() {
        check("", "<html>", &expect!["the answer is not JSON (expected value at line 1 column 1): <html>"]);
        check("", "[1]", &expect!["the answer should be an object or an array of objects, but there is: 1"]);
        check("items", r#"{"error": "x"}"#, &expect![[r#"the answer has no 'items': {"error":"x"}"#]]);
    }
}
