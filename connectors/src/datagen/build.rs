//! From options to generators: every `fields.*` option must fit its column, and is used or reported.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int64Type, IntervalUnit, TimeUnit};
use tidemill_engine::suggestion::closest;
use tidemill_engine::type_name::sql_type_name;

use super::generator::{DAY_MS, Generator, Length, Rule, Sequence};
use super::generator::{element_field, entry_fields, row_fields, units_per_second};
use super::{FIELD_OPTIONS, NUMBER_OF_ROWS, ROWS_PER_SECOND, SEED};
use crate::options::{OptionProblem, values};
use crate::random;
use crate::table::TableSpec;

/// Flink's defaults.
const TEXT_LENGTH_DEFAULT: u64 = 100;
const COLLECTION_LENGTH_DEFAULT: u64 = 3;
/// Longest row, in bytes: a batch holds one at least, and must stay far from the 2 GB that Arrow can address.
const ROW_BYTES_MAX: u64 = 64 << 20;
/// Whole numbers up to here are exact as DOUBLE.
const EXACT_DOUBLE_MAX: i128 = 1 << 53;
/// And up to here as FLOAT.
const EXACT_FLOAT_MAX: i128 = 1 << 24;

/// A table's rows, resolved.
#[derive(Debug)]
pub struct Plan {
    /// One per physical column.
    generators: Vec<Generator>,
    pub rows: u64,
    pub rows_per_second: u64,
    /// True where an option says so; an unbounded sequence ends where its type does.
    pub bounded: bool,
}

impl Plan {
    /// The generator of a physical column, which exists.
    pub fn generator(&self, spec: &TableSpec, name: &str) -> Generator {
        self.generators[spec.columns.index_of(name).expect("the projection was checked")].clone()
    }
}

/// Resolves all columns, read or not, since any sequence can end the source.
pub fn plan(spec: &TableSpec) -> Result<Plan, Vec<OptionProblem>> {
    let numbers = (spec.integer(&ROWS_PER_SECOND), spec.integer(&NUMBER_OF_ROWS), spec.integer(&SEED));
    let (Ok(rows_per_second), Ok(number), Ok(seed)) = numbers else {
        return Err([numbers.0, numbers.1, numbers.2].into_iter().filter_map(Result::err).collect());
    };
    let rows_per_second = rows_per_second.unwrap_or(1).max(1) as u64;
    let mut builder = Builder::new(spec, seed.unwrap_or(0) as u64, rows_per_second);
    let generators: Vec<Generator> =
        spec.columns.fields().iter().map(|field| builder.field(field.name(), field)).collect();
    builder.report_unused();
    builder.check_width(&generators);
    if !builder.problems.is_empty() {
        return Err(builder.problems);
    }
    let number = number.map(|number| number.max(0) as u64);
    let rows = builder.sequence_rows.min(number.unwrap_or(u64::MAX));
    Ok(Plan { generators, rows, rows_per_second, bounded: number.is_some() || builder.sequence_ends })
}

struct Builder<'a> {
    spec: &'a TableSpec,
    seed: u64,
    rows_per_second: u64,
    /// Paths of the fields seen so far, with what they are made of.
    paths: Vec<(String, String)>,
    used: BTreeSet<String>,
    problems: Vec<OptionProblem>,
    /// Rows until the shortest sequence is exhausted.
    sequence_rows: u64,
    sequence_ends: bool,
    /// Inside arrays and maps there is no row number to count by.
    in_collection: bool,
}

impl<'a> Builder<'a> {
    fn new(spec: &'a TableSpec, seed: u64, rows_per_second: u64) -> Self {
        Self {
            spec,
            seed,
            rows_per_second,
            paths: Vec::new(),
            used: BTreeSet::new(),
            problems: Vec::new(),
            sequence_rows: u64::MAX,
            sequence_ends: false,
            in_collection: false,
        }
    }

    fn field(&mut self, path: &str, field: &Field) -> Generator {
        let data_type = field.data_type().clone();
        let null_rate = self.null_rate(path, field);
        let sequence = self.take(path, "kind").is_some_and(|kind| kind == "sequence");
        let kind = if sequence { "a sequence of" } else { "random" };
        self.paths.push((path.to_string(), format!("{kind} {}", sql_type_name(&data_type))));
        let rule = if sequence { self.sequence(path, &data_type) } else { self.random(path, &data_type) };
        Generator { seed: random::column_seed(self.seed, path), data_type, null_rate, rule }
    }

