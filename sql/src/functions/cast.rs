//! Casts where arrow's kernels and Flink do not agree: times between zones and precisions, and how values are written.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type, Int64Type, TimeUnit};
use chrono::{DateTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
use datafusion_common::{Result, plan_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::call::failure;
use super::time::instant_of;

/// Name of the function in a plan; shown as CAST.
pub(crate) const CAST: &str = "flink_cast";

/// True for casts that are Flink's own.
pub(crate) fn is_flinks(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    match (from, to) {
        (T::Timestamp(a, from), T::Timestamp(b, to)) => {
            from.is_some() != to.is_some() || per_second(*a) > per_second(*b)
        }
        (T::Timestamp(..) | T::Boolean | T::Float32 | T::Float64, T::Utf8) => true,
        _ => false,
    }
}

/// The cast to a type; `safe` gives NULL where it fails.
pub(crate) fn cast_function(target: &DataType, safe: bool, zone: Tz) -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(FlinkCast { target: target.clone(), safe, zone, signature }))
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FlinkCast {
    target: DataType,
    safe: bool,
    zone: Tz,
    signature: Signature,
}

impl Hash for FlinkCast {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.target, self.safe, self.zone.name()).hash(state);
    }
}

impl ScalarUDFImpl for FlinkCast {
    fn name(&self) -> &str {
        CAST
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> Result<DataType> {
        Ok(self.target.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [field] = args.arg_fields else { return plan_err!("CAST takes one value") };
        Ok(Arc::new(Field::new(field.name(), self.target.clone(), field.is_nullable() || self.safe)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match &args.args[..] {
            [ColumnarValue::Array(values)] => Ok(ColumnarValue::Array(self.cast(values)?)),
            [ColumnarValue::Scalar(value)] => {
                let cast = self.cast(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(datafusion_common::ScalarValue::try_from_array(&cast, 0)?))
            }
            _ => Err(failure("CAST takes one value")),
        }
    }
}

impl FlinkCast {
    fn cast(&self, values: &ArrayRef) -> Result<ArrayRef> {
        use DataType as T;
        match (values.data_type(), &self.target) {
            (T::Timestamp(..), T::Timestamp(..)) => self.timestamp_to_timestamp(values),
            (T::Timestamp(unit, zone), T::Utf8) => {
                let zone = zone.as_ref().map(|_| self.zone);
                let ticks = ticks(values)?;
                texts(values, |row| timestamp_text(ticks.value(row), *unit, zone))
            }
            (T::Boolean, T::Utf8) => {
                let flags = values.as_boolean();
                texts(values, |row| Some(if flags.value(row) { "TRUE" } else { "FALSE" }.to_string()))
            }
            (T::Float32, T::Utf8) => {
                let numbers = values.as_primitive::<Float32Type>();
                texts(values, |row| Some(float_text(&format!("{:e}", numbers.value(row)))))
            }
            (T::Float64, T::Utf8) => {
                let numbers = values.as_primitive::<Float64Type>();
                texts(values, |row| Some(float_text(&format!("{:e}", numbers.value(row)))))
            }
            (_, target) => Ok(arrow::compute::cast(values, target)?),
        }
    }

    fn timestamp_to_timestamp(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let (DataType::Timestamp(from, from_zone), DataType::Timestamp(to, to_zone)) =
            (values.data_type(), &self.target)
        else {
            return Err(failure("not a timestamp"));
        };
        let ticks = ticks(values)?;
        let moved = (0..values.len()).map(|row| {
            if values.is_null(row) {
                return Ok(None);
            }
            let converted = rescaled(ticks.value(row), *from, *to).and_then(|ticks| {
                let seconds = ticks.div_euclid(per_second(*to));
                let shift = self.shift(seconds, from_zone.is_some(), to_zone.is_some())?;
                ticks.checked_add(shift * per_second(*to))
            });
            match converted {
                None if !self.safe => Err(failure("a timestamp is too far away for the type that it is cast to")),
                converted => Ok(converted),
            }
        });
        let moved: ArrayRef = Arc::new(moved.collect::<Result<Int64Array>>()?);
        Ok(arrow::compute::cast(&moved, &self.target)?)
    }

    /// Seconds between an instant and the local time that stands for it in the other type.
    fn shift(&self, seconds: i64, from_zoned: bool, to_zoned: bool) -> Option<i64> {
        let time = DateTime::from_timestamp(seconds, 0)?.naive_utc();
        Some(match (from_zoned, to_zoned) {
            (true, false) => i64::from(self.zone.offset_from_utc_datetime(&time).fix().local_minus_utc()),
            (false, true) => instant_of(self.zone, time).timestamp() - seconds,
            _ => 0,
        })
    }
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Coarser units cut downward, before 1970 too; `None` where a finer unit cannot hold the time.
fn rescaled(ticks: i64, from: TimeUnit, to: TimeUnit) -> Option<i64> {
    let (from, to) = (per_second(from), per_second(to));
    if from > to { Some(ticks.div_euclid(from / to)) } else { ticks.checked_mul(to / from) }
}

fn ticks(values: &ArrayRef) -> Result<Int64Array> {
    Ok(arrow::compute::cast(values, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

fn texts(values: &ArrayRef, text: impl Fn(usize) -> Option<String>) -> Result<ArrayRef> {
    let texts = (0..values.len()).map(|row| if values.is_null(row) { None } else { text(row) });
    Ok(Arc::new(texts.collect::<StringArray>()))
}

/// `2024-01-01 10:00:00.000`, with the digits of the type's precision, in the zone if it has one.
fn timestamp_text(ticks: i64, unit: TimeUnit, zone: Option<Tz>) -> Option<String> {
    let scale = per_second(unit);
    let nanos = ticks.rem_euclid(scale) * (1_000_000_000 / scale);
    let instant = DateTime::from_timestamp(ticks.div_euclid(scale), u32::try_from(nanos).ok()?)?.naive_utc();
    let local: NaiveDateTime = zone.map_or(instant, |zone| zone.from_utc_datetime(&instant).naive_local());
    let pattern = match unit {
        TimeUnit::Second => "%Y-%m-%d %H:%M:%S",
        TimeUnit::Millisecond => "%Y-%m-%d %H:%M:%S%.3f",
        TimeUnit::Microsecond => "%Y-%m-%d %H:%M:%S%.6f",
        TimeUnit::Nanosecond => "%Y-%m-%d %H:%M:%S%.9f",
    };
    Some(local.format(pattern).to_string())
}

/// Exponents from this one on are written out, as Java does.
const PLAIN_EXPONENT_MIN: i32 = -3;
/// Exponents from this one on are written as such.
const PLAIN_EXPONENT_END: i32 = 7;

/// Java's notation, from Rust's shortest digits in the form `-1.25e-7`.
fn float_text(scientific: &str) -> String {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific.replace("inf", "Infinity");
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits = mantissa.replace('.', "");
    if !(PLAIN_EXPONENT_MIN..PLAIN_EXPONENT_END).contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        return format!("{sign}{first}.{}E{exponent}", if rest.is_empty() { "0" } else { rest });
    }
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize));
    }
    let whole = exponent as usize + 1;
    let padded = format!("{digits:0<whole$}");
    let (whole, fraction) = padded.split_at(whole);
    format!("{sign}{whole}.{}", if fraction.is_empty() { "0" } else { fraction })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_java_does() {
        let cases = [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (-12.5, "-12.5"),
            (1e7, "1.0E7"),
            (123456.0, "123456.0"),
            (0.001, "0.001"),
            (0.00025, "2.5E-4"),
        ];
        for (number, text) in cases {
            assert_eq!(float_text(&format!("{number:e}")), text);
        }
        assert_eq!(float_text(&format!("{:e}", f64::NEG_INFINITY)), "-Infinity");
    }

    #[test]
    fn times_are_cut_downward() {
        assert_eq!(rescaled(-1, TimeUnit::Nanosecond, TimeUnit::Millisecond), Some(-1));
        assert_eq!(rescaled(i64::MAX, TimeUnit::Millisecond, TimeUnit::Nanosecond), None);
        assert_eq!(timestamp_text(-1, TimeUnit::Millisecond, None).as_deref(), Some("1969-12-31 23:59:59.999"));
    }
}
