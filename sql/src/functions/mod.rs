//! Flink's scalar functions, where DataFusion's library lacks them or means something else by the same name.
//!
//! A function is a row of data ([`FunctionDef`]) in the list of its file; [`scalar_functions`] makes all of them known
//! to the planner, [`docs`] lists them together with DataFusion's.

use std::sync::Arc;

use chrono_tz::Tz;
use datafusion_expr::ScalarUDF;

mod arrays;
mod call;
mod cast;
mod collection;
mod conditional;
mod decimal;
mod definition;
pub mod docs;
mod hash;
mod interval;
mod json;
mod json_path;
mod math;
mod pattern;
mod regex;
mod text;
mod time;
mod time_units;
mod url;

pub(crate) use cast::{CAST, cast_function, is_flinks as is_flinks_cast};
pub(crate) use decimal::{DIVIDE, divide_function, divides_decimals};
pub use definition::{Category, FunctionDef};
pub(crate) use interval::{MULTIPLY, is_interval, multiply_function};
pub(crate) use time_units::DIGITS;

/// Every list of functions; a new file adds its list here.
const LISTS: &[&[FunctionDef]] = &[
    text::FUNCTIONS,
    regex::FUNCTIONS,
    url::FUNCTIONS,
    math::FUNCTIONS,
    conditional::FUNCTIONS,
    time::FUNCTIONS,
    json::FUNCTIONS,
    hash::FUNCTIONS,
    collection::FUNCTIONS,
];

/// All definitions, list by list.
pub fn definitions() -> impl Iterator<Item = &'static FunctionDef> {
    LISTS.iter().flat_map(|list| list.iter())
}

/// The functions for a session whose calendar is that of `zone`.
pub fn scalar_functions(zone: Tz) -> Vec<Arc<ScalarUDF>> {
    definitions().map(|definition| Arc::new(definition::udf(definition, zone))).collect()
}

/// A function whose result does not depend on the session's time zone, by its name.
pub(crate) fn text_function(name: &str) -> Option<Arc<ScalarUDF>> {
    let definition = text::FUNCTIONS.iter().find(|definition| definition.name == name)?;
    Some(Arc::new(definition::udf(definition, Tz::UTC)))
}
