//! Compares two answers as sorted rows: exact values everywhere, a stated tolerance for floats.

use std::cmp::Ordering;

use serde_json::Value;

/// Two float results are equal if they differ by at most this share of the greater: the order of additions differs.
const FLOAT_TOLERANCE_RELATIVE: f64 = 1e-9;

/// A value both sides are brought to. Numbers that are not floats keep their text: no digit is lost.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Bool(bool),
    Text(String),
    Exact(String),
    Float(f64),
    List(Vec<Cell>),
    Row(Vec<(String, Cell)>),
}

impl Cell {
    /// A value of Tidemill's JSON output; `float`: the column has a floating-point type.
    pub fn from_output(value: &Value, float: bool) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::String(text) => Self::Text(trimmed_time(text)),
            Value::Number(number) if float => Self::Float(number.as_f64().expect("a finite number")),
            Value::Number(number) => Self::Exact(trimmed_number(&number.to_string())),
            Value::Array(items) => Self::List(items.iter().map(|item| Self::from_output(item, float)).collect()),
            Value::Object(fields) => {
                Self::Row(fields.iter().map(|(key, item)| (key.clone(), Self::from_output(item, float))).collect())
            }
        }
    }

    /// A value as `oracle.py` gives it.
    pub fn from_oracle(value: &Value, float: bool) -> Self {
        let Value::Object(tagged) = value else {
            return match value {
                Value::Array(items) => Self::List(items.iter().map(|item| Self::from_oracle(item, float)).collect()),
                other => Self::from_output(other, float),
            };
        };
        let (tag, content) = tagged.iter().next().expect("oracle.py tags numbers and rows");
        let text = content.as_str().unwrap_or_default();
        match tag.as_str() {
            "number" | "float" if float => Self::Float(text.parse().expect("a float")),
            "number" | "float" => Self::Exact(trimmed_number(text)),
            _ => {
                let fields = content.as_object().expect("the fields of a row");
                Self::Row(fields.iter().map(|(key, item)| (key.clone(), Self::from_oracle(item, float))).collect())
            }
        }
    }

    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => {
                a == b || (a - b).abs() <= FLOAT_TOLERANCE_RELATIVE * a.abs().max(b.abs())
            }
            (Self::List(a), Self::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b)),
            (a, b) => a == b,
        }
    }
}

/// The first difference of two answers, in words; `None`: they are equal.
pub fn difference(mut ours: Vec<Vec<Cell>>, mut theirs: Vec<Vec<Cell>>) -> Option<String> {
    ours.sort_by(|a, b| compare_rows(a, b));
    theirs.sort_by(|a, b| compare_rows(a, b));
    let equal = |(a, b): (&Vec<Cell>, &Vec<Cell>)| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b));
    let unequal = ours.iter().zip(&theirs).position(|pair| !equal(pair));
    let at = unequal.or((ours.len() != theirs.len()).then_some(ours.len().min(theirs.len())))?;
    let show = |rows: &[Vec<Cell>]| rows.get(at).map_or("no row".to_string(), |row| format!("{row:?}"));
    Some(format!(
        "{} rows, DuckDB has {}; sorted row {at}:\n  here   {}\n  DuckDB {}",
        ours.len(),
        theirs.len(),
        show(&ours),
        show(&theirs)
    ))
}

/// Columns that must be equal decide first, so that floats only order rows that are otherwise the same.
fn compare_rows(a: &[Cell], b: &[Cell]) -> Ordering {
    let exact = |row: &[Cell]| {
        let cells = row.iter().filter(|cell| !matches!(cell, Cell::Float(_)));
        cells.map(|cell| format!("{cell:?}")).collect::<Vec<_>>()
    };
    let floats = |row: &[Cell]| {
        let values = row.iter().filter_map(|cell| if let Cell::Float(value) = cell { Some(*value) } else { None });
        values.collect::<Vec<_>>()
    };
    exact(a).cmp(&exact(b)).then_with(|| floats(a).partial_cmp(&floats(b)).unwrap_or(Ordering::Equal))
}

/// Fractions of a second without trailing zeros, as `oracle.py` writes them.
fn trimmed_time(text: &str) -> String {
    let clock = text.rsplit(' ').next().unwrap_or_default().as_bytes();
    let is_time = clock.len() > 8 && clock[2] == b':' && clock[5] == b':' && clock[8] == b'.';
    if is_time { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text.to_string() }
}

fn trimmed_number(text: &str) -> String {
    if text.contains('.') && !text.contains(['e', 'E']) {
        return text.trim_end_matches('0').trim_end_matches('.').to_string();
    }
    text.to_string()
}