    fn random(&mut self, path: &str, data_type: &DataType) -> Rule {
        if let Some(list) = self.take(path, "values") {
            return self.choice(path, &list, data_type);
        }
        match data_type {
            DataType::Boolean => Rule::Boolean,
            DataType::Float32 => self.floats(path, f64::from(f32::MIN), f64::from(f32::MAX)),
            DataType::Float64 => self.floats(path, f64::MIN, f64::MAX),
            DataType::Decimal128(precision, _) => self.decimals(path, data_type, *precision),
            DataType::Utf8 => Rule::Text(self.length(path, TEXT_LENGTH_DEFAULT)),
            DataType::Binary => Rule::Bytes(self.length(path, TEXT_LENGTH_DEFAULT)),
            DataType::Date32 | DataType::Time32(_) | DataType::Timestamp(..) => {
                Rule::Past { max_past_ms: self.max_past_ms(path) }
            }
            DataType::List(_) | DataType::Map(..) | DataType::Struct(_) => self.nested(path, data_type),
            _ => match integer_range(data_type) {
                Some((min, max)) => self.integers(path, min, max),
                None => {
                    let message =
                        format!("column '{path}': datagen makes no values of type {}", sql_type_name(data_type));
                    self.problems.push(OptionProblem::new(message));
                    Rule::Boolean
                }
            },
        }
    }

    fn nested(&mut self, path: &str, data_type: &DataType) -> Rule {
        if let Some(fields) = row_fields(data_type) {
            return Rule::Row(
                fields.iter().map(|field| self.field(&format!("{path}.{}", field.name()), field)).collect(),
            );
        }
        let length = self.length(path, COLLECTION_LENGTH_DEFAULT);
        let outer = std::mem::replace(&mut self.in_collection, true);
        let rule = if let Some(element) = element_field(data_type) {
            Rule::List { element: Box::new(self.field(&format!("{path}.element"), element)), length }
        } else {
            let (key, value) = entry_fields(data_type).expect("a map has keys and values");
            let key = Box::new(self.field(&format!("{path}.key"), key));
            Rule::Map { key, value: Box::new(self.field(&format!("{path}.value"), value)), length }
        };
        self.in_collection = outer;
        rule
    }

    fn integers(&mut self, path: &str, type_min: i64, type_max: i64) -> Rule {
        let min = self.take_parsed(path, "min", "a whole number of the column's type", |text| {
            values::integer(text).filter(|value| (type_min..=type_max).contains(value))
        });
        let max = self.take_parsed(path, "max", "a whole number of the column's type", |text| {
            values::integer(text).filter(|value| (type_min..=type_max).contains(value))
        });
        let (min, max) = (min.unwrap_or(type_min), max.unwrap_or(type_max));
        self.check_order(path, min <= max);
        Rule::Integer { min, max: max.max(min) }
    }

