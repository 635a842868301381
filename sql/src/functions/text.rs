//! Functions of strings.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, ListBuilder, MapBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion_common::Result;

use super::arrays::{map_of_texts, texts_list};
use super::call::{Call, failure};
use super::definition::{Arg::*, Category, FunctionDef, Returns};

const TEXT: Category = Category::Text;

pub(super) const FUNCTIONS: &[FunctionDef] = &[
    FunctionDef::new("concat", TEXT, &[Text], Returns::Text, concat)
        .variadic()
        .doc("CONCAT(text, ...)", "The texts one after another; NULL when any of them is NULL."),
    FunctionDef::new("substring", TEXT, &[Text, Integer, Integer], Returns::Text, substring)
        .alias(&["substr"])
        .optional_after(2)
        .doc("SUBSTRING(text, start [, length])", "From character `start` (1 is the first, -1 the last)."),
    FunctionDef::new("split_index", TEXT, &[Text, Text, Integer], Returns::Text, split_index)
        .doc("SPLIT_INDEX(text, separator, index)", "The part at `index` (0 is the first); NULL where there is none."),
    FunctionDef::new("split", TEXT, &[Text, Text], Returns::Computed(|_, _, _| Ok(texts_list())), split)
        .doc("SPLIT(text, separator)", "All parts as an array; an empty separator splits into characters."),
    FunctionDef::new(
        "str_to_map",
        TEXT,
        &[Text, Text, Text],
        Returns::Computed(|_, _, _| Ok(map_of_texts())),
        str_to_map,
    )
    .optional_after(1)
    .doc("STR_TO_MAP(text [, entry separator, key separator])", "A map from text such as `a=1,b=2`."),
    FunctionDef::new("locate", TEXT, &[Text, Text, Integer], Returns::Int, locate)
        .optional_after(2)
        .doc("LOCATE(part, text [, start])", "Position of `part` in `text`, from 1; 0 when it is not there."),
    FunctionDef::new("instr", TEXT, &[Text, Text], Returns::Int, instr)
        .doc("INSTR(text, part)", "Position of `part` in `text`, from 1; 0 when it is not there."),
    FunctionDef::new("lpad", TEXT, &[Text, Integer, Text], Returns::Text, |call| pad(call, true))
        .doc("LPAD(text, length, pad)", "Filled up on the left, or cut, to `length` characters."),
    FunctionDef::new("rpad", TEXT, &[Text, Integer, Text], Returns::Text, |call| pad(call, false))
        .doc("RPAD(text, length, pad)", "Filled up on the right, or cut, to `length` characters."),
    FunctionDef::new("left", TEXT, &[Text, Integer], Returns::Text, left)
        .doc("LEFT(text, n)", "The first n characters; empty when n is not positive."),
    FunctionDef::new("right", TEXT, &[Text, Integer], Returns::Text, right)
        .doc("RIGHT(text, n)", "The last n characters; empty when n is not positive."),
    FunctionDef::new("to_base64", TEXT, &[TextOrBytes], Returns::Text, to_base64)
        .doc("TO_BASE64(text or bytes)", "Base64 with padding."),
    FunctionDef::new("from_base64", TEXT, &[Text], Returns::Text, from_base64)
        .doc("FROM_BASE64(text)", "The decoded text; NULL when it is not Base64."),
    FunctionDef::new("encode", TEXT, &[Text, Text], Returns::Bytes, encode)
        .doc("ENCODE(text, charset)", "Bytes in UTF-8, US-ASCII, ISO-8859-1, UTF-16BE or UTF-16LE."),
    FunctionDef::new("decode", TEXT, &[Bytes, Text], Returns::Text, decode)
        .doc("DECODE(bytes, charset)", "Text from bytes in UTF-8, US-ASCII, ISO-8859-1, UTF-16BE or UTF-16LE."),
    FunctionDef::new("elt", TEXT, &[Integer, Text], Returns::Text, elt)
        .variadic()
        .doc("ELT(n, text, ...)", "The n-th of the texts, from 1; NULL when there is none."),
    FunctionDef::new("is_alpha", TEXT, &[Text], Returns::Boolean, |call| all_chars(call, char::is_alphabetic))
        .doc("IS_ALPHA(text)", "True when all characters are letters."),
    FunctionDef::new("is_digit", TEXT, &[Text], Returns::Boolean, |call| all_chars(call, |c| c.is_numeric()))
        .doc("IS_DIGIT(text)", "True when all characters are digits."),
    FunctionDef::new("is_decimal", TEXT, &[Text], Returns::Boolean, is_decimal)
        .doc("IS_DECIMAL(text)", "True when the text can be read as a number."),
    FunctionDef::new("startswith", TEXT, &[Text, Text], Returns::Boolean, |call| {
        compare(call, |text, part| text.starts_with(part))
    })
    .doc("STARTSWITH(text, part)", "True when the text begins with the part."),
    FunctionDef::new("endswith", TEXT, &[Text, Text], Returns::Boolean, |call| {
        compare(call, |text, part| text.ends_with(part))
    })
    .doc("ENDSWITH(text, part)", "True when the text ends with the part."),
    FunctionDef::new("char_length", TEXT, &[Text], Returns::Int, |call| {
        call.to_int(|row| Ok(Some(call.text(0, row).chars().count() as i32)))
    })
    .alias(&["character_length", "length"])
    .doc("CHAR_LENGTH(text)", "Number of characters."),
];

