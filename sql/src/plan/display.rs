//! Expressions as SQL shows them, for EXPLAIN and for the signatures of state.

use arrow::datatypes::DataType;
use chrono::{DateTime, Utc};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator;
use datafusion_physical_expr::ScalarFunctionExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal, TryCastExpr};

use super::physical::Physical;
use crate::functions::{CAST, DIVIDE, MULTIPLY};
use crate::types::{flink_name, quote_string};

const NANOS_PER_MILLI: i64 = 1_000_000;

/// The expression in Flink's spelling, without column numbers.
pub(crate) fn display(expr: &Physical) -> String {
    if let Some(column) = expr.downcast_ref::<Column>() {
        return column.name().to_owned();
    }
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        return display_value(literal.value());
    }
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        let side = |side: &Physical| parenthesized(side, *binary.op());
        return format!("{} {} {}", side(binary.left()), display_operator(*binary.op()), side(binary.right()));
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return format!("CAST({} AS {})", display(cast.expr()), flink_name(cast.cast_type(), true));
    }
    if let Some(cast) = expr.downcast_ref::<TryCastExpr>() {
        return format!("TRY_CAST({} AS {})", display(cast.expr()), flink_name(cast.cast_type(), true));
    }
    if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
        return display_call(call);
    }
    Sql(expr).to_string()
}

fn display_call(call: &ScalarFunctionExpr) -> String {
    match (call.fun().name(), call.args()) {
        ("get_field", [row, name]) => match name.downcast_ref::<Literal>().and_then(|name| name.value().try_as_str()) {
            Some(Some(field)) => format!("{}.{field}", display(row)),
            _ => format!("{}[{}]", display(row), display(name)),
        },
        (CAST, [value]) => format!("CAST({} AS {})", display(value), flink_name(call.return_type(), true)),
        (DIVIDE, [left, right]) => format!("({} / {})", display(left), display(right)),
        (MULTIPLY, [left, right]) => format!("({} * {})", display(left), display(right)),
        (name, args) => {
            format!("{}({})", name.to_uppercase(), args.iter().map(display).collect::<Vec<_>>().join(", "))
        }
    }
}

/// A part that binds less tightly than the operator around it stands in parentheses.
fn parenthesized(part: &Physical, around: Operator) -> String {
    match part.downcast_ref::<BinaryExpr>() {
        Some(inner) if inner.op().precedence() < around.precedence() => format!("({})", display(part)),
        _ => display(part),
    }
}

fn display_operator(operator: Operator) -> String {
    match operator {
        Operator::NotEq => "<>".into(),
        other => other.to_string(),
    }
}

fn display_value(value: &ScalarValue) -> String {
    if value.is_null() {
        return "NULL".into();
    }
    match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            quote_string(text)
        }
        ScalarValue::Boolean(Some(truth)) => truth.to_string().to_uppercase(),
        ScalarValue::IntervalMonthDayNano(Some(interval)) => {
            display_interval(interval.months, interval.days, interval.nanoseconds)
        }
        ScalarValue::IntervalYearMonth(Some(months)) => format!("INTERVAL '{months}' MONTH"),
        ScalarValue::DurationMillisecond(Some(ms)) => display_interval(0, 0, ms.saturating_mul(NANOS_PER_MILLI)),
        ScalarValue::DurationMicrosecond(Some(us)) => display_interval(0, 0, us.saturating_mul(NANOS_PER_MILLI / 1000)),
        ScalarValue::DurationNanosecond(Some(nanos)) => display_interval(0, 0, *nanos),
        ScalarValue::Decimal128(Some(_), _, scale) => display_decimal(value, *scale),
        other => match display_time(other) {
            Some(text) => text,
            None => other.to_string(),
        },
    }
}

fn display_decimal(value: &ScalarValue, _scale: i8) -> String {
    match value.cast_to(&DataType::Utf8) {
        Ok(ScalarValue::Utf8(Some(text))) => text,
        _ => value.to_string(),
    }
}

/// `TIMESTAMP '2024-01-01 00:00:00'`; LTZ values are shown in UTC.
fn display_time(value: &ScalarValue) -> Option<String> {
    let (micros, zoned) = match value {
        ScalarValue::TimestampSecond(Some(time), zone) => (time.checked_mul(1_000_000)?, zone.is_some()),
        ScalarValue::TimestampMillisecond(Some(time), zone) => (time.checked_mul(1_000)?, zone.is_some()),
        ScalarValue::TimestampMicrosecond(Some(time), zone) => (*time, zone.is_some()),
        ScalarValue::TimestampNanosecond(Some(time), zone) => (time / 1_000, zone.is_some()),
        _ => return None,
    };
    let time: DateTime<Utc> = DateTime::from_timestamp_micros(micros)?;
    let text = time.format("%Y-%m-%d %H:%M:%S%.f");
    Some(if zoned { format!("TIMESTAMP_LTZ '{text} UTC'") } else { format!("TIMESTAMP '{text}'") })
}

/// The largest unit that gives a whole number.
pub(crate) fn display_interval(months: i32, days: i32, nanos: i64) -> String {
    const UNITS: [(i64, &str); 3] = [
        (3_600_000 * NANOS_PER_MILLI, "HOUR"),
        (60_000 * NANOS_PER_MILLI, "MINUTE"),
        (1_000 * NANOS_PER_MILLI, "SECOND"),
    ];
    match (months, days, nanos) {
        (months, 0, 0) if months != 0 => format!("INTERVAL '{months}' MONTH"),
        (0, days, 0) if days != 0 => format!("INTERVAL '{days}' DAY"),
        (0, 0, nanos) => match UNITS.iter().find(|(size, _)| nanos % size == 0) {
            Some((size, name)) => format!("INTERVAL '{}' {name}", nanos / size),
            None => format!("INTERVAL '{}' SECOND", nanos as f64 / UNITS[2].0 as f64),
        },
        _ => format!("INTERVAL '{months} months {days} days {} ms'", nanos / NANOS_PER_MILLI),
    }
}

/// What DataFusion writes for everything else (CASE, LIKE, IN, IS NULL).
struct Sql<'a>(&'a Physical);

impl std::fmt::Display for Sql<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt_sql(f)
    }
}