    fn floats(&mut self, path: &str, type_min: f64, type_max: f64) -> Rule {
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|value| value.is_finite());
        let min = self.take_parsed(path, "min", "a number", number).unwrap_or(type_min);
        let max = self.take_parsed(path, "max", "a number", number).unwrap_or(type_max);
        self.check_order(path, min <= max);
        Rule::Float { min, max }
    }

    fn decimals(&mut self, path: &str, data_type: &DataType, precision: u8) -> Rule {
        let limit = 10i128.pow(u32::from(precision)) - 1;
        let unscaled = |text: &str| Some(literal(text, data_type)?.as_primitive::<Decimal128Type>().value(0));
        let min = self.take_parsed(path, "min", "a number of the column's type", unscaled).unwrap_or(-limit);
        let max = self.take_parsed(path, "max", "a number of the column's type", unscaled).unwrap_or(limit);
        self.check_order(path, min <= max);
        Rule::Decimal { min, max: max.max(min) }
    }

    fn choice(&mut self, path: &str, list: &str, data_type: &DataType) -> Rule {
        let texts: StringArray = list.split(',').map(|text| Some(text.trim())).collect();
        let key = format!("fields.{path}.values");
        match cast_with_options(&texts, data_type, &CastOptions { safe: true, ..Default::default() }) {
            Ok(values) if values.null_count() == 0 => Rule::Choice(values),
            _ => {
                let message = {
                    let name = sql_type_name(data_type);
                    format!("option '{key}' takes values of type {name}, separated by commas, not '{list}'")
                };
                self.problems.push(OptionProblem::at(key, message));
                Rule::Boolean
            }
        }
    }

    fn sequence(&mut self, path: &str, data_type: &DataType) -> Rule {
        let Some(limit) = sequence_limit(data_type).filter(|_| !self.in_collection) else {
            let key = format!("fields.{path}.kind");
            let reason = if self.in_collection {
                "inside arrays and maps".into()
            } else {
                format!("of type {}", sql_type_name(data_type))
            };
            self.problems.push(OptionProblem::at(key, format!("column '{path}': there are no sequences {reason}")));
            return Rule::Boolean;
        };
        let start = self.bound(path, "start", data_type);
        if start.is_none() && !self.spec.options.contains_key(&format!("fields.{path}.start")) {
            let key = format!("fields.{path}.start");
            self.problems.push(OptionProblem::at(&key, format!("the sequence of '{path}' needs the option '{key}'")));
        }
        let end = self.bound(path, "end", data_type);
        let (step, scale) = self.step(path, data_type);
        let start = start.unwrap_or(0);
        let span = (end.unwrap_or(limit) - start).checked_mul(scale).unwrap_or(i128::MAX);
        self.check_order(path, span >= 0);
        let count = u64::try_from(span.max(0) / step).unwrap_or(u64::MAX - 1).saturating_add(1);
        self.sequence_rows = self.sequence_rows.min(count);
        self.sequence_ends |= end.is_some();
        Rule::Sequence(Sequence { start, step, scale, max_past: self.sequence_past(path, data_type) })
    }

    /// How far a sequence of times strays back, in units of the column.
    fn sequence_past(&mut self, path: &str, data_type: &DataType) -> u64 {
        let DataType::Timestamp(unit, _) = data_type else { return 0 };
        let past = self.max_past_ms(path) as i128 * i128::from(units_per_second(*unit)) / 1000;
        u64::try_from(past).unwrap_or(u64::MAX)
    }

    /// A value of the column as the whole number that it is stored as.
    fn bound(&mut self, path: &str, suffix: &str, data_type: &DataType) -> Option<i128> {
        self.take_parsed(path, suffix, &format!("a value of type {}", sql_type_name(data_type)), |text| {
            stored(text, data_type)
        })
    }

    /// The step in nanoseconds and their number in a unit of the column, for times; else a number and its scale.
    fn step(&mut self, path: &str, data_type: &DataType) -> (i128, i128) {
        let nanos = |text: &str| values::duration(text).map(|d| d.as_nanos() as i128).filter(|nanos| *nanos > 0);
        match data_type {
            DataType::Timestamp(unit, _) => {
                let step = self.take_parsed(path, "step", "a duration such as '1 s'", nanos);
                let even = (1_000_000_000 / i128::from(self.rows_per_second)).max(1);
                (step.unwrap_or(even), 1_000_000_000 / i128::from(units_per_second(*unit)))
            }
            DataType::Date32 => {
                let day = i128::from(DAY_MS) * 1_000_000;
                (self.take_parsed(path, "step", "a duration such as '1 d'", nanos).unwrap_or(day), day)
            }
            _ => {
                let positive = |text: &str| stored(text, data_type).filter(|step| *step > 0);
                let one = stored("1", data_type).unwrap_or(1).max(1);
                (self.take_parsed(path, "step", "a number above 0", positive).unwrap_or(one), 1)
            }
        }
    }

    fn length(&mut self, path: &str, default: u64) -> Length {
        let max = self.take_parsed(path, "length", "a whole number from 1 on", |text| {
            values::integer(text).filter(|length| *length >= 1)
        });
        let varies = self.take_parsed(path, "var-len", "'true' or 'false'", values::boolean);
        Length { max: max.map_or(default, |length| length as u64), varies: varies.unwrap_or(false) }
    }

    fn max_past_ms(&mut self, path: &str) -> i64 {
        let past = self.take_parsed(path, "max-past", "a duration such as '10 s'", values::duration);
        past.map_or(0, |past| i64::try_from(past.as_millis()).unwrap_or(i64::MAX))
    }

    fn null_rate(&mut self, path: &str, field: &Field) -> f64 {
        let rate = self.take_parsed(path, "null-rate", "a number from 0 to 1", values::fraction).unwrap_or(0.0);
        if rate > 0.0 && !field.is_nullable() {
            let key = format!("fields.{path}.null-rate");
            let problem = OptionProblem::at(key, format!("column '{path}' is NOT NULL, so it takes no null rate"));
            self.problems.push(problem.hint("leave the option out, or declare the column without NOT NULL"));
        }
        rate
    }

    fn check_order(&mut self, path: &str, ordered: bool) {
        if !ordered {
            let message = format!("column '{path}': the first value of the range is above the last");
            self.problems.push(OptionProblem::at(format!("fields.{path}.min"), message));
        }
    }

    fn take(&mut self, path: &str, suffix: &str) -> Option<String> {
        let key = format!("fields.{path}.{suffix}");
        let value = self.spec.options.get(&key).cloned();
        self.used.insert(key);
        value
    }

    fn take_parsed<T>(
        &mut self,
        path: &str,
        suffix: &str,
        takes: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.take(path, suffix)?;
        let value = parse(&text);
        if value.is_none() {
            let key = format!("fields.{path}.{suffix}");
            self.problems.push(OptionProblem::at(&key, format!("option '{key}' takes {takes}, not '{text}'")));
        }
        value
    }

    fn check_width(&mut self, generators: &[Generator]) {
        let width = generators.iter().map(Generator::width).fold(0, u64::saturating_add);
        if width > ROW_BYTES_MAX {
            let message =
                format!("rows of {width} bytes are too long: datagen makes rows of up to {ROW_BYTES_MAX} bytes");
            self.problems.push(OptionProblem::new(message).hint("give shorter 'fields.#.length' options"));
        }
    }

    fn report_unused(&mut self) {
        for key in self.spec.options.keys().filter(|key| !self.used.contains(*key)) {
            let Some(path) = FIELD_OPTIONS.iter().find_map(|option| option.matches(key)) else { continue };
            self.problems.push(match self.paths.iter().find(|(known, _)| known == path) {
                Some((_, what)) => OptionProblem::at(key, format!("option '{key}' does not apply to {what} values")),
                None => {
                    let problem = OptionProblem::at(key, format!("option '{key}': there is no column '{path}'"));
                    match closest(path, self.paths.iter().map(|(known, _)| known.as_str())) {
                        Some(close) => problem.hint(format!("did you mean '{close}'?")),
                        None => problem,
                    }
                }
            });
        }
    }
}

