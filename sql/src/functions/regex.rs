//! Functions of regular expressions. Patterns are Rust's, which read Java's common syntax; there are no back-references
//! and no look-around, so that no pattern can take exponential time.

use std::cell::RefCell;
use std::collections::HashMap;

use arrow::array::ArrayRef;
use datafusion_common::Result;
use regex::{CaptureLocations, Regex};

use super::arrays::texts_list;
use super::call::{Call, failure};
use super::definition::{Arg::*, Category, FunctionDef, Returns};

const TEXT: Category = Category::Text;

pub(super) const FUNCTIONS: &[FunctionDef] = &[
    FunctionDef::new("regexp", TEXT, &[Text, Text], Returns::Boolean, matches)
        .alias(&["rlike"])
        .doc("REGEXP(text, pattern)", "True when the pattern matches some part of the text."),
    FunctionDef::new("regexp_extract", TEXT, &[Text, Text, Integer], Returns::Text, extract)
        .optional_after(2)
        .doc("REGEXP_EXTRACT(text, pattern [, group])", "The first match, or its group; NULL without a match."),
    FunctionDef::new(
        "regexp_extract_all",
        TEXT,
        &[Text, Text, Integer],
        Returns::Computed(|_, _, _| Ok(texts_list())),
        all,
    )
    .optional_after(2)
    .doc("REGEXP_EXTRACT_ALL(text, pattern [, group])", "All matches (of group 1 unless said otherwise) as an array."),
    FunctionDef::new("regexp_replace", TEXT, &[Text, Text, Text], Returns::Text, replace)
        .doc("REGEXP_REPLACE(text, pattern, replacement)", "Every match replaced; $1 stands for group 1."),
    FunctionDef::new("regexp_substr", TEXT, &[Text, Text], Returns::Text, |call| group(call, |_, _| Some(0)))
        .doc("REGEXP_SUBSTR(text, pattern)", "The first match; NULL without one."),
    FunctionDef::new("regexp_instr", TEXT, &[Text, Text], Returns::Int, instr)
        .doc("REGEXP_INSTR(text, pattern)", "Position of the first match, from 1; 0 without one."),
    FunctionDef::new("regexp_count", TEXT, &[Text, Text], Returns::Int, count)
        .doc("REGEXP_COUNT(text, pattern)", "Number of matches."),
    FunctionDef::new("similar_to", TEXT, &[Text, Text], Returns::Boolean, similar)
        .doc("text SIMILAR TO pattern", "True when the SQL pattern (%, _, |, *, +, ?, [..]) matches the whole text."),
];

/// Compiled patterns that a thread keeps: a query has a few, but a column of patterns may have any number.
const COMPILED_MAX: usize = 64;

thread_local! {
    /// Compiling costs as much as matching a thousand rows, and batches may be small. Each thread has its own, since
    /// threads that share one wait for each other.
    static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
}

fn compiled(pattern: &str) -> Result<Regex> {
    COMPILED.with_borrow_mut(|compiled| {
        if let Some(regex) = compiled.get(pattern) {
            return Ok(regex.clone());
        }
        let wrong = |error| failure(format!("the pattern '{pattern}' is wrong: {error}"));
        let regex = Regex::new(pattern).map_err(wrong)?;
        if compiled.len() == COMPILED_MAX {
            compiled.clear();
        }
        compiled.insert(pattern.to_string(), regex.clone());
        Ok(regex)
    })
}

/// The pattern of the row before: most calls have one for all rows.
#[derive(Default)]
struct Patterns {
    last: Option<(String, Compiled)>,
}

struct Compiled {
    regex: Regex,
    /// Reused for the places of a match's groups.
    groups: CaptureLocations,
}

impl Patterns {
    fn get(&mut self, pattern: &str) -> Result<&Regex> {
        Ok(&self.compiled(pattern)?.regex)
    }

