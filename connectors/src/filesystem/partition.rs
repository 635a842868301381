//! Hive-style partition folders: `key=value`, one level per key.

use std::path::Path;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use tidemill_engine::type_name::sql_type_name;
use tidemill_engine::{EngineError, Result};

use crate::print::{PrintStyle, write_value};

/// What other engines call the folder of NULLs: read, whatever this table calls its own.
const NULL_FOLDERS: [&str; 2] = ["__HIVE_DEFAULT_PARTITION__", "__DEFAULT_PARTITION__"];

/// Characters that stand for themselves in no folder name; others are control characters.
const ESCAPED: &str = "\"#%'*/:=?\\{[]^";

/// True for types whose values make sensible folder names.
pub fn is_partition_type(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::Boolean | DataType::Date32 | DataType::Timestamp(..) => true,
        DataType::Decimal128(..) | DataType::Time32(_) => true,
        other => other.is_integer(),
    }
}

/// Appends the folder of a row, such as `day=2024-01-01/hour=3`; nothing where there are no keys.
/// `keys`: names and column indices.
pub fn write_folder(
    out: &mut String,
    rows: &RecordBatch,
    row: usize,
    keys: &[(String, usize)],
    default: &str,
) -> Result<()> {
    let mut value = String::new();
    for (position, (key, column)) in keys.iter().enumerate() {
        out.push_str(if position == 0 { "" } else { "/" });
        escape(out, key);
        out.push('=');
        let column = rows.column(*column);
        if column.is_null(row) {
            out.push_str(default);
            continue;
        }
        value.clear();
        write_text(&mut value, column, row)?;
        escape(out, &value);
    }
    Ok(())
}

/// The value as a CAST to STRING gives it; times lose the zeros behind their seconds.
fn write_text(out: &mut String, column: &dyn Array, row: usize) -> Result<()> {
    let is_text = matches!(column.data_type(), DataType::Utf8);
    write_value(out, column, row, if is_text { PrintStyle::Flink } else { PrintStyle::Table })?;
    if matches!(column.data_type(), DataType::Timestamp(..)) {
        let whole = out.trim_end_matches('0').trim_end_matches('.').len();
        // Only zeros behind a point go: ten digits of date, a space, eight of time.
        if out.contains('.') {
            out.truncate(whole.max("2024-01-01 00:00:00".len()));
        }
    }
    Ok(())
}

/// Keys and values of a folder below the table's path.
pub fn folder_values(folder: &str) -> Vec<(String, String)> {
    let parts = folder.split('/').filter_map(|part| part.split_once('='));
    parts.map(|(key, value)| (unescape(key), unescape(value))).collect()
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_ascii_control() || ESCAPED.contains(c) {
            out.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = (*first == b'%').then(|| std::str::from_utf8(tail.get(..2)?).ok()).flatten();
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The value of a partition column for a file, as an array of length one.
///
/// # Errors
/// When no folder above the file names the key, or its value is not one of the column's type.
pub fn value_of(path: &Path, key: &str, data_type: &DataType, default: &str) -> Result<ArrayRef> {
    let Some(text) = folder_value(path, key) else {
        return Err(unfit(path, format!("it lies in no folder '{key}=...'")));
    };
    if text == default || NULL_FOLDERS.contains(&text.as_str()) {
        return Ok(new_null_array(data_type, 1));
    }
    let texts = StringArray::from(vec![text.as_str()]);
    let strict = CastOptions { safe: true, ..Default::default() };
    match cast_with_options(&texts, data_type, &strict) {
        Ok(value) if value.is_valid(0) => Ok(value),
        _ => Err(unfit(
            path,
            format!("'{text}' of its folder is no value of column '{key}' ({})", sql_type_name(data_type)),
        )),
    }
}

fn folder_value(path: &Path, key: &str) -> Option<String> {
    let folders = path.parent()?.components().rev();
    folders
        .filter_map(|folder| folder.as_os_str().to_str()?.split_once('='))
        .find_map(|(name, value)| (unescape(name) == key).then(|| unescape(value)))
}

fn unfit(path: &Path, reason: String) -> EngineError {
    EngineError::BadRecord {
        place: path.display().to_string(),
        offset: 0,
        reason: format!("the file does not fit PARTITIONED BY: {reason}"),
        excerpt: String::new(),
        hint: "move the file, or give its folder the form key=value".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_survives_as_a_folder_name() {
        for text in ["", "plain", "a/b", "50%", "x=y", "ä ö", "tab\t", "..", "%41", "{a}[b]^c", "C:\\dir", "%"] {
            let mut folder = String::from("key=");
            escape(&mut folder, text);
            assert!(!folder.contains('/'), "{folder}");
            let path = Path::new("root").join(&folder).join("part.json");
            assert_eq!(folder_value(&path, "key").as_deref(), Some(text), "{folder}");
        }
    }

    #[test]
    fn values_have_the_type_of_their_column() {
        let path = Path::new("out/day=2024-02-30/n=7/s=__HIVE_DEFAULT_PARTITION__/f.json");
        let value = |key, data_type| value_of(path, key, &data_type, "none");
        assert!(value("s", DataType::Utf8).expect("null").is_null(0));
        assert_eq!(
            value("n", DataType::Int32).expect("7").as_ref(),
            &arrow::array::Int32Array::from(vec![7]) as &dyn Array
        );
        assert!(value("day", DataType::Date32).expect_err("no such day").to_string().contains("2024-02-30"));
        assert!(value("x", DataType::Utf8).expect_err("no such key").to_string().contains("x=..."));
    }
}