fn concat(call: &Call) -> Result<ArrayRef> {
    call.to_text(|row| Ok(Some((0..call.count()).map(|i| call.text(i, row)).collect())))
}

/// Skipping and taking are in characters; `start` 0 counts as 1, as in Flink.
fn substring(call: &Call) -> Result<ArrayRef> {
    call.to_text(|row| {
        let text = call.text(0, row);
        let start = call.integer(1, row);
        let length = call.integer_or(2, row, i64::MAX);
        if length < 0 {
            return Ok(None);
        }
        let skip = match start {
            1.. => start - 1,
            0 => 0,
            _ => text.chars().count() as i64 + start,
        };
        if skip < 0 {
            return Ok(Some(String::new()));
        }
        Ok(Some(text.chars().skip(skip as usize).take(length as usize).collect()))
    })
}

fn split_index(call: &Call) -> Result<ArrayRef> {
    call.to_text(|row| {
        let (text, separator, index) = (call.text(0, row), call.text(1, row), call.integer(2, row));
        if index < 0 || separator.is_empty() {
            return Ok(None);
        }
        Ok(text.split(separator).nth(index as usize).map(str::to_string))
    })
}

fn split(call: &Call) -> Result<ArrayRef> {
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(Field::new("item", DataType::Utf8, true));
    for row in 0..call.rows {
        if call.any_null(row) {
            builder.append_null();
            continue;
        }
        let (text, separator) = (call.text(0, row), call.text(1, row));
        match separator.is_empty() {
            true => text.chars().for_each(|c| builder.values().append_value(c.encode_utf8(&mut [0; 4]))),
            false => text.split(separator).for_each(|part| builder.values().append_value(part)),
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

fn str_to_map(call: &Call) -> Result<ArrayRef> {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for row in 0..call.rows {
        if call.any_null(row) {
            builder.append(false)?;
            continue;
        }
        let entries = call.text_or_none(1, row).unwrap_or(",");
        let pair = call.text_or_none(2, row).unwrap_or("=");
        for entry in call.text(0, row).split(entries).filter(|entry| !entry.is_empty()) {
            let (key, value) = entry.split_once(pair).map_or((entry, None), |(key, value)| (key, Some(value)));
            builder.keys().append_value(key);
            builder.values().append_option(value);
        }
        builder.append(true)?;
    }
    let map: ArrayRef = Arc::new(builder.finish());
    Ok(arrow::compute::cast(&map, &call.returns)?)
}

/// Position in characters from 1, searching from character `start`; 0 when absent.
fn position(text: &str, part: &str, start: i64) -> i32 {
    let skip = (start - 1).max(0) as usize;
    let Some((from, _)) = text.char_indices().nth(skip).or((skip == 0).then_some((0, ' '))) else { return 0 };
    match text[from..].find(part) {
        Some(at) => (skip + text[from..from + at].chars().count() + 1) as i32,
        None => 0,
    }
}

fn locate(call: &Call) -> Result<ArrayRef> {
    call.to_int(|row| Ok(Some(position(call.text(1, row), call.text(0, row), call.integer_or(2, row, 1)))))
}

fn instr(call: &Call) -> Result<ArrayRef> {
    call.to_int(|row| Ok(Some(position(call.text(0, row), call.text(1, row), 1))))
}

/// No padded text is longer than this: a length from a bad record must not take all memory.
const PADDED_CHARACTERS_MAX: i64 = 1 << 20;

fn pad(call: &Call, on_left: bool) -> Result<ArrayRef> {
    call.to_text(|row| {
        let (text, length, fill) = (call.text(0, row), call.integer(1, row), call.text(2, row));
        if length < 0 || (fill.is_empty() && length > text.chars().count() as i64) {
            return Ok(None);
        }
        if length > PADDED_CHARACTERS_MAX {
            return Err(failure(format!("a text of {length} characters is more than {PADDED_CHARACTERS_MAX}")));
        }
        let missing = (length as usize).saturating_sub(text.chars().count());
        let padding: String = fill.chars().cycle().take(missing).collect();
        let padded = if on_left { padding + text } else { text.to_string() + &padding };
        Ok(Some(padded.chars().take(length as usize).collect()))
    })
}

fn left(call: &Call) -> Result<ArrayRef> {
    call.to_text(|row| Ok(Some(call.text(0, row).chars().take(call.integer(1, row).max(0) as usize).collect())))
}

fn right(call: &Call) -> Result<ArrayRef> {
    call.to_text(|row| {
        let text = call.text(0, row);
        let skip = (text.chars().count() as i64 - call.integer(1, row).max(0)).max(0);
        Ok(Some(text.chars().skip(skip as usize).collect()))
    })
}

fn to_base64(call: &Call) -> Result<ArrayRef> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    call.to_text(|row| Ok(Some(STANDARD.encode(call.bytes(0, row)))))
}

fn from_base64(call: &Call) -> Result<ArrayRef> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    call.to_text(|row| Ok(STANDARD.decode(call.text(0, row)).ok().and_then(|bytes| String::from_utf8(bytes).ok())))
}

/// Character sets that Flink names and that need no table.
#[derive(Clone, Copy)]
enum Charset {
    Utf8,
    Ascii,
    Latin1,
    Utf16 { big_endian: bool },
}

fn charset(name: &str) -> Result<Charset> {
    match name.to_ascii_uppercase().as_str() {
        "UTF-8" => Ok(Charset::Utf8),
        "US-ASCII" => Ok(Charset::Ascii),
        "ISO-8859-1" => Ok(Charset::Latin1),
        "UTF-16" | "UTF-16BE" => Ok(Charset::Utf16 { big_endian: true }),
        "UTF-16LE" => Ok(Charset::Utf16 { big_endian: false }),
        other => {
            Err(failure(format!("unknown charset '{other}'; known: UTF-8, US-ASCII, ISO-8859-1, UTF-16BE, UTF-16LE")))
        }
    }
}

fn encode(call: &Call) -> Result<ArrayRef> {
    call.to_bytes(|row| {
        let text = call.text(0, row);
        let limited = |max: u32| text.chars().map(|c| if (c as u32) <= max { c as u32 as u8 } else { b'?' }).collect();
        Ok(Some(match charset(call.text(1, row))? {
            Charset::Utf8 => text.as_bytes().to_vec(),
            Charset::Ascii => limited(0x7f),
            Charset::Latin1 => limited(0xff),
            Charset::Utf16 { big_endian: true } => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Charset::Utf16 { big_endian: false } => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        }))
    })
}

fn decode(call: &Call) -> Result<ArrayRef> {
    let bytes = call.columns[0].as_binary::<i32>();
    call.to_text(|row| {
        let bytes = bytes.value(row);
        let units =
            |of: fn([u8; 2]) -> u16| -> Vec<u16> { bytes.chunks_exact(2).map(|pair| of([pair[0], pair[1]])).collect() };
        Ok(Some(match charset(call.text(1, row))? {
            Charset::Utf8 | Charset::Ascii => String::from_utf8_lossy(bytes).into_owned(),
            Charset::Latin1 => bytes.iter().map(|byte| char::from(*byte)).collect(),
            Charset::Utf16 { big_endian: true } => String::from_utf16_lossy(&units(u16::from_be_bytes)),
            Charset::Utf16 { big_endian: false } => String::from_utf16_lossy(&units(u16::from_le_bytes)),
        }))
    })
}

fn elt(call: &Call) -> Result<ArrayRef> {
    call.to_text_nulls(|row| {
        if call.is_null(0, row) {
            return Ok(None);
        }
        let chosen = usize::try_from(call.integer(0, row)).ok().filter(|index| *index > 0);
        Ok(chosen.and_then(|index| call.text_or_none(index, row)).map(str::to_string))
    })
}

fn all_chars(call: &Call, test: fn(char) -> bool) -> Result<ArrayRef> {
    call.to_boolean(|row| Ok(Some(!call.text(0, row).is_empty() && call.text(0, row).chars().all(test))))
}

fn is_decimal(call: &Call) -> Result<ArrayRef> {
    call.to_boolean(|row| Ok(Some(call.text(0, row).trim().parse::<f64>().is_ok_and(f64::is_finite))))
}

fn compare(call: &Call, test: fn(&str, &str) -> bool) -> Result<ArrayRef> {
    call.to_boolean(|row| Ok(Some(test(call.text(0, row), call.text(1, row)))))
}
