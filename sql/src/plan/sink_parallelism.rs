//! `sink.parallelism`: how many instances write a table, and how rows come to them.

use arrow::datatypes::Schema;
use tidemill_engine::graph::{ChangelogMode, Parallelism};

use super::stream::Stream;
use crate::catalog::TableDefinition;
use crate::diagnostic::Diagnostic;

/// The option of every table that says how many instances write it.
const SINK_PARALLELISM: &str = "sink.parallelism";

/// How many instances write, where the table says so.
pub(super) struct Instances {
    pub parallelism: Parallelism,
    /// Columns by which rows are dealt to them, where changes of one row must stay in order.
    pub keys: Option<Vec<usize>>,
}

impl Instances {
    pub fn of(definition: &TableDefinition, rows: &Stream, schema: &Schema) -> Result<Option<Self>, Diagnostic> {
        let asked = definition.options.get(SINK_PARALLELISM).and_then(|text| text.trim().parse().ok());
        let parallelism = match asked {
            None => return Ok(None),
            Some(1) => Parallelism::One,
            Some(count) => Parallelism::Fixed(count),
        };
        let keys: Vec<usize> = definition.primary_key.iter().filter_map(|key| schema.index_of(key).ok()).collect();
        let updates = rows.changelog != ChangelogMode::Append;
        if updates && keys.is_empty() && parallelism != Parallelism::One {
            let message = format!(
                "`{SINK_PARALLELISM}` of `{}`: updates of one row would be written out of order",
                definition.name
            );
            let hint = "declare PRIMARY KEY (...) NOT ENFORCED, by which rows are dealt out, or leave the option out";
            return Err(Diagnostic::new(message).with_hint(hint));
        }
        Ok(Some(Self { parallelism, keys: updates.then_some(keys) }))
    }
}
