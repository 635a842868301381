//! Reads one JSON value into a column: what Flink's `json` format makes of each kind of value for each type.

use arrow::datatypes::DataType;
use tidemill_engine::type_name::sql_type_name;

use super::cursor::{Cursor, Nesting, Quoted};
use crate::format::column::{Column, Row, Values};
use crate::format::flaw::{Flaw, Parsed};
use crate::format::temporal::DayCache;
use crate::format::text::{TextRules, push_text};

/// What reading needs beside the record: rules, and memory that is used again for each record.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) text: TextRules,
    pub(super) fail_on_missing_field: bool,
    pub(super) nesting: Nesting,
    pub(super) day: DayCache,
    /// Holds unescaped strings.
    pub(super) scratch: Vec<u8>,
}

/// Reads the value that comes next. On an error the column may hold a part of it: the caller cuts it back.
#[inline]
pub(super) fn read_value(cursor: &mut Cursor<'_>, column: &mut Column, reading: &mut Reading) -> Parsed<()> {
    match cursor.peek() {
        b'"' => read_string(cursor, column, reading),
        b'-' | b'0'..=b'9' => read_number(cursor, column, reading),
        b'n' if cursor.eat_all(b"null") => push_null(column),
        _ => read_other(cursor, column, reading),
    }
}

#[inline]
pub(super) fn push_null(column: &mut Column) -> Parsed<()> {
    if !column.field.is_nullable() {
        return Err(Flaw::null());
    }
    column.push_null();
    Ok(())
}

#[inline]
fn read_string(cursor: &mut Cursor<'_>, column: &mut Column, reading: &mut Reading) -> Parsed<()> {
    let quoted = cursor.string()?;
    if let Values::Text(texts) = &mut column.values {
        quoted.append_to(texts.open());
        texts.end();
        column.mark_valid();
        return Ok(());
    }
    push_quoted(quoted, column, reading)
}

fn push_quoted(quoted: Quoted<'_>, column: &mut Column, reading: &mut Reading) -> Parsed<()> {
    if !quoted.escaped {
        return push_text(column, quoted.raw, &reading.text, &mut reading.day);
    }
    reading.scratch.clear();
    quoted.append_to(&mut reading.scratch);
    push_text(column, &reading.scratch, &reading.text, &mut reading.day)
}

#[inline]
fn read_number(cursor: &mut Cursor<'_>, column: &mut Column, reading: &mut Reading) -> Parsed<()> {
    let start = cursor.at;
    match &mut column.values {
        Values::Int64(values) => match cursor.small_integer() {
            Some(value) => values.push(value),
            None => return read_wide_number(cursor, column, reading),
        },
        Values::Int32(values) => match cursor.small_integer() {
            Some(value) => values.push(
                i32::try_from(value)
                    .map_err(|_| Flaw::out_of_range(&cursor.bytes[start..cursor.at], column.field.data_type()))?,
            ),
            None => return read_wide_number(cursor, column, reading),
        },
        Values::Float64(values) => {
            let number = cursor.number()?;
            let value = number.to_f64();
            values.push(value.ok_or_else(|| Flaw::out_of_range(number.text, column.field.data_type()))?);
        }
        _ => return read_wide_number(cursor, column, reading),
    }
    column.mark_valid();
    Ok(())
}

/// By its text, as in a string: every scalar type but the common ones.
fn read_wide_number(cursor: &mut Cursor<'_>, column: &mut Column, reading: &mut Reading) -> Parsed<()> {
    let number = cursor.number()?;
    match &column.values {
        Values::Date(_) | Values::Time(_) | Values::Timestamp { .. } | Values::Binary(_) | Values::Boolean(_) => {
            Err(wrong_kind("a number", column.field.data_type()))
        }
        _ => push_text(column, number.text, &reading.text, &mut reading.day),
    }
}

