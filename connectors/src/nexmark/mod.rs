//! The `nexmark` source: the events of the Nexmark benchmark, an auction site's new persons, new auctions and bids, by
//! default 1 : 3 : 46 of every 50.
//!
//! [`site`] knows which event has which number and what is hot at that moment, [`fields`] lists what events consist
//! of, [`reader`] gives them as rows. An event depends on its number and the seed alone: neither splits nor batches,
//! restarts or the columns read change it.

use std::sync::Arc;

use tidemill_engine::source::Source;

use crate::options::{OptionDef, OptionProblem};
use crate::registry::{Connector, Usage};
use crate::table::TableSpec;

mod channels;
mod columns;
mod fields;
mod options;
mod reader;
mod site;
#[cfg(test)]
mod tests;
mod texts;

use reader::NexmarkSource;

/// The connector.
pub struct Nexmark;

impl Connector for Nexmark {
    fn name(&self) -> &'static str {
        "nexmark"
    }

    fn doc(&self) -> &'static str {
        "makes up the events of the Nexmark benchmark, an auction site, the same ones at every run"
    }

    fn options(&self, _spec: Option<&TableSpec>) -> Vec<OptionDef> {
        options::LIST.to_vec()
    }

    fn reads(&self, _spec: Option<&TableSpec>) -> bool {
        true
    }

    fn check(&self, spec: &TableSpec, _usage: Usage) -> Vec<OptionProblem> {
        let columns = spec.columns.fields().iter().filter_map(|field| columns::resolve(spec, field).err());
        options::resolve(spec).err().into_iter().chain(columns).collect()
    }

    fn source(&self, spec: &TableSpec, columns: &[String]) -> Result<Arc<dyn Source>, OptionProblem> {
        let settings = options::resolve(spec)?;
        let schema = spec.project(columns)?;
        let resolved = schema.fields().iter().map(|field| columns::resolve(spec, field)).collect::<Result<_, _>>()?;
        Ok(Arc::new(NexmarkSource::new(settings, schema, resolved, columns::kind_of_table(spec))))
    }
}
