//! The `kafka` connector: topics of Apache Kafka as tables, read from checkpointed offsets and written exactly once.
//!
//! Reading: [`source`] finds partitions, [`consumer`] is the one client for all of them, [`reader`] reads one, [`rows`] makes rows of
//! messages. Writing: [`writer`] sends rows, [`transaction`] makes those of an epoch visible together.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::sink::{Guarantee, Sink};
use tidemill_engine::source::Source;

use crate::options::{OptionDef, OptionProblem};
use crate::registry::{Connector, MetadataDef, Usage};
use crate::table::TableSpec;

mod client;
mod consumer;
mod options;
mod reader;
mod rows;
mod sink;
mod source;
mod transaction;
mod writer;

use options::{KafkaTable, SinkOptions, SourceOptions};
use rows::RowLayout;
use sink::KafkaSink;
use source::KafkaSource;
use transaction::Outboxes;

/// The connector. All sinks of a process that are made by one instance find each other's transactions.
#[derive(Default)]
pub struct Kafka {
    outboxes: Arc<Outboxes>,
}

impl Connector for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn doc(&self) -> &'static str {
        "reads and writes topics of Apache Kafka; what it writes becomes visible exactly once"
    }

    fn options(&self, spec: Option<&TableSpec>) -> Vec<OptionDef> {
        options::list(spec)
    }

    fn metadata(&self) -> Vec<MetadataDef> {
        rows::metadata()
    }

    fn reads(&self) -> bool {
        true
    }

    fn guarantee(&self) -> Option<Guarantee> {
        Some(Guarantee::ExactlyOnce)
    }

    fn accepts(&self, spec: Option<&TableSpec>) -> ChangelogMode {
        match spec {
            None => ChangelogMode::Retract,
            Some(spec) => KafkaTable::of(spec).map_or(ChangelogMode::Append, |table| table.value.changelog()),
        }
    }

    fn takes_updates_with(&self) -> Option<&'static str> {
        Some("write 'format' = 'debezium-json' or 'changelog-json'")
    }

    fn gives(&self, spec: &TableSpec) -> ChangelogMode {
        KafkaTable::of(spec).map_or(ChangelogMode::Append, |table| table.value.changelog())
    }

    fn check(&self, spec: &TableSpec, usage: Usage) -> Vec<OptionProblem> {
        let checked = KafkaTable::of(spec).and_then(|table| match usage {
            Usage::Declared | Usage::Lookup => Ok(()),
            Usage::Source => SourceOptions::of(spec, &table).map(drop),
            Usage::Sink => SinkOptions::of(spec, &table).map(drop),
        });
        checked.err().into_iter().collect()
    }

    fn source(&self, spec: &TableSpec, columns: &[String]) -> Result<Arc<dyn Source>, OptionProblem> {
        let table = KafkaTable::of(spec)?;
        let layout = RowLayout::new(spec, &table, columns, spec.project(columns)?);
        Ok(Arc::new(KafkaSource::new(table.clone(), SourceOptions::of(spec, &table)?, layout)))
    }

    fn sink(&self, spec: &TableSpec, _schema: SchemaRef) -> Result<Arc<dyn Sink>, OptionProblem> {
        let table = KafkaTable::of(spec)?;
        let options = SinkOptions::of(spec, &table)?;
        let (schema, outboxes) = (spec.columns.clone(), Arc::clone(&self.outboxes));
        Ok(Arc::new(KafkaSink { table, options, schema, outboxes }))
    }
}
