//! From an aggregate function's name and argument types to its factory.

use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion_common::ScalarValue;
use datafusion_expr::AggregateUDF;
use datafusion_functions_aggregate::bit_and_or_xor::{bit_and_udaf, bit_or_udaf, bit_xor_udaf};

use super::catalogue::{Function, find};
use super::moments::{relation, spread};
use super::pick::{self, Choice};
use super::sum::Finish;
use super::{
    AggregateFactory, adapter, collect, count, distinct, extreme, float, logical, multiset, quantile, sketch_count,
    sum, text,
};
use crate::type_name::sql_type_name;
use crate::{EngineError, Result};

/// The factory for `name` (lower case) over column arguments of the given types, then constant arguments.
///
/// Fails with [`EngineError::Unsupported`], whose text says what to write instead.
pub fn resolve(
    name: &str,
    arguments: &[DataType],
    literals: &[ScalarValue],
    distinct: bool,
) -> Result<Arc<dyn AggregateFactory>> {
    Call { name, arguments, literals, over_updates: false }.resolve(distinct)
}

/// As [`resolve`], for an input whose rows may be taken back; the result has the same type.
pub fn resolve_over_updates(
    name: &str,
    arguments: &[DataType],
    literals: &[ScalarValue],
    distinct: bool,
) -> Result<Arc<dyn AggregateFactory>> {
    Call { name, arguments, literals, over_updates: true }.resolve(distinct)
}

fn dispatch(call: &Call<'_>, function: Function, distinct: bool) -> Result<Arc<dyn AggregateFactory>> {
    match function {
        Function::Count if distinct => call.count_distinct(),
        _ if distinct && function.counts_repeats() => call.distinct(function),
        _ => call.plain(function),
    }
}

/// A call as it stands in the query, for dispatch and for messages.
struct Call<'a> {
    name: &'a str,
    arguments: &'a [DataType],
    literals: &'a [ScalarValue],
    /// Rows may be taken back.
    over_updates: bool,
}

