//! Why a record is bad: a sentence that names the column and the value.

use std::fmt;

use arrow::datatypes::DataType;
use tidemill_engine::type_name::sql_type_name;

/// Most characters of a value that a reason shows.
const VALUE_CHARS_MAX: usize = 60;

/// One word wide, so that the good path carries little.
#[derive(Debug)]
pub(crate) struct Flaw(Box<Reason>);

#[derive(Debug)]
struct Reason(String);

pub(crate) type Parsed<T> = Result<T, Flaw>;

impl Flaw {
    #[cold]
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(Box::new(Reason(reason.into())))
    }

    /// The value is not of the type: `"abc" is not a BIGINT`.
    #[cold]
    pub(crate) fn not_a(value: &[u8], data_type: &DataType) -> Self {
        Self::new(format!("{} is not a value of type {}", shown(value), sql_type_name(data_type)))
    }

    #[cold]
    pub(crate) fn out_of_range(value: &[u8], data_type: &DataType) -> Self {
        Self::new(format!("{} is out of range for {}", shown(value), sql_type_name(data_type)))
    }

    #[cold]
    pub(crate) fn null() -> Self {
        Self::new("NULL in a NOT NULL column")
    }

    /// Puts the column that the reason is about before it.
    #[cold]
    pub(crate) fn within(self, column: &str) -> Self {
        Self::new(format!("column {column}: {self}"))
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.0)
    }
}

fn shown(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(&value[..value.len().min(VALUE_CHARS_MAX * 4)]);
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}
