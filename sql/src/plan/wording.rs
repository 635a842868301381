//! DataFusion's words in plain ones: its messages, and its plans as EXPLAIN shows them.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// A pattern that is written in this crate.
pub(crate) fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern is valid")
}

/// Type names of Arrow, and Flink's.
static TYPES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let words = [
        (r"Timestamp\((?:Millisecond|ms|s|Second), None\)|Timestamp\((?:ms|s)\)", "TIMESTAMP(3)"),
        (r"Timestamp\((?:Microsecond|µs|us), None\)|Timestamp\((?:µs|us)\)", "TIMESTAMP(6)"),
        (r"Timestamp\((?:Nanosecond|ns), None\)|Timestamp\(ns\)", "TIMESTAMP(9)"),
        (r#"Timestamp\((?:Millisecond|ms|s|Second), (?:Some\()?"[^"]*"\)?\)"#, "TIMESTAMP_LTZ(3)"),
        (r#"Timestamp\((?:Microsecond|µs|us), (?:Some\()?"[^"]*"\)?\)"#, "TIMESTAMP_LTZ(6)"),
        (r#"Timestamp\((?:Nanosecond|ns), (?:Some\()?"[^"]*"\)?\)"#, "TIMESTAMP_LTZ(9)"),
        (r"Interval\(\w+\)|Duration\(\w+\)", "INTERVAL"),
        (r"Time(?:32|64)\(\w+\)", "TIME"),
        (r"Decimal(?:32|64|128|256)\((\d+), (\d+)\)", "DECIMAL($1, $2)"),
        (r"\b(?:Large)?Utf8(?:View)?\b", "STRING"),
        (r"\b(?:Large)?Binary(?:View)?\b", "BYTES"),
        (r"\bInt8\b", "TINYINT"),
        (r"\bU?Int16\b|\bUInt8\b", "SMALLINT"),
        (r"\bInt32\b", "INT"),
        (r"\bU?Int64\b|\bUInt32\b", "BIGINT"),
        (r"\bFloat32\b", "FLOAT"),
        (r"\bFloat64\b", "DOUBLE"),
        (r"\bBoolean\b", "BOOLEAN"),
        (r"\bDate(?:32|64)\b", "DATE"),
        (r"\bNull\b", "NULL"),
        (r"\bList\((?:nullable |non-null )?([\w(), ]+?)\)", "ARRAY<$1>"),
    ];
    words.into_iter().map(|(regex, word)| (pattern(regex), word)).collect()
});

/// Constants as DataFusion writes them, and as SQL does.
static CONSTANTS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let words = [
        (r"\bU?Int(?:8|16|32|64)\((-?\d+)\)", "$1"),
        (r"\bU?Int(?:8|16|32|64)\(NULL\)|\bUtf8\(NULL\)|\bBoolean\(NULL\)|\bFloat(?:32|64)\(NULL\)", "NULL"),
        (r#"\bUtf8\("([^"]*)"\)"#, "'$1'"),
        (r"\bBoolean\(true\)", "TRUE"),
        (r"\bBoolean\(false\)", "FALSE"),
        (r"\bFloat(?:32|64)\(([-+.\deE]+)\)", "$1"),
    ];
    words.into_iter().map(|(regex, word)| (pattern(regex), word)).collect()
});

static INTERVAL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"IntervalMonthDayNano\("IntervalMonthDayNano \{ months: (-?\d+), days: (-?\d+), nanoseconds: (-?\d+) \}"\)"#,
    )
});
static DECIMAL: LazyLock<Regex> = LazyLock::new(|| pattern(r"\bDecimal128\(Some\((-?\d+)\),\d+,(\d+)\)"));
static TIME: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"\bTimestamp(Second|Millisecond|Microsecond|Nanosecond)\((-?\d+), (?:None|Some\("[^"]*"\))\)"#)
});

static PREFIX: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"^(?:Error during planning|This feature is not implemented|Execution error|Schema error|Arrow error|",
        r"Cast error|Optimizer rule '\w+' failed|type_coercion|Internal error|External error)",
        r"(?::\s*|\n?caused by\n?|$)"
    ))
});
static INTERNAL: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b__common_expr_(\d+)|\b__grouping_id|\b__\w+"));