impl Call<'_> {
    fn resolve(&self, distinct: bool) -> Result<Arc<dyn AggregateFactory>> {
        dispatch(self, find(self.name)?, distinct)
    }

    fn plain(&self, function: Function) -> Result<Arc<dyn AggregateFactory>> {
        let appends = self.over_appends(function)?;
        if self.over_updates { self.retracting(function, appends) } else { Ok(appends) }
    }

    /// The function where rows may be taken back; most that do not count or add up need all values for that.
    fn retracting(&self, function: Function, appends: Arc<dyn AggregateFactory>) -> Result<Arc<dyn AggregateFactory>> {
        let counted = |answer| Ok(multiset::factory(&self.arguments[0], answer, self.arguments.len() > 1));
        let collected = |answer| Ok(collect::factory(&self.arguments[0], answer));
        let timed = self.arguments.len() > 1;
        match function {
            Function::Min | Function::And => counted(multiset::Answer::Least),
            Function::Max | Function::Or => counted(multiset::Answer::Greatest),
            Function::First if timed => counted(multiset::Answer::Least),
            Function::Last if timed => counted(multiset::Answer::Greatest),
            Function::First => collected(collect::Answer::First),
            Function::Last => collected(collect::Answer::Last),
            Function::Listagg => collected(collect::Answer::Joined(self.separator()?)),
            Function::Percentile { approximate: false } => counted(multiset::Answer::Quantile(self.fraction()?)),
            Function::Median { approximate: false } => counted(multiset::Answer::Quantile(0.5)),
            Function::BitAnd => counted(multiset::Answer::BitAnd),
            Function::BitOr => counted(multiset::Answer::BitOr),
            Function::BitXor => counted(multiset::Answer::BitXor),
            Function::ApproxCountDistinct => Err(self.cannot_take_back("COUNT(DISTINCT x)")),
            Function::Percentile { approximate: true } => Err(self.cannot_take_back("PERCENTILE(x, fraction)")),
            Function::Median { approximate: true } => Err(self.cannot_take_back("MEDIAN(x)")),
            Function::Count
            | Function::Sum
            | Function::Avg
            | Function::Spread(_)
            | Function::Relation(_)
            | Function::Collect { .. } => Ok(appends),
        }
    }

    fn cannot_take_back(&self, instead: &str) -> EngineError {
        self.unsupported("an approximation cannot take rows back that are updated later", &format!("write {instead}"))
    }

    fn over_appends(&self, function: Function) -> Result<Arc<dyn AggregateFactory>> {
        match function {
            Function::Count => Ok(count::factory()),
            Function::Sum => self.total(Finish::Sum),
            Function::Avg => self.total(Finish::Average),
            Function::Min => self.extreme::<false>(),
            Function::Max => self.extreme::<true>(),
            Function::And => self.boolean().map(|()| logical::factory::<false>()),
            Function::Or => self.boolean().map(|()| logical::factory::<true>()),
            Function::Spread(statistic) => self.numbers(1).map(|()| spread(statistic)),
            Function::Relation(statistic) => self.numbers(2).map(|()| relation(statistic)),
            Function::First => self.by_time(Choice::First),
            Function::Last => self.by_time(Choice::Last),
            Function::Listagg => Ok(text::factory(self.separator()?)),
            Function::Collect { keep_nulls } => {
                Ok(collect::factory(self.storable()?, collect::Answer::Array { keep_nulls }))
            }
            Function::ApproxCountDistinct => Ok(sketch_count::factory(self.storable()?)),
            Function::Percentile { approximate } => Ok(quantile::factory(self.fraction()?, approximate)),
            Function::Median { approximate } => self.numbers(1).map(|()| quantile::factory(0.5, approximate)),
            Function::BitAnd => self.bitwise(bit_and_udaf()),
            Function::BitOr => self.bitwise(bit_or_udaf()),
            Function::BitXor => self.bitwise(bit_xor_udaf()),
        }
    }

    fn count_distinct(&self) -> Result<Arc<dyn AggregateFactory>> {
        if self.arguments.is_empty() {
            return Err(self.unsupported("DISTINCT needs an argument", "write COUNT(DISTINCT column)"));
        }
        self.arguments.iter().try_for_each(|argument| self.check_storable(argument))?;
        Ok(distinct::count(self.arguments, self.counting()))
    }

    fn distinct(&self, function: Function) -> Result<Arc<dyn AggregateFactory>> {
        if self.arguments.len() != 1 {
            let hint = "remove duplicates in a subquery: SELECT ... FROM (SELECT DISTINCT ...)";
            return Err(self.unsupported("DISTINCT is only supported over one column", hint));
        }
        let inner = self.plain(function)?;
        self.check_storable(&self.arguments[0])?;
        let keep_nulls = matches!(function, Function::Collect { keep_nulls: true });
        let in_order = matches!(function, Function::Collect { .. } | Function::Listagg);
        Ok(distinct::over(self.arguments, inner, distinct::Counting { keep_nulls, in_order, ..self.counting() }))
    }

    fn counting(&self) -> distinct::Counting {
        distinct::Counting { keep_nulls: false, once: !self.over_updates, in_order: false }
    }

    /// FIRST_VALUE and LAST_VALUE: by arrival, or by the second argument.
    fn by_time(&self, choice: Choice) -> Result<Arc<dyn AggregateFactory>> {
        let is_time = |time: &DataType| matches!(time, DataType::Timestamp(..) | DataType::Int64 | DataType::Date32);
        let timed = match self.arguments {
            [_] => false,
            [_, time] if is_time(time) => true,
            [_, _] => return Err(self.unsupported("the second argument is not a time", "CAST it to TIMESTAMP(3)")),
            _ => return self.arity(1).and_then(|()| Err(self.wrong_type("a value"))),
        };
        self.check_storable(&self.arguments[0])?;
        Ok(pick::factory(&self.arguments[0], choice, timed))
    }

    /// What LISTAGG puts between strings.
    fn separator(&self) -> Result<String> {
        if self.one()? != &DataType::Utf8 {
            return Err(self.wrong_type("STRING"));
        }
        match self.literals {
            [] => Ok(text::SEPARATOR_DEFAULT.to_owned()),
            [separator] => match separator.try_as_str() {
                Some(Some(separator)) => Ok(separator.to_owned()),
                _ => Err(self.unsupported("the separator is not a string", "write it as a literal such as ', '")),
            },
            _ => Err(self.unsupported("too many arguments", "write the text and at most a separator")),
        }
    }

    fn fraction(&self) -> Result<f64> {
        self.numbers(1)?;
        let hint = "write it as a constant from 0 to 1, such as 0.95";
        let Some(literal) = self.literals.first() else {
            return Err(self.unsupported("the fraction is missing or is not a constant", hint));
        };
        match literal.cast_to(&DataType::Float64) {
            Ok(ScalarValue::Float64(Some(fraction))) if (0.0..=1.0).contains(&fraction) => Ok(fraction),
            _ => Err(self.unsupported(&format!("{literal} is no fraction"), hint)),
        }
    }

    fn bitwise(&self, function: Arc<AggregateUDF>) -> Result<Arc<dyn AggregateFactory>> {
        if !self.one()?.is_integer() {
            return Err(self.wrong_type("BIGINT"));
        }
        adapter::factory(function, self.arguments)
    }

    /// The only argument, of a type that can be written as row bytes.
    fn storable(&self) -> Result<&DataType> {
        let argument = self.one()?;
        self.check_storable(argument)?;
        Ok(argument)
    }

    fn check_storable(&self, argument: &DataType) -> Result<()> {
        if RowConverter::supports_fields(&[SortField::new(argument.clone())]) && argument != &DataType::Null {
            return Ok(());
        }
        Err(self.wrong_type("a type that has a value to keep, such as STRING"))
    }

    fn total(&self, finish: Finish) -> Result<Arc<dyn AggregateFactory>> {
        self.numbers(1)?;
        match &self.arguments[0] {
            DataType::Float32 | DataType::Float64 => Ok(float::factory(finish)),
            other => sum::factory(other, finish).ok_or_else(|| self.wrong_type("a number")),
        }
    }

    fn extreme<const MAX: bool>(&self) -> Result<Arc<dyn AggregateFactory>> {
        match self.one()? {
            DataType::Boolean if MAX => Ok(logical::factory::<true>()),
            DataType::Boolean => Ok(logical::factory::<false>()),
            text @ (DataType::Utf8 | DataType::Binary) => {
                Ok(pick::factory(text, if MAX { Choice::Max } else { Choice::Min }, false))
            }
            argument => extreme::factory::<MAX>(argument)
                .ok_or_else(|| self.wrong_type("a type that has an order, such as STRING")),
        }
    }

    /// The type of the only column argument.
    fn one(&self) -> Result<&DataType> {
        self.arity(1)?;
        Ok(&self.arguments[0])
    }

    fn arity(&self, count: usize) -> Result<()> {
        if self.arguments.len() == count {
            return Ok(());
        }
        let found = self.arguments.len();
        let hint = "check the arguments; constants do not count as columns";
        Err(self.unsupported(&format!("{count} column argument(s) expected, {found} given"), hint))
    }

    fn numbers(&self, count: usize) -> Result<()> {
        self.arity(count)?;
        let is_number = |argument: &DataType| matches!(argument, DataType::Decimal128(..)) || argument.is_numeric();
        if self.arguments.iter().all(is_number) { Ok(()) } else { Err(self.wrong_type("a number")) }
    }

    fn boolean(&self) -> Result<()> {
        match self.one()? {
            DataType::Boolean => Ok(()),
            _ => Err(self.wrong_type("BOOLEAN")),
        }
    }

    fn wrong_type(&self, wanted: &str) -> EngineError {
        let types: Vec<String> = self.arguments.iter().map(sql_type_name).collect();
        self.unsupported(&format!("not defined for {}", types.join(", ")), &format!("CAST the argument to {wanted}"))
    }

    fn unsupported(&self, what: &str, hint: &str) -> EngineError {
        EngineError::Unsupported(format!("{}: {what}\n  hint: {hint}", self.name.to_uppercase()))
    }
}