    fn compiled(&mut self, pattern: &str) -> Result<&mut Compiled> {
        if self.last.as_ref().is_none_or(|(last, _)| last != pattern) {
            let regex = compiled(pattern)?;
            let groups = regex.capture_locations();
            self.last = Some((pattern.to_string(), Compiled { regex, groups }));
        }
        Ok(&mut self.last.as_mut().expect("just set").1)
    }
}

impl Compiled {
    /// A group of the first match, or all of it as group 0.
    fn group<'a>(&mut self, text: &'a str, index: usize) -> Option<&'a str> {
        if index == 0 {
            return self.regex.find(text).map(|found| found.as_str());
        }
        self.regex.captures_read(&mut self.groups, text)?;
        self.groups.get(index).map(|(start, end)| &text[start..end])
    }
}

fn matches(call: &Call) -> Result<ArrayRef> {
    let mut patterns = Patterns::default();
    call.to_boolean(|row| Ok(Some(patterns.get(call.text(1, row))?.is_match(call.text(0, row)))))
}

fn extract(call: &Call) -> Result<ArrayRef> {
    group(call, |call, row| usize::try_from(call.integer_or(2, row, 0)).ok())
}

fn group(call: &Call, index: fn(&Call, usize) -> Option<usize>) -> Result<ArrayRef> {
    let mut patterns = Patterns::default();
    call.to_text(|row| {
        let pattern = patterns.compiled(call.text(1, row))?;
        let index = index(call, row);
        Ok(index.and_then(|index| pattern.group(call.text(0, row), index)).map(str::to_string))
    })
}

fn all(call: &Call) -> Result<ArrayRef> {
    use arrow::array::{ListBuilder, StringBuilder};
    let mut patterns = Patterns::default();
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in 0..call.rows {
        if call.any_null(row) {
            builder.append_null();
            continue;
        }
        let regex = patterns.get(call.text(1, row))?;
        let index = call.integer_or(2, row, 1).clamp(0, regex.captures_len() as i64 - 1) as usize;
        for found in regex.captures_iter(call.text(0, row)) {
            builder.values().append_option(found.get(index).map(|group| group.as_str()));
        }
        builder.append(true);
    }
    Ok(std::sync::Arc::new(builder.finish()))
}

fn replace(call: &Call) -> Result<ArrayRef> {
    let mut patterns = Patterns::default();
    call.to_text(|row| {
        let regex = patterns.get(call.text(1, row))?;
        let replacement = java_replacement(call.text(2, row));
        Ok(Some(regex.replace_all(call.text(0, row), replacement.as_str()).into_owned()))
    })
}

/// Java ends the number of a group at the first non-digit; the regex crate wants `${1}` then.
fn java_replacement(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next().map(|c| if c == '$' { "$$".to_string() } else { c.to_string() })),
            '$' => {
                let mut number = String::new();
                while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    number.push(digit);
                }
                if number.is_empty() { out.push('$') } else { out.push_str(&format!("${{{number}}}")) }
            }
            _ => out.push(c),
        }
    }
    out
}

fn instr(call: &Call) -> Result<ArrayRef> {
    let mut patterns = Patterns::default();
    call.to_int(|row| {
        let text = call.text(0, row);
        let found = patterns.get(call.text(1, row))?.find(text);
        Ok(Some(found.map_or(0, |found| text[..found.start()].chars().count() as i32 + 1)))
    })
}

fn count(call: &Call) -> Result<ArrayRef> {
    let mut patterns = Patterns::default();
    call.to_int(|row| Ok(Some(patterns.get(call.text(1, row))?.find_iter(call.text(0, row)).count() as i32)))
}

fn similar(call: &Call) -> Result<ArrayRef> {
    let mut patterns = Patterns::default();
    call.to_boolean(|row| {
        let pattern = sql_pattern(call.text(1, row));
        Ok(Some(patterns.get(&pattern)?.is_match(call.text(0, row))))
    })
}

/// SIMILAR TO's pattern as a regular expression over the whole text.
fn sql_pattern(pattern: &str) -> String {
    let mut out = String::from("(?s)^(?:");
    for c in pattern.chars() {
        match c {
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '.' | '^' | '$' | '\\' => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out + ")$"
}
