//! The connectors `kafka` and `upsert-kafka`: topics of Apache Kafka as tables, read from checkpointed offsets and written exactly once.
//!
//! Reading: [`source`] finds partitions, [`consumer`] is the one client for all of them, [`reader`] reads one, [`rows`] makes rows of
//! messages, [`watch`] sees to it that a topic is still the one that it was. Writing: [`encoding`] makes messages of rows, [`writer`] sends them, [`transaction`] makes those of an epoch visible together.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::sink::{Guarantee, Sink};
use tidemill_engine::source::Source;

use crate::format::Format;
use crate::options::{OptionDef, OptionProblem};
use crate::registry::{Connector, MetadataDef, Usage};
use crate::table::TableSpec;

mod buffer;
mod client;
mod consumer;
mod context;
mod encoding;
mod lifeline;
mod native;
mod options;
mod reach;
mod reader;
mod rows;
mod sink;
mod source;
mod tokens;
mod transaction;
mod watch;
mod writer;

use encoding::MessageLayout;
use options::{KafkaTable, SinkOptions, SourceOptions};
use rows::RowLayout;
use sink::KafkaSink;
use source::KafkaSource;
use transaction::Outboxes;

/// One of the two connectors. All sinks of a process that come of one pair find each other's transactions.
pub struct Kafka {
    outboxes: Arc<Outboxes>,
    /// Messages are upserts by key.
    upserts: bool,
}

impl Kafka {
    /// `kafka` and `upsert-kafka`.
    pub fn both() -> [Self; 2] {
        let outboxes = Arc::<Outboxes>::default();
        [Self { outboxes: Arc::clone(&outboxes), upserts: false }, Self { outboxes, upserts: true }]
    }
}

impl Connector for Kafka {
    fn name(&self) -> &'static str {
        if self.upserts { options::UPSERT_KAFKA } else { "kafka" }
    }

    fn doc(&self) -> &'static str {
        match self.upserts {
            false => "reads and writes topics of Apache Kafka; what it writes becomes visible exactly once",
            true => {
                "topics of Apache Kafka as tables kept by key: of a key the last message counts, one without a value deletes it"
            }
        }
    }

    fn options(&self, spec: Option<&TableSpec>) -> Vec<OptionDef> {
        options::list(spec, self.upserts)
    }

    fn metadata(&self, _spec: Option<&TableSpec>) -> Vec<MetadataDef> {
        rows::metadata()
    }

    fn reads(&self, _spec: Option<&TableSpec>) -> bool {
        true
    }

    fn guarantee(&self) -> Option<Guarantee> {
        Some(Guarantee::ExactlyOnce)
    }

    fn accepts(&self, spec: Option<&TableSpec>) -> ChangelogMode {
        match spec {
            None => ChangelogMode::Retract,
            Some(spec) => self.gives(spec),
        }
    }

    fn takes_updates_with(&self) -> Option<&'static str> {
        Some("write 'connector' = 'upsert-kafka' with a PRIMARY KEY, or 'format' = 'debezium-json' or 'changelog-json'")
    }

    fn gives(&self, spec: &TableSpec) -> ChangelogMode {
        KafkaTable::of(spec).map_or(ChangelogMode::Append, |table| table.changelog())
    }

    fn reads_fields(&self, spec: &TableSpec) -> bool {
        KafkaTable::of(spec).is_ok_and(|table| table.formats().all(Format::reads_fields))
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

    fn sink(&self, spec: &TableSpec, schema: SchemaRef) -> Result<Arc<dyn Sink>, OptionProblem> {
        let table = KafkaTable::of(spec)?;
        let options = SinkOptions::of(spec, &table)?;
        let layout = MessageLayout::new(spec, &table, &schema);
        Ok(Arc::new(KafkaSink::new(table, options, layout, Arc::clone(&self.outboxes))))
    }
}
