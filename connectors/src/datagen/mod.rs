//! The `datagen` source: rows made up by rule, at a steady rate, the same at every run with the same seed.
//!
//! The value of a column in row i depends on the seed, the column's name and i alone, so neither batch size, nor
//! restarts, nor which columns a query reads changes a row. Only times relative to the wall clock differ.

use std::sync::Arc;

use tidemill_engine::source::{Boundedness, Source};

use crate::options::{OptionDef, OptionProblem, OptionType};
use crate::registry::{Connector, Usage};
use crate::table::TableSpec;

mod build;
mod generator;
mod reader;
#[cfg(test)]
mod tests;

use reader::DatagenSource;

const ROWS_PER_SECOND: OptionDef =
    OptionDef::new("rows-per-second", OptionType::Integer { min: 1 }, "how many rows are made per second")
        .default("10000")
        .source();
const NUMBER_OF_ROWS: OptionDef =
    OptionDef::new("number-of-rows", OptionType::Integer { min: 0 }, "rows in all; unbounded where not given").source();
const SEED: OptionDef =
    OptionDef::new("seed", OptionType::Integer { min: i64::MIN }, "another seed gives other random rows (extension)")
        .default("0")
        .source();

/// Options of one column; nested fields by path (`fields.a.b.min`), elements of arrays as `element`, of maps as `key`
/// and `value`.
const FIELD_OPTIONS: &[OptionDef] = &[
    OptionDef::new("fields.#.kind", OptionType::Choice(&["random", "sequence"]), "how values are made")
        .default("random")
        .source(),
    OptionDef::new("fields.#.min", OptionType::ColumnValue, "smallest random number; the type's smallest").source(),
    OptionDef::new("fields.#.max", OptionType::ColumnValue, "largest random number; the type's largest").source(),
    OptionDef::new(
        "fields.#.max-past",
        OptionType::Duration,
        "random times lie up to so long before now; those of a sequence up to so long before their turn (extension)",
    )
    .source(),
    OptionDef::new("fields.#.length", OptionType::Integer { min: 1 }, "of strings and bytes (100), arrays and maps (3)")
        .source(),
    OptionDef::new("fields.#.var-len", OptionType::Boolean, "lengths vary from 1 to `length`").source(),
    OptionDef::new("fields.#.null-rate", OptionType::Fraction, "share of values that are NULL").source(),
    OptionDef::new("fields.#.start", OptionType::ColumnValue, "first value of a sequence; may be a time (extension)")
        .source(),
    OptionDef::new("fields.#.end", OptionType::ColumnValue, "last value of a sequence; the source ends behind it")
        .source(),
    OptionDef::new(
        "fields.#.step",
        OptionType::ColumnValue,
        "distance of two values of a sequence: a number (1), or a duration for times (1 s / rows-per-second) (extension)",
    )
    .source(),
    OptionDef::new("fields.#.values", OptionType::Text, "random values are chosen from this list: 'a,b,c' (extension)")
        .source(),
];

/// The connector.
pub struct Datagen;

impl Connector for Datagen {
    fn name(&self) -> &'static str {
        "datagen"
    }

    fn doc(&self) -> &'static str {
        "makes up rows at a steady rate, the same ones at every run"
    }

    fn options(&self, _spec: Option<&TableSpec>) -> Vec<OptionDef> {
        [&[ROWS_PER_SECOND, NUMBER_OF_ROWS, SEED], FIELD_OPTIONS].concat()
    }

    fn reads(&self, _spec: Option<&TableSpec>) -> bool {
        true
    }

    fn check(&self, spec: &TableSpec, _usage: Usage) -> Vec<OptionProblem> {
        build::plan(spec).err().unwrap_or_default()
    }

    fn source(&self, spec: &TableSpec, columns: &[String]) -> Result<Arc<dyn Source>, OptionProblem> {
        let plan = build::plan(spec).map_err(|problems| problems.into_iter().next().expect("refused for a reason"))?;
        let schema = spec.project(columns)?;
        let generators = columns.iter().map(|name| plan.generator(spec, name)).collect();
        let boundedness = if plan.bounded { Boundedness::Bounded } else { Boundedness::Unbounded };
        Ok(Arc::new(DatagenSource {
            schema,
            generators,
            rows: plan.rows,
            rows_per_second: plan.rows_per_second,
            boundedness,
        }))
    }
}