/// A message of DataFusion without prefixes, notes to its developers, Arrow's type names and our internal names.
pub(crate) fn plain(message: &str) -> String {
    let mut text = message.to_owned();
    while let Some(prefix) = PREFIX.find(&text).filter(|prefix| !prefix.is_empty()) {
        text.replace_range(..prefix.end(), "");
    }
    let text = text.split(".\nThis issue was likely").next().unwrap_or_default();
    let text = text.split("\n\nBacktrace").next().unwrap_or_default();
    let text = text.split("You might need to add explicit type casts").next().unwrap_or_default();
    let text = sql_words(&text.replace("DataFusion", "the planner").replace('\n', " "));
    text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

/// Constants, types and names as a query would have them. Lines stay.
pub(crate) fn sql_words(text: &str) -> String {
    let mut text = INTERVAL.replace_all(text, |found: &Captures<'_>| interval(found)).into_owned();
    text = DECIMAL.replace_all(&text, |found: &Captures<'_>| decimal(&found[1], &found[2])).into_owned();
    text = TIME.replace_all(&text, |found: &Captures<'_>| timestamp(&found[1], &found[2])).into_owned();
    for (regex, word) in CONSTANTS.iter().chain(TYPES.iter()) {
        text = regex.replace_all(&text, *word).into_owned();
    }
    INTERNAL.replace_all(&text, |found: &Captures<'_>| internal(found)).into_owned()
}

fn internal(found: &Captures<'_>) -> String {
    match (found.get(1), &found[0]) {
        (Some(number), _) => format!("shared_{}", number.as_str()),
        (None, "__grouping_id") => "grouping_id".into(),
        _ => "expression".into(),
    }
}

fn interval(found: &Captures<'_>) -> String {
    let number = |index: usize| found[index].parse::<i64>().unwrap_or_default();
    super::display::display_interval(number(1) as i32, number(2) as i32, number(3))
}

/// An unscaled value and its scale: `15` and `1` are 1.5.
fn decimal(unscaled: &str, scale: &str) -> String {
    let scale = scale.parse::<usize>().unwrap_or_default();
    let (sign, digits) = unscaled.strip_prefix('-').map_or(("", unscaled), |digits| ("-", digits));
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn timestamp(unit: &str, value: &str) -> String {
    let micros = value.parse::<i64>().ok().and_then(|value| match unit {
        "Second" => value.checked_mul(1_000_000),
        "Millisecond" => value.checked_mul(1_000),
        "Nanosecond" => Some(value / 1_000),
        _ => Some(value),
    });
    let time = micros.and_then(chrono::DateTime::from_timestamp_micros);
    time.map_or_else(|| value.to_owned(), |time| format!("TIMESTAMP '{}'", time.format("%Y-%m-%d %H:%M:%S%.f")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_and_types_read_as_sql() {
        for (given, expected) in [
            ("t.a > Int64(5) AND t.b = Utf8(\"x\")", "t.a > 5 AND t.b = 'x'"),
            ("CAST(a AS Decimal128(10, 2))", "CAST(a AS DECIMAL(10, 2))"),
            ("Decimal128(Some(-15),2,1)", "-1.5"),
            ("Decimal128(Some(5),3,3)", "0.005"),
            ("TimestampMillisecond(1704067200000, None)", "TIMESTAMP '2024-01-01 00:00:00'"),
            (
                "ts - IntervalMonthDayNano(\"IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 5000000000 }\")",
                "ts - INTERVAL '5' SECOND",
            ),
            ("__common_expr_1 AS __common_expr_1", "shared_1 AS shared_1"),
        ] {
            assert_eq!(sql_words(given), expected);
        }
    }

    #[test]
    fn prefixes_and_notes_go() {
        assert_eq!(
            plain("Error during planning: type_coercion\ncaused by\nError during planning: no Utf8."),
            "no STRING"
        );
    }
}
