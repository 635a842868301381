//! From an aggregate function's name and argument types to its factory.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;

use super::catalogue::{Function, find};
use super::moments::{relation, spread};
use super::sum::Finish;
use super::{AggregateFactory, count, extreme, float, logical, sum};
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
    let function = find(name)?;
    let call = Call { name, arguments, literals };
    if distinct && true {
        return Err(call.unsupported("DISTINCT is not supported here", "remove duplicates in a subquery"));
    }
    call.plain(function)
}

/// A call as it stands in the query, for dispatch and for messages.
struct Call<'a> {
    name: &'a str,
    arguments: &'a [DataType],
    literals: &'a [ScalarValue],
}

impl Call<'_> {
    fn plain(&self, function: Function) -> Result<Arc<dyn AggregateFactory>> {
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
        }
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
            argument => extreme::factory::<MAX>(argument).ok_or_else(|| self.wrong_type("a type with an order")),
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
        let types: Vec<String> = self.arguments.iter().map(ToString::to_string).collect();
        self.unsupported(&format!("not defined for {}", types.join(", ")), &format!("CAST the argument to {wanted}"))
    }

    fn unsupported(&self, what: &str, hint: &str) -> EngineError {
        EngineError::Unsupported(format!("{}: {what}\n  hint: {hint}", self.name.to_uppercase()))
    }
}