fn integer_range(data_type: &DataType) -> Option<(i64, i64)> {
    match data_type {
        DataType::Int8 => Some((i8::MIN.into(), i8::MAX.into())),
        DataType::Int16 => Some((i16::MIN.into(), i16::MAX.into())),
        DataType::Int32 | DataType::Interval(IntervalUnit::YearMonth) => Some((i32::MIN.into(), i32::MAX.into())),
        DataType::Int64 | DataType::Duration(TimeUnit::Millisecond) => Some((i64::MIN, i64::MAX)),
        _ => None,
    }
}

/// The last value that a sequence of this type can reach, as it is stored; `None` where there are no sequences.
fn sequence_limit(data_type: &DataType) -> Option<i128> {
    match data_type {
        DataType::Utf8 => Some(i64::MAX.into()),
        DataType::Float32 => Some(EXACT_FLOAT_MAX),
        DataType::Float64 => Some(EXACT_DOUBLE_MAX),
        DataType::Decimal128(precision, _) => Some(10i128.pow(u32::from(*precision)) - 1),
        DataType::Date32 => Some(i32::MAX.into()),
        DataType::Timestamp(..) => Some(i64::MAX.into()),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            integer_range(data_type).map(|(_, max)| max.into())
        }
        _ => None,
    }
}

/// One value of the column, written as a text.
fn literal(text: &str, data_type: &DataType) -> Option<ArrayRef> {
    let texts = StringArray::from(vec![text.trim()]);
    let value = cast_with_options(&texts, data_type, &CastOptions { safe: true, ..Default::default() }).ok()?;
    value.is_valid(0).then_some(value)
}

/// As [`literal`], as the whole number that the column stores; numbers with a fraction are refused.
fn stored(text: &str, data_type: &DataType) -> Option<i128> {
    match data_type {
        DataType::Utf8 => values::integer(text).map(i128::from),
        DataType::Float32 | DataType::Float64 => {
            let value = literal(text, &DataType::Float64)?.as_primitive::<Float64Type>().value(0);
            (value.fract() == 0.0 && value.abs() <= EXACT_DOUBLE_MAX as f64).then_some(value as i128)
        }
        DataType::Decimal128(..) => Some(literal(text, data_type)?.as_primitive::<Decimal128Type>().value(0)),
        _ => {
            let value = literal(text, data_type)?;
            let narrow = if matches!(data_type, DataType::Date32) { cast32(&value)? } else { value };
            let whole = arrow::compute::cast(&narrow, &DataType::Int64).ok()?;
            Some(whole.as_primitive::<Int64Type>().value(0).into())
        }
    }
}

fn cast32(value: &Arc<dyn Array>) -> Option<ArrayRef> {
    arrow::compute::cast(value, &DataType::Int32).ok()
}
