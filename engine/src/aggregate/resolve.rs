//! From an aggregate function's name and argument types to its factory; the catalogue of all of them.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;

use super::{AggregateFactory, count};
use crate::{EngineError, Result};

/// One line of the function list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AggregateDoc {
    /// In lower case.
    pub name: &'static str,
    pub signature: &'static str,
    pub description: &'static str,
    /// False for functions that are known but cannot run over a stream.
    pub streams: bool,
}

/// Every aggregate function under every name that it has.
pub fn names() -> &'static [AggregateDoc] {
    CATALOGUE
}

const CATALOGUE: &[AggregateDoc] = &[AggregateDoc {
    name: "count",
    signature: "COUNT(* | [DISTINCT] x [, ...])",
    description: "Number of rows; with arguments, of rows where none of them is NULL.",
    streams: true,
}];

/// The factory for `name` (lower case) over column arguments of the given types, then constant arguments.
///
/// Fails with [`EngineError::Unsupported`], whose text says what to write instead.
pub fn resolve(
    name: &str,
    _arguments: &[DataType],
    _literals: &[ScalarValue],
    distinct: bool,
) -> Result<Arc<dyn AggregateFactory>> {
    match name {
        "count" if !distinct => Ok(count::factory()),
        _ => Err(EngineError::Unsupported(format!("there is no aggregate function {name}"))),
    }
}