fn read_other(cursor: &mut Cursor<'_>, column: &mut Column, reading: &mut Reading) -> Parsed<()> {
    match (cursor.peek(), &mut column.values) {
        (b'{' | b'[', Values::Text(texts)) => {
            append_compact(cursor.skip(&mut reading.nesting)?, texts.open());
            texts.end();
        }
        (b'[', Values::List { .. }) => read_list(cursor, column, reading)?,
        (b'{', Values::Map { .. }) => read_map(cursor, column, reading)?,
        (b'{', Values::Row(row)) => read_row(cursor, row, reading)?,
        (b't' | b'f', Values::Boolean(values)) => {
            let literal = cursor.skip(&mut reading.nesting)?;
            values.push(literal == b"true");
        }
        (b't' | b'f', Values::Text(texts)) => texts.push(cursor.skip(&mut reading.nesting)?),
        (found, _) => {
            cursor.skip(&mut reading.nesting)?;
            let kind = match found {
                b'{' => "an object",
                b'[' => "an array",
                _ => "true or false",
            };
            return Err(wrong_kind(kind, column.field.data_type()));
        }
    }
    column.mark_valid();
    Ok(())
}

#[cold]
fn wrong_kind(kind: &str, data_type: &DataType) -> Flaw {
    let advice = match (kind, data_type) {
        ("a number", DataType::Timestamp(_, _)) => {
            ": declare the column as BIGINT and add a computed column with TO_TIMESTAMP_LTZ(column, 3)"
        }
        _ => "",
    };
    Flaw::new(format!("{kind} is not a value of type {}{advice}", sql_type_name(data_type)))
}

fn read_list(cursor: &mut Cursor<'_>, column: &mut Column, reading: &mut Reading) -> Parsed<()> {
    let Values::List { offsets, element } = &mut column.values else { unreachable!("called for lists") };
    cursor.at += 1;
    cursor.space();
    if !cursor.eat(b']') {
        loop {
            cursor.space();
            read_value(cursor, element, reading)?;
            cursor.space();
            match cursor.peek() {
                b',' => cursor.at += 1,
                b']' => break cursor.at += 1,
                _ => return Err(cursor.unexpected("',' or ']'")),
            }
        }
    }
    offsets.push(element.len() as i32);
    Ok(())
}

fn read_map(cursor: &mut Cursor<'_>, column: &mut Column, reading: &mut Reading) -> Parsed<()> {
    let Values::Map { offsets, keys, values, .. } = &mut column.values else { unreachable!("called for maps") };
    cursor.at += 1;
    cursor.space();
    if !cursor.eat(b'}') {
        loop {
            cursor.space();
            let key = cursor.key_and_colon()?;
            push_quoted(key, keys, reading)?;
            read_value(cursor, values, reading)?;
            cursor.space();
            match cursor.peek() {
                b',' => cursor.at += 1,
                b'}' => break cursor.at += 1,
                _ => return Err(cursor.unexpected("',' or '}'")),
            }
        }
    }
    if let (Values::Text(texts), Some(start)) = (&keys.values, offsets.last())
        && let Some(key) = texts.first_repeated(*start as usize)
    {
        return Err(Flaw::new(format!("the key {:?} occurs twice", String::from_utf8_lossy(key))));
    }
    offsets.push(keys.len() as i32);
    Ok(())
}

fn read_row(cursor: &mut Cursor<'_>, row: &mut Row, reading: &mut Reading) -> Parsed<()> {
    row.begin();
    let Row { columns, length, keys, .. } = row;
    let mut missing = columns.len();
    keys.read_object(cursor, reading, |index, cursor, reading| {
        let column = &mut columns[index];
        // Of a repeated key the last value counts.
        match column.len() > *length {
            true => column.truncate(*length),
            false => missing -= 1,
        }
        read_value(cursor, column, reading).map_err(|flaw| flaw.within(column.field.name()))
    })?;
    if missing > 0 {
        for field in row.columns.iter_mut().filter(|field| field.len() == row.length) {
            push_missing(field, reading.fail_on_missing_field)?;
        }
    }
    row.end();
    Ok(())
}

/// The record has no such field.
pub(super) fn push_missing(column: &mut Column, fail: bool) -> Parsed<()> {
    let result = if fail { Err(Flaw::new("the record has no such field")) } else { push_null(column) };
    result.map_err(|flaw| flaw.within(column.field.name()))
}

/// A container's text without the white space between its tokens.
fn append_compact(text: &[u8], out: &mut Vec<u8>) {
    let mut in_string = false;
    let mut escaped = false;
    for byte in text {
        if in_string || !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            out.push(*byte);
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ => {}
        }
    }
}
